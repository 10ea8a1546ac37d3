package simulation

import "holdfast/wal"

// remembers: what a store holds of its promises to others never goes back. Its
// term does not fall, its vote in a term does not change, and neither does its
// promise to a founder become an older one.
func (c *checks) remembers(h *host, before, after *wal.Meta) {
	if before.Identity != after.Identity {
		return // founded: a store that has promised nothing
	}
	was, is := before.HardState, after.HardState
	switch {
	case is.Term < was.Term:
		c.world.fail("forgotten: %s has term %d on its disk after %d", h.name, is.Term, was.Term)
	case is.Term == was.Term && was.Vote != 0 && is.Vote != was.Vote:
		c.world.fail("forgotten: %s voted for %s in term %d and has %s on its disk", h.name, was.Vote, was.Term, is.Vote)
	case is.Commit < was.Commit || is.Release < was.Release || is.Release > is.Commit:
		c.world.fail("forgotten: %s has commit %d and release %d on its disk after %d and %d", h.name, is.Commit, is.Release, was.Commit, was.Release)
	case after.Promise.Epoch < before.Promise.Epoch:
		c.world.fail("forgotten: %s has promise %v on its disk after %v", h.name, after.Promise, before.Promise)
	}
}
