package simulation

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// consumer is a client with a durable pull consumer.
type consumer struct {
	topic  *topic
	client *client
	name   string
	exists bool
}

func newConsumer(t *topic, number int) *consumer {
	c := &consumer{topic: t, client: t.world.newClient(), name: fmt.Sprintf("C%d", number)}
	t.world.after(t.world.between(0, 2*second), c.work)
	return c
}

func (c *consumer) key() string { return c.topic.name + "." + c.name }

// work asks for messages, after it has made sure that there is a consumer.
func (c *consumer) work() {
	w := c.topic.world
	if !c.exists {
		request := server.CreateConsumerRequest{Stream: c.topic.name, Config: server.ConsumerConfig{
			Durable: c.name, AckPolicy: server.AckExplicit, AckWait: 2 * time.Second, MaxAckPending: 64, MaxDeliver: -1,
			DeliverPolicy: server.DeliverAll, ReplayPolicy: server.ReplayInstant,
		}}
		call(c.client, "CONSUMER.DURABLE.CREATE."+c.key(), &request, func(response *server.JSApiConsumerCreateResponse, ok bool) {
			c.exists = ok && response.Error == nil
			w.after(w.between(10*millisecond, 500*millisecond), c.work)
		})
		return
	}
	c.pull()
}

// pull asks for a few messages and takes what comes until the request ends.
func (c *consumer) pull() {
	w := c.topic.world
	wanted := 1 + w.random.IntN(20)
	r := &request{
		subject: "$JS.API.CONSUMER.MSG.NEXT." + c.key(),
		payload: fmt.Appendf(nil, `{"batch":%d,"expires":%d}`, wanted, time.Second),
	}
	ended := false
	end := func(pause int64) bool {
		if !ended {
			ended = true
			w.after(pause, c.work)
		}
		return true
	}
	r.answer = func(m *outgoing) bool {
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
		return wanted == 0 && end(0)
	}
	c.client.ask(r, 3*second)
}

// take acknowledges a message, mostly.
func (c *consumer) take(m *outgoing) {
	w := c.topic.world
	w.checks.received(c, m)
	answer := func(word string) func() {
		return func() {
			if word != "-NAK" {
				w.checks.acknowledging(c, m.reply)
			}
			if word == "" && w.chance(0.2) {
				w.nats.send(c.client, m.reply, "", nil, []byte("+ACK"))
				return
			}
			c.client.tell(m.reply, []byte(word))
		}
	}
	switch draw := w.random.Float64(); {
	case draw < 0.80:
		answer("")()
	case draw < 0.90:
		w.after(w.often(0, 3*second), answer(""))
	case draw < 0.95:
		answer("-NAK")()
	}
}
