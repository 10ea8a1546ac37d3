package machine

import (
	"encoding/binary"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// An atomic batch (ADR-50) is stored whole or not at all. Its publishes, with
// their prefaces, fill the slots after an opAtomic in one entry. First all of
// them are checked, each as if those before it were stored, then all of them
// are. What refuses one refuses the batch: every publish has that result.

// atomicBatch is a batch that is being stored.
type atomicBatch struct {
	slots int              // still to come
	err   *server.ApiError // why it is refused
	unmet bool             // a preface does not hold
}

// batchCheck is what is known of the messages of a batch that were checked. A
// nil one knows of none.
type batchCheck struct {
	msgs, bytes uint64
	slot        int // of the message being checked
	subjects    map[string]batchSubject
	ids         map[string]bool
}

type batchSubject struct {
	msgs, last uint64
	slot       int  // of the last one
	schedule   bool // the last one is a schedule
}

func (b *batchCheck) count() uint64 {
	if b == nil {
		return 0
	}
	return b.msgs
}

func (b *batchCheck) has(subject []byte) bool {
	if b == nil {
		return false
	}
	_, ok := b.subjects[string(subject)]
	return ok
}

// note takes a message in.
func (b *batchCheck) note(s *Stream, message *Message, h *publishHeaders, content uint32) {
	b.msgs++
	b.bytes += s.size(len(message.Subject), content)
	subject := b.subjects[string(message.Subject)]
	subject.msgs++
	subject.last, subject.slot = s.last+b.msgs, b.slot
	subject.schedule = len(h.schedule) > 0
	b.subjects[string(message.Subject)] = subject
}

func (b *batchCheck) noteID(id []byte) {
	if b.ids == nil {
		b.ids = make(map[string]bool)
	}
	b.ids[string(id)] = true
}

// BeginAtomic makes one of what the slots from here to EndAtomic publish to the
// stream, at least one: all of it is stored, or nothing.
func (b *Batch) BeginAtomic(stream Incarnation) int {
	slot := b.add(opAtomic, binary.LittleEndian.AppendUint32(stream.append(nil), 0))
	b.atomicAt = len(b.data)
	b.atomicSlots = b.slots
	return slot
}

// EndAtomic ends what BeginAtomic began.
func (b *Batch) EndAtomic() {
	binary.LittleEndian.PutUint32(b.data[b.atomicAt-4:], uint32(b.slots-b.atomicSlots))
}

// beginBatch checks the publishes that follow in rest.
func (m *Machine) beginBatch(body *protocol.Reader, rest []byte, result *Result) {
	m.prefaced = false
	inc, slots := readIncarnation(body), int(body.Uint32())
	if body.Failed() || m.batch != nil || m.run.left > 0 || slots == 0 || slots > MaxSlots-m.slot {
		body.Fail()
		return
	}
	s := m.byID[inc]
	m.batch = &atomicBatch{slots: slots}
	if s == nil {
		m.batch.err = server.NewJSStreamNotFoundError()
	}
	check := &batchCheck{subjects: make(map[string]batchSubject)}
	var p preface
	r := protocol.Reader{Rest: rest}
	for i := range int(slots) {
		check.slot = m.slot + 1 + i
		op := opcode(r.Byte())
		next := protocol.Reader{Rest: r.Bytes(r.Uvarint())}
		switch op {
		case opPreface:
			p = decodePreface(&next)
		case opPublish, opPublishHeader:
			if readIncarnation(&next) != inc {
				next.Fail()
			}
			message := readContent(&next, op)
			if s != nil && !next.Failed() {
				m.batch.check(s, &message, &p, contentOf(&message, op), check)
			}
			p = preface{}
		default:
			next.Fail()
		}
		if r.Failed() || next.Failed() {
			body.Fail()
			return
		}
	}
	result.Stream, result.Err, result.Unmet = s, m.batch.err, m.batch.unmet
}

func (b *atomicBatch) check(s *Stream, message *Message, p *preface, content uint32, check *batchCheck) {
	if b.err != nil || b.unmet {
		return
	}
	h := &noHeaders
	if len(message.Header) > 0 {
		h = &s.machine.headers
		h.read(message.Header)
	}
	switch {
	case !s.met(p, message, check):
		b.unmet = true
	case !s.config.AllowAtomicPublish:
		b.err = server.NewJSAtomicPublishDisabledError()
	case len(h.lastID) > 0:
		b.err = server.NewJSAtomicPublishUnsupportedHeaderBatchError(server.JSExpectedLastMsgId)
	default:
		_, b.err = s.admit(message, h, p, content, check)
	}
}

// publishOfBatch stores a message of a batch that was checked.
func (m *Machine) publishOfBatch(s *Stream, message *Message, h *publishHeaders, p *preface, r *record, result *Result) {
	if result.Err, result.Unmet = m.batch.err, m.batch.unmet; result.Err == nil && !result.Unmet {
		result.Seq = s.accept(message, h, p, r)
	}
}

// passSlot takes note that a slot of a batch is over.
func (m *Machine) passSlot(op opcode) {
	if op == opAtomic {
		return
	}
	if m.batch.slots--; m.batch.slots == 0 {
		m.batch = nil
	}
}
