package machine

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// A message with Nats-Rollup takes the place of everything before it: of its subject,
// or of the stream. What a subject has can be millions of messages. An entry removes
// some of them at once, and the review of settle.go the others. What is left of them
// meanwhile still counts (messages, bytes, what is pending for a consumer), but nobody
// is given it any more: neither a read nor a delivery.

const (
	// leastRoll is work that a rollup may always do: the history of a key is no
	// longer than 64 messages. Like settleWork, it is part of what an entry means.
	leastRoll = 64 * removeWork
	// rollReach is how many sequences away a unit of work may search for the next
	// message of the subject. Part of what an entry means as well.
	rollReach = 32
)

// rollUp removes all messages of a subject but the last keep ones. With keep 1 the
// last one is the stream's last message.
func (s *Stream) rollUp(subject string, keep uint64) {
	if id, ok := s.subjects.ids[subject]; ok && uint64(s.subjects.list[id].count) > keep {
		if next, left := s.rollSome(id, keep); left {
			s.rollLater(subject, id, next, s.last+1-keep)
			return
		}
	}
	s.movePurgedConsumers(subject)
}

// rollSome removes messages of a subject, the oldest first, as long as there is work
// left. If others remain, none of them is below next.
func (s *Stream) rollSome(id uint32, keep uint64) (next uint64, left bool) {
	m := s.machine
	work := m.workForRoll()
	m.rollWork -= work
	s.purging = true
	seq := s.firstSeq(id)
	for n := uint64(s.subjects.list[id].count) - keep; ; {
		s.remove(seq)
		work -= s.removeCost()
		next = seq + 1
		if n--; n == 0 {
			break
		}
		if left = work <= 0; left {
			break
		}
		var ok bool
		if seq, ok = s.nearby(id, next, work*rollReach); !ok {
			left = true
			break
		}
		if !s.chained() {
			work -= int(seq-next) / rollReach
		}
	}
	s.purging = false
	m.rollWork += work
	return next, left
}

func (m *Machine) workForRoll() int { return max(m.rollWork, min(leastRoll, m.settleMax)) }

// nearby finds the first message of a subject, which is at or after a sequence, if it
// is less than so many away. Where the messages of a subject are chained it is never
// too far.
func (s *Stream) nearby(id uint32, from uint64, reach int) (uint64, bool) {
	sub := &s.subjects.list[id]
	if sub.firstExact || s.chained() {
		seq := s.firstSeq(id)
		return seq, s.chained() || seq-from < uint64(reach)
	}
	seq, ok := s.index.nextOfBelow(max(from, sub.first), id, from+uint64(reach))
	if ok {
		sub.first, sub.firstExact = seq, true
	}
	return seq, ok
}

// rollLater leaves what a subject has from a sequence on, and below end, to the review.
func (s *Stream) rollLater(subject string, id uint32, from, end uint64) {
	if s.rolled == nil {
		s.rolled = make(map[string]uint64)
	}
	s.rolled[subject] = end
	if one, ok := s.schedules[id]; ok && one.seq < end {
		s.unschedule(id)
	}
	s.startReview(from, false)
}

// rolledUp reports whether a message, if it is there, was replaced and is on its way out.
func (s *Stream) rolledUp(seq uint64, subject uint32) bool {
	return len(s.rolled) > 0 && seq < s.rolled[s.subjects.list[subject].name]
}

// endRolls is for when nothing is left of what was replaced.
func (s *Stream) endRolls() {
	if len(s.rolled) == 0 {
		return
	}
	subjects := slices.Sorted(maps.Keys(s.rolled))
	s.rolled = nil
	for _, subject := range subjects {
		s.movePurgedConsumers(subject)
	}
}

// mayKeepWrong reports whether messages that go anyway would be among those that a
// purge keeps.
func (s *Stream) mayKeepWrong(request *server.JSApiStreamPurgeRequest) bool {
	return request.Keep > 0 && len(s.rolled) > 0
}

// rolledSubjects are the IDs of the subjects that have, or had, replaced messages.
func (s *Stream) rolledSubjects() idSet {
	var ids idSet
	for subject := range s.rolled {
		if id, ok := s.subjects.ids[subject]; ok {
			ids.set(id, true)
		}
	}
	return ids
}

// nextShown is Stream.next without what was replaced.
func (s *Stream) nextShown(from uint64, filter string) (uint64, bool) {
	seq, ok := s.next(from, filter)
	if len(s.rolled) == 0 || !ok {
		return seq, ok
	}
	rolled := s.rolledSubjects()
	all := s.subjects.all(filter)
	var ids idSet
	if !all {
		ids = s.matching([]string{filter})
	}
	return s.index.forward(seq, func(b *block, i int) int {
		for i = b.nextAlive(i); i >= 0; i = b.nextAlive(i + 1) {
			id := b.subjectAt(i)
			if (all || ids.has(id)) && !(rolled.has(id) && s.rolledUp(b.first+uint64(i), id)) {
				return i
			}
		}
		return -1
	})
}

// makeRoom is for a message that takes the place of all others: where that takes too
// long one by one, the stream is emptied before the message is stored.
func (s *Stream) makeRoom() {
	if work := s.msgs * uint64(s.removeCost()); work > uint64(s.machine.workForRoll()) {
		s.clear(0)
	} else {
		s.machine.rollWork -= int(work)
	}
}

func (s *Stream) appendRolled(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.rolled)))
	for _, subject := range slices.Sorted(maps.Keys(s.rolled)) {
		dst = binary.AppendUvarint(appendText(dst, subject), s.rolled[subject])
	}
	return dst
}

func (s *Stream) restoreRolled(r *protocol.Reader) {
	s.rolled = nil
	for n := r.Uvarint(); n > 0 && !r.Failed(); n-- {
		subject, end := string(r.Bytes(r.Uvarint())), r.Uvarint()
		if s.rolled[subject] > 0 || end == 0 || end > s.review.end || s.review.next >= s.review.end {
			r.Fail()
			return
		}
		if s.rolled == nil {
			s.rolled = make(map[string]uint64)
		}
		s.rolled[subject] = end
	}
}
