package integration

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var ackFeatures = []feature{
	{"ack explicit", ackExplicit},
	{"ack all", ackAll},
	{"ack none", ackNone},
	{"ack wait", ackWait},
	{"max deliver", maxDeliver},
	{"max ack pending", maxAckPending},
	{"nak", nak},
	{"nak with delay", nakWithDelay},
	{"in progress", inProgress},
	{"term", term},
}

func ackExplicit(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2", "3")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy})
	messages := c.fetch(consumer, 3)
	c.acknowledge(messages[1])
	info := c.consumerInfo(consumer)
	check(c.t, "awaiting acks", info.NumAckPending, 2)
	check(c.t, "ack floor", info.AckFloor.Stream, 0)
	c.acknowledge(messages[0])
	check(c.t, "ack floor", c.consumerInfo(consumer).AckFloor.Stream, 2)
	// An ack that nobody confirms counts as well.
	if err := messages[2].Ack(); err != nil {
		c.t.Fatal(err)
	}
	c.wantAcked(consumer, 3)
	c.wantError(messages[2].Ack(), jetstream.ErrMsgAlreadyAckd, "the second ack")
}

// wantAcked waits until everything up to a sequence is acknowledged.
func (c *client) wantAcked(consumer jetstream.Consumer, sequence uint64) {
	c.t.Helper()
	eventually(c.t, callLimit, "acks do not arrive", func() error {
		if info := c.consumerInfo(consumer); info.AckFloor.Stream != sequence || info.NumAckPending != 0 {
			return fmt.Errorf("ack floor %d, awaiting %d; want %d, 0", info.AckFloor.Stream, info.NumAckPending, sequence)
		}
		return nil
	})
}

func ackAll(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 5)...)
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckAllPolicy})
	messages := c.fetch(consumer, 5)
	c.acknowledge(messages[2])
	info := c.consumerInfo(consumer)
	check(c.t, "ack floor", info.AckFloor.Stream, 3)
	check(c.t, "awaiting acks", info.NumAckPending, 2)
	c.acknowledge(messages[4])
	check(c.t, "awaiting acks", c.consumerInfo(consumer).NumAckPending, 0)
}

func ackNone(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2", "3")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckNonePolicy})
	c.fetch(consumer, 2)
	c.wantAcked(consumer, 2)
	check(c.t, "next", string(c.fetch(consumer, 1)[0].Data()), "3")
	c.fetchNothing(consumer)
}

func ackWait(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckWait: 500 * time.Millisecond})
	first := c.fetch(consumer, 2)
	c.acknowledge(first[1])
	c.fetchNothing(consumer)
	// The one that was not acknowledged comes again, to a pull that waits.
	again := c.fetch(consumer, 1)[0]
	m := c.metadata(again)
	check(c.t, "redelivered", string(again.Data()), "1")
	check(c.t, "deliveries", m.NumDelivered, 2)
	check(c.t, "stream sequence", m.Sequence.Stream, 1)
	check(c.t, "consumer sequence", m.Sequence.Consumer, 3)
	check(c.t, "number redelivered", c.consumerInfo(consumer).NumRedelivered, 1)
	// Its first delivery may still be acknowledged.
	c.acknowledge(again)
	c.wantAcked(consumer, 2)
	check(c.t, "number redelivered", c.consumerInfo(consumer).NumRedelivered, 0)
}

func maxDeliver(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckWait: 300 * time.Millisecond, MaxDeliver: 2})
	deliveries := map[string]int{}
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		batch, err := consumer.Fetch(10, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			c.t.Fatal(err)
		}
		for m := range batch.Messages() {
			deliveries[string(m.Data())]++
		}
	}
	check(c.t, "deliveries of 1", deliveries["1"], 2)
	check(c.t, "deliveries of 2", deliveries["2"], 2)
	c.publish("a", "3")
	check(c.t, "next", string(c.fetch(consumer, 1)[0].Data()), "3")
}

func maxAckPending(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 5)...)
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", MaxAckPending: 2})
	first := c.fetchNow(consumer, 5, 2)
	c.fetchNothing(consumer)
	c.acknowledge(first[0])
	check(c.t, "next", string(c.fetch(consumer, 1)[0].Data()), "m3")
}

func nak(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	first := c.fetch(consumer, 2)
	if err := first[0].Nak(); err != nil {
		c.t.Fatal(err)
	}
	again := c.fetch(consumer, 1)[0]
	check(c.t, "redelivered", string(again.Data()), "1")
	check(c.t, "deliveries", c.metadata(again).NumDelivered, 2)
}

func nakWithDelay(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	const delay = 700 * time.Millisecond
	before := time.Now()
	if err := c.fetch(consumer, 1)[0].NakWithDelay(delay); err != nil {
		c.t.Fatal(err)
	}
	again := c.fetch(consumer, 1)[0]
	check(c.t, "deliveries", c.metadata(again).NumDelivered, 2)
	if took := time.Since(before); took < delay {
		c.t.Errorf("redelivered after %v, want at least %v", took, delay)
	}
}

func inProgress(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1")
	const wait = 900 * time.Millisecond
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckWait: wait})
	before := time.Now()
	message := c.fetch(consumer, 1)[0]
	for time.Since(before) < 2*wait {
		if err := message.InProgress(); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(wait / 9)
	}
	// Without the signs of life it would have come again long ago.
	again := c.fetch(consumer, 1)[0]
	if took := time.Since(before); took < 2*wait {
		c.t.Errorf("redelivered after %v while in progress", took)
	}
	check(c.t, "deliveries", c.metadata(again).NumDelivered, 2)
}

func term(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", AckWait: 300 * time.Millisecond})
	messages := c.fetch(consumer, 2)
	if err := messages[0].Term(); err != nil {
		c.t.Fatal(err)
	}
	if err := messages[1].TermWithReason("cannot be read"); err != nil {
		c.t.Fatal(err)
	}
	c.wantAcked(consumer, 2)
	time.Sleep(500 * time.Millisecond) // more than the ack wait
	c.fetchNothing(consumer)
}
