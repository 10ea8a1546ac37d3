package replication

import (
	"cmp"
	"slices"

	"holdfast/protocol"
)

// majority is more than half of n.
func majority(n int) int { return n/2 + 1 }

// reached returns the largest value that at least need of the values reach, 0
// when there are fewer values. It sorts them, largest first.
func reached(values []uint64, need int) uint64 {
	slices.SortFunc(values, func(a, b uint64) int { return cmp.Compare(b, a) })
	if need > len(values) {
		return 0
	}
	return values[need-1]
}

// compareAge orders positions by founding epoch, then by term. It does not
// grow backwards along any log.
func compareAge(a, b protocol.Mark) int {
	return cmp.Or(cmp.Compare(a.Lineage.Epoch, b.Lineage.Epoch), cmp.Compare(a.Term, b.Term))
}

// compareLogs orders logs by their last positions: the one that compares
// higher is more up to date (Raft, section 5.4.1).
func compareLogs(a, b protocol.Mark) int {
	return cmp.Or(compareAge(a, b), cmp.Compare(a.Index, b.Index))
}

// ballot collects the answers to one campaign. A voter's first answer counts.
type ballot struct {
	granted, refused []protocol.Voter
}

func (b *ballot) reset() { b.granted, b.refused = b.granted[:0], b.refused[:0] }

func (b *ballot) record(v protocol.Voter, granted bool) {
	switch {
	case slices.Contains(b.granted, v) || slices.Contains(b.refused, v):
	case granted:
		b.granted = append(b.granted, v)
	default:
		b.refused = append(b.refused, v)
	}
}

// won reports whether a majority of the configuration granted. Only exactly
// the listed stores count, whoever else answered.
func (b *ballot) won(c protocol.Configuration) bool { return count(c, b.granted) >= c.Majority() }

// lost reports whether the campaign cannot be won any more.
func (b *ballot) lost(c protocol.Configuration) bool {
	return len(c.Voters)-count(c, b.refused) < c.Majority()
}

func count(c protocol.Configuration, voters []protocol.Voter) int {
	n := 0
	for _, v := range voters {
		if c.Contains(v) {
			n++
		}
	}
	return n
}
