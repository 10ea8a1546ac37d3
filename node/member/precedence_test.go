package member

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"holdfast/node/jetstream"
)

// rankedBus notes the last rank that it was given.
type rankedBus struct {
	jetstream.Bus
	rank int
}

func (b *rankedBus) SetRank(rank int) { b.rank = rank }

// town is a few members that tell each other their ranks. Who is down hears
// nothing and keeps the rank that it had.
type town struct {
	t       *testing.T
	members map[string]*precedence
	down    map[string]bool
	leader  string
	term    uint64
}

func newTown(t *testing.T, names ...string) *town {
	w := &town{t: t, members: make(map[string]*precedence), down: make(map[string]bool)}
	for _, name := range names {
		w.down[name] = true
	}
	for _, name := range names {
		w.start(name)
	}
	return w
}

// start begins a process, which links with all that are up.
func (w *town) start(name string) {
	p := &precedence{self: name, bus: &rankedBus{}, others: len(w.down) - 1, ranks: make(map[string]int)}
	p.tell = func(to string, s standing) {
		if !w.down[to] && !w.down[name] {
			w.members[to].heard(name, s)
		}
	}
	w.members[name], w.down[name] = p, false
	for _, other := range w.up() {
		if other != name {
			p.link(other)
			w.members[other].link(name)
		}
	}
}

// vanish takes a host away, without a word.
func (w *town) vanish(name string) {
	w.down[name] = true
	for _, other := range w.up() {
		w.members[other].unlink(name)
	}
}

func (w *town) up() (names []string) {
	for name, down := range w.down {
		if !down {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// lead has all that are up follow a leader, and expects that it outranks all that
// are down.
func (w *town) lead(leader string) {
	w.t.Helper()
	if leader != w.leader {
		w.leader, w.term = leader, w.term+1
	}
	for _, name := range w.up() {
		w.members[name].follow(leader, w.term)
	}
	for name, down := range w.down {
		if down && w.members[name] != nil && w.members[name].rank >= w.members[leader].rank {
			w.t.Errorf("%s leads with rank %d; %s is gone with rank %d", leader, w.members[leader].rank, name, w.members[name].rank)
		}
	}
}

func (w *town) pass(time time.Duration) {
	for range ticks(time) {
		for _, name := range w.up() {
			w.members[name].tick()
		}
	}
}

func (w *town) want(ranks ...int) {
	w.t.Helper()
	var got []int
	for _, name := range w.up() {
		if p := w.members[name]; p.rank != p.bus.(*rankedBus).rank {
			w.t.Errorf("the bus of %s has rank %d, want %d", name, p.bus.(*rankedBus).rank, p.rank)
		}
		got = append(got, w.members[name].rank)
	}
	if !slices.Equal(got, ranks) {
		w.t.Errorf("%v have the ranks %v, want %v", w.up(), got, ranks)
	}
}

func TestAnotherLeaderOutranksTheOneBefore(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	w.lead("n1")
	w.lead("n1")
	w.want(0, 0, 0) // it leads from the beginning
	w.vanish("n1")
	w.lead("n2")
	w.want(1, 1)
	w.pass(shadow - TickInterval)
	w.want(1, 1)
	w.pass(TickInterval)
	w.want(0, 0)
}

// Whoever vanishes when the others are whole has no rank that is in the way later,
// however often the leader changes.
func TestRanksFallWhenAllAreBack(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	w.lead("n1")
	for round := range 10 {
		for i := range 3 {
			gone, next := fmt.Sprintf("n%d", i+1), fmt.Sprintf("n%d", (i+1)%3+1)
			w.vanish(gone)
			w.lead(next)
			w.pass(time.Second)
			w.start(gone)
			w.lead(next)
			w.pass(twilight)
			if w.want(0, 0, 0); t.Failed() {
				t.Fatalf("round %d, %s was gone", round, gone)
			}
		}
	}
}

// A process that begins knows how the others stand, and outranks whoever vanished
// before it began.
func TestWhoBeginsKnowsTheRanks(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	w.lead("n1")
	w.vanish("n1")
	w.lead("n2")
	w.start("n1")
	w.want(1, 1, 1)
	w.vanish("n2")
	w.lead("n1")
	w.want(2, 2)
}

// A leader may vanish when its rank has just fallen at the others.
func TestFallenRanksAreNotForgotten(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	w.lead("n1")
	w.vanish("n1")
	w.lead("n2")
	w.down["n2"] = true // the links to it are not known to be lost yet
	w.pass(shadow)
	w.want(0)
	w.vanish("n2")
	w.lead("n3")
	w.want(2)
}

// Two of five are gone at the same time.
func TestTwoAreGone(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3", "n4", "n5")
	w.lead("n1")
	w.vanish("n1")
	w.lead("n2")
	w.vanish("n2")
	w.lead("n3")
	w.want(2, 2, 2)
	w.start("n1")
	w.vanish("n3")
	w.lead("n1")
	w.want(3, 3, 3)
	w.start("n2")
	w.start("n3")
	w.pass(twilight)
	w.want(0, 0, 0, 0, 0)
}

// Ranks tie only when the leader changes more than maxRank times while somebody is
// missing, and not for longer than the servers keep routes to who is gone.
func TestTiesEndWithTheShadow(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3", "n4", "n5")
	w.lead("n1")
	w.vanish("n1")
	for _, next := range []string{"n2", "n3", "n2"} {
		w.lead(next)
		w.pass(time.Second)
	}
	w.want(maxRank, maxRank, maxRank, maxRank)
	w.vanish("n2")
	w.term, w.leader = w.term+1, "n3"
	for _, name := range w.up() {
		w.members[name].follow(w.leader, w.term)
	}
	w.want(maxRank, maxRank, maxRank) // as high as that of n2, which is gone
	w.pass(shadow)
	w.want(0, 0, 0)
}
