package machine

import (
	"cmp"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// A lower limit, another retention policy or a consumer that is deleted can make
// messages superfluous by the million. They go in steps, so that applying an
// entry takes a bounded time: some at once, the others at the beginning of the
// entries that follow, for which NextExpiry asks as long as anything is left.

// settleWork bounds the work of one entry: looking at one message counts as
// lookWork, chaining it as linkWork, removing it as removeWork, and each consumer
// that is asked or told as one. It is part of what an entry means: changing it
// needs a new batch version.
const (
	settleWork = 160_000
	lookWork   = 1
	linkWork   = 4
	removeWork = 8
)

// review is a pass over the messages of a stream that may have to go because of a
// limit per subject, because no consumer needs them, or because others took their place.
type review struct {
	// next is the lowest sequence not looked at yet, end the one behind the last.
	// Both 0: nothing is under way. What is stored behind end keeps the limits by
	// itself. A subject with a live message below next has no more messages than
	// the limit allows.
	next, end uint64
	unneeded  bool // what no consumer needs goes
	// previous is the last sequence that was looked at of each subject: the pass
	// builds the chains of chain.go. Not part of the replicated state.
	previous []uint64
}

// behind reports whether the stream has messages that should not be there, as
// far as anybody knows.
func (s *Stream) behind() bool { return s.review.next < s.review.end || s.overTotals() }

// overTotals reports whether the oldest message has to make room. While messages go
// that were rolled up, it is not known whether any other has to.
func (s *Stream) overTotals() bool {
	return s.config.Discard == server.DiscardOld && len(s.rolled) == 0 &&
		(s.config.MaxMsgs > 0 && s.msgs > uint64(s.config.MaxMsgs) || s.config.MaxBytes > 0 && s.bytes > uint64(s.config.MaxBytes))
}

// startReview lets all messages from a sequence on be looked at, some of them now.
func (s *Stream) startReview(from uint64, unneeded bool) {
	if s.review.next < s.review.end {
		from, unneeded = min(from, s.review.next), unneeded || s.review.unneeded
	}
	s.review = review{next: max(from, 1), end: s.last + 1, unneeded: unneeded}
	s.settle()
}

// settle does a part of what is left to do, as much as the entry has room for.
func (s *Stream) settle() {
	m := s.machine
	if !s.review.unneeded { // what nobody needs goes before what somebody does
		s.trim()
	}
	for s.review.next < s.review.end && m.work > 0 {
		seq, ok := s.index.next(s.review.next)
		if !ok || seq >= s.review.end {
			s.review.next = s.review.end
			break
		}
		s.review.next = seq + 1
		s.look(seq)
	}
	if s.review.next >= s.review.end {
		s.review = review{}
		s.endRolls()
	}
	s.trim()
	s.touch()
	s.listBehind()
}

// trim removes the oldest messages of a stream that has too many.
func (s *Stream) trim() {
	for m := s.machine; s.overTotals() && m.work > 0; {
		m.work -= s.removeCost()
		s.remove(s.first)
	}
}

func (s *Stream) removeCost() int { return removeWork + len(s.consumers) }

// look removes one message if it has to go.
func (s *Stream) look(seq uint64) {
	b := s.index.locate(seq)
	id := b.subjectAt(int(seq - b.first))
	limit := s.config.MaxMsgsPer
	s.machine.work -= lookWork
	switch {
	case s.rolledUp(seq, id):
		s.machine.work -= s.removeCost()
		s.purging = true
		s.remove(seq)
		s.purging = false
	case limit > 0 && int64(s.subjects.list[id].count) > limit:
		s.machine.work -= s.removeCost()
		s.remove(seq)
	case s.review.unneeded && s.config.Retention == server.InterestPolicy && !s.needed(seq, id):
		s.machine.work -= s.removeCost()
		s.purging = true
		s.remove(seq)
		s.purging = false
	case s.chained():
		s.machine.work -= linkWork
		s.relink(seq, id)
	}
}

// needed reports whether a consumer still needs a message.
func (s *Stream) needed(seq uint64, subject uint32) bool {
	for i, c := range s.consumers {
		if c.needs(seq, subject) {
			s.machine.work -= i
			return true
		}
	}
	s.machine.work -= len(s.consumers)
	return false
}

// listBehind notes in the machine whether there is something left to do.
func (s *Stream) listBehind() {
	m := s.machine
	at, listed := slices.BinarySearchFunc(m.behind, s.incarnation, func(o *Stream, inc Incarnation) int {
		return cmp.Compare(o.incarnation, inc)
	})
	switch behind := s.behind() && !s.deleted; {
	case behind && !listed:
		m.behind = slices.Insert(m.behind, at, s)
	case !behind && listed:
		m.behind = slices.Delete(m.behind, at, at+1)
	}
}

// settle goes on with what entries before this one left to do, the oldest stream first.
func (m *Machine) settle() {
	for len(m.behind) > 0 && m.work > 0 {
		s := m.behind[0]
		s.settle()
		if len(m.behind) > 0 && m.behind[0] == s && m.work > 0 { // nothing can be done
			return
		}
	}
}
