package machine

import "time"

// expirySteps bounds how many messages one entry ages out, so that applying
// an entry takes a bounded time. It is part of what an entry means: changing
// it needs a new batch version.
const expirySteps = 4096

// span is a duration that can be added to a stamp without overflow.
func span(d time.Duration) int64 { return int64(min(max(d, 0), maxSpan)) }

const maxSpan = 1 << 61

type expiryKind uint8

const (
	expireMessages expiryKind = iota // by age
	expireTTLs                       // by their own time to live
	expireIDs                        // of the duplicate window
	expiryKinds
)

// expiryQueue orders the streams by when time next changes something in them.
// Every stream has at most one current place per kind, Stream.expiryDue; a
// place with another due is stale. A due may be too early, never too late.
type expiryQueue = dueQueue[expiryPlace]

type expiryPlace struct {
	due    int64
	kind   expiryKind
	stream *Stream
}

func (a expiryPlace) before(b expiryPlace) bool {
	if a.due != b.due {
		return a.due < b.due
	}
	if a.stream.incarnation != b.stream.incarnation {
		return a.stream.incarnation < b.stream.incarnation
	}
	return a.kind < b.kind
}

func (a *expiryPlace) current() bool {
	return !a.stream.deleted && a.stream.expiryDue[a.kind] == a.due
}

// NextExpiry is the stamp from which on an entry, if only a tick, ages out
// messages or message IDs, or goes on with what others left to do (settle.go); 0
// when there is nothing. One entry ages out a bounded
// number: while it stays in the past, more ticks are due.
func (m *Machine) NextExpiry() int64 {
	for len(m.behind) > 0 && (m.behind[0].deleted || !m.behind[0].behind()) {
		m.behind = m.behind[1:]
	}
	if len(m.behind) > 0 {
		return 1 // since long
	}
	return m.nextDue()
}

// nextDue is NextExpiry for what time alone ends.
func (m *Machine) nextDue() int64 {
	for len(m.expiry) > 0 && !m.expiry[0].current() {
		m.expiry.pop()
	}
	if len(m.expiry) == 0 {
		return 0
	}
	return m.expiry[0].due
}

// expire ages out what is due at the entry's stamp. When that is more than one
// entry does, which comes first depends on exact dues alone: a machine that was
// restored has no early ones.
func (m *Machine) expire() {
	budget := expirySteps
	for due := m.nextDue(); due != 0 && due <= m.now && budget > 0; due = m.nextDue() {
		p := m.expiry[0]
		m.expiry.pop()
		s := p.stream
		s.expiryDue[p.kind] = 0
		if s.nextDue(p.kind) == p.due {
			switch p.kind {
			case expireMessages:
				budget = s.expireMessages(m.now, budget)
			case expireTTLs:
				budget = s.expireTTLs(m.now, budget)
			default:
				budget = s.forgetIDs(m.now, budget)
			}
		}
		s.schedule(p.kind)
	}
}

// nextDue is the stamp at which time next changes the stream, 0 for never.
func (s *Stream) nextDue(kind expiryKind) int64 {
	switch kind {
	case expireMessages:
		if age := span(s.config.MaxAge); age > 0 && !s.leavesMarkers() {
			if seq, ok := s.oldestMortal(); ok {
				return later(s.stampOf(seq), age)
			}
		}
	case expireTTLs:
		if !s.leavesMarkers() {
			_, due := s.nextTTL()
			return due
		}
	case expireIDs:
		return s.dedup.due(span(s.config.Duplicates))
	}
	return 0
}

// leavesMarkers reports whether a delete marker takes the place of the last
// message of a subject when it ages out.
func (s *Stream) leavesMarkers() bool { return s.config.SubjectDeleteMarkerTTL > 0 }

// schedule makes sure that the queue knows when time next changes the stream,
// unless it knows already of an earlier moment.
func (s *Stream) schedule(kind expiryKind) {
	if s.expiryDue[kind] != 0 {
		return
	}
	if due := s.nextDue(kind); due != 0 {
		s.expiryDue[kind] = due
		s.machine.expiry.push(expiryPlace{due: due, kind: kind, stream: s})
	}
}

// reschedule is for changes that may have made the due earlier.
func (s *Stream) reschedule(kind expiryKind) {
	s.expiryDue[kind] = 0
	s.schedule(kind)
}

// expireMessages removes messages that are MaxAge old, at most budget of them,
// and returns what is left of the budget.
func (s *Stream) expireMessages(now int64, budget int) int {
	age := span(s.config.MaxAge)
	if age <= 0 {
		return budget
	}
	for ; budget > 0; budget-- {
		seq, ok := s.oldestMortal()
		if !ok || s.stampOf(seq) > now-age {
			break
		}
		s.remove(seq)
	}
	return budget
}

// forgetIDs drops pages of the duplicate window that are too old.
func (s *Stream) forgetIDs(now int64, budget int) int {
	for budget > 0 {
		p := s.dedup.forget(now - span(s.config.Duplicates))
		if p == nil {
			break
		}
		if p.saved {
			s.machine.changes.drop(pageKey(keyDedup, s.incarnation, p.number))
		}
		s.touch()
		budget -= len(p.ids)
	}
	return max(budget, 0)
}
