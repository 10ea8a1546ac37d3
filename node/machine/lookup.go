package machine

import "slices"

// SequenceAt returns the sequence of the first message stamped at or after a
// time, or the one that the next message will have.
func (s *Stream) SequenceAt(stamp int64) uint64 {
	if seq, ok := s.index.sequenceAt(stamp); ok {
		return seq
	}
	return s.last + 1
}

// Pending counts the messages at or after a sequence whose subject matches the
// filter; an empty filter matches all.
func (s *Stream) Pending(from uint64, filter string) uint64 {
	if s.subjects.all(filter) {
		return s.countFrom(from, nil)
	}
	return s.countFrom(from, s.matching([]string{filter}))
}

// countFrom counts the messages at or after a sequence whose subject is in ids;
// without ids, all of them.
func (s *Stream) countFrom(from uint64, ids idSet) uint64 {
	if from <= s.first {
		if ids == nil {
			return s.msgs
		}
		return s.countIn(ids)
	}
	if ids == nil {
		return s.index.countFrom(from)
	}
	n := uint64(0)
	for seq := from; ; seq++ {
		var ok bool
		if seq, ok = s.index.nextIn(seq, ids); !ok {
			return n
		}
		n++
	}
}

// LastOfEach returns, ascending, the sequence of the last message at or below
// upTo of every subject that one of the filters matches (the NATS server's
// MultiLastSeqs). It reports false when there are more than most.
func (s *Stream) LastOfEach(filters []string, upTo uint64, most int) ([]uint64, bool) {
	var found []uint64
	for id := range s.matching(filters).each() {
		seq, ok := s.lastSeq(id), true
		if seq > upTo {
			seq, ok = s.index.previousOf(upTo, id)
		}
		if !ok || s.rolledUp(seq, id) {
			continue
		}
		if len(found) == most {
			return nil, false
		}
		found = append(found, seq)
	}
	slices.Sort(found)
	return found, true
}

// Seek finds the first message at or after a sequence whose subject one of the
// filters matches; without filters any. It looks at no more than so many
// messages: next is where to go on, whether one was found or not.
func (s *Stream) Seek(from uint64, filters []string, most int) (stored Stored, found bool, next uint64) {
	from = max(from, s.first)
	for range most {
		seq, ok := s.index.next(from)
		if !ok {
			return Stored{}, false, max(from, s.last+1)
		}
		from = seq + 1
		r, _ := s.index.get(seq)
		if coversAny(filters, s.subjects.list[r.subject].name) && !s.rolledUp(seq, r.subject) {
			return s.describe(seq, &r), true, from
		}
	}
	return Stored{}, false, from
}
