package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/archive"

	"holdfast/node/machine"
)

const (
	snapshotPrefix = "$JS.SNAPSHOT."
	backupAcks     = snapshotPrefix + "ACK."
	restoreChunks  = snapshotPrefix + "RESTORE."
)

// Bounds of a backup's flow; those of nats-server.
const (
	defaultChunk, minChunk, maxChunk    = 128 << 10, 1 << 10, 1 << 20
	defaultWindow, minWindow, maxWindow = 8 << 20, 1 << 10, 32 << 20
	// backupPatience is how long a backup waits for the next acknowledgement, and
	// interestPatience for somebody to listen at first. Before backupRespite it does
	// not begin: clients subscribe when they have the answer (jsm.go), often to an
	// inbox that another subscription of theirs covers already.
	backupPatience   = int64(5 * time.Second)
	interestPatience = int64(2 * time.Second)
	backupRespite    = int64(500 * time.Millisecond)
	// backupSlice is how much of a backup is made before others get their turn.
	backupSlice = 512 << 10
	// maxBackups bounds the backups and restores under way: each takes a few
	// megabytes of memory.
	maxBackups = 64
)

// backup is a stream on its way to a client, in chunks of which only some are
// not acknowledged. A new leader does not go on with it.
type backup struct {
	stream  *machine.Stream
	state   server.StreamState // when it began
	deliver []byte             // where the chunks go
	acks    string             // prefix of the subjects on which they are acknowledged
	begun   time.Time
	client  *server.ClientInfo

	next     uint64 // sequence
	finished bool   // everything is in the buffer
	archive  *archive.Writer
	packer   *s2.Writer
	buffer   bytes.Buffer // packed, to be sent

	chunk  int // bytes
	slots  int // chunks that may be sent before one is acknowledged
	index  int // of the next chunk, from 1
	moved  int64
	heard  bool // somebody listened
	status string
}

// transfers are the backups and restores of a door.
type transfers struct {
	backups  []*backup
	restores []*restore
}

// ready reports whether a backup has something to send.
func (t *transfers) ready() bool {
	return slices.ContainsFunc(t.backups, func(b *backup) bool { return b.heard && b.slots > 0 })
}

// streamSnapshot begins a backup.
func (d *Door) streamSnapshot(r *request) any {
	resp := &server.JSApiStreamSnapshotResponse{ApiResponse: responseOf(server.JSApiStreamSnapshotResponseType)}
	var body server.JSApiStreamSnapshotRequest
	s, apiErr := d.snapshotRequest(r, &body)
	if apiErr == nil && len(d.transfers.backups) >= maxBackups {
		apiErr = server.NewJSStreamSnapshotError(fmt.Errorf("%d other backups are under way, try again later", maxBackups))
	}
	var b *backup
	if apiErr == nil {
		var err error
		if b, err = d.newBackup(s, &body, r); err != nil {
			apiErr = server.NewJSStreamSnapshotError(err)
		}
	}
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	d.transfers.backups = append(d.transfers.backups, b)
	d.emit(server.JSAdvisoryStreamSnapshotCreatePre+"."+s.Name(), func() any {
		return server.JSSnapshotCreateAdvisory{
			TypedEvent: d.typed(server.JSSnapshotCreatedAdvisoryType), Stream: s.Name(), State: b.state, Client: b.client, Domain: d.options.Domain,
		}
	})
	resp.Config, resp.State = s.Config(), &b.state
	return resp
}

func (d *Door) snapshotRequest(r *request, body *server.JSApiStreamSnapshotRequest) (*machine.Stream, *server.ApiError) {
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	if isEmpty(r.payload) {
		return nil, server.NewJSBadRequestError()
	}
	s := d.machine.Stream(r.args[0])
	if s == nil {
		return nil, server.NewJSStreamNotFoundError()
	}
	if err := decode(r.payload, body); err != nil {
		return nil, server.NewJSInvalidJSONError(err)
	}
	if !server.IsValidPublishSubject(body.DeliverSubject) {
		return nil, server.NewJSSnapshotDeliverSubjectInvalidError()
	}
	return s, nil
}

// clamp returns a wish within bounds; 0 wishes for the default.
func clamp(wish, fallback, least, most int) int {
	if wish == 0 {
		wish = fallback
	}
	return min(max(wish, least), most)
}

func (d *Door) newBackup(s *machine.Stream, body *server.JSApiStreamSnapshotRequest, r *request) (*backup, error) {
	now := d.node.Now()
	b := &backup{
		stream: s, state: s.State(), deliver: []byte(body.DeliverSubject), begun: d.time(), client: clientOf(r.header),
		acks:  backupAcks + s.Name() + "." + d.randomName(identifierSize),
		chunk: clamp(body.ChunkSize, defaultChunk, minChunk, maxChunk), index: 1, moved: now,
	}
	b.slots = max(clamp(body.WindowSize, defaultWindow, minWindow, maxWindow), b.chunk) / b.chunk
	b.next = b.state.FirstSeq
	b.packer = s2.NewWriter(&b.buffer, s2.WriterConcurrency(1), s2.WriterBlockSize(256<<10))
	b.archive = archive.NewWriter(b.packer)
	var consumers []*machine.Consumer
	if !body.NoConsumers {
		consumers = slices.DeleteFunc(s.Consumers(), func(c *machine.Consumer) bool { return c.Config().Direct })
	}
	b.state.Consumers = len(consumers)
	if err := b.describe("state.json", now, &b.state); err != nil {
		return nil, err
	}
	for _, c := range consumers {
		if err := b.describe("consumers/"+c.Name(), now, c.Backup()); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// describe adds an entry that describes the stream or a consumer.
func (b *backup) describe(name string, now int64, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return b.add(&archive.Header{Name: name, Timestamp: now, PayloadSize: int64(len(body))}, body)
}

func (b *backup) add(header *archive.Header, parts ...[]byte) error {
	if err := b.archive.WriteHeader(header); err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := b.archive.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// acknowledged takes the acknowledgement of a chunk.
func (d *Door) acknowledged(subject []byte) {
	for _, b := range d.transfers.backups {
		if rest, ok := bytes.CutPrefix(subject, []byte(b.acks)); ok && len(rest) > 0 && rest[0] == '.' {
			b.slots++
			return
		}
	}
}

// continueBackups makes and sends a slice of each backup under way.
func (d *Door) continueBackups() {
	if len(d.transfers.backups) == 0 {
		return
	}
	now := d.node.Now()
	under := d.transfers.backups[:0]
	for _, b := range d.transfers.backups {
		if done, err := d.continueBackup(b, now); !done {
			under = append(under, b)
		} else {
			d.endBackup(b, err)
		}
	}
	clear(d.transfers.backups[len(under):])
	d.transfers.backups = under
}

var (
	errNoInterest = errors.New("no interest")
	errNoFlow     = errors.New("no flow response")
)

// continueBackup reports whether the backup has ended, and why.
func (d *Door) continueBackup(b *backup, now int64) (done bool, err error) {
	if b.index == 1 && now-b.moved < backupRespite {
		return false, nil
	}
	listens := d.bus.Interest(string(b.deliver))
	switch {
	case listens:
		b.heard = true
	case b.heard:
		b.status = "NATS/1.0 408 No Interest\r\n\r\n"
		return true, errNoInterest
	case now-b.moved < interestPatience && b.index == 1:
		return false, nil
	}
	if b.slots <= 0 && now-b.moved > backupPatience {
		b.status = "NATS/1.0 408 No Flow Response\r\n\r\n"
		return true, errNoFlow
	}
	for slice := backupSlice; slice > 0 && b.slots > 0 && d.bus.Pending() <= d.options.MaxOutbound; {
		made, err := d.fillBackup(b, slice)
		if err != nil {
			b.status = fmt.Sprintf("NATS/1.0 500 %s\r\n\r\n", err)
			return true, err
		}
		slice -= max(made, b.chunk)
		if b.buffer.Len() < b.chunk {
			if !b.finished {
				return false, nil
			}
			if b.buffer.Len() > 0 {
				d.bus.Publish(b.deliver, nil, nil, b.buffer.Bytes())
			}
			return true, nil
		}
		ack := fmt.Appendf(nil, "%s.%d.%d", b.acks, b.chunk, b.index)
		d.bus.Publish(b.deliver, ack, nil, b.buffer.Next(b.chunk))
		b.slots--
		b.index++
		b.moved = now
		b.status = "NATS/1.0 204\r\n\r\n"
	}
	return false, nil
}

// fillBackup makes more of the backup until there is a chunk, or so many bytes
// of messages were read. It returns how many were.
func (d *Door) fillBackup(b *backup, most int) (made int, err error) {
	for b.buffer.Len() < b.chunk && !b.finished && made < most {
		if d.machine.StreamOf(b.stream.Incarnation()) == nil {
			return made, errors.New("the stream was deleted")
		}
		stored, found := b.stream.Next(b.next, "")
		if !found || stored.Seq > b.state.LastSeq {
			b.finished = true
			if err := b.add(&archive.Header{}); err != nil {
				return made, err
			}
			return made, b.packer.Close()
		}
		m, ok := d.read(stored.Location)
		if !ok {
			return made, fmt.Errorf("message %d cannot be read", stored.Seq)
		}
		b.next = stored.Seq + 1
		made += len(m.Subject) + len(m.Header) + len(m.Payload)
		if err := b.add(&archive.Header{
			Name: string(m.Subject), HeaderSize: int64(len(m.Header)), PayloadSize: int64(len(m.Payload)), Timestamp: stored.Stamp, Sequence: stored.Seq,
		}, m.Header, m.Payload); err != nil {
			return made, err
		}
	}
	return made, nil
}

// endBackup tells the client that there is no more.
func (d *Door) endBackup(b *backup, err error) {
	d.bus.Publish(b.deliver, nil, []byte(b.status), nil)
	cause := ""
	if err != nil {
		cause = err.Error()
		d.logger.Warn("backup not finished", "stream", b.stream.Name(), "cause", err)
	}
	d.emit(server.JSAdvisoryStreamSnapshotCompletePre+"."+b.stream.Name(), func() any {
		return server.JSSnapshotCompleteAdvisory{
			TypedEvent: d.typed(server.JSSnapshotCompleteAdvisoryType), Stream: b.stream.Name(),
			Start: b.begun, End: d.time(), Client: b.client, Domain: d.options.Domain, Error: cause,
		}
	})
}

// clientOf is what a header says of the client that sent a request; nil for
// nothing.
func clientOf(header []byte) *server.ClientInfo {
	value := headerValue(header, server.ClientInfoHdr)
	var client server.ClientInfo
	if len(value) == 0 || json.Unmarshal(value, &client) != nil {
		return nil
	}
	return &client
}
