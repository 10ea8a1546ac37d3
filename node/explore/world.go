package explore

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

// Ticks are chosen so that one step of a member's clock is long enough for
// something to be due: heartbeatTicks for a leader, electionTicks for the others.
// retryTicks is no power of two (see draws).
const (
	electionTicks  = 6
	heartbeatTicks = 3
	retryTicks     = 3
	reportTicks    = 1 << 30 // reports are log lines, not behaviour
)

// node is one member: its store, and the replica over it while it runs.
type node struct {
	name    string
	index   int
	draws   *draws
	random  *rand.Rand
	store   *store
	aside   *store // the store that was taken away last, by a wipe; nil: none
	image   *store // the store as it was when a copy was made of it; nil: none
	up      bool
	stalled bool // its disk performs no writes until it is told to
	replica *replica.Replica
	heard   *mesh.Heard     // by this process
	writes  []replica.Write // handed out, not durable, oldest first
	applied uint64
	// presence is what a hello says: the last status that was durable whole.
	presence mesh.Status
	// stage is the copy that the replica asked for, and begun what it will be, once
	// its leader has begun to send it; staged is one that is whole and of which the
	// replica has not been told yet.
	stage  *mesh.StageRequest
	begun  *copied
	staged *copied
	// ready is a whole copy of which the replica was told.
	ready *copied
	// ordered: this process was given `found --without`; without are bits.
	ordered bool
	without uint32
	gaveUp  bool // and this store was discarded by an operator
	// led and commit are what the judge saw last of this process.
	led    bool
	commit uint64
}

// World is one state of a whole cluster. Its nodes are shared with the worlds
// that it was cloned from until they are changed.
type World struct {
	names  []string
	rules  []string // clauses that are switched off
	nodes  []*node
	owned  []bool
	linked [][]bool
	cut    [][]bool      // no connection comes about
	held   [][]bool      // from, to: what is on its way is late
	mail   [][][]*packet // from, to
	used   budget
	judge  judge
	// brisk: after each action everything is delivered that is not held, and all
	// copies are made by members that are not parked.
	brisk  bool
	parked []bool
	// steps: copies are made in steps, as actions of their own.
	steps bool
	// careful: writes are performed one by one, as actions of their own.
	careful bool
	// tell, if set, is told what happens, for people.
	tell func(format string, args ...any)
}

// NewWorld returns running members with blank stores that are not connected.
func NewWorld(rules []string, names ...string) *World {
	w := empty(rules, names)
	for i := range w.nodes {
		w.start(i)
	}
	return w
}

func empty(rules, names []string) *World {
	n := len(names)
	w := &World{names: names, rules: rules, nodes: make([]*node, n), owned: make([]bool, n), parked: make([]bool, n)}
	for i, name := range names {
		d := &draws{member: uint64(i)}
		w.nodes[i] = &node{name: name, index: i, draws: d, random: rand.New(d)}
		w.nodes[i].store = w.nodes[i].blank()
		w.owned[i] = true
		w.linked = append(w.linked, make([]bool, n))
		w.cut = append(w.cut, make([]bool, n))
		w.held = append(w.held, make([]bool, n))
		w.mail = append(w.mail, make([][]*packet, n))
	}
	return w
}

func (n *node) blank() *store {
	return &store{identity: protocol.Identity{Store: protocol.StoreID(n.draws.Uint64())}}
}

// firstLineage is L1 of the formed state.
var firstLineage = protocol.Lineage{Epoch: 1, ID: 1}

// Formed returns the state in which most schedules begin: a1, b1 and c1, the
// first three, are the voters of L1 with i1 FOUND(L1, {a1}) and i2 the
// configuration; a leads and has committed i2. Others are blank and cut off. The
// real a leads because it was elected: with term 2 and a no-op at i3.
func Formed(rules []string, names ...string) *World {
	w := empty(rules, names)
	var voters []protocol.Voter
	for _, n := range w.nodes[:3] {
		voters = append(voters, protocol.Voter{Name: n.name, Store: n.store.identity.Store})
	}
	found := protocol.Founding{Attempt: protocol.Attempt(firstLineage), Index: 1, Voter: voters[0]}
	entries := []protocol.Entry{
		{Index: 1, Term: 1, Lineage: firstLineage, Kind: protocol.KindFound, Data: protocol.AppendFounding(nil, found)},
		{Index: 2, Term: 1, Lineage: firstLineage, Kind: protocol.KindConfig,
			Data: protocol.AppendConfiguration(nil, protocol.NewConfiguration(voters...))},
	}
	for _, n := range w.nodes[:3] {
		n.store.identity.Lineage = firstLineage
		n.store.entries = slices.Clone(entries)
		n.store.hard = protocol.HardState{Term: 1, Commit: 1, Release: 1}
	}
	w.judge.founds = []founded{{lineage: firstLineage}}
	for i := 3; i < len(names); i++ {
		for j := range names {
			w.cut[i][j], w.cut[j][i] = true, true
		}
	}
	for i := range w.nodes {
		w.start(i)
	}
	w.quiet()
	w.Timeout(0)
	w.quiet()
	// Its followers hear what it has committed.
	w.Beat(0)
	w.quiet()
	return w
}

// Clone returns a world that goes its own way from here.
func (w *World) Clone() *World {
	c := *w
	c.nodes = slices.Clone(w.nodes)
	c.owned = make([]bool, len(w.nodes))
	clear(w.owned) // both share all nodes now
	c.linked, c.cut = cloneGrid(w.linked), cloneGrid(w.cut)
	c.held, c.mail = cloneGrid(w.held), cloneGrid(w.mail)
	c.parked = slices.Clone(w.parked)
	c.judge = w.judge.clone()
	return &c
}

func cloneGrid[T any](grid [][]T) [][]T {
	n := len(grid)
	flat := make([]T, 0, n*n)
	rows := make([][]T, n)
	for i, row := range grid {
		flat = append(flat, row...)
		rows[i] = flat[i*n : (i+1)*n : (i+1)*n]
	}
	return rows
}

// own returns a node that may be changed.
func (w *World) own(i int) *node {
	if !w.owned[i] {
		w.nodes[i] = cloneNode(w.nodes[i])
		w.owned[i] = true
	}
	return w.nodes[i]
}

func (w *World) index(name string) int {
	i := slices.Index(w.names, name)
	if i < 0 {
		panic(fmt.Sprintf("explore: no member %q", name))
	}
	return i
}

func (w *World) say(format string, args ...any) {
	if w.tell != nil {
		w.tell(format, args...)
	}
}

// ownRules are the clauses that bind the owner of a store instead of the cores.
const (
	// A fresh store has granted nothing (rule P4).
	inheritBySwitch   = "fresh-store-grants/switch"
	inheritByFounding = "fresh-store-grants/founding"
	// A copy counts when its last piece is there (rule P4).
	wholeCopy = "whole-copy"
)

var ownRules = map[string]bool{inheritBySwitch: true, inheritByFounding: true, wholeCopy: true}

func (w *World) off(rule string) bool { return slices.Contains(w.rules, rule) }

// start begins a process on the member's store and connects it.
func (w *World) start(i int) {
	n := w.own(i)
	s := n.store
	s.boot++
	if n.heard == nil {
		n.heard = &mesh.Heard{}
	}
	r, err := replica.New(replica.Options{
		Member: n.name, Members: w.names, Continue: true, Log: s,
		State:         s.state(),
		ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks, RetryTicks: retryTicks, ReportTicks: reportTicks,
		MaxAppendBytes: 1 << 20, MaxInflightBytes: 1 << 20, MaxReleaseBytes: 1 << 20, Random: n.random, Heard: n.heard,
	})
	if err != nil {
		w.judge.fault(w, "Failed", "%s does not start: %v", w.voter(i), err)
		return
	}
	for _, rule := range w.rules {
		if ownRules[rule] {
			continue
		}
		if err := switchOff(r, rule); err != nil {
			panic(err)
		}
	}
	n.up, n.replica, n.presence = true, r, r.Local().Status
	n.writes, n.applied = nil, s.applied()
	n.stage, n.begun, n.staged, n.ready = nil, nil, nil, nil
	n.ordered, n.without, n.led, n.commit = false, 0, false, 0
	for j := range w.nodes {
		if j != i {
			w.link(i, j)
		}
	}
	w.settle(i)
}

// kill ends a member's process.
func (w *World) kill(i int) {
	w.stop(i)
	w.nodes[i].heard = nil
}

// stop ends a member's life on its store. Writes that were not performed are lost, and
// what was on its way to it as well; what it sent arrives, or not.
func (w *World) stop(i int) {
	n := w.own(i)
	n.up, n.replica, n.writes = false, nil, nil
	n.stage, n.begun, n.staged, n.ready = nil, nil, nil, nil
	n.applied, n.presence, n.stalled = 0, mesh.Status{}, false
	n.ordered, n.without, n.led, n.commit = false, 0, false, 0
	for j := range w.nodes {
		if j != i {
			w.unlink(i, j)
			w.mail[j][i] = nil
		}
	}
}

// voter is the member with its present store.
func (w *World) voter(i int) protocol.Voter {
	return protocol.Voter{Name: w.names[i], Store: w.nodes[i].store.identity.Store}
}

// raft is the state of the member's replication core.
func (n *node) raft() (replication.Status, bool) {
	if !n.up {
		return replication.Status{}, false
	}
	return n.replica.Raft()
}

func (n *node) leads() bool {
	status, ok := n.raft()
	return ok && status.Role == replication.Leader
}
