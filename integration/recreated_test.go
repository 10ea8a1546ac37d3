package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestRecreatedWhileAway is what the first report's maintainer gives channels an
// ID for: a stream is deleted and created again under the same name, and a node
// that restores its own snapshot of the old one "would think that channel foo
// should have messages 1 to 10", while it has 1 to 3; "reverse could be true".
//
//  1. Three nodes. ORDERS has twenty old messages, PAYMENTS three; a consumer of
//     ORDERS is in the middle of its work, and a client has not answered yet what
//     it was given.
//  2. A follower goes down with all of that.
//  3. The other two delete both streams and create them again, now with three and
//     with twenty new messages, and a consumer of the same name.
//  4. Checkpoint and restart, on both, as often as the case demands: with their
//     log kept since step 2, or only checkpoints that are newer.
//  5. The follower comes back with the old streams and catches up, from the log
//     or by a copy.
//  6. The late answer of step 1 arrives: it is about a message of the old stream
//     and does not count for the new one of that number.
//  7. Each node leads in turn. Each has the new streams and nothing of the old.
//  8. All are killed, and all are stopped, and started again: the same.
func TestRecreatedWhileAway(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	for _, way := range []struct {
		name     string
		restarts int // planned ones of both others; each makes a checkpoint
		copied   bool
	}{
		{"caught up from the log", 0, false},
		{"caught up by a copy", 3, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			recreatedWhileAway(t, way.restarts, way.copied)
		})
	}
}

func recreatedWhileAway(t *testing.T, restarts int, copied bool) {
	s := tale{t: t}
	s.step(1, "two streams, and a consumer in the middle of its work")
	c := startCluster(t, 3)
	leader := c.waitFormed(t)
	orders, payments := &channel{name: "ORDERS", subject: "orders"}, &channel{name: "PAYMENTS", subject: "payments"}
	orders.create(t, leader, "old", 20)
	payments.create(t, leader, "old", 3)
	waiting := newClient(t, leader)
	position := waiting.work(orders.name)
	given := waiting.fetch(position, 5)
	waiting.acknowledge(given[1:3]...)
	c.waitStored(t)

	away := c.others(leader)[0]
	here := c.others(away)
	s.step(2, "%s goes down", away.name)
	away.stop(t)

	s.step(3, "the streams are deleted and created again")
	orders.remove(t, leader)
	payments.remove(t, leader)
	orders.create(t, leader, "new", 3)
	payments.create(t, leader, "new", 20)
	waiting.work(orders.name)

	s.step(4, "checkpoint and restart")
	for range restarts {
		for _, n := range here {
			n.stop(t)
			n.start(t)
			c.waitReady(t)
		}
	}

	s.step(5, "%s comes back", away.name)
	seen := away.logSize(t)
	away.start(t)
	c.waitFormed(t)
	if got := strings.Contains(away.logSince(t, seen), "purpose=catch-up"); got != copied {
		t.Errorf("%s caught up by a copy: %v, want %v", away.name, got, copied)
	}

	s.step(6, "the late answer")
	through := newClient(t, away)
	position, err := through.js.Consumer(through.ctx, orders.name, "work")
	if err != nil {
		t.Fatal(err)
	}
	first := through.fetch(position, 1)[0]
	check(t, "first message of the new stream", string(first.Data()), "new1")
	if err := waiting.nc.Publish(given[0].Reply(), []byte("+ACK")); err != nil {
		t.Fatal(err)
	}
	if err := waiting.nc.FlushTimeout(callLimit); err != nil {
		t.Fatal(err)
	}
	c.waitFormed(t).says(t, callLimit, "acknowledgements dropped: what they name is gone", given[0].Reply())
	check(t, "unanswered messages", through.consumerInfo(position).NumAckPending, 1)
	through.acknowledge(first)

	verify := func() {
		t.Helper()
		orders.verify(t, c.nodes...)
		payments.verify(t, c.nodes...)
		for _, n := range c.nodes {
			through := newClient(t, n)
			position, err := through.js.Consumer(through.ctx, orders.name, "work")
			if err != nil {
				t.Fatal(err)
			}
			info := position.CachedInfo()
			check(t, "ack floor", info.AckFloor.Stream, 1)
			check(t, "delivered", info.Delivered.Stream, 1)
			check(t, "unanswered messages", info.NumAckPending, 0)
			check(t, "messages to come", info.NumPending, 2)
		}
	}
	s.step(7, "each node leads in turn")
	for _, n := range append(here, away) {
		c.handTo(t, n)
		c.waitFormed(t)
		verify()
	}
	s.step(8, "all restart")
	for _, end := range []func(*node, testing.TB){func(n *node, t testing.TB) { n.kill(t) }, func(n *node, t testing.TB) { n.stop(t) }} {
		for _, n := range c.nodes {
			end(n, t)
		}
		for _, n := range c.nodes {
			n.start(t)
		}
		c.waitFormed(t)
		verify()
	}
	c.wantCalm(t)
}

// work makes the consumer of the story.
func (c *client) work(stream string) jetstream.Consumer {
	c.t.Helper()
	s, err := c.js.Stream(c.ctx, stream)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.consumer(s, jetstream.ConsumerConfig{Durable: "work", AckWait: time.Hour})
}
