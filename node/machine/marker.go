package machine

import (
	"encoding/binary"
	"slices"

	"holdfast/protocol"
)

// A stream with a SubjectDeleteMarkerTTL (ADR-43) tells when the last message of
// a subject ages out: a marker takes its place. The marker is a message, and its
// bytes have to be in the log, so whoever leads proposes what Ended lists: a
// publish with PrefaceMarker for the last message of a subject, an End for
// everything else.

// Ended is a message whose time is over.
type Ended struct {
	Seq      uint64
	Location Location
	Left     int // messages of its subject, with this one
}

// NextEnd is a stamp at or before which the time of no message is over; 0 when
// there is nothing to wait for, or when Apply ages out by itself.
func (s *Stream) NextEnd() int64 {
	if !s.leavesMarkers() {
		return 0
	}
	next := int64(0)
	if age := span(s.config.MaxAge); age > 0 {
		if seq, ok := s.oldestMortal(); ok {
			next = s.stampOf(seq) + age
		}
	}
	if _, due := s.nextTTL(); due != 0 && (next == 0 || due < next) {
		next = due
	}
	return next
}

// Ended calls f for the messages whose time is over at stamp now, in their order,
// until it returns false. It does nothing for a stream that leaves no markers.
func (s *Stream) Ended(now int64, f func(Ended) bool) {
	if !s.leavesMarkers() {
		return
	}
	var old []uint64
	if age := span(s.config.MaxAge); age > 0 {
		for seq, ok := s.oldestMortal(); ok && s.stampOf(seq) <= now-age; seq, ok = s.index.next(seq + 1) {
			if s.timeLeft(seq, now) <= 0 && !f(s.ended(seq)) {
				return
			}
			old = append(old, seq)
		}
	}
	for _, seq := range s.endedTTLs(now) {
		if _, told := slices.BinarySearch(old, seq); !told && !f(s.ended(seq)) {
			return
		}
	}
}

func (s *Stream) ended(seq uint64) Ended {
	r, _ := s.index.get(seq)
	sub := &s.subjects.list[r.subject]
	ended := Ended{Seq: seq, Location: s.locate(&r), Left: int(sub.count)}
	if end := s.rolled[sub.name]; end > 0 && seq >= end {
		ended.Left = 1 // perhaps, so it does not go without a marker
	}
	return ended
}

// endedTTLs returns the messages whose own time to live is over, ascending.
func (s *Stream) endedTTLs(now int64) []uint64 {
	var found []uint64
	for _, p := range s.ttls {
		b := p.block
		if p.due > now || b.live == 0 || b.ttlDue != p.due {
			continue
		}
		for i := b.nextAlive(0); i >= 0; i = b.nextAlive(i + 1) {
			if ttl, r := b.ttlAt(i), b.at(i); ttl > ttlNever && ttlEnd(r.stamp+int64(r.slot), ttl) <= now {
				found = append(found, b.first+uint64(i))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// timeLeft is how long a live message still has; the largest number when nothing
// ends it.
func (s *Stream) timeLeft(seq uint64, now int64) int64 {
	b := s.index.locate(seq)
	i := int(seq - b.first)
	r, ttl, left := b.at(i), b.ttlAt(i), int64(MaxStamp)
	stamp := r.stamp + int64(r.slot)
	if age := span(s.config.MaxAge); age > 0 && ttl != ttlNever {
		left = later(stamp, age) - now
	}
	if ttl > ttlNever && s.config.AllowMsgTTL {
		left = min(left, ttlEnd(stamp, ttl)-now)
	}
	return left
}

// End removes messages whose time is over from a stream that leaves markers.
// Those whose time is not over, by the stamp of the entry, are left alone.
func (b *Batch) End(stream Incarnation, seqs []uint64) int {
	body := stream.append(nil)
	for _, seq := range seqs {
		body = binary.AppendUvarint(body, seq)
	}
	return b.add(opEnd, body)
}

// end applies an end command.
func (m *Machine) end(body *protocol.Reader, result *Result) {
	s := m.namedStream(body, result)
	for len(body.Rest) > 0 {
		seq := body.Uvarint()
		if body.Failed() {
			return
		}
		if s != nil && s.leavesMarkers() && s.index.has(seq) && s.timeLeft(seq, m.now) <= 0 {
			s.remove(seq)
			result.Seq++
		}
	}
}
