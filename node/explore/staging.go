package explore

import (
	"slices"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

// copied is a copy of a leader's store beside the own one.
type copied struct {
	from    string
	lineage protocol.Lineage
	// What the copy says of itself, also when it is not whole: where it ends, and
	// what the log says up to there.
	last      protocol.Mark
	epoch     uint64
	foundings []protocol.Founding

	entries    []protocol.Entry
	released   uint64
	checkpoint *protocol.Checkpoint
	horizon    uint64
}

// copyFrom stages the copy that was asked for in one step, or fails to.
func (w *World) copyFrom(i int) {
	if w.nodes[i].begun != nil || w.beginCopy(i) {
		w.finishCopy(i)
	}
}

// beginCopy lets a leader begin to send what it has committed. Without a leader
// there is no copy, and the member is told so.
func (w *World) beginCopy(i int) bool {
	n := w.own(i)
	from := w.index(n.stage.From)
	sender := w.nodes[from]
	status, holding := sender.raft()
	if !w.linked[i][from] || !holding || status.Role != replication.Leader {
		n.stage = nil
		n.replica.StageFailed("it does not lead")
		w.settle(i)
		return false
	}
	s := sender.store
	last := min(status.Commit, s.Last())
	mark, _ := s.Mark(last)
	n.begun = &copied{
		from: n.stage.From, lineage: s.identity.Lineage, last: mark, entries: slices.Clone(s.entries[:last]), released: sender.applied,
		checkpoint: s.checkpoint, horizon: s.horizon,
	}
	_, n.begun.epoch, n.begun.foundings = sender.replica.LogFacts(last)
	whole := &store{entries: n.begun.entries}
	if foundings, epoch := whole.foundings(); epoch != n.begun.epoch || !slices.Equal(foundings, n.begun.foundings) {
		w.judge.fault(w, "Failed", "%s says epoch %d and foundings %v of its log to index %d, which has epoch %d and foundings %v",
			w.voter(from), n.begun.epoch, n.begun.foundings, last, epoch, foundings)
	}
	w.say("%s begins to send its log to index %d to %s", sender.name, last, n.name)
	return true
}

// sends reports whether a copy of the member's store is on its way: then it
// makes no checkpoint.
func (w *World) sends(i int) bool {
	for j, n := range w.nodes {
		if n.begun != nil && n.begun.from == w.names[i] && w.linked[i][j] {
			return true
		}
	}
	return false
}

// finishCopy is the arrival of the last piece. Where a copy counts before that, it
// is one without the log behind its checkpoint.
func (w *World) finishCopy(i int) {
	n := w.own(i)
	n.stage, n.begun, n.staged = nil, nil, n.begun
	if c := n.staged.checkpoint; c != nil && w.off(wholeCopy) {
		n.staged.entries = n.staged.entries[:c.Index]
	}
	w.say("%s has staged the log of %s to index %d", n.name, n.staged.from, n.staged.last.Index)
}

// arrives reports whether the rest of the copy that has begun can come now: over the
// link to its sender, the first or a later one.
func (w *World) arrives(i int) bool {
	begun := w.nodes[i].begun
	return begun == nil || w.linked[i][w.index(begun.from)]
}

// tellStaged tells the replica that its copy is whole.
func (w *World) tellStaged(i int) {
	n := w.own(i)
	n.ready, n.staged = n.staged, nil
	c := mesh.Copy{
		From: n.ready.from, Lineage: n.ready.lineage, Foundings: n.ready.foundings, Epoch: n.ready.epoch,
		LastIndex: n.ready.last.Index, LastTerm: n.ready.last.Term,
	}
	staged := &store{entries: n.ready.entries}
	own, _ := n.store.Mark(n.store.Last())
	theirs, found := staged.Mark(n.store.Last())
	c.OwnLogIsPrefix = found && own == theirs
	n.replica.Staged(c)
	w.settle(i)
}

// activate makes the whole copy the member's store, and restarts on it.
func (w *World) activate(i int, a *mesh.Activation) {
	n := w.own(i)
	old, from := n.store, n.ready
	if from == nil {
		panic("explore: nothing to activate")
	}
	fresh := &store{identity: a.Identity, entries: slices.Clone(from.entries), checkpoint: from.checkpoint, horizon: from.horizon}
	last := fresh.Last()
	fresh.hard = protocol.HardState{Commit: last, Release: min(from.released, last)}
	if a.Keep {
		fresh.hard = old.hard
		fresh.hard.Commit, fresh.hard.Release = last, min(max(old.hard.Release, fresh.applied()), last)
		fresh.promise, fresh.granted, fresh.boot, fresh.rolled = old.promise, old.granted, old.boot, old.rolled
	}
	if w.off(inheritBySwitch) {
		fresh.granted = old.granted
	}
	w.judge.switches(w, i, fresh)
	w.say("%s goes over to store %s with lineage %s to index %d", n.name, a.Identity.Store, a.Identity.Lineage, last)
	w.stop(i)
	w.nodes[i].store, w.nodes[i].gaveUp = fresh, false
	w.start(i)
}

// Compact lets a member make a checkpoint, and let go of all entries that are in
// it and that nobody is known to need one by one. With giveUp it does not wait for
// followers, like a leader that is short of room: they get a copy.
func (w *World) Compact(i int, giveUp bool) bool {
	if !w.mayCompact(i, giveUp) {
		return false
	}
	n := w.own(i)
	c := &protocol.Checkpoint{Index: n.applied, Horizon: n.horizon(giveUp)}
	c.Configuration, c.Epoch, c.Foundings = n.replica.LogFacts(c.Index)
	n.replica.Checkpoint(c)
	w.say("%s makes a checkpoint at %d and keeps the log from %d on", n.name, c.Index, c.Horizon+1)
	w.settle(i)
	return true
}

// mayCompact reports whether a checkpoint would change anything. None is made
// while the one before is being written, or while a copy is being sent.
func (w *World) mayCompact(i int, giveUp bool) bool {
	n := w.nodes[i]
	if !n.up || n.store.identity.Lineage.Blank() || w.sends(i) || n.applied == 0 {
		return false
	}
	if slices.ContainsFunc(n.writes, func(write replica.Write) bool { return write.Write.Checkpoint != nil }) {
		return false
	}
	return n.applied > n.store.applied() || n.horizon(giveUp) > n.store.horizon
}

// horizon is up to where a member may let go of entries.
func (n *node) horizon(giveUp bool) uint64 {
	horizon := n.replica.Horizon(func(string) bool { return giveUp }, func(string) bool { return false })
	return max(min(horizon, n.applied), n.store.horizon)
}
