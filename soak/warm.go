package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/servers"
)

const (
	// warmRound is how long the churn goes on before the nodes are measured at rest:
	// for what is made once, and for tables that keep the size that they once needed.
	warmRound = 15 * time.Second
	// warmSubjects is more than a NATS server remembers for each connection between
	// nodes (8,192 subjects, with whom they go to). Each answer to a request has a
	// subject of its own, so any churn fills that, within an hour or so.
	warmSubjects = 10_000
	// warmPrefix begins the subjects that fill it. No stream has them.
	warmPrefix = "soak.warm"
)

// warm fills what is bounded but fills slowly, so that what grows after that has
// no excuse.
func (c *churn) warm(ctx context.Context) error {
	if err := c.warmRoutes(ctx); err != nil {
		return fmt.Errorf("send from each node to each: %w", err)
	}
	return c.goOn(ctx, warmRound)
}

// warmRoutes sends messages of many subjects from every node to every other one.
func (c *churn) warmRoutes(ctx context.Context) error {
	heard := make([]atomic.Int64, len(c.conns)*len(c.conns))
	for from := range c.conns {
		for to, nc := range c.conns {
			count := &heard[from*len(c.conns)+to]
			s, err := nc.Subscribe(fmt.Sprintf("%s.%d.*", warmPrefix, from), func(*nats.Msg) { count.Add(1) })
			if err != nil {
				return err
			}
			defer func() { _ = s.Unsubscribe() }() // the connection is broken then, which the churn will tell
		}
	}
	all := func(least int64) error {
		for i := range heard {
			if n := heard[i].Load(); n < least {
				return fmt.Errorf("%d of %d messages came", n, least)
			}
		}
		return nil
	}
	send := func(from, to int) (err error) {
		for i, nc := range c.conns {
			for k := from; k < to; k++ {
				err = errors.Join(err, nc.Publish(fmt.Sprintf("%s.%d.%d", warmPrefix, i, k), nil))
			}
		}
		return err
	}
	// That somebody listens takes its time from node to node.
	listened := func() error { return errors.Join(send(0, 1), all(1)) }
	if err := servers.Await(ctx, startTime, 5*pace, listened); err != nil {
		return err
	}
	if err := send(1, warmSubjects); err != nil {
		return err
	}
	return servers.Await(ctx, startTime, 5*pace, func() error { return all(warmSubjects) })
}
