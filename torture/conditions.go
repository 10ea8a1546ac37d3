package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// conditions is what the faults under way leave of the cluster. From it follows
// when nobody can be blamed for not answering: while no majority runs, has its
// memory and room, and is connected to one of its members.
type conditions struct {
	size int
	now  func() time.Duration // since the run began

	mu      sync.Mutex
	down    []int // by node: how many faults keep it from running
	full    []int // … from storing
	blank   []int // … took or spoiled its memory, which it has not got back yet
	cuts    map[direction]int
	outages []span // finished
	since   time.Duration
	out     bool
}

// span is from one moment to another.
type span struct{ from, to time.Duration }

func newConditions(size int, now func() time.Duration) *conditions {
	return &conditions{size: size, now: now, down: make([]int, size), full: make([]int, size), blank: make([]int, size), cuts: make(map[direction]int)}
}

// change applies a change to the conditions and notes whether it begins or ends an
// outage.
func (c *conditions) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	switch able := c.able(); {
	case c.out && able:
		c.outages = append(c.outages, span{c.since, c.now()})
		c.out = false
	case !c.out && !able:
		c.since, c.out = c.now(), true
	}
}

// able tells whether some node is connected with a majority, itself included, that
// runs and can store.
func (c *conditions) able() bool {
	for leader := range c.size {
		reached := 0
		for other := range c.size {
			if c.down[other] == 0 && c.full[other] == 0 && c.blank[other] == 0 &&
				c.cuts[direction{leader, other}] == 0 && c.cuts[direction{other, leader}] == 0 {
				reached++
			} else if other == leader {
				reached = -c.size // it cannot lead
			}
		}
		if reached > c.size/2 {
			return true
		}
	}
	return false
}

// isAble is able, for others.
func (c *conditions) isAble() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.able()
}

// spans are all outages, one that goes on included.
func (c *conditions) spans() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append([]span(nil), c.outages...)
	if c.out {
		all = append(all, span{c.since, c.now()})
	}
	return all
}

// without is how much of a span lies in none of others, which do not overlap.
func (s span) without(others []span) time.Duration {
	left := s.to - s.from
	for _, o := range others {
		if overlap := min(s.to, o.to) - max(s.from, o.from); overlap > 0 {
			left -= overlap
		}
	}
	return left
}

// union is the same times as all of these, in order and without overlaps.
func union(all []span) (merged []span) {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for _, s := range all {
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}
