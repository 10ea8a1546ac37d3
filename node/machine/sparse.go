package machine

import (
	"slices"
)

// When the log takes much more than what lives in it, a rewrite goes once through
// all streams and finds the messages whose segments of the log are emptiest, so that
// whoever leads can move them (move.go).
//
// With L for what the live messages count and S for what the segments take that they
// are in, a rewrite begins when S is above 1.35 L plus a slack, and takes as many of
// the emptiest segments as bring S down to 1.2 L, but none that is in use by more
// than three quarters. That is always possible: if all segments were, S would be below 1.34 L.
// A segment that is moved gives room back for at least a quarter of its size, so a
// byte that died costs at most three bytes that are written again, and a log in
// which nothing dies costs nothing.
//
// The index takes room as well. For up to a twelfth of what lives there is room in the
// bounds; what it takes more counts as part of S, up to another eighth of what lives, and
// then segments are moved up to 13/16, at four bytes or so for one that died.
const (
	// A rewrite begins above so many hundredths of what lives, and aims at these.
	rewriteAbove, rewriteAim = 135, 120
	// fullest is the part of a segment, in sixteenths, from which on it stays.
	fullest = 12
	// fullestBeside is that beside an index which takes more than one in indexShare
	// bytes of what lives.
	fullestBeside = 13
	indexShare    = 12
	besideShare   = 8
)

// Rewrite is how far a rewrite is.
type Rewrite struct {
	below   int // segments are moved of which less sixteenths are in use
	streams []Incarnation
	seq     uint64 // in the first of these
}

// Space is what the segments of the log take in which messages live, and what these
// messages count, both in bytes, up to the last horizon that Dead was told.
func (m *Machine) Space() (stored, live int64) {
	for _, u := range m.entries.usage {
		stored += u.stored
		live += u.live
	}
	return stored, live
}

// Excess is by how much the segments take more than a rewrite aims at, in bytes.
func (m *Machine) Excess() int64 {
	stored, live := m.Space()
	return stored - live*rewriteAim/100
}

// BeginRewrite begins a rewrite if one is due; nil: none is. Slack is what the log
// may take besides, index what the pairs of the checkpoint take, both in bytes.
func (m *Machine) BeginRewrite(slack, index int64) *Rewrite {
	stored, live := m.Space()
	end := fullest
	if beside := min(index-live/indexShare, live/besideShare); beside > 0 {
		stored, end = stored+beside, fullestBeside
	}
	if stored <= live*rewriteAbove/100+slack {
		return nil
	}
	w := &Rewrite{}
	for w.below < end && stored > live*rewriteAim/100+slack/2 {
		u := &m.entries.usage[w.below]
		stored -= u.stored - u.live
		w.below++
	}
	for inc := range m.byID {
		w.streams = append(w.streams, inc)
	}
	slices.Sort(w.streams)
	return w
}

// Sparse goes on with a rewrite: it appends messages that are to be moved to found,
// until they count bytes or so many rows of the index were looked at (each block has
// blockRows besides those that live), and reports whether it has come to the end. A move
// of what it found changes no more rows than that and one block's.
func (m *Machine) Sparse(w *Rewrite, found []Moved, bytes, rows int) (_ []Moved, done bool) {
	for ; len(w.streams) > 0; w.streams, w.seq = w.streams[1:], 0 {
		s := m.byID[w.streams[0]]
		if s == nil {
			continue
		}
		for at := s.index.search(w.seq); at < len(s.index.blocks); at++ {
			b := s.index.blocks[at]
			if rows <= 0 || len(found) >= MaxSlots-blockMessages {
				return found, false
			}
			rows -= blockRows + b.live
			if found, bytes = s.sparse(w, b, found, bytes); bytes <= 0 {
				return found, false
			}
			w.seq = b.end()
		}
	}
	return found, true
}

// blockRows is how many rows the work with a block is worth besides its own.
const blockRows = 64

// sparse is Sparse for one block.
func (s *Stream) sparse(w *Rewrite, b *block, found []Moved, bytes int) ([]Moved, int) {
	entry, sparse := uint64(0), false
	for i := b.nextAlive(int(max(w.seq, b.first) - b.first)); i >= 0 && bytes > 0; i = b.nextAlive(i + 1) {
		r := b.at(i)
		if r.entry != entry {
			entry, sparse = r.entry, s.machine.entries.sparse(r.entry, w.below)
		}
		if sparse {
			seq := b.first + uint64(i)
			moved := Moved{Stream: s.incarnation, Stored: s.describe(seq, &r)}
			found = append(found, moved)
			bytes -= int(moved.Size)
			w.seq = seq + 1
		}
	}
	return found, bytes
}
