package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// importStep is how many messages are on their way at once.
	importStep = 256
	// importPatience bounds the wait for one answer.
	importPatience = 30 * time.Second
)

// dropped are headers that tell the server under which condition to store a
// message. It was stored; the conditions are those of another time.
var dropped = []string{
	server.JSExpectedStream, server.JSExpectedLastSeq, server.JSExpectedLastMsgId,
	server.JSExpectedLastSubjSeq, server.JSExpectedLastSubjSeqSubj,
}

// Import publishes the messages of an export in their order over a connection,
// and creates the streams that are not there. Messages get new sequences and
// times. One whose message ID the stream has seen within its window is stored
// once, so an import that was cut short can be repeated soon.
func Import(ctx context.Context, out io.Writer, from io.Reader, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	i := importer{ctx: ctx, out: out, nc: nc, js: js, streams: map[string]*imported{}}
	lines := json.NewDecoder(from)
	lines.DisallowUnknownFields()
	for number := 1; ; number++ {
		var line Line
		err := lines.Decode(&line)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = i.line(&line)
		} else {
			err = fmt.Errorf("%w: %w", errNoLine, err)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("import: line %d: %w", number, err), i.report())
		}
	}
	return errors.Join(i.settle(), i.report())
}

// importer is an import under way.
type importer struct {
	ctx     context.Context
	out     io.Writer
	nc      *nats.Conn
	js      jetstream.JetStream
	streams map[string]*imported
	order   []string // of streams
	flying  []flight
}

type imported struct{ stored, known int }

type flight struct {
	stream string
	number uint64
	ack    jetstream.PubAckFuture
}

func (i *importer) line(line *Line) error {
	if line.Stream == "" {
		return errNoLine
	}
	if i.streams[line.Stream] == nil {
		i.streams[line.Stream] = &imported{}
		i.order = append(i.order, line.Stream)
	}
	if line.Config != nil {
		return i.create(line)
	}
	m := nats.NewMsg(line.Subject)
	m.Data = line.Data
	if len(line.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(line.Header)
		if err != nil {
			return fmt.Errorf("stream %s, message %d: %w", line.Stream, line.Sequence, err)
		}
		m.Header = header
		for _, name := range dropped {
			m.Header.Del(name)
		}
	}
	// The message has to land in this stream, or nowhere.
	ack, err := i.js.PublishMsgAsync(m, jetstream.WithExpectStream(line.Stream))
	if err != nil {
		return fmt.Errorf("stream %s, message %d: %w", line.Stream, line.Sequence, err)
	}
	if i.flying = append(i.flying, flight{line.Stream, line.Sequence, ack}); len(i.flying) == importStep {
		return i.settle()
	}
	return nil
}

// create makes a stream that is not there, with the very configuration.
func (i *importer) create(line *Line) error {
	_, err := i.js.Stream(i.ctx, line.Stream)
	if err == nil || !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	config := *line.Config
	config.Sealed = false // it has to take messages first
	body, err := json.Marshal(&config)
	if err != nil {
		return err
	}
	answer, err := i.nc.Request("$JS.API.STREAM.CREATE."+line.Stream, body, importPatience)
	if err != nil {
		return fmt.Errorf("create stream %s: %w", line.Stream, err)
	}
	var created server.JSApiStreamCreateResponse
	if err := json.Unmarshal(answer.Data, &created); err != nil {
		return fmt.Errorf("create stream %s: %w", line.Stream, err)
	}
	if created.Error != nil {
		return fmt.Errorf("create stream %s: %s (%d); create one that takes its subjects, and import again", line.Stream, created.Error.Description, created.Error.ErrCode)
	}
	return nil
}

// settle waits for the answers that are missing.
func (i *importer) settle() error {
	flying := i.flying
	i.flying = nil
	for _, f := range flying {
		select {
		case ack := <-f.ack.Ok():
			if ack.Duplicate {
				i.streams[f.stream].known++
			} else {
				i.streams[f.stream].stored++
			}
		case err := <-f.ack.Err():
			return fmt.Errorf("stream %s, message %d: %w", f.stream, f.number, err)
		case <-time.After(importPatience):
			return fmt.Errorf("stream %s, message %d: no answer", f.stream, f.number)
		case <-i.ctx.Done():
			return i.ctx.Err()
		}
	}
	return nil
}

func (i *importer) report() error {
	for _, name := range i.order {
		s := i.streams[name]
		text := fmt.Sprintf("stream %s: %d messages imported", name, s.stored)
		if s.known > 0 {
			text += fmt.Sprintf(", %d not stored again: the stream knows their message IDs", s.known)
		}
		if _, err := fmt.Fprintln(i.out, strings.TrimSpace(text)); err != nil {
			return err
		}
	}
	return nil
}
