package machine

import "math"

// A stream that limits the messages per subject to more than one keeps, for
// every message, the distance to the next one of its subject: when the oldest
// goes, the next oldest is found without a search. The chains are not part of
// the durable state, and may have gaps (a distance of zero), where a search
// finds the way.

func (s *Stream) chained() bool { return s.config.MaxMsgsPer > 1 }

// link notes that seq is about to become the last message of a subject.
func (s *Stream) link(sub *subjectState, seq uint64) {
	if sub.count == 0 || !sub.lastExact || seq-sub.last > math.MaxUint32 {
		return
	}
	b := s.index.find(sub.last)
	if b == nil {
		return
	}
	if b.next == nil {
		b.next = make([]uint32, max(s.index.size, b.count))
	}
	b.next[sub.last-b.first] = uint32(seq - sub.last)
}

// follow finds the first message of a subject, of which position i of block b
// just was removed.
func (s *Stream) follow(sub *subjectState, b *block, i int) {
	for seq := b.first + uint64(i); b.next != nil && b.next[i] != 0; {
		seq += uint64(b.next[i])
		if b = s.index.find(seq); b == nil {
			return
		}
		if i = int(seq - b.first); b.isAlive(i) {
			sub.first, sub.firstExact = seq, true
			return
		}
	}
}

// relink builds the chains anew, or drops them when they are of no use.
func (s *Stream) relink() {
	for _, b := range s.index.blocks {
		b.next = nil
	}
	if !s.chained() {
		return
	}
	last := make([]subjectState, len(s.subjects.list))
	s.index.each(func(seq uint64, r *record) bool {
		s.link(&last[r.subject], seq)
		last[r.subject].stored(seq)
		return true
	})
}
