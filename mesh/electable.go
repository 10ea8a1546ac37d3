package mesh

import (
	"cmp"
	"strings"
)

// electable returns the member whose store could win an election if the view
// holds, or nil when nobody could (rule P5).
//
// It is the election rule of the replication core, exactly: a store that holds a
// lineage, is not frozen in it and is listed in the latest configuration of its
// own log needs the votes of a majority of that configuration. A vote counts
// only from a listed (name, store), is given only within the lineage, only by a
// store that is not frozen in it, and only to a log at least as up to date as
// its own. The logs of two candidates may end in different configurations, so
// each is judged by its own. Were this looser than what the replication core
// does, a cluster could wait for an election that never comes; were it stricter,
// a founding could freeze voters that still can win one.
func electable(view []*Status, off switches) *Status {
	for _, s := range view {
		if s.Blank() {
			continue
		}
		if off.exact != weakOff {
			if intact(view, s, off.exact) {
				return s
			}
			continue
		}
		if !s.Frozen() && s.Configuration.Contains(s.Voter()) && votes(view, s) >= s.Configuration.Majority() {
			return s
		}
	}
	return nil
}

// votes counts the votes that the candidate could collect, its own included.
func votes(view []*Status, candidate *Status) int {
	count := 0
	for _, s := range view {
		if s.Lineage == candidate.Lineage && !s.Frozen() && candidate.Configuration.Contains(s.Voter()) &&
			candidate.compareLogs(s) >= 0 {
			count++
		}
	}
	return count
}

// intact is the counting that electable replaces, for the schedules that break it.
func intact(view []*Status, holder *Status, how weak) bool {
	present := 0
	for _, s := range view {
		lost := !holder.Configuration.Contains(s.Voter()) || how == countAbove && s.Promise.Epoch > holder.Epoch
		if !lost {
			present++
		}
	}
	return present >= holder.Configuration.Majority()
}

// best returns the survivor that may found: the highest by (founding epoch,
// term and index of the last entry), and of equals the first by name. Bumps do
// not rank: one that was never committed would outrank acknowledged entries.
func best(view []*Status, off switches) *Status {
	var found *Status
	for _, s := range view {
		if found == nil || rank(s, found, off) > 0 {
			found = s
		}
	}
	return found
}

func rank(a, b *Status, off switches) int {
	epochs := cmp.Compare(a.Lineage.Epoch, b.Lineage.Epoch)
	if off.rankByFounding {
		epochs = cmp.Compare(a.Epoch, b.Epoch)
	}
	return cmp.Or(epochs, a.compareLogs(b), -strings.Compare(a.Member, b.Member))
}
