package simulation

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// consumer is a client of a durable consumer. Several may share one.
type consumer struct {
	topic  *topic
	client *client
	name   string
	config server.ConsumerConfig
	exists bool
	inbox  string // of a push consumer
	pin    string // with which the client is pinned, as far as it knows
}

// addConsumers draws who consumes the stream.
func (t *topic) addConsumers() {
	w := t.world
	switch count := w.plan.consumers; t.kind {
	case queue: // one consumer, whose messages several clients share
		first := newConsumer(t, 0)
		t.consumers = append(t.consumers, first, first.companion())
	case interest:
		for i := range 1 + count {
			t.consumers = append(t.consumers, newConsumer(t, i))
		}
	default:
		for i := range count {
			t.consumers = append(t.consumers, newConsumer(t, i))
		}
	}
	for _, c := range t.consumers { // who shares a group's messages
		if c.grouped() && t.kind != queue {
			t.consumers = append(t.consumers, c.companion(), c.companion())
		}
	}
}

func newConsumer(t *topic, number int) *consumer {
	w := t.world
	c := &consumer{topic: t, client: w.newClient(nil), name: fmt.Sprintf("C%d", number)}
	c.configure()
	w.after(w.between(0, 2*second), c.work)
	return c
}

// companion is another client of the same consumer.
func (c *consumer) companion() *consumer {
	w := c.topic.world
	other := &consumer{topic: c.topic, client: w.newClient(nil), name: c.name, config: c.config}
	w.after(w.between(0, 2*second), other.work)
	return other
}

func (c *consumer) configure() {
	w := c.topic.world
	c.config = server.ConsumerConfig{
		Durable: c.name, AckPolicy: server.AckExplicit, AckWait: 2 * time.Second, MaxAckPending: 64, MaxDeliver: -1,
		DeliverPolicy: server.DeliverAll, ReplayPolicy: server.ReplayInstant,
	}
	switch draw := w.random.Float64(); {
	case draw < 0.15 && c.topic.kind != queue:
		c.config.AckPolicy = server.AckAll
	case draw < 0.25 && c.topic.kind != queue && c.topic.kind != interest:
		c.config.AckPolicy, c.config.MaxAckPending, c.config.AckWait = server.AckNone, 0, 0
	case draw < 0.4:
		c.config.BackOff = []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second}
		c.config.AckWait = c.config.BackOff[0]
	}
	if c.topic.kind != queue && w.chance(0.3) {
		c.listen()
	}
	c.drawGroup()
}

func (c *consumer) key() string { return c.topic.name + "." + c.name }

// listen makes it a push consumer: its messages come to an inbox.
func (c *consumer) listen() {
	c.inbox = c.client.listen(func(m *outgoing) {
		if m.status() == "" && m.reply != "" {
			c.take(m)
		}
	})
	c.config.DeliverSubject = c.inbox
}

// work sees to it that there is a consumer, and asks it for messages. Now and then
// the consumer is changed, or deleted and created again.
func (c *consumer) work() {
	w := c.topic.world
	idle := !w.clients.quiet && c.topic.kind != plain
	switch {
	case !c.exists || idle && w.chance(0.02):
		c.create()
	case idle && c.topic.kind != queue && w.chance(0.01):
		c.delete()
	case c.pin != "" && idle && w.chance(0.01):
		c.unpin()
	case idle && w.chance(0.04):
		c.pause()
	case idle && c.mayReset() && w.chance(0.04):
		c.reset()
	case c.inbox != "":
		c.check()
	default:
		c.pull()
	}
}

func (c *consumer) create() {
	w := c.topic.world
	if c.exists && c.config.AckPolicy == server.AckExplicit {
		// What is not acknowledged keeps its place for two seconds: with eight places a
		// consumer does not get far in a minute.
		c.config.MaxAckPending = 32 << w.random.IntN(4)
	}
	request := server.CreateConsumerRequest{Stream: c.topic.name, Config: c.config}
	call(c.client, "CONSUMER.DURABLE.CREATE."+c.key(), &request, func(response *server.JSApiConsumerCreateResponse, ok bool) {
		c.exists = ok && response.Error == nil
		w.after(w.between(10*millisecond, 500*millisecond), c.work)
	})
}

func (c *consumer) delete() {
	w := c.topic.world
	call(c.client, "CONSUMER.DELETE."+c.key(), nil, func(*server.JSApiConsumerDeleteResponse, bool) {
		c.exists = false
		w.after(w.between(10*millisecond, second), c.work)
	})
}

// check finds out whether a push consumer is still there.
func (c *consumer) check() {
	w := c.topic.world
	call(c.client, "CONSUMER.INFO."+c.key(), nil, func(response *server.JSApiConsumerInfoResponse, ok bool) {
		if ok && response.Error != nil && response.Error.Code == 404 {
			c.exists = false
		}
		w.after(w.between(100*millisecond, second), c.work)
	})
}

// pull asks for a few messages and takes what comes until the request ends.
func (c *consumer) pull() {
	w := c.topic.world
	wanted := 1 + w.random.IntN(20)
	payload, try := c.pullRequest(wanted)
	r := &request{subject: "$JS.API.CONSUMER.MSG.NEXT." + c.key(), payload: payload}
	ended := false
	end := func(pause int64) bool {
		if !ended {
			ended = true
			w.after(pause, c.work)
		}
		return true
	}
	r.answer = func(m *outgoing) bool {
		if m != nil {
			c.noticePin(m)
		}
		switch {
		case m == nil:
			return end(millisecond)
		case m.status() != "":
			if status := m.status(); status[:3] == "503" || status[:3] == "404" {
				c.exists = false
			}
			return end(w.between(millisecond, 50*millisecond))
		}
		c.take(m)
		wanted--
		return wanted == 0 && end(c.rest())
	}
	c.client.ask(r, 3*second)
	if try != nil {
		w.checks.tries[c.client.inbox(r)] = try
	}
}

// take acknowledges a message, mostly.
func (c *consumer) take(m *outgoing) {
	w := c.topic.world
	w.checks.received(m)
	if c.config.AckPolicy == server.AckNone {
		return
	}
	switch draw := w.random.Float64(); {
	case draw < 0.65:
		c.acknowledge(m.reply)
	case draw < 0.80:
		c.confirm(m.reply)
	case draw < 0.90:
		w.after(w.often(0, 3*second), func() { c.acknowledge(m.reply) })
	case draw < 0.95:
		c.client.tell(m.reply, []byte("-NAK"))
	case draw < 0.97:
		w.checks.acknowledging(m.reply)
		c.client.tell(m.reply, []byte("+TERM"))
	}
}

func (c *consumer) acknowledge(reply string) {
	c.topic.world.checks.acknowledging(reply)
	c.client.tell(reply, []byte("+ACK"))
}

// confirm acknowledges a message and waits for the word that this counts.
func (c *consumer) confirm(reply string) {
	w := c.topic.world
	w.checks.acknowledging(reply)
	r := &request{subject: reply, payload: []byte("+ACK")}
	r.answer = func(m *outgoing) bool {
		if m != nil && m.status() == "" {
			w.checks.confirm(reply)
		}
		return true
	}
	c.client.ask(r, 2*second)
}
