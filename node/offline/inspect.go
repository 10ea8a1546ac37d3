package offline

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/wal"
)

// Line is one line of an export: a stream, before its messages, or a message.
type Line struct {
	Stream  string `json:"stream"`
	Account string `json:"account,omitempty"` // "": the default one
	// Config is set in a line about a stream, and only there.
	Config *server.StreamConfig `json:"config,omitempty"`
	// Sequence of the message; zero: the index is damaged, and nobody can tell it,
	// nor whether the message was deleted.
	Sequence uint64     `json:"sequence,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
	Subject  string     `json:"subject,omitempty"`
	Header   []byte     `json:"header,omitempty"` // a whole NATS header block, in base64
	Data     []byte     `json:"data,omitempty"`   // in base64
}

// Inspect describes the store in a folder that no node uses, or a single store
// file, damaged or set aside. The messages of the named stream ("*": of all) go
// to export, one line of JSON each, as far as they are right; nil: none do.
func Inspect(out io.Writer, folder, file, name string, export io.Writer) error {
	if file == "" {
		f, err := wal.LookInto(folder)
		if err != nil {
			return fmt.Errorf("inspect %s: %w", folder, err)
		}
		defer f.Close()
		for _, path := range append(f.Strays, f.Aside...) {
			fmt.Fprintf(out, "also there: %s\n", path)
		}
		if f.Store == "" {
			return fmt.Errorf("inspect %s: there is no store that current names %s; name one of the files with --file", folder, f.Problem)
		}
		file = f.Store
	}
	b, err := open(file)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", file, err)
	}
	defer b.Close()
	b.introduce(out)
	if b.machine == nil {
		fmt.Fprintf(out, "the index is damaged (%v): messages are listed as the log has them, without numbers, deleted ones among them\n", b.why)
	}
	b.listStreams(out)
	if export == nil {
		return nil
	}
	w := bufio.NewWriter(export)
	x := exporter{book: b, to: json.NewEncoder(w), only: name}
	if b.machine == nil {
		x.exportLog()
	} else {
		x.exportStreams()
	}
	if x.err == nil {
		x.err = w.Flush()
	}
	fmt.Fprintf(out, "%d messages exported, %d could not be read\n", x.done, len(x.lost))
	for _, err := range x.lost[:min(len(x.lost), maxShown)] {
		fmt.Fprintf(out, "not readable: %v\n", err)
	}
	if x.err != nil {
		return fmt.Errorf("export %s: %w", file, x.err)
	}
	return nil
}

// maxShown bounds the lines about messages that cannot be read.
const maxShown = 100

func (b *book) listStreams(out io.Writer) {
	if b.machine != nil {
		for _, s := range b.machine.Streams() {
			state := s.State()
			fmt.Fprintf(out, "stream %q: %d messages, %d bytes, sequences %d to %d, %d consumers\n",
				s.Name(), state.Msgs, state.Bytes, state.FirstSeq, state.LastSeq, len(s.Consumers()))
		}
		return
	}
	streams := b.streams()
	for _, inc := range slices.Sorted(maps.Keys(streams)) {
		fmt.Fprintf(out, "stream %q (%s), perhaps deleted\n", streams[inc].config.Name, inc)
	}
}

// exporter writes lines and remembers what went wrong.
type exporter struct {
	book *book
	to   *json.Encoder
	only string
	done int
	lost []error // messages
	err  error   // of the writer
	// moved is the entry that was asked for last, see origin.
	moved struct {
		index uint64
		there bool
	}
}

func (x *exporter) wants(name string) bool { return x.only == "*" || x.only == name }

func (x *exporter) write(line *Line) {
	if x.err == nil {
		x.err = x.to.Encode(line)
	}
}

// exportStreams writes every stream with its messages in their order.
func (x *exporter) exportStreams() {
	for _, s := range x.book.machine.Streams() {
		if !x.wants(s.Name()) {
			continue
		}
		line := Line{Stream: s.Name(), Account: s.Account().Name()}
		x.write(&Line{Stream: line.Stream, Account: line.Account, Config: s.Config()})
		eachMessage(s, func(stored machine.Stored) {
			raw, err := x.book.read(stored.Location)
			var m machine.Message
			if err == nil {
				m, err = machine.DecodeMessage(raw)
			}
			if err != nil {
				x.lost = append(x.lost, fmt.Errorf("stream %s, message %d: %w", s.Name(), stored.Seq, err))
				return
			}
			line.Sequence = stored.Seq
			x.message(line, stored.Stamp, &m)
		})
	}
}

// exportLog writes what the log says was published, in its order.
func (x *exporter) exportLog() {
	streams := x.book.streams()
	for _, inc := range slices.Sorted(maps.Keys(streams)) {
		if s := streams[inc]; x.wants(s.config.Name) {
			x.write(&Line{Stream: s.config.Name, Account: s.account, Config: s.config})
		}
	}
	x.lost = append(x.lost, x.book.damaged...)
	x.book.eachBatch(func(e *protocol.Entry) error {
		return machine.EachPublish(e.Index, e.Data, func(from uint64, stamp int64, m machine.Message) {
			if from != 0 && x.origin(from) {
				return // it is written where it was moved from
			}
			s, known := streams[m.Stream]
			name := "unknown-" + m.Stream.String()
			if known {
				name = s.config.Name
			}
			if x.wants(name) {
				x.message(Line{Stream: name, Account: s.account}, stamp, &m)
			}
		})
	})
}

// origin reports whether the entry that a message was moved from is there.
func (x *exporter) origin(index uint64) bool {
	if x.moved.index != index {
		_, err := x.book.Entry(index)
		x.moved.index, x.moved.there = index, err == nil
	}
	return x.moved.there
}

func (x *exporter) message(line Line, stamp int64, m *machine.Message) {
	at := time.Unix(0, stamp).UTC()
	line.Time, line.Subject, line.Header, line.Data = &at, string(m.Subject), m.Header, m.Payload
	x.write(&line)
	x.done++
}

// errNoLine: a line of an export is none.
var errNoLine = errors.New("not a line of an export")
