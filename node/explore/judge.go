package explore

import (
	"fmt"
	"slices"

	"holdfast/protocol"
	"holdfast/replication"
)

// judge watches a world for what the rules promise. It looks at stores and at
// what replicas say to the world outside (what they release, whether they lead),
// never at what the cores believe of each other.
type judge struct {
	acked     []ack
	founds    []founded
	operators []protocol.Attempt // attempts that operators ordered
	leaders   []leader
	faults    []Fault
	returned  bool // an old store came back
}

// ack is a batch that a client may know to be stored, in one lineage.
type ack struct {
	entry   protocol.Entry // without its data
	lineage protocol.Lineage
	lost    bool // and the judge has complained
}

// founded is a lineage, in the order of time.
type founded struct {
	lineage  protocol.Lineage
	operator bool
	acked    bool
}

// leader is one that was seen.
type leader struct {
	lineage protocol.Lineage
	term    uint64
	voter   protocol.Voter
}

// Fault is a broken check: S1, S2, S3 and L1 of the schedules, and
//
//	promise    a store installs a FOUND that its own promise does not name, or promises lower
//	identity   a configuration lists a store that holds another lineage
//	election   two stores lead one term of one lineage
//	Failed     a store is found to contradict what it, or another, said before
type Fault struct{ Check, What string }

func (j *judge) clone() judge {
	c := *j
	c.acked, c.founds = slices.Clone(j.acked), slices.Clone(j.founds) // changed in place
	c.operators, c.leaders, c.faults = slices.Clip(j.operators), slices.Clip(j.leaders), slices.Clip(j.faults)
	return c
}

func (j *judge) fault(w *World, check, format string, args ...any) {
	f := Fault{check, fmt.Sprintf(format, args...)}
	j.faults = append(slices.Clip(j.faults), f)
	w.say("FAULT %s: %s", f.Check, f.What)
}

// Fired reports whether a check has fired.
func (w *World) Fired(check string) bool {
	return slices.ContainsFunc(w.judge.faults, func(f Fault) bool { return f.Check == check })
}

// released: a batch that any replica of the lineage releases may be acknowledged.
func (j *judge) released(w *World, i int, e *protocol.Entry) {
	if e.Kind != protocol.KindBatch {
		return
	}
	lineage := w.nodes[i].store.identity.Lineage
	a := ack{entry: *e, lineage: lineage}
	a.entry.Data = nil
	if slices.ContainsFunc(j.acked, func(b ack) bool { return sameEntry(&a.entry, &b.entry) && b.lineage == lineage }) {
		return
	}
	// What one lineage acknowledged and a founder took along is no news.
	news := !slices.ContainsFunc(j.acked, func(b ack) bool { return sameEntry(&a.entry, &b.entry) })
	j.acked = append(j.acked, a)
	w.say("%s acknowledges entry %d in %s", w.voter(i), e.Index, lineage)
	if !news {
		return
	}
	for _, f := range j.later(lineage) {
		if f.acked && slices.Contains(w.winners(), f.lineage) {
			j.fault(w, "S1", "%s acknowledges in %s after %s has", w.voter(i), lineage, f.lineage)
		}
	}
	for k := range j.founds {
		j.founds[k].acked = j.founds[k].acked || j.founds[k].lineage == lineage
	}
}

func sameEntry(a, b *protocol.Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Lineage == b.Lineage
}

// later lists the lineages that were founded after this one. Older and newer go
// by time: when all memory is lost, epochs begin anew.
func (j *judge) later(lineage protocol.Lineage) []founded {
	k := slices.IndexFunc(j.founds, func(f founded) bool { return f.lineage == lineage })
	return j.founds[k+1:]
}

// observe looks at a member after each step of it.
func (j *judge) observe(w *World, i int) {
	n := w.nodes[i]
	status, holding := n.raft()
	leads := holding && status.Role == replication.Leader
	if leads && !n.led {
		j.elected(w, i, status.Term)
	}
	if leads && status.Commit > n.commit {
		j.committed(w, i)
	}
	n.led, n.commit = leads, status.Commit
	j.identities(w)
}

// elected is half of S2: a leader has every entry acknowledged in its lineage.
func (j *judge) elected(w *World, i int, term uint64) {
	n := w.nodes[i]
	lineage := n.store.identity.Lineage
	seen := leader{lineage, term, w.voter(i)}
	w.say("%s leads %s in term %d", seen.voter, lineage, term)
	for _, l := range j.leaders {
		if l.lineage == lineage && l.term == term && l.voter != seen.voter {
			j.fault(w, "election", "%s and %s lead term %d of %s", l.voter, seen.voter, term, lineage)
		}
	}
	if !slices.Contains(j.leaders, seen) {
		j.leaders = append(slices.Clip(j.leaders), seen)
	}
	for k := range j.acked {
		if a := &j.acked[k]; a.lineage == lineage && !a.lost && !n.store.holds(&a.entry) {
			a.lost = true
			j.fault(w, "S2", "leader %s of %s lacks entry %d", w.voter(i), lineage, a.entry.Index)
		}
	}
}

// committed is half of S1: an older lineage commits nothing after a newer one
// was founded, if both were founded without an operator.
func (j *judge) committed(w *World, i int) {
	lineage := w.nodes[i].store.identity.Lineage
	own := slices.IndexFunc(j.founds, func(f founded) bool { return f.lineage == lineage })
	for _, f := range j.later(lineage) {
		if own >= 0 && !f.operator && !j.founds[own].operator {
			j.fault(w, "S1", "%s commits in %s after %s was founded", w.voter(i), lineage, f.lineage)
		}
	}
}

// identities: a store that is listed holds the lineage that lists it.
func (j *judge) identities(w *World) {
	for _, n := range w.nodes {
		if !n.leads() {
			continue
		}
		status, _ := n.raft()
		for k, other := range w.nodes {
			lineage := other.store.identity.Lineage
			if status.Configuration.Contains(w.voter(k)) && lineage != n.store.identity.Lineage && !w.Fired("identity") {
				j.fault(w, "identity", "%s counts %s, which holds %s", n.name, w.voter(k), lineage)
			}
		}
	}
}

// writes judges a write around its becoming durable.
func (j *judge) writes(w *World, i int, write *protocol.Write, commit func()) {
	switch {
	case write.Identity != nil:
		j.installs(w, i, write)
		commit()
	case write.Promise != nil:
		j.promises(w, i, *write.Promise, commit)
	default:
		commit()
	}
}

// installs is another part of S2: a founder's log has every acknowledged entry
// that a store not named absent holds. It also holds a founder to its promise.
func (j *judge) installs(w *World, i int, write *protocol.Write) {
	n := w.nodes[i]
	attempt := protocol.Attempt(write.Identity.Lineage)
	operator := j.ordered(w, i, attempt)
	for k := range j.acked {
		a := &j.acked[k]
		if n.store.holds(&a.entry) || a.lost {
			continue
		}
		for m, other := range w.nodes {
			named := operator && n.without&(1<<m) != 0
			if other.store.holds(&a.entry) && !named && !other.gaveUp {
				a.lost = true
				j.fault(w, "S2", "%s founds %s without entry %d, which %s holds", w.voter(i), write.Identity.Lineage, a.entry.Index, w.voter(m))
				break
			}
		}
	}
	if n.store.promise != attempt {
		j.fault(w, "promise", "%s installs %v, its own promise is %v", w.voter(i), attempt, n.store.promise)
	}
	w.say("%s founds %s (operator: %v)", w.voter(i), write.Identity.Lineage, operator)
	j.founds = append(j.founds, founded{lineage: write.Identity.Lineage, operator: operator})
}

// ordered tells whether an operator ordered the attempt, and remembers it.
func (j *judge) ordered(w *World, i int, attempt protocol.Attempt) bool {
	if slices.Contains(j.operators, attempt) {
		return true
	}
	if drawer(uint64(attempt.ID)) == i && w.nodes[i].ordered {
		j.operators = append(slices.Clip(j.operators), attempt)
		return true
	}
	return false
}

// promises is S3: persisting an automatic promise makes no lineage unelectable
// in which somebody could win an election just before. Promises only rise.
func (j *judge) promises(w *World, i int, attempt protocol.Attempt, commit func()) {
	before := w.winners()
	if held := w.nodes[i].store.promise; attempt.Epoch <= held.Epoch {
		j.fault(w, "promise", "%s promises %d after %d", w.voter(i), attempt.Epoch, held.Epoch)
	}
	commit()
	w.say("%s has promised %d", w.voter(i), attempt.Epoch)
	if j.ordered(w, i, attempt) {
		return
	}
	after := w.winners()
	for _, l := range before {
		if !slices.Contains(after, l) {
			j.fault(w, "S3", "%s freezes electable lineage %s by promising %d", w.voter(i), l, attempt.Epoch)
		}
	}
}

// switches is the last part of S2: no store that holds an acknowledged entry is
// left for a log without it, unless an operator gave it up.
func (j *judge) switches(w *World, i int, next *store) {
	n := w.nodes[i]
	for k := range j.acked {
		a := &j.acked[k]
		if !a.lost && !n.gaveUp && n.store.holds(&a.entry) && !next.holds(&a.entry) {
			a.lost = true
			j.fault(w, "S2", "%s leaves for %s without entry %d", w.voter(i), next.identity.Lineage, a.entry.Index)
		}
	}
}

// winners lists the lineages in which some present store could win an election,
// by trying every set of stores as the voters of each candidate. It shares no
// code with the rule that it judges.
func (w *World) winners() []protocol.Lineage {
	var won []protocol.Lineage
	for c, candidate := range w.nodes {
		s := candidate.store
		lineage := s.identity.Lineage
		configuration := s.configuration()
		if lineage.Blank() || s.frozen() || !configuration.Contains(w.voter(c)) || slices.Contains(won, lineage) {
			continue
		}
		for set := range 1 << len(w.nodes) {
			if w.wins(s, configuration, set) {
				won = append(won, lineage)
				break
			}
		}
	}
	return won
}

// wins reports whether all stores of a set would vote for the candidate and
// whether they are enough.
func (w *World) wins(candidate *store, configuration protocol.Configuration, set int) bool {
	index, term := candidate.last()
	listed := 0
	for m, other := range w.nodes {
		if set&(1<<m) == 0 {
			continue
		}
		s := other.store
		otherIndex, otherTerm := s.last()
		if s.identity.Lineage != candidate.identity.Lineage || s.frozen() || otherTerm > term || otherTerm == term && otherIndex > index {
			return false
		}
		if configuration.Contains(w.voter(m)) {
			listed++
		}
	}
	return 2*listed > len(configuration.Voters)
}
