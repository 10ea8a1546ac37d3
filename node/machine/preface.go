package machine

import (
	"encoding/binary"
	"math"

	"holdfast/protocol"
)

// PrefaceKind says what a preface is for.
type PrefaceKind uint8

const (
	// PrefaceCounter: the payload is the value of a counter (ADR-49), computed
	// from the message that A names, in the way that B says, a CounterBase. It
	// holds while that is the last message of the publish's subject.
	PrefaceCounter PrefaceKind = 1
	// PrefaceBroken: the message that A and B name, the last of the publish's
	// subject, is not the value of a counter.
	PrefaceBroken PrefaceKind = 2
	// PrefaceMarker: the publish is a delete marker that takes the place of
	// message A (ADR-43). It holds while A is the only message of its subject.
	PrefaceMarker PrefaceKind = 3
	// PrefaceFire: the publish was produced by the schedule in message A, which
	// was due at stamp B (ADR-51). It holds while that is so.
	PrefaceFire PrefaceKind = 4
	// PrefaceSchedule: the publish is a schedule that is due at stamp A first. B
	// is a ScheduleFlaw.
	PrefaceSchedule PrefaceKind = 5
)

// CounterBase says how the message is named from which the value of a counter
// was computed. One that is on its way into the log has no sequence yet.
type CounterBase uint64

const (
	BaseSequence CounterBase = 0 // by its sequence, 0 for no message
	BaseSlot     CounterBase = 1 // by its slot in the same entry
	BaseStamp    CounterBase = 2 // by its time, which only one message of an entry has
)

// ScheduleFlaw says what is wrong with the pattern of a schedule. Whoever
// proposes it has looked, because the rules of time zones change.
type ScheduleFlaw uint64

const (
	ScheduleFine       ScheduleFlaw = 0
	ScheduleBadPattern ScheduleFlaw = 1
	ScheduleBadZone    ScheduleFlaw = 2
	// ScheduleNever: the pattern is one of which the NATS server makes nothing.
	ScheduleNever ScheduleFlaw = 3
)

// preface is what was said about the publish of the next slot. The zero value
// says nothing.
type preface struct {
	kind PrefaceKind
	a, b uint64
}

// noPreface says nothing. Nobody writes to it.
var noPreface preface

// internal reports that the message was made by the node that leads, and not
// sent by a client.
func (p *preface) internal() bool { return p.kind == PrefaceMarker || p.kind == PrefaceFire }

// Preface says something about the publish that has to be added next. If it does
// not hold when that is applied, the publish does nothing (Result.Unmet). The
// slot of the preface itself has no result.
func (b *Batch) Preface(kind PrefaceKind, x, y uint64) int {
	if b.slots >= MaxSlots {
		return -1
	}
	b.data = append(b.data, byte(opPreface), byte(1+uvarintLen(x)+uvarintLen(y)), byte(kind))
	b.data = binary.AppendUvarint(b.data, x)
	b.data = binary.AppendUvarint(b.data, y)
	b.slots++
	return b.slots - 1
}

func decodePreface(body *protocol.Reader) preface {
	p := preface{kind: PrefaceKind(body.Byte()), a: body.Uvarint(), b: body.Uvarint()}
	bad := p.a > math.MaxInt64
	switch p.kind {
	case PrefaceCounter, PrefaceBroken:
		bad = bad || p.b > uint64(BaseStamp)
	case PrefaceSchedule:
		bad = p.a > MaxStamp || p.b > uint64(ScheduleNever)
	case PrefaceMarker, PrefaceFire:
	default:
		bad = true
	}
	if bad {
		body.Fail()
	}
	return p
}

func (m *Machine) readPreface(body *protocol.Reader) {
	m.preface, m.prefaced = decodePreface(body), true
}

func (m *Machine) takePreface() preface {
	m.prefaced = false
	return m.preface
}

// met reports whether the preface of a publish holds. In a batch the messages before it count as stored.
func (s *Stream) met(p *preface, message *Message, batch *batchCheck) bool {
	switch p.kind {
	case PrefaceCounter, PrefaceBroken:
		return s.basedOn(p, message.Subject, batch)
	case PrefaceMarker:
		id, ok := s.subjects.lookup(message.Subject)
		return ok && s.subjects.list[id].count == 1 && s.lastSeq(id) == p.a
	case PrefaceFire:
		schedule, ok := s.scheduleAt(p.a)
		return ok && schedule.due == int64(p.b)
	}
	return true
}

// basedOn reports whether the last message of a subject is the one that the
// preface of a counter names.
func (s *Stream) basedOn(p *preface, subject []byte, batch *batchCheck) bool {
	if batch.has(subject) {
		last := batch.subjects[string(subject)]
		return p.b == uint64(BaseSequence) && last.last == p.a || p.b == uint64(BaseSlot) && uint64(last.slot) == p.a
	}
	seq := s.lastOfLiteral(subject)
	if p.b == uint64(BaseSequence) {
		return seq == p.a
	}
	r, ok := s.index.get(seq)
	if p.b == uint64(BaseSlot) {
		return ok && r.entry == s.machine.index && uint64(r.slot) == p.a
	}
	return ok && uint64(r.stamp)+uint64(r.slot) == p.a
}
