package simulation

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// handedTo is one message that a member sends to a client in a group.
type handedTo struct {
	to              string // the inbox of the pull request
	number, pending uint64 // consumer sequence, and messages that wait behind it
	header          []byte
}

// grouped: a request that is to be served only under a condition is served only then,
// and a consumer that pins a client has one pinned client at a time.
func (c *checks) grouped(p *process, k consumerKey, config *server.ConsumerConfig, try *pullTry, d *handedTo) {
	switch config.PriorityPolicy {
	case server.PriorityOverflow:
		c.overflows(p, k, try, d)
	case server.PriorityPinnedClient:
		pin, ok := headerOf(d.header, server.JSPullRequestNatsPinId)
		if !ok {
			c.world.fail("no pin: %s delivers message %d of %s without", p.host.name, d.number, k.name)
		}
		c.onePinned(p, k, config, try, d, pin)
	}
}

// mostUnacked is how many unanswered messages a consumer has at most when one more is
// handed out.
const mostUnacked = 255

// overflows: the message says itself how many wait behind it. Unanswered were at most
// as many as were handed out before.
func (c *checks) overflows(p *process, k consumerKey, try *pullTry, d *handedTo) {
	unacked := min(d.number-1, mostUnacked)
	if try.minPending == 0 && try.minUnacked == 0 {
		return
	}
	c.overflowed++
	if try.minPending > 0 && d.pending+1 >= uint64(try.minPending) || try.minUnacked > 0 && unacked >= uint64(try.minUnacked) {
		return
	}
	c.world.fail("no overflow: %s delivers message %d of %s, with %d behind it, to a client that wants %d to wait or %d unanswered",
		p.host.name, d.number, k.name, d.pending, try.minPending, try.minUnacked)
}

// pinning is what is known of the pins of one consumer.
type pinning struct {
	owners map[string]*pinOwner
	newest *pinOwner // who got the message with the highest number
}

// pinOwner is a client while it is pinned.
type pinOwner struct {
	pin      string
	consumer *consumer
	first    string // inbox of the request that got the first message
	number   uint64 // of the newest message that came with the pin
	reign    reign  // under which it was pinned
	kept     int64  // when it asked last, of the requests that were served
	over     bool   // somebody else was pinned after it
}

// reign is the time in which one process leads.
type reign struct {
	process *process
	term    uint64
}

// unpinTry is a request to let somebody else be pinned.
type unpinTry struct{ sent, answered int64 }

func (c *checks) unpinning(key string, try *unpinTry) { c.unpins[key] = append(c.unpins[key], try) }

// pinSlack is what the clock of the log may differ from true time while a client is
// pinned, besides a tenth.
const pinSlack = second / 5

// onePinned: a pin belongs to one client. In the order of their numbers, messages
// come with one pin and then with another and never with the former again. Under one
// leader that changes only if the client did not ask for so long, or somebody asked
// for the change.
func (c *checks) onePinned(p *process, k consumerKey, config *server.ConsumerConfig, try *pullTry, d *handedTo, pin string) {
	t := c.pins[k]
	if t == nil {
		t = &pinning{owners: map[string]*pinOwner{}}
		c.pins[k] = t
	}
	status, _ := p.member.Raft()
	o := t.owners[pin]
	switch {
	case o == nil:
		o = &pinOwner{pin: pin, consumer: try.consumer, first: d.to, reign: reign{p, status.Term}, kept: c.world.now}
		t.owners[pin] = o
		c.pinned++
	case o.consumer != try.consumer || try.pin != pin && o.first != d.to:
		c.world.fail("two pinned: %s delivers message %d of %s with the pin of client %d to client %d, which showed %q",
			p.host.name, d.number, k.name, o.consumer.client.number, try.consumer.client.number, try.pin)
	case o.over && d.number > t.newest.number:
		c.world.fail("two pinned: %s delivers message %d of %s with pin %s after message %d had another", p.host.name, d.number, k.name, pin, t.newest.number)
	}
	if before := t.newest; before != nil && before != o && d.number > before.number {
		before.over = true
		c.mayTakePin(p, k, config, before, o)
	}
	if t.newest == nil || d.number > t.newest.number {
		t.newest = o
	}
	o.number = max(o.number, d.number)
	if try.pin == pin {
		o.kept = max(o.kept, try.sent)
	}
}

func (c *checks) mayTakePin(p *process, k consumerKey, config *server.ConsumerConfig, before, after *pinOwner) {
	since := c.world.now - before.kept
	if before.reign != after.reign || before.kept <= c.time.set || since >= int64(config.PinnedTTL)*9/10-pinSlack {
		return
	}
	for _, try := range c.unpins[before.consumer.key()] {
		if try.answered >= before.kept || try.answered == 0 {
			return
		}
	}
	c.world.fail("pin taken: %s pins client %d to %s %s after client %d asked, which was pinned for %s",
		p.host.name, after.consumer.client.number, k.name, time.Duration(since), before.consumer.client.number, config.PinnedTTL)
}
