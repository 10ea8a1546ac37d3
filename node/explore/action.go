package explore

import (
	"fmt"
	"strings"
)

// Op is a kind of step.
type Op uint8

// What can happen next in a world. Each is one atomic step of one member, or of
// the network, or a fault.
const (
	Deliver   Op = iota // all of the mailbox from a to b, in order
	DeliverAt           // one packet of it, the k-th
	Duplicate           // its oldest packet, which stays
	Lose                // its oldest packet, unread
	Beat                // a's clock advances by a heartbeat
	Timeout             // a's clock advances by an election timeout
	Perform             // a's oldest write becomes durable
	Begin               // a leader begins to send the copy that a asked for
	Copy                // a has staged the copy that it asked for
	Switch              // a is told that its copy is whole
	Propose             // a client writes at leader a
	Compact             // a makes a checkpoint and trims its log; k: without patience
	Crash               // a's process dies; unperformed writes are lost
	Start               // a's process starts
	Wipe                // a's store is taken away and a new process starts
	Return              // a's former store comes back, and a new process starts
	Stall               // a's disk performs nothing until Unstall
	Unstall
	Cut  // the link of a and b breaks and stays broken until Heal
	Heal //
	Hold // what is on its way from a to b is late, until Release
	Release
	Park // a's copies wait until Unpark
	Unpark
	Found // an operator at a: found --without k, a set of members
	Discard
	Image    // a copy of a's disk is made while it works
	Rollback // the copy takes the place of what is on the disk, and a new process starts
	opCount
)

var opNames = [opCount]string{
	"deliver", "deliver-one", "duplicate", "lose", "beat", "timeout", "perform", "begin", "copy", "switch", "propose", "compact", "crash", "start",
	"wipe", "return", "stall", "unstall", "cut", "heal", "hold", "release", "park", "unpark", "found", "discard", "image", "rollback",
}

// Action is one step.
type Action struct {
	Op   Op
	A, B int8 // members
	K    int8
}

// Describe says the action with the members' names.
func (a Action) Describe(names []string) string {
	switch a.Op {
	case Deliver, Duplicate, Lose, Cut, Heal, Hold, Release:
		return fmt.Sprintf("%s %s→%s", opNames[a.Op], names[a.A], names[a.B])
	case Compact:
		return opNames[a.Op] + " " + names[a.A] + [2]string{"", " without patience"}[a.K]
	case DeliverAt:
		return fmt.Sprintf("%s %s→%s #%d", opNames[a.Op], names[a.A], names[a.B], a.K)
	case Found:
		without := (&World{names: names}).subset(uint32(a.K))
		return fmt.Sprintf("%s at %s without %q", opNames[a.Op], names[a.A], strings.Join(without, ","))
	}
	return fmt.Sprintf("%s %s", opNames[a.Op], names[a.A])
}

// Apply performs an action. It reports whether that was possible.
func (w *World) Apply(a Action) bool {
	w.used[a.Op]++
	possible := w.step(a)
	if possible && w.brisk {
		w.quiet()
	}
	return possible
}

func (w *World) step(a Action) bool {
	i, j := int(a.A), int(a.B)
	n := w.nodes[i]
	switch a.Op {
	case Deliver:
		return w.Deliver(i, j)
	case DeliverAt, Duplicate:
		if int(a.K) >= len(w.mail[i][j]) || !w.nodes[j].up {
			return false
		}
		w.deliver(i, j, int(a.K), a.Op == Duplicate)
	case Lose:
		if len(w.mail[i][j]) == 0 {
			return false
		}
		w.mail[i][j] = w.mail[i][j][1:]
	case Beat:
		return w.Beat(i)
	case Timeout:
		return w.Timeout(i)
	case Perform:
		if !n.up || len(n.writes) == 0 {
			return false
		}
		w.own(i)
		w.perform(i)
		w.settle(i)
	case Begin:
		if !n.up || n.stage == nil || n.begun != nil {
			return false
		}
		w.beginCopy(i)
	case Copy:
		if !n.up || n.stage == nil || w.steps && n.begun == nil || !w.arrives(i) {
			return false
		}
		w.copyFrom(i)
	case Switch:
		if !n.up || n.staged == nil {
			return false
		}
		w.tellStaged(i)
	case Propose:
		return w.Propose(i)
	case Compact:
		return w.Compact(i, a.K > 0)
	default:
		return w.applyFault(a)
	}
	return true
}

func (w *World) applyFault(a Action) bool {
	i, j := int(a.A), int(a.B)
	n := w.nodes[i]
	switch a.Op {
	case Crash:
		if !n.up {
			return false
		}
		w.kill(i)
	case Start:
		if n.up {
			return false
		}
		w.start(i)
	case Wipe:
		w.Wipe(i)
	case Return:
		return w.Return(i)
	case Image:
		w.Image(i)
	case Rollback:
		return w.Rollback(i)
	case Stall:
		if !n.up || n.stalled {
			return false
		}
		w.own(i).stalled = true
	case Unstall:
		if !n.stalled {
			return false
		}
		w.own(i).stalled = false
		w.settle(i)
	case Cut:
		if w.cut[i][j] {
			return false
		}
		w.cut[i][j], w.cut[j][i] = true, true
		w.unlink(i, j)
	case Heal:
		if !w.cut[i][j] {
			return false
		}
		w.cut[i][j], w.cut[j][i] = false, false
		w.link(i, j)
	case Hold, Release:
		if w.held[i][j] == (a.Op == Hold) {
			return false
		}
		w.held[i][j] = a.Op == Hold
	case Park, Unpark:
		if w.parked[i] == (a.Op == Park) {
			return false
		}
		w.parked[i] = a.Op == Park
	case Found:
		return w.Found(i, uint32(a.K)) == nil
	case Discard:
		return w.Discard(i)
	}
	return true
}

// Deliver hands over a whole mailbox, in order. What arrives meanwhile waits.
func (w *World) Deliver(from, to int) bool {
	count := len(w.mail[from][to])
	if count == 0 || !w.nodes[to].up {
		return false
	}
	life := w.own(to).replica
	for range count {
		// The member may have begun a new life on the way.
		if w.nodes[to].replica != life || len(w.mail[from][to]) == 0 {
			break
		}
		w.deliver(from, to, 0, false)
	}
	return true
}

// Beat advances a leader's clock to its next heartbeat.
func (w *World) Beat(i int) bool { return w.tick(i, heartbeatTicks) }

// Timeout advances a member's clock by an election timeout.
func (w *World) Timeout(i int) bool { return w.tick(i, electionTicks) }

func (w *World) tick(i, ticks int) bool {
	if !w.nodes[i].up {
		return false
	}
	life := w.own(i).replica
	for range ticks {
		if w.nodes[i].replica != life {
			break
		}
		life.Tick()
		w.settle(i)
	}
	return true
}

// Propose lets a client write at a leader.
func (w *World) Propose(i int) bool {
	if !w.nodes[i].up {
		return false
	}
	n := w.own(i)
	if _, err := n.replica.Propose([]byte{'D'}); err != nil {
		return false
	}
	w.settle(i)
	return true
}

// Wipe takes the member's store away. Its next process starts on a blank one.
func (w *World) Wipe(i int) {
	w.kill(i)
	n := w.nodes[i]
	n.aside, n.store, n.gaveUp = n.store, n.blank(), false
	w.start(i)
}

// Return puts the member's former store back in place.
func (w *World) Return(i int) bool {
	if w.nodes[i].aside == nil {
		return false
	}
	w.kill(i)
	n := w.nodes[i]
	n.store, n.aside, n.gaveUp = n.aside, nil, false
	w.judge.returned = true
	w.start(i)
	return true
}

// Image copies the member's disk as it is, as a snapshot of its machine does.
func (w *World) Image(i int) {
	n := w.own(i)
	image := *n.store // what is in it is never changed in place
	n.image = &image
}

// Rollback puts the copy back in place.
func (w *World) Rollback(i int) bool {
	if w.nodes[i].image == nil {
		return false
	}
	w.kill(i)
	n := w.nodes[i]
	if n.image.identity.Store != n.store.identity.Store {
		w.judge.returned = true // it was replaced meanwhile: nobody may know of it any more
	}
	n.store, n.image, n.gaveUp = n.image, nil, false
	n.store.rolled = true
	w.start(i)
	return true
}

// Found is an operator's `found --without` at a member; without is a set of bits.
func (w *World) Found(i int, without uint32) error {
	names := w.subset(without)
	n := w.own(i)
	orderedBefore, withoutBefore := n.ordered, n.without
	n.ordered, n.without = true, without
	if err := n.replica.Found(names); err != nil {
		n.ordered, n.without = orderedBefore, withoutBefore
		return err
	}
	w.settle(i)
	return nil
}

// mayFound reports whether a member would take the command. It changes nothing.
func (w *World) mayFound(n *node, without uint32) bool {
	_, err := n.replica.PlanFound(w.subset(without))
	return err == nil
}

// subset names the members of a set of bits.
func (w *World) subset(bits uint32) (names []string) {
	for k, name := range w.names {
		if bits&(1<<k) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Discard is an operator's `discard` of the member's present store.
func (w *World) Discard(i int) bool {
	if !w.nodes[i].up {
		return false
	}
	n := w.own(i)
	if n.replica.Discard(n.store.identity.Store) != nil {
		return false
	}
	n.gaveUp = true
	w.settle(i)
	return true
}

// quietRounds is by far more than members need to fall silent without clocks.
const quietRounds = 300

// quiet delivers everything that is not held, and lets copies be made, until
// nothing is left to do.
func (w *World) quiet() {
	for range quietRounds {
		acted := false
		for i := range w.nodes {
			if n := w.nodes[i]; n.up && n.stage != nil && !w.parked[i] && !w.steps {
				w.copyFrom(i)
				acted = true
			}
			if n := w.nodes[i]; n.up && n.staged != nil && !w.parked[i] && !w.steps {
				w.tellStaged(i)
				acted = true
			}
			for j := range w.nodes {
				acted = !w.held[i][j] && w.Deliver(i, j) || acted
			}
		}
		if !acted {
			return
		}
	}
	panic("explore: members do not fall silent")
}
