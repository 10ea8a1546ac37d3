package member

import (
	"slices"
	"testing"

	"holdfast/node/jetstream"
)

// rankedBus notes which ranks it was given.
type rankedBus struct {
	jetstream.Bus
	ranks []int
}

func (b *rankedBus) SetRank(rank int) { b.ranks = append(b.ranks, rank) }

// pass lets the shadow of the last change pass, or all but a tick of it.
func (p *precedence) pass(all bool) {
	n := ticks(shadow)
	if !all {
		n--
	}
	for range n {
		p.tick()
	}
}

func TestAnotherLeaderOutranksTheOneBefore(t *testing.T) {
	bus := &rankedBus{}
	p := &precedence{self: "n1", bus: bus}
	want := func(ranks ...int) {
		t.Helper()
		if !slices.Equal(bus.ranks, ranks) {
			t.Errorf("ranks %v, want %v", bus.ranks, ranks)
		}
		bus.ranks = nil
	}
	p.follow("")
	p.follow("n1")
	want() // it leads from the beginning
	p.follow("")
	p.follow("n1")
	p.pass(true)
	want() // the same again
	p.follow("n2")
	want(1)
	p.pass(false)
	p.follow("n3")
	want(2)
	p.follow("n1")
	want(2) // there is none higher
	p.pass(false)
	want()
	p.tick()
	want(0)
}

func TestWhoBeginsOutranksTheLeaderItFinds(t *testing.T) {
	bus := &rankedBus{}
	p := &precedence{self: "n1", bus: bus}
	p.follow("n2")
	p.follow("n1")
	if !slices.Equal(bus.ranks, []int{1, 2}) {
		t.Errorf("ranks %v, want 1, 2", bus.ranks)
	}
}
