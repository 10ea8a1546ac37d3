package jetstream

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// maxMultiLast is how many subjects a request for the last message of each
	// may match.
	maxMultiLast = 1024
	// defaultBatchBytes bounds an answer whose request does not: nats-server
	// takes the most that it keeps pending for a client.
	defaultBatchBytes = server.MAX_PENDING_SIZE
	// batchSlice is how many bytes of one answer are sent before others get
	// their turn.
	batchSlice = 1 << 20
	// maxBatches is how many answers are under way at a time; further requests
	// wait.
	maxBatches = 1000
)

// directBatch is an answer of several messages. It is sent in slices, so that a
// large one holds up nobody else.
type directBatch struct {
	reply   []byte
	stream  machine.Incarnation
	request *server.JSApiMsgGetRequest

	next     uint64   // sequence to go on from
	multi    bool     // the messages are those in rest
	rest     []uint64 // ascending
	pending  uint64   // messages after the last one sent
	through  uint64   // last sequence of the stream when pending was counted
	upTo     uint64
	lastSent uint64
	sent     int
	left     int // bytes
}

// startBatch begins an answer of several messages.
func (d *Door) startBatch(r *request, s *machine.Stream, body *server.JSApiMsgGetRequest) {
	b := &directBatch{reply: r.reply, stream: s.Incarnation(), request: body, left: body.MaxBytes}
	if b.left == 0 {
		b.left = defaultBatchBytes
	}
	if len(body.MultiLastFor) > 0 {
		if refusal := b.collect(s); refusal != "" {
			d.sendStatus(r.reply, refusal)
			return
		}
	} else {
		b.next = body.Seq
		if body.StartTime != nil {
			b.next = s.SequenceAt(body.StartTime.UnixNano())
		}
		b.pending, b.through = s.Pending(b.next, body.NextFor), s.State().LastSeq
	}
	d.direct.batches = append(d.direct.batches, b)
}

// collect finds the last message of each subject.
func (b *directBatch) collect(s *machine.Stream) (refusal string) {
	b.multi = true
	state := s.State()
	b.upTo = b.request.UpToSeq
	if at := b.request.UpToTime; at != nil {
		b.upTo = s.SequenceAt(at.UnixNano())
		if b.upTo <= state.FirstSeq {
			return statusNoResults
		}
		b.upTo--
	}
	if b.upTo == 0 {
		b.upTo = state.LastSeq
	}
	found, ok := s.LastOfEach(b.request.MultiLastFor, b.upTo, maxMultiLast)
	if !ok {
		return statusTooManyResults
	}
	if len(found) == 0 {
		return statusNoResults
	}
	b.pending = uint64(len(found))
	for len(found) > 0 && found[0] < b.request.Seq {
		found = found[1:]
		b.pending--
	}
	b.rest = found
	return ""
}

// continueBatches sends a slice of each answer under way.
func (d *Door) continueBatches() {
	if len(d.direct.batches) == 0 {
		return
	}
	under := d.direct.batches[:0]
	for _, b := range d.direct.batches {
		if d.bus.Pending() > d.options.MaxOutbound || !d.continueBatch(b) {
			under = append(under, b)
		}
	}
	clear(d.direct.batches[len(under):])
	d.direct.batches = under
}

// continueBatch sends the next slice of an answer and reports whether that was
// the last one.
func (d *Door) continueBatch(b *directBatch) bool {
	s := d.machine.StreamOf(b.stream)
	if s == nil {
		d.sendStatus(b.reply, statusNotFound)
		return true
	}
	if !b.multi && b.request.Batch < 0 {
		d.endBatch(b, s)
		return true
	}
	for slice := batchSlice; slice > 0; {
		stored, found := b.advance(s)
		if !found {
			switch {
			case b.multi && len(b.rest) == 0:
			case b.multi || b.sent == 0:
				d.sendStatus(b.reply, statusNotFound)
				return true
			}
			d.endBatch(b, s)
			return true
		}
		m, ok := d.read(stored.Location)
		if !ok {
			d.sendStatus(b.reply, statusUnreadable)
			return true
		}
		size := d.sendOfBatch(b, s, &m, stored)
		slice -= size
		b.left -= size
		if b.left <= 0 || b.request.Batch > 0 && b.sent >= b.request.Batch {
			d.endBatch(b, s)
			return true
		}
	}
	return false
}

// advance returns the next message.
func (b *directBatch) advance(s *machine.Stream) (machine.Stored, bool) {
	if !b.multi {
		stored, found := s.Next(b.next, b.request.NextFor)
		b.next = stored.Seq + 1
		return stored, found
	}
	if len(b.rest) == 0 {
		return machine.Stored{}, false
	}
	stored, found := s.Message(b.rest[0])
	if found {
		b.rest = b.rest[1:]
	}
	return stored, found
}

// sendOfBatch sends one message and returns how much of the byte limit it takes.
func (d *Door) sendOfBatch(b *directBatch, s *machine.Stream, m *machine.Message, stored machine.Stored) int {
	if b.pending > 0 {
		b.pending--
	}
	var header []byte
	if b.multi || !b.request.NoHeaders {
		header = appendDirectHeader(d.scratch[:0], s.Name(), m, stored)
		header = appendNumberLine(header, server.JSNumPending, b.pending)
		header = appendNumberLine(header, server.JSLastSequence, b.lastSent)
		header = append(header, crlf...)
		d.scratch = header
	}
	d.bus.Publish(b.reply, nil, header, m.Payload)
	b.lastSent = stored.Seq
	b.sent++
	return len(m.Subject) + len(m.Header) + len(m.Payload)
}

// endBatch says that there is no more, and what the stream has beyond.
func (d *Door) endBatch(b *directBatch, s *machine.Stream) {
	if !b.multi && s.State().LastSeq > b.through {
		b.pending = s.Pending(b.next, b.request.NextFor)
	}
	status := append(d.scratch[:0], "NATS/1.0 204 EOB\r\n"...)
	status = appendNumberLine(status, server.JSNumPending, b.pending)
	status = appendNumberLine(status, server.JSLastSequence, b.lastSent)
	if b.multi {
		status = appendNumberLine(status, server.JSUpToSequence, b.upTo)
	}
	d.scratch = append(status, crlf...)
	d.bus.Publish(b.reply, nil, d.scratch, nil)
}

// appendDirectHeader appends the lines that describe a stored message to its own
// header, without the empty line that ends them.
func appendDirectHeader(dst []byte, stream string, m *machine.Message, stored machine.Stored) []byte {
	dst = appendHeaderStart(dst, m.Header)
	dst = appendLine(dst, server.JSStream, stream)
	dst = append(dst, server.JSSubject+": "...)
	dst = append(dst, m.Subject...)
	dst = append(dst, crlf...)
	dst = appendNumberLine(dst, server.JSSequence, stored.Seq)
	dst = append(dst, server.JSTimeStamp+": "...)
	dst = time.Unix(0, stored.Stamp).UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, crlf...)
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}
