package main

import (
	"context"
	"time"
)

const (
	pulseBeat = 100 * time.Millisecond
	// heldUp is how late a beat may be before it is a fault of the machine: in that
	// time clients do not publish, and nothing is known of the servers.
	heldUp = time.Second
)

// pulse are the times in which this program itself did not run, in order.
type pulse []span

// beat goes on until the context ends.
func (p *pulse) beat(ctx context.Context, now func() time.Duration) {
	for last := now(); wait(ctx, pulseBeat); {
		at := now()
		p.came(last, at)
		last = at
	}
}

// came notes a beat and when the one before it came.
func (p *pulse) came(last, at time.Duration) {
	if due := last + pulseBeat; at-due > heldUp {
		*p = append(*p, span{due, at})
	}
}

// total is how long that was.
func (p pulse) total() (sum time.Duration) {
	for _, s := range p {
		sum += s.to - s.from
	}
	return sum
}
