package explore

import (
	"fmt"
	"math/rand/v2"

	"holdfast/protocol"
	"holdfast/replication"
)

// recoveryRounds bounds how long a cluster may take to form once faults stop; a
// round is at most one tick of each member. It is a few back-offs, copies and
// membership changes one after the other.
const recoveryRounds = 1500

// operatorRounds is the pause between two looks of an operator at the alarms.
const operatorRounds = 60

// Recover is check L1: from here on nothing fails, everybody can be reached,
// clocks run about equally fast and messages arrive. It returns why that does
// not end in one live lineage with every member a voter and none frozen, or "".
// With restart, processes start anew, so that attempts and staged copies are
// gone. Operators discard what alarms ask for only where an override was made
// or an old store returned.
func (w *World) Recover(seed uint64, restart bool) string {
	c := w.Clone()
	c.careful, c.brisk, c.steps = false, false, false
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range c.nodes {
		if restart && c.nodes[i].up {
			c.kill(i)
		}
	}
	for i := range c.nodes {
		clear(c.cut[i])
		if !c.nodes[i].up {
			c.start(i)
		}
		if c.nodes[i].stalled {
			c.own(i).stalled = false
			c.settle(i)
		}
	}
	c.linkAll()
	for round := range recoveryRounds {
		if c.unformed() == "" {
			return ""
		}
		c.live(random)
		if c.assisted() && round%operatorRounds == operatorRounds-1 {
			c.operate()
		}
	}
	return c.unformed()
}

// live is one round.
func (w *World) live(random *rand.Rand) {
	for _, i := range random.Perm(len(w.nodes)) {
		if random.IntN(4) > 0 {
			w.tick(i, 1)
		}
		for range 2 * len(w.nodes) {
			w.Deliver(random.IntN(len(w.nodes)), random.IntN(len(w.nodes)))
		}
		switch n := w.nodes[i]; {
		case n.up && n.stage != nil && n.begun == nil:
			w.beginCopy(i)
		case n.up && n.stage != nil && w.arrives(i):
			w.finishCopy(i)
		case n.up && n.staged != nil:
			w.tellStaged(i)
		}
	}
}

// assisted reports whether operators have to look after the cluster.
func (w *World) assisted() bool {
	for _, f := range w.judge.founds {
		if f.operator {
			return true
		}
	}
	return w.judge.returned || len(w.judge.operators) > 0
}

// operate discards one alarmed store: not of the lineage that is worth keeping,
// which is the one with the most voters among those that are led, or else of the
// highest founding epoch. Where no store outside it asks to be given up, nobody
// can be elected and the best survivor is refused: then whatever refuses it goes.
func (w *World) operate() {
	keep, voters := protocol.Lineage{}, 0
	for _, n := range w.nodes {
		status, holding := n.raft()
		led := holding && status.Role == replication.Leader && status.InContact
		count := 0
		if led {
			count = len(status.Configuration.Voters)
		}
		if lineage := n.store.identity.Lineage; count > voters || count == voters && lineage.Epoch > keep.Epoch {
			keep, voters = lineage, count
		}
	}
	for i, n := range w.nodes {
		if n.store.identity.Lineage != keep && w.Discard(i) {
			return
		}
	}
	for i := range w.nodes {
		if voters == 0 && w.Discard(i) {
			return
		}
	}
}

// unformed says why the cluster is not one live lineage with every member a
// voter, or "".
func (w *World) unformed() string {
	leading := -1
	for i, n := range w.nodes {
		if !n.leads() {
			continue
		}
		if leading >= 0 {
			return fmt.Sprintf("%s and %s both lead", w.voter(leading), w.voter(i))
		}
		leading = i
	}
	if leading < 0 {
		return "nobody leads"
	}
	l := w.nodes[leading]
	status, _ := l.raft()
	if !status.Ready || !status.InContact || !status.ConfigurationCommitted {
		return l.name + " is not settled"
	}
	for i, n := range w.nodes {
		if n.store.identity.Lineage != l.store.identity.Lineage || n.store.frozen() || !status.Configuration.Contains(w.voter(i)) {
			return fmt.Sprintf("%s, of lineage %s, is no voter of %s %s", w.voter(i), n.store.identity.Lineage, l.store.identity.Lineage, status.Configuration)
		}
	}
	if len(status.Configuration.Voters) != len(w.nodes) {
		return fmt.Sprintf("the configuration is %s", status.Configuration)
	}
	return ""
}
