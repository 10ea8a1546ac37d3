package explore

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Search bounds an exploration.
type Search struct {
	// Limits is how often each operation may happen on the way to one state; the
	// ones not listed happen never (faults) or without limit (the others).
	Limits map[Op]int
	// Depth is the greatest number of actions; States and Time bound the whole;
	// Memory the live heap, in bytes. Zero: no bound.
	Depth, States int
	Time          time.Duration
	Memory        uint64
	// Brisk lets everything that is not held be delivered after each action, so
	// that actions are faults, clocks and operators, and the search reaches far.
	Brisk bool
	// Careful makes every durable write an action of its own.
	Careful bool
	// Steps makes the beginning, the end and the use of a copy actions of their own.
	Steps bool
	// Packets lets packets of one mailbox arrive one by one, and up to Reorder
	// places ahead of those before them.
	Packets bool
	Reorder int
	// Recover checks liveness in every so many-th new state; 0: never.
	Recover int
	// Ignore lists checks that are known to fire (see R1 and R2). Where one has
	// fired nothing follows but the check of liveness.
	Ignore []string
	// Want, if set, is the only check at which the search stops.
	Want string
}

// Report is what an exploration did.
type Report struct {
	States, Transitions, Recovered int
	// Depth is the number of actions up to which every state within the limits
	// was expanded; Reached the number of actions of the longest path.
	Depth, Reached int
	Whole          bool // the limits were exhausted, not States, Time or Memory
	Took           time.Duration
	Finding        *Finding
}

// Finding is a fault with the shortest way to it.
type Finding struct {
	Fault
	Path []Action
}

// String says what was explored.
func (r *Report) String() string {
	text := fmt.Sprintf("%d states, %d transitions, all to depth %d, some to %d, %d recoveries, %s",
		r.States, r.Transitions, r.Depth, r.Reached, r.Recovered, r.Took.Round(time.Millisecond))
	if r.Whole {
		text += ", complete within the limits"
	}
	return text
}

// visited is how a state was reached first.
type visited struct {
	parent int32
	action Action
}

// frontier is a state to be expanded.
type frontier struct {
	world *World
	id    int32
}

// run is an exploration on its way.
type run struct {
	*Search
	report  Report
	encoder *encoder
	seen    map[Fingerprint]struct{}
	trail   []visited
	next    []frontier
	began   time.Time
	looked  int // states that were considered for a check of their liveness
	actions []Action
}

// Run explores breadth-first from a world.
func (s *Search) Run(start *World) Report {
	r := &run{Search: s, encoder: newEncoder(), seen: map[Fingerprint]struct{}{}, began: time.Now()}
	world := start.Clone()
	s.prepare(world)
	r.seen[world.fingerprint(r.encoder)] = struct{}{}
	r.trail = append(r.trail, visited{parent: -1})
	r.report.States = 1
	level := []frontier{{world, 0}}
	for depth := 0; len(level) > 0 && (s.Depth == 0 || depth < s.Depth); depth++ {
		r.report.Reached = depth + 1
		for i := range level {
			if r.expand(level[i]) || r.exhausted() {
				r.report.Took = time.Since(r.began)
				return r.report
			}
			level[i].world = nil
		}
		r.report.Depth = depth + 1
		level, r.next = r.next, nil
	}
	r.report.Whole = true
	r.report.Took = time.Since(r.began)
	return r.report
}

// prepare gives a world the grain of the search.
func (s *Search) prepare(w *World) {
	w.used = budget{}
	w.brisk, w.careful, w.steps, w.tell = s.Brisk, s.Careful, s.Steps, nil
}

func (r *run) exhausted() bool {
	if r.States > 0 && r.report.States >= r.States {
		return true
	}
	if r.Time > 0 && time.Since(r.began) > r.Time {
		return true
	}
	if r.Memory > 0 && r.report.Transitions%(1<<16) <= 20 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc > r.Memory
	}
	return false
}

// expand takes every action that is possible in a state. It returns true when
// the search is over.
func (r *run) expand(f frontier) bool {
	r.actions = r.enabled(r.actions[:0], f.world)
	for _, action := range r.actions {
		child := f.world.Clone()
		if !r.apply(child, action) {
			continue
		}
		r.report.Transitions++
		if fault := r.fault(f.world, child); fault != nil {
			r.found(f.id, action, *fault)
			return true
		}
		if len(child.judge.faults) > 0 {
			// It broke what it is known to break; nothing follows, but a wedge is none.
			if r.heals(f.id, child, action) {
				continue
			}
			return true
		}
		print := child.fingerprint(r.encoder)
		if _, known := r.seen[print]; known {
			continue
		}
		r.seen[print] = struct{}{}
		id := int32(len(r.trail))
		r.trail = append(r.trail, visited{f.id, action})
		r.report.States++
		r.next = append(r.next, frontier{child, id})
		if !r.heals(f.id, child, action) {
			return true
		}
	}
	return false
}

// heals checks the liveness of a state, if it is its turn.
func (r *run) heals(parent int32, w *World, last Action) bool {
	r.looked++
	if r.Recover == 0 || r.looked%r.Recover != 0 {
		return true
	}
	why := r.recovers(w)
	if why != "" {
		r.found(parent, last, Fault{"L1", why})
	}
	return why == ""
}

// apply performs an action. A core that catches itself in a contradiction panics,
// which is a fault like any other.
func (r *run) apply(w *World, action Action) (possible bool) {
	defer func() {
		if cause := recover(); cause != nil {
			w.judge.fault(w, "Failed", "%v", cause)
			possible = true
		}
	}()
	return w.Apply(action)
}

// recovers tries both ways to recover, in turns.
func (r *run) recovers(w *World) string {
	r.report.Recovered++
	return w.Recover(uint64(r.report.Recovered), r.report.Recovered%2 == 0)
}

// fault returns the first new fault that is of interest.
func (r *run) fault(before, after *World) *Fault {
	for i := len(before.judge.faults); i < len(after.judge.faults); i++ {
		f := &after.judge.faults[i]
		if r.Want != "" && f.Check != r.Want || slices.Contains(r.Ignore, f.Check) {
			continue
		}
		return f
	}
	return nil
}

func (r *run) found(parent int32, last Action, fault Fault) {
	path := []Action{last}
	for id := parent; id > 0; id = r.trail[id].parent {
		path = append(path, r.trail[id].action)
	}
	slices.Reverse(path)
	r.report.Finding = &Finding{fault, path}
}

// enabled lists the actions that may be possible, in a fixed order.
func (r *run) enabled(list []Action, w *World) []Action {
	for i, n := range w.nodes {
		a := int8(i)
		if n.up {
			list = r.stepsOf(list, w, a)
		}
		for j := range w.nodes {
			if i != j {
				list = r.between(list, w, a, int8(j))
			}
		}
		list = r.faultsOf(list, w, a)
	}
	return list
}

// allowed reports whether an operation may happen once more.
func (r *run) allowed(w *World, op Op) bool {
	limit, listed := r.Limits[op]
	return listed && int(w.used[op]) < limit
}

func (r *run) stepsOf(list []Action, w *World, a int8) []Action {
	n := w.nodes[a]
	if len(n.writes) > 0 {
		list = append(list, Action{Op: Perform, A: a})
	}
	if n.stage != nil && w.steps && n.begun == nil {
		list = append(list, Action{Op: Begin, A: a})
	} else if n.stage != nil && w.arrives(int(a)) && (!w.brisk || w.steps || w.parked[a]) {
		list = append(list, Action{Op: Copy, A: a})
	}
	if n.staged != nil && (!w.brisk || w.steps || w.parked[a]) {
		list = append(list, Action{Op: Switch, A: a})
	}
	leads := n.leads()
	if leads && r.allowed(w, Beat) {
		list = append(list, Action{Op: Beat, A: a})
	}
	if r.allowed(w, Timeout) {
		list = append(list, Action{Op: Timeout, A: a})
	}
	if leads && r.allowed(w, Propose) {
		list = append(list, Action{Op: Propose, A: a})
	}
	if r.allowed(w, Compact) {
		for k := range int8(2) {
			if giveUp := k > 0; w.mayCompact(int(a), giveUp) && (!giveUp || n.horizon(true) > n.horizon(false)) {
				list = append(list, Action{Op: Compact, A: a, K: k})
			}
		}
	}
	if r.allowed(w, Found) {
		for without := range uint32(1) << len(w.nodes) {
			if without&(1<<a) == 0 && w.mayFound(n, without) {
				list = append(list, Action{Op: Found, A: a, K: int8(without)})
			}
		}
	}
	if _, err := n.replica.PlanDiscard(n.store.identity.Store); err == nil && r.allowed(w, Discard) {
		list = append(list, Action{Op: Discard, A: a})
	}
	return list
}

func (r *run) between(list []Action, w *World, a, b int8) []Action {
	mail := w.mail[a][b]
	if len(mail) > 0 && w.nodes[b].up && (!w.brisk || w.held[a][b]) {
		if !r.Packets && !w.brisk {
			list = append(list, Action{Op: Deliver, A: a, B: b})
		}
		for k := range mail {
			if ahead := k <= r.Reorder && orderly(mail, k); r.Packets && ahead || r.allowed(w, DeliverAt) && orderly(mail, k) {
				list = append(list, Action{DeliverAt, a, b, int8(k)})
			}
		}
		if r.allowed(w, Duplicate) && mail[0].body != nil {
			list = append(list, Action{Op: Duplicate, A: a, B: b})
		}
		if r.allowed(w, Lose) && mail[0].body != nil {
			list = append(list, Action{Op: Lose, A: a, B: b})
		}
	}
	if !w.held[a][b] && r.allowed(w, Hold) {
		list = append(list, Action{Op: Hold, A: a, B: b})
	}
	if w.held[a][b] {
		list = append(list, Action{Op: Release, A: a, B: b})
	}
	if a < b {
		if !w.cut[a][b] && r.allowed(w, Cut) {
			list = append(list, Action{Op: Cut, A: a, B: b})
		}
		if w.cut[a][b] {
			list = append(list, Action{Op: Heal, A: a, B: b})
		}
	}
	return list
}

// orderly reports whether packet k may overtake those before it: nothing comes
// before the connection that it came over, or after its end.
func orderly(mail []*packet, k int) bool {
	for _, p := range mail[:k] {
		if p.body == nil {
			return false
		}
	}
	return k == 0 || mail[k].body != nil
}

func (r *run) faultsOf(list []Action, w *World, a int8) []Action {
	n := w.nodes[a]
	for _, op := range [...]Op{Crash, Wipe, Return, Stall, Image, Rollback} {
		possible := n.up || op == Wipe || op == Return && n.aside != nil || op == Rollback && n.image != nil
		if op == Return && n.aside == nil || op == Rollback && n.image == nil || op == Stall && n.stalled {
			possible = false
		}
		if possible && r.allowed(w, op) {
			list = append(list, Action{Op: op, A: a})
		}
	}
	if !n.up {
		list = append(list, Action{Op: Start, A: a})
	}
	if n.stalled {
		list = append(list, Action{Op: Unstall, A: a})
	}
	if !w.parked[a] && r.allowed(w, Park) {
		list = append(list, Action{Op: Park, A: a})
	}
	if w.parked[a] {
		list = append(list, Action{Op: Unpark, A: a})
	}
	return list
}

// Story replays a path and tells what happened.
func (s *Search) Story(start *World, path []Action) string {
	var b strings.Builder
	w := start.Clone()
	s.prepare(w)
	w.tell = func(format string, args ...any) { fmt.Fprintf(&b, "      "+format+"\n", args...) }
	for i, action := range path {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, action.Describe(w.names))
		w.Apply(action)
	}
	return b.String()
}
