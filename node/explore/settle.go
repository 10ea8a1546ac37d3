package explore

import (
	"slices"

	"holdfast/node/replica"
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
		n.stage, n.begun, n.staged, n.ready = nil, nil, nil, nil
	}
	if e.Stage != nil && !(e.Stage.Resume && (n.stage != nil || n.staged != nil)) {
		n.stage, n.begun, n.staged, n.ready = e.Stage, nil, nil, nil
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
	if c := write.Write.Checkpoint; c != nil {
		n.replica.Forget(c.Index)
	}
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
