package explore

import (
	"slices"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

// settle carries out what a member's replica wants, as the owner of a replica
// has to, until it wants nothing more.
func (w *World) settle(i int) {
	for w.own(i).up {
		n := w.nodes[i]
		var e replica.Effects
		n.replica.Take(&e)
		idle := len(e.Writes) == 0 && len(e.Frames) == 0 && len(e.Released) == 0 && len(e.Events) == 0 &&
			!e.DropStage && e.Stage == nil && e.Activate == nil && !e.Reopen && e.Failed == nil
		w.carryOut(i, &e)
		n = w.nodes[i]
		if !n.up {
			return
		}
		if !n.stalled && !w.careful {
			for n.up && len(n.writes) > 0 {
				w.perform(i)
				idle = false
			}
		}
		if idle {
			break
		}
	}
	n := w.nodes[i]
	if n.up && n.replica.Durable() {
		n.presence = n.replica.Local().Status
	}
	w.judge.observe(w, i)
}

func (w *World) carryOut(i int, e *replica.Effects) {
	n := w.nodes[i]
	n.writes = append(n.writes, e.Writes...)
	for _, f := range e.Frames {
		to := w.index(f.To)
		if w.linked[i][to] {
			w.post(i, to, newPacket(f))
		}
	}
	for _, event := range e.Events {
		w.say("%s: %s %v", n.name, event.Text, event.Fields)
	}
	if e.DropStage {
		n.stage, n.staged, n.ready = nil, nil, nil
	}
	if e.Stage != nil {
		n.stage, n.staged, n.ready = e.Stage, nil, nil
	}
	for k := range e.Released {
		entry := &e.Released[k]
		n.applied = entry.Index
		w.judge.released(w, i, entry)
		n.replica.Applied(entry.Index)
	}
	switch {
	case e.Failed != nil && n.store.rolled:
		w.say("%s: %v", w.voter(i), e.Failed)
		w.quarantine(i)
	case e.Failed != nil:
		w.judge.fault(w, "Failed", "%s: %v", w.voter(i), e.Failed)
		w.quarantine(i)
	case e.Reopen:
		w.stop(i)
		w.start(i)
	case e.Activate != nil:
		w.activate(i, e.Activate)
	}
}

// perform makes the oldest write durable.
func (w *World) perform(i int) {
	n := w.own(i)
	write := n.writes[0]
	n.writes = n.writes[1:]
	w.judge.writes(w, i, write.Write, func() {
		granted := n.store.granted
		n.store.commit(write.Write)
		if write.Write.Identity != nil && w.off(inheritByFounding) {
			n.store.granted = granted
		}
	})
	n.replica.Written(write.ID)
}

// activate makes the whole copy the member's store, and restarts on it.
func (w *World) activate(i int, a *mesh.Activation) {
	n := w.own(i)
	old, from := n.store, n.ready
	if from == nil {
		panic("explore: nothing to activate")
	}
	fresh := &store{identity: a.Identity, entries: slices.Clone(from.entries)}
	last := fresh.Last()
	fresh.hard = protocol.HardState{Commit: last, Release: min(from.released, last)}
	if a.Keep {
		fresh.hard = old.hard
		fresh.hard.Commit, fresh.hard.Release = last, min(old.hard.Release, last)
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

// quarantine sets a store aside that is not to be trusted.
func (w *World) quarantine(i int) {
	n := w.own(i)
	lineage := n.store.identity.Lineage
	w.stop(i)
	n.aside, n.store, n.gaveUp = n.store, n.blank(), false
	n.store.replaced = lineage
	w.start(i)
}

// deliver hands over the oldest packet of a mailbox.
func (w *World) deliver(from, to, position int, keep bool) {
	mail := w.mail[from][to]
	p := mail[position]
	if !keep {
		w.mail[from][to] = slices.Delete(slices.Clone(mail), position, position+1)
	}
	n := w.own(to)
	if !n.up {
		return
	}
	sender := w.names[from]
	var err error
	switch p.kind {
	case packetHello:
		n.replica.Linked(sender, p.status)
	case packetUnlinked:
		n.replica.Unlinked(sender)
		if n.stage != nil && n.stage.From == sender && n.ready == nil {
			n.stage, n.staged = nil, nil
			n.replica.StageFailed("the link broke")
		}
	case packetRaft:
		err = n.replica.StepRaft(sender, p.body)
	case packetMembership:
		err = n.replica.StepMembership(sender, p.body)
	}
	if err != nil {
		w.judge.fault(w, "Failed", "%s refuses a frame of %s: %v", w.voter(to), sender, err)
	}
	w.settle(to)
}

// copyFrom stages the leader's committed prefix, or fails to.
func (w *World) copyFrom(i int) {
	n := w.own(i)
	from := w.index(n.stage.From)
	sender := w.nodes[from]
	status, holding := sender.raft()
	if !w.linked[i][from] || !holding || status.Role != replication.Leader {
		n.stage = nil
		n.replica.StageFailed("it does not lead")
		w.settle(i)
		return
	}
	last := min(status.Commit, sender.store.Last())
	n.staged = &copied{
		from: n.stage.From, lineage: sender.store.identity.Lineage, entries: slices.Clone(sender.store.entries[:last]), released: sender.applied,
	}
	n.stage = nil
	w.say("%s has staged the log of %s to index %d", n.name, sender.name, last)
}

// tellStaged tells the replica that its copy is whole.
func (w *World) tellStaged(i int) {
	n := w.own(i)
	n.ready, n.staged = n.staged, nil
	whole := &store{entries: n.ready.entries}
	c := mesh.Copy{From: n.ready.from, Lineage: n.ready.lineage}
	c.Foundings, c.Epoch = whole.foundings()
	c.LastIndex, c.LastTerm = whole.last()
	own, _ := n.store.Mark(n.store.Last())
	theirs, found := whole.Mark(n.store.Last())
	c.OwnLogIsPrefix = found && own == theirs
	n.replica.Staged(c)
	w.settle(i)
}
