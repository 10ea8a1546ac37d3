package machine

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// A fast-ingest batch (ADR-50) is a row of messages that its publisher numbers and
// that are stored one by one. The machine keeps how far each batch is, so that
// another leader can go on with it. It also ends a batch that must not have gaps
// with the first message that is refused: those behind it, which were proposed
// before anybody knew, are not stored.

// fastBatch is how far a batch is.
type fastBatch struct {
	seq    uint64 // number of the last message that was decided
	stored uint64 // sequence in the stream of the last one that was stored; 0 for none
	flow   uint16
	gapOk  bool
	waits  bool // for a message that was computed from another base than the last one (Result.Unmet): no later one is stored before it
	reply  string
}

// FastBatch is a fast-ingest batch that has not ended.
type FastBatch struct {
	ID     string
	Seq    uint64 // number of the last message that was decided
	Stored uint64 // sequence in the stream of the last one that was stored; 0 for none
	Flow   uint16 // after how many messages the publisher wants to be told, at most
	GapOk  bool   // it goes on after messages that are missing or were refused
	Reply  string // reply subject of its first message
}

// FastMember says which message of which batch a publish is.
type FastMember struct {
	ID    []byte
	Seq   uint64
	Begin bool // it begins the batch: Flow, GapOk and Reply are set
	Last  bool // it ends the batch
	// Nothing of the batch is on its way, so a message that was not stored because
	// of its base (Result.Unmet) is this one, or will not come any more.
	Resumes bool
	Flow    uint16
	GapOk   bool
	Reply   []byte
}

// Flags of a run.
const (
	runBegins  = 1
	runEnds    = 2
	runGapOk   = 4
	runResumes = 8

	runFlags = runBegins | runEnds | runGapOk | runResumes
)

// Flags of a batch in a checkpoint.
const (
	batchGapOk = 1
	batchWaits = 2
)

// runBuilder joins what is said about publishes that follow one another.
type runBuilder struct {
	stream  Incarnation
	id      []byte
	next    uint64 // number of the message that would go on
	slot    int    // at which it would be, if nothing else comes between
	countAt int    // where the number of messages is encoded
}

// Fast says which message of a fast-ingest batch the publish is that has to be
// added next. Messages that follow one another share one command.
func (b *Batch) Fast(stream Incarnation, m *FastMember) {
	r := &b.run
	if !m.Begin && !m.Last && !m.Resumes && r.slot == b.slots && r.next == m.Seq && r.stream == stream && string(r.id) == string(m.ID) {
		count := b.data[r.countAt:]
		binary.LittleEndian.PutUint32(count, binary.LittleEndian.Uint32(count)+1)
		r.next, r.slot = m.Seq+1, b.slots+1
		return
	}
	flags := byte(0)
	if m.Begin {
		flags |= runBegins
	}
	if m.Last {
		flags |= runEnds
	}
	if m.GapOk {
		flags |= runGapOk
	}
	if m.Resumes {
		flags |= runResumes
	}
	body := append(stream.append(b.body[:0]), flags)
	counted := len(body)
	body = binary.LittleEndian.AppendUint32(body, 1)
	body = binary.AppendUvarint(body, m.Seq)
	body = append(binary.AppendUvarint(body, uint64(len(m.ID))), m.ID...)
	if m.Begin {
		body = binary.LittleEndian.AppendUint16(body, m.Flow)
		body = append(body, m.Reply...)
	}
	b.body = body
	b.add(opFast, body)
	*r = runBuilder{stream: stream, id: append(r.id[:0], m.ID...), next: m.Seq + 1, slot: b.slots + 1, countAt: len(b.data) - len(body) + counted}
	if m.Last {
		r.slot = -1
	}
}

// EndFast ends a fast-ingest batch, if it is there.
func (b *Batch) EndFast(stream Incarnation, id string) int {
	return b.add(opEndFast, append(stream.append(nil), id...))
}

// fastRun is what an opFast has said about the publishes that follow it.
type fastRun struct {
	stream Incarnation
	id     string
	batch  *fastBatch // nil: it is over
	err    *server.ApiError
	seq    uint64 // number of the next message
	left   int    // messages still to come
	ends   bool   // the last of them ends the batch
}

// beginRun applies an opFast.
func (m *Machine) beginRun(body *protocol.Reader) {
	inc, flags, count := readIncarnation(body), body.Byte(), body.Uint32()
	seq, id := body.Uvarint(), body.Bytes(body.Uvarint())
	ends := flags&runEnds != 0
	if body.Failed() || m.batch != nil || m.pending.set || m.run.left > 0 || count == 0 || count > MaxSlots || flags > runFlags || ends && count != 1 || seq == 0 || seq > math.MaxInt64 {
		body.Fail()
		return
	}
	s := m.byID[inc]
	m.prefaced = false
	m.run = fastRun{stream: inc, seq: seq, left: int(count), ends: ends}
	if s != nil {
		m.run.batch = s.fast[string(id)]
	}
	if flags&runBegins != 0 {
		flow := body.Bytes(2)
		begun := &fastBatch{gapOk: flags&runGapOk != 0, reply: string(rest(body))}
		switch {
		case body.Failed() || s == nil:
		case !s.config.AllowBatchPublish:
			m.run.batch, m.run.err = nil, server.NewJSBatchPublishDisabledError()
		default:
			begun.flow = binary.LittleEndian.Uint16(flow)
			s.setFast(string(id), begun)
			m.run.batch = begun
		}
	}
	if m.run.batch != nil {
		m.run.id = string(id)
		if flags&runResumes != 0 {
			m.run.batch.waits = false
		}
	}
}

func (s *Stream) setFast(id string, b *fastBatch) {
	if s.fast == nil {
		s.fast = make(map[string]*fastBatch)
	}
	s.fast[id] = b
	s.touch()
}

// publishOfRun applies a publish that is a message of a fast-ingest batch.
func (s *Stream) publishOfRun(message *Message, h *publishHeaders, p *preface, r *record, result *Result) {
	run := &s.machine.run
	seq, batch := run.seq, run.batch
	run.seq++
	run.left--
	if batch == nil {
		result.Err, result.Over = run.err, run.err == nil
		return
	}
	if result.Unmet = batch.waits || !s.met(p, message, nil); result.Unmet {
		batch.waits = true
		s.touch()
		return
	}
	if len(h.atomicBatch) > 0 {
		h.atomicBatch = nil // of no meaning here
	}
	s.touch()
	duplicate, err := s.admit(message, h, p, r.content, nil)
	switch {
	case err != nil:
		result.Err = err
		if !batch.gapOk {
			s.endFast(run.id)
			run.batch = nil
		}
	case duplicate > 0:
		result.Seq, result.Duplicate = duplicate, true
	default:
		result.Seq = s.accept(message, h, p, r)
		batch.stored = result.Seq
	}
	batch.seq = seq
	if run.ends {
		s.endFast(run.id)
	}
}

// endFast forgets a batch.
func (s *Stream) endFast(id string) {
	delete(s.fast, id)
	s.touch()
}

// FastBatches returns the fast-ingest batches of the stream that have not ended,
// in the order of their IDs.
func (s *Stream) FastBatches() []FastBatch {
	var all []FastBatch
	for _, id := range slices.Sorted(maps.Keys(s.fast)) {
		b := s.fast[id]
		all = append(all, FastBatch{ID: id, Seq: b.seq, Stored: b.stored, Flow: b.flow, GapOk: b.gapOk, Reply: b.reply})
	}
	return all
}

func (s *Stream) appendFast(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.fast)))
	for _, b := range s.FastBatches() {
		dst = appendText(dst, b.ID)
		dst = binary.AppendUvarint(dst, b.Seq)
		dst = binary.AppendUvarint(dst, b.Stored)
		dst = binary.AppendUvarint(dst, uint64(b.Flow))
		flags := byte(0)
		if b.GapOk {
			flags |= batchGapOk
		}
		if s.fast[b.ID].waits {
			flags |= batchWaits
		}
		dst = appendText(append(dst, flags), b.Reply)
	}
	return dst
}

func (s *Stream) restoreFast(r *protocol.Reader) {
	s.fast = nil
	for n := r.Uvarint(); n > 0 && !r.Failed(); n-- {
		id := string(r.Bytes(r.Uvarint()))
		b := &fastBatch{seq: r.Uvarint(), stored: r.Uvarint()}
		flow, flags := r.Uvarint(), r.Byte()
		b.flow, b.gapOk, b.waits = uint16(flow), flags&batchGapOk != 0, flags&batchWaits != 0
		b.reply = string(r.Bytes(r.Uvarint()))
		if flow > math.MaxUint16 || flags > batchGapOk|batchWaits || s.fast[id] != nil {
			r.Fail()
			return
		}
		if s.fast == nil {
			s.fast = make(map[string]*fastBatch)
		}
		s.fast[id] = b
	}
}
