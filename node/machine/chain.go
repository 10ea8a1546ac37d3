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
	if sub.count > 0 && sub.lastExact {
		s.linkFrom(sub.last, seq)
	}
}

// linkFrom notes that seq follows previous, of the same subject.
func (s *Stream) linkFrom(previous, seq uint64) {
	if seq-previous > math.MaxUint32 {
		return
	}
	b := s.index.find(previous)
	if b == nil {
		return
	}
	if b.next == nil {
		b.next = make([]uint32, max(s.index.size, b.count))
	}
	b.next[previous-b.first] = uint32(seq - previous)
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

// unlink drops the chains.
func (s *Stream) unlink() {
	for _, b := range s.index.blocks {
		b.next = nil
	}
}

// relink links a message that the review looked at to the one of its subject that
// it looked at before, unless that is gone.
func (s *Stream) relink(seq uint64, id uint32) {
	if need := len(s.subjects.list); len(s.review.previous) < need {
		s.review.previous = append(s.review.previous, make([]uint64, need-len(s.review.previous))...)
	}
	previous := s.review.previous[id]
	s.review.previous[id] = seq
	if previous == 0 {
		return
	}
	// A subject's number may have been given to another subject meanwhile.
	if r, ok := s.index.get(previous); ok && r.subject == id {
		s.linkFrom(previous, seq)
	}
}
