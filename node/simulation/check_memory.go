package simulation

import "holdfast/wal"

// wrote: what a store holds of its promises to others never goes back. Its term
// does not fall, its vote in a term does not change, and neither does its promise
// to a founder become an older one.
func (c *checks) wrote(h *host, before, after *memory) {
	if before.meta.Identity != after.meta.Identity {
		if after.meta.Identity.Lineage != before.meta.Identity.Lineage {
			c.founded(h, after)
		}
		return // founded: a store that has promised nothing
	}
	was, is := before.meta.HardState, after.meta.HardState
	switch {
	case is.Term < was.Term:
		c.world.fail("forgotten: %s has term %d on its disk after %d", h.name, is.Term, was.Term)
	case is.Term == was.Term && was.Vote != 0 && is.Vote != was.Vote:
		c.world.fail("forgotten: %s voted for %s in term %d and has %s on its disk", h.name, was.Vote, was.Term, is.Vote)
	case is.Commit < was.Commit || is.Release < was.Release || is.Release > is.Commit:
		c.world.fail("forgotten: %s has commit %d and release %d on its disk after %d and %d", h.name, is.Commit, is.Release, was.Commit, was.Release)
	case after.meta.Promise.Epoch < before.meta.Promise.Epoch:
		c.world.fail("forgotten: %s has promise %v on its disk after %v", h.name, after.meta.Promise, before.meta.Promise)
	}
}

// opened: a process finds the store as the one before left it, whatever the
// crash tore, unless somebody damaged it or took it away.
func (c *checks) opened(p *process, store *wal.Store) {
	h := p.host
	if p.lives > 1 || h.left == nil || h.suspect != 0 {
		return
	}
	if found := memoryOf(store); !found.equal(h.left) {
		c.world.fail("forgotten: %s left %+v with entries up to %d on its disk, and finds %+v with entries up to %d",
			h.name, h.left.meta, h.left.last, found.meta, found.last)
	}
}
