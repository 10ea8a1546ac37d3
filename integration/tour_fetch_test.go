package integration

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var fetchFeatures = []feature{
	{"fetch with expiry", fetchExpiry},
	{"fetch waits for messages", fetchWaits},
	{"fetch without waiting", fetchNoWait},
	{"fetch with max bytes", fetchMaxBytes},
	{"fetch with heartbeats", fetchHeartbeats},
	{"consume", consume},
	{"consume idle with heartbeats", consumeIdle},
	{"messages", messagesIterator},
	{"two pulls share a consumer", sharedConsumer},
	{"many messages", manyMessages},
}

func fetchExpiry(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	const wait = 500 * time.Millisecond
	before := time.Now()
	batch, err := consumer.Fetch(5, jetstream.FetchMaxWait(wait))
	c.drain(batch, err, 1)
	if took := time.Since(before); took < wait/2 {
		c.t.Errorf("fetch of what is not there took %v, want about %v", took, wait)
	}
	check(c.t, "waiting pulls", c.consumerInfo(consumer).NumWaiting, 0)
}

func fetchWaits(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	batch, err := consumer.Fetch(3, jetstream.FetchMaxWait(callLimit))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 3 {
		c.publish("a", fmt.Sprint(i))
		if m := <-batch.Messages(); m == nil || string(m.Data()) != fmt.Sprint(i) {
			c.t.Fatalf("waiting fetch got %v, want message %d", m, i)
		}
	}
	if m, ok := <-batch.Messages(); ok {
		c.t.Errorf("fetch of three got %q too", m.Data())
	}
}

func fetchNoWait(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	c.fetchNothing(consumer)
	c.publish("a", "1", "2", "3")
	batch, err := consumer.FetchNoWait(10)
	c.drain(batch, err, 3)
}

func fetchMaxBytes(c *client) {
	s := c.create(jetstream.StreamConfig{})
	for range 10 {
		if _, err := c.js.Publish(c.ctx, c.subject("a"), make([]byte, 300)); err != nil {
			c.t.Fatal(err)
		}
	}
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	batch, err := consumer.FetchBytes(1500, jetstream.FetchMaxWait(time.Second))
	if err != nil {
		c.t.Fatal(err)
	}
	count, bytes := 0, 0
	for m := range batch.Messages() {
		count++
		bytes += len(m.Data())
	}
	if bytes > 1500 || count < 2 || count > 4 {
		c.t.Errorf("fetch of 1500 bytes got %d messages, %d bytes", count, bytes)
	}
	// A message that does not fit is not delivered, and the pull says so.
	before := time.Now()
	batch, err = consumer.FetchBytes(100, jetstream.FetchMaxWait(callLimit))
	c.drain(batch, err, 0)
	if took := time.Since(before); took > callLimit/2 {
		c.t.Errorf("fetch of less than one message took %v: it was not told so", took)
	}
}

func fetchHeartbeats(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	// nats.go fails this fetch when two heartbeats in a row are missing.
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(3*time.Second), jetstream.FetchHeartbeat(700*time.Millisecond))
	c.drain(batch, err, 0)
}

func consume(c *client) {
	s := c.create(jetstream.StreamConfig{})
	const count = 500
	c.publish("a", numbered("m", 10)...)
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	received := make(chan string, count)
	handle, err := consumer.Consume(func(m jetstream.Msg) {
		received <- string(m.Data())
		if err := m.Ack(); err != nil {
			c.t.Errorf("ack: %v", err)
		}
	}, jetstream.PullMaxMessages(50))
	if err != nil {
		c.t.Fatal(err)
	}
	defer handle.Stop()
	for _, payload := range numbered("m", count)[10:] {
		if _, err := c.js.PublishAsync(c.subject("a"), []byte(payload)); err != nil {
			c.t.Fatal(err)
		}
	}
	for i := range count {
		select {
		case got := <-received:
			if want := fmt.Sprintf("m%d", i+1); got != want {
				c.t.Fatalf("message %d is %q, want %q", i, got, want)
			}
		case <-time.After(callLimit):
			c.t.Fatalf("got %d of %d messages", i, count)
		}
	}
	c.wantAcked(consumer, count)
}

func consumeIdle(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	received := make(chan jetstream.Msg, 1)
	handle, err := consumer.Consume(func(m jetstream.Msg) { received <- m },
		jetstream.PullExpiry(time.Second), jetstream.PullHeartbeat(500*time.Millisecond),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { c.t.Errorf("idle consume: %v", err) }))
	if err != nil {
		c.t.Fatal(err)
	}
	defer handle.Stop()
	time.Sleep(2500 * time.Millisecond) // several pulls expire and are renewed
	c.publish("a", "after the silence")
	select {
	case m := <-received:
		check(c.t, "payload", string(m.Data()), "after the silence")
	case <-time.After(callLimit):
		c.t.Error("nothing is delivered after the silence")
	}
}

func messagesIterator(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 20)...)
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	iterator, err := consumer.Messages(jetstream.PullMaxMessages(7))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 20 {
		m, err := iterator.Next(jetstream.NextMaxWait(callLimit))
		if err != nil {
			c.t.Fatal(err)
		}
		check(c.t, "payload", string(m.Data()), fmt.Sprintf("m%d", i+1))
		c.acknowledge(m)
	}
	iterator.Stop()
	if _, err := iterator.Next(); !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		c.t.Errorf("next after stop: %v", err)
	}
}

func sharedConsumer(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	c.publish("a", numbered("m", 10)...)
	seen := map[string]bool{}
	other, err := s.Consumer(c.ctx, "d")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range append(c.fetch(consumer, 5), c.fetch(other, 5)...) {
		seen[string(m.Data())] = true
	}
	check(c.t, "different messages", len(seen), 10)
}

func manyMessages(c *client) {
	s := c.create(jetstream.StreamConfig{})
	const count = 5000
	payload := make([]byte, 128)
	for range count {
		// Wait for a place among nats.go's outstanding publishes.
		if _, err := c.js.PublishAsync(c.subject("a"), payload, jetstream.WithStallWait(callLimit)); err != nil {
			c.t.Fatal(err)
		}
	}
	c.publishedAll()
	checkState(c.t, c.info(s), count, 1, count)
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	for next := uint64(1); next <= count; next += 500 {
		for i, m := range c.fetch(consumer, 500) {
			if got := c.metadata(m).Sequence.Stream; got != next+uint64(i) {
				c.t.Fatalf("delivered sequence %d, want %d", got, next+uint64(i))
			}
			if err := m.Ack(); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	c.wantAcked(consumer, count)
}

var legacyFeatures = []feature{
	{"legacy streams", legacyStreams},
	{"legacy publish", legacyPublish},
	{"legacy pull", legacyPull},
}

func legacyStreams(c *client) {
	info, err := c.legacy.AddStream(&nats.StreamConfig{Name: c.stream, Subjects: []string{c.subject(">")}})
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "name", info.Config.Name, c.stream)
	if info, err = c.legacy.UpdateStream(&nats.StreamConfig{Name: c.stream, Subjects: []string{c.subject(">")}, MaxMsgs: 9}); err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "max messages", info.Config.MaxMsgs, 9)
	name, err := c.legacy.StreamNameBySubject(c.subject("a"))
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "stream of a subject", name, c.stream)
	if account, err := c.legacy.AccountInfo(); err != nil || account.Streams < 1 {
		c.t.Errorf("account info: %+v, %v", account, err)
	}
	if err := c.legacy.PurgeStream(c.stream); err != nil {
		c.t.Error(err)
	}
	if err := c.legacy.DeleteStream(c.stream); err != nil {
		c.t.Error(err)
	}
	_, err = c.legacy.StreamInfo(c.stream)
	c.wantError(err, nats.ErrStreamNotFound, "info of a deleted stream")
}

func legacyPublish(c *client) {
	c.create(jetstream.StreamConfig{})
	ack, err := c.legacy.Publish(c.subject("a"), []byte("1"), nats.MsgId("id"))
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "sequence", ack.Sequence, 1)
	if ack, err = c.legacy.Publish(c.subject("a"), []byte("1"), nats.MsgId("id")); err != nil || !ack.Duplicate {
		c.t.Errorf("second publish of an ID: %+v, %v", ack, err)
	}
	for range 100 {
		if _, err := c.legacy.PublishAsync(c.subject("a"), []byte("x")); err != nil {
			c.t.Fatal(err)
		}
	}
	select {
	case <-c.legacy.PublishAsyncComplete():
	case <-time.After(callLimit):
		c.t.Fatal("async publishes are not acknowledged")
	}
	m, err := c.legacy.GetLastMsg(c.stream, c.subject("a"))
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "last sequence", m.Sequence, 101)
	if err := c.legacy.DeleteMsg(c.stream, 101); err != nil {
		c.t.Error(err)
	}
	_, err = c.legacy.GetMsg(c.stream, 101)
	c.wantError(err, nats.ErrMsgNotFound, "get of a deleted message")
}

func legacyPull(c *client) {
	c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 10)...)
	subscription, err := c.legacy.PullSubscribe(c.subject("a"), "durable")
	if err != nil {
		c.t.Fatal(err)
	}
	messages, err := subscription.Fetch(10, nats.MaxWait(callLimit))
	if err != nil || len(messages) != 10 {
		c.t.Fatalf("fetched %d messages, %v", len(messages), err)
	}
	for _, m := range messages {
		if err := m.AckSync(); err != nil {
			c.t.Fatal(err)
		}
	}
	_, err = subscription.Fetch(1, nats.MaxWait(200*time.Millisecond))
	c.wantError(err, nats.ErrTimeout, "fetch of nothing")
	info, err := c.legacy.ConsumerInfo(c.stream, "durable")
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "ack floor", info.AckFloor.Stream, 10)
	if err := c.legacy.DeleteConsumer(c.stream, "durable"); err != nil {
		c.t.Error(err)
	}
}
