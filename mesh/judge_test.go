package mesh

import (
	"fmt"
	"slices"

	"holdfast/protocol"
)

// judge watches a cluster for what the rules promise. It looks at stores only,
// never at what cores believe.
type judge struct {
	c      *cluster
	stores []*store // that were replaced by a copy or a founding
	acked  []ack
	founds []founded
	faults []fault
}

type ack struct {
	write   string
	lineage protocol.Lineage
	lost    bool
}

type founded struct {
	lineage  protocol.Lineage
	operator bool
	acked    bool
}

// fault is a broken check, by the names of SCHEDULES: S1, S2, S3, and others.
type fault struct{ check, what string }

func (j *judge) fault(check, format string, args ...any) {
	f := fault{check, fmt.Sprintf(format, args...)}
	j.faults = append(j.faults, f)
	j.c.tell("FAULT %s: %s", f.check, f.what)
}

func (j *judge) fired(check string) bool {
	return slices.ContainsFunc(j.faults, func(f fault) bool { return f.check == check })
}

// elected is half of S2: a leader has every entry acknowledged in its lineage.
func (j *judge) elected(n *node) {
	for i := range j.acked {
		if a := &j.acked[i]; a.lineage == n.store.lineage && !n.store.holds(a.write) && !a.lost {
			a.lost = true
			j.fault("S2", "leader %s of %s lacks %s", n.voter(), n.store.lineage, a.write)
		}
	}
}

// committed is half of S1: an older lineage commits nothing after a newer one
// was founded, if both were founded without an operator. (An attempt that is in
// flight at a member which an operator wrongly named absent may found beside the
// operator's lineage: doc.go, "What an override can do".)
func (j *judge) committed(n *node) {
	own := slices.IndexFunc(j.founds, func(f founded) bool { return f.lineage == n.store.lineage })
	for _, f := range j.later(n.store.lineage) {
		if !f.operator && !j.founds[own].operator {
			j.fault("S1", "%s commits in %s after %s was founded", n.voter(), n.store.lineage, f.lineage)
		}
	}
}

// acknowledged is the other half: after an operator's founding, an older lineage
// acknowledges nothing once the newer one has and lives on.
func (j *judge) acknowledged(n *node, write string) {
	if slices.ContainsFunc(j.acked, func(a ack) bool { return a.write == write && a.lineage == n.store.lineage }) {
		return
	}
	j.acked = append(j.acked, ack{write: write, lineage: n.store.lineage})
	j.c.tell("%s acknowledges %s in %s", n.name, write, n.store.lineage)
	for _, f := range j.later(n.store.lineage) {
		if f.acked && slices.Contains(j.winners(), f.lineage) {
			j.fault("S1", "%s acknowledges in %s after %s has", n.voter(), n.store.lineage, f.lineage)
		}
	}
	for i := range j.founds {
		j.founds[i].acked = j.founds[i].acked || j.founds[i].lineage == n.store.lineage
	}
}

// later lists the lineages that were founded after this one. Older and newer go
// by time: when all memory is lost, epochs begin anew.
func (j *judge) later(lineage protocol.Lineage) []founded {
	i := slices.IndexFunc(j.founds, func(f founded) bool { return f.lineage == lineage })
	return j.founds[i+1:]
}

// installs is half of S2: a founder's log has every acknowledged entry that a
// store not named absent holds. It also holds a founder to its own promise.
func (j *judge) installs(n *node, f protocol.Founding) {
	operator := n.ordered
	for _, a := range j.acked {
		if n.store.holds(a.write) {
			continue
		}
		for _, name := range j.c.names {
			if other := j.c.nodes[name]; other.store.holds(a.write) && !other.gaveUp && !(operator && slices.Contains(n.without, name)) {
				j.fault("S2", "%s founds %s without %s, which %s holds", n.voter(), protocol.Lineage(f.Attempt), a.write, other.voter())
			}
		}
	}
	if n.store.promise != f.Attempt {
		j.fault("own promise", "%s installs %v, its own promise is %v", n.voter(), f.Attempt, n.store.promise)
	}
	j.founds = append(j.founds, founded{lineage: protocol.Lineage(f.Attempt), operator: operator})
}

// switches is the last part of S2: no store that holds an acknowledged entry is
// left for a log without it, unless an operator gave it up.
func (j *judge) switches(n *node, next *store) {
	for _, a := range j.acked {
		if n.store.holds(a.write) && !next.holds(a.write) && !n.gaveUp {
			j.fault("S2", "%s leaves for %s without %s", n.voter(), next.lineage, a.write)
		}
	}
}

// promises is S3: no automatic promise makes a lineage unelectable in which
// somebody could win an election. Promises only rise.
func (j *judge) promises(n *node, attempt protocol.Attempt, write func()) {
	before := j.winners()
	if attempt.Epoch <= n.store.promise.Epoch {
		j.fault("promise", "%s promises %d after %d", n.voter(), attempt.Epoch, n.store.promise.Epoch)
	}
	write()
	if j.ordered(attempt) {
		return
	}
	after := j.winners()
	for _, l := range before {
		if !slices.Contains(after, l) {
			j.fault("S3", "%s freezes electable lineage %s by promising %d", n.voter(), l, attempt.Epoch)
		}
	}
}

func (j *judge) ordered(attempt protocol.Attempt) bool {
	for _, n := range j.c.nodes {
		if n.ordered && n.core.attempt != nil && n.core.attempt.Attempt == attempt {
			return true
		}
	}
	return false
}

// winners lists the lineages in which some store could win an election, by
// trying every set of voters.
func (j *judge) winners() []protocol.Lineage {
	var view []*Status
	for _, name := range j.c.names {
		s := j.c.nodes[name].store.status(name)
		view = append(view, &s)
	}
	return winnersByTrying(view)
}

// winnersByTrying is the naive twin of electable: for each candidate it tries
// every set of stores as its voters.
func winnersByTrying(view []*Status) []protocol.Lineage {
	var won []protocol.Lineage
	for _, candidate := range view {
		if candidate.Blank() || candidate.Promise.Epoch > candidate.Lineage.Epoch ||
			!slices.Contains(candidate.Configuration.Voters, protocol.Voter{Name: candidate.Member, Store: candidate.Store}) {
			continue
		}
	sets:
		for set := range 1 << len(view) {
			listed := 0
			for i, s := range view {
				if set&(1<<i) == 0 {
					continue
				}
				behind := s.LastTerm > candidate.LastTerm || s.LastTerm == candidate.LastTerm && s.LastIndex > candidate.LastIndex
				if s.Lineage != candidate.Lineage || s.Promise.Epoch > s.Lineage.Epoch || behind {
					continue sets
				}
				for _, v := range candidate.Configuration.Voters {
					if v.Name == s.Member && v.Store == s.Store {
						listed++
					}
				}
			}
			if 2*listed > len(candidate.Configuration.Voters) && !slices.Contains(won, candidate.Lineage) {
				won = append(won, candidate.Lineage)
			}
		}
	}
	return won
}

// attempts checks that two attempts never both hold all grants.
func (j *judge) attempts() {
	var holders []string
	for _, name := range j.c.names {
		n := j.c.nodes[name]
		if !n.up || n.core == nil || n.core.attempt == nil || n.ordered {
			continue
		}
		a := n.core.attempt
		all := n.store.promise == a.Attempt && a.phase == granting
		for _, s := range a.asked {
			other := j.c.nodes[s.pin.Member].store
			all = all && slices.Contains(other.granted, a.Attempt)
		}
		if all {
			holders = append(holders, name)
		}
	}
	if len(holders) > 1 {
		j.fault("grants", "%v hold all grants at once", holders)
	}
}

// silence checks that no node waits without a word: one that is not a voter
// under a leader that may serve says why.
func (j *judge) silence() {
	for _, name := range j.c.names {
		n := j.c.nodes[name]
		if !n.up {
			continue
		}
		leader := n.core.leader()
		ready := leader == name && n.ready
		if p := n.core.peer(leader); p != nil {
			ready = p.role.Leading // as far as it knows
		}
		if ready && n.store.config().Contains(n.voter()) && len(n.store.config().Voters) > len(j.c.names)/2 {
			continue
		}
		if state, reason, _ := n.core.situation(); reason == "" {
			j.fault("silence", "%s is %s without a word", n.voter(), state)
		}
	}
}

// formed returns why the cluster is not one live lineage with every member a
// voter and none frozen, or "".
func (j *judge) formed() string {
	leader := ""
	for _, name := range j.c.names {
		if j.c.nodes[name].leader {
			if leader != "" {
				return fmt.Sprintf("%s and %s both lead", leader, name)
			}
			leader = name
		}
	}
	if leader == "" {
		return "nobody leads"
	}
	l := j.c.nodes[leader]
	if !l.ready || !l.contact || j.c.changePending(l) {
		return leader + " is not settled"
	}
	for _, name := range j.c.names {
		n := j.c.nodes[name]
		if n.store.lineage != l.store.lineage || n.store.frozen() || !l.store.config().Contains(n.voter()) {
			return fmt.Sprintf("%s is no voter of %s", n.voter(), l.store.lineage)
		}
	}
	if extra := len(l.store.config().Voters) - len(j.c.names); extra != 0 {
		return fmt.Sprintf("the configuration is %s", l.store.config())
	}
	return ""
}
