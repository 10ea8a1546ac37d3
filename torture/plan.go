package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// kind is what a fault does.
type kind int

const (
	killed        kind = iota // SIGKILL
	killedAll                 // SIGKILL of every node
	frozen                    // SIGSTOP, then SIGCONT
	wiped                     // the store is removed while the node is down
	flippedDown               // bits of the store are flipped while the node is down
	flippedUp                 // … while it runs
	truncatedDown             // a file of the store is cut while the node is down
	truncatedUp               // … while it runs
	rolled                    // every node in turn is stopped and goes on with the other build
	filled                    // no room on one node's disk
	filledAll                 // … on every node's
	isolated                  // one node is cut off from the others
	oneWay                    // what one node sends to one other is lost
	bridged                   // two halves that see each other only through one node
	slowed                    // what one node sends is delayed, and some is lost
	kindCount
)

var kindNames = [kindCount]string{
	"SIGKILL of a node", "SIGKILL of all nodes at once", "SIGSTOP of a node", "store wiped",
	"bits flipped in a stopped store", "bits flipped in a running store",
	"file cut in a stopped store", "file cut in a running store", "rolling restart into another build",
	"disk full on a node", "disk full on all nodes",
	"node cut off", "one way of a link cut", "two halves and a bridge", "latency and loss",
}

func (k kind) String() string { return kindNames[k] }

// destroys: a node's memory is not what it was. Such a fault is over only when the
// node has everything again.
func (k kind) destroys() bool {
	switch k {
	case wiped, flippedDown, flippedUp, truncatedDown, truncatedUp:
		return true
	}
	return false
}

// everywhere: it concerns all nodes, and goes alone.
func (k kind) everywhere() bool { return k == killedAll || k == rolled || k == filledAll }

// needsDisk and needsNetwork: the nodes must have one of their own.
func (k kind) needsDisk() bool    { return k == filled || k == filledAll }
func (k kind) needsNetwork() bool { return k >= isolated && k <= slowed }

// leading, in the place of a node's number, is the one that leads.
const leading = -1

// fault is one of a plan.
type fault struct {
	kind kind
	node int // a number from 0, or leading; without meaning for what is everywhere
	// after and hold: when it begins after the act does, and how long it lasts.
	after, hold time.Duration
	seed        uint64 // for what it decides by itself
}

func (f fault) String() string {
	who := fmt.Sprintf("n%d", f.node+1)
	if f.node == leading {
		who = "the leader"
	}
	if f.kind.everywhere() {
		who = "all"
	}
	return fmt.Sprintf("%v (%s, %v)", f.kind, who, f.hold.Round(time.Millisecond))
}

// act is one fault, or some at a time. Of the faults of an act, at most a minority
// destroys, and none begins before everything that an earlier one destroyed is
// there again: what a majority has acknowledged stays provable, always.
type act struct {
	pause  time.Duration // before it
	faults []fault
	// settles: the next act begins only when the cluster is whole. Acts that destroy
	// always settle, and so does what comes before them.
	settles bool
}

func (a act) destroys() bool {
	return slices.ContainsFunc(a.faults, func(f fault) bool { return f.kind.destroys() })
}

func (a act) String() string {
	var words []string
	for _, f := range a.faults {
		words = append(words, f.String())
	}
	return strings.Join(words, " and ")
}

// plan yields acts without end; they are a function of the seed, the number of
// nodes and the kinds.
type plan struct {
	random *rand.Rand
	size   int
	kinds  []kind
	deck   []kind // of which the next are taken; each kind is in it once
	next   act
}

// newPlan begins a plan. Without a disk or a network of each node's own, the kinds
// that need them are left out.
func newPlan(seed uint64, size int, disks, networks bool) *plan {
	p := &plan{random: rand.New(rand.NewPCG(seed, uint64(size))), size: size}
	for k := range kindCount {
		if (disks || !k.needsDisk()) && (networks || !k.needsNetwork()) {
			p.kinds = append(p.kinds, k)
		}
	}
	p.next = p.draw()
	return p
}

// act returns the next one.
func (p *plan) act() act {
	a := p.next
	p.next = p.draw()
	a.settles = a.settles || a.destroys() || p.next.destroys()
	return a
}

func (p *plan) draw() act {
	a := act{pause: p.between(200*time.Millisecond, time.Second), settles: p.random.IntN(3) > 0}
	first := p.fault(p.deal())
	a.faults = append(a.faults, first)
	if first.kind.everywhere() || p.random.IntN(3) > 0 {
		return a
	}
	second := p.fault(p.deal())
	destroyed := 0
	for _, f := range []fault{first, second} {
		if f.kind.destroys() {
			destroyed++
		}
	}
	if second.kind.everywhere() || second.node == first.node || destroyed > (p.size-1)/2 {
		p.deck = append(p.deck, second.kind) // another time
		return a
	}
	second.after = p.between(0, first.hold)
	a.faults = append(a.faults, second)
	return a
}

// deal takes a kind from the deck: between two turns of a kind, all others have
// theirs, more or less.
func (p *plan) deal() kind {
	if len(p.deck) == 0 {
		p.deck = slices.Clone(p.kinds)
		p.random.Shuffle(len(p.deck), func(i, j int) { p.deck[i], p.deck[j] = p.deck[j], p.deck[i] })
	}
	k := p.deck[len(p.deck)-1]
	p.deck = p.deck[:len(p.deck)-1]
	return k
}

func (p *plan) fault(k kind) fault {
	f := fault{kind: k, node: p.random.IntN(p.size), hold: p.between(500*time.Millisecond, 4*time.Second), seed: p.random.Uint64()}
	if p.random.IntN(2) == 0 {
		f.node = leading
	}
	if k == killed || k == killedAll || k == wiped {
		f.hold = p.between(0, 2*time.Second)
	}
	return f
}

func (p *plan) between(low, high time.Duration) time.Duration {
	return low + time.Duration(p.random.Int64N(int64(high-low)+1))
}
