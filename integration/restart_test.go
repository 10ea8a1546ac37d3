package integration

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// scene is a stream with a history and two consumers in the middle of their
// work, set up once and expected back after every restart.
type scene struct {
	stream string
	root   string
	state  jetstream.StreamState
	lines  []string // the payloads that are left, in order
	acked  *jetstream.ConsumerInfo
	begun  *jetstream.ConsumerInfo
}

// playScene sets the scene through one node.
func playScene(t *testing.T, n *node, replicas int) *scene {
	t.Helper()
	c := newClient(t, n)
	stream := c.create(jetstream.StreamConfig{Replicas: replicas, Description: "kept", MaxMsgsPerSubject: 40})
	c.publish("a", numbered("a", 60)...) // 20 of them give way
	c.publish("b", numbered("b", 30)...)
	if err := stream.DeleteMsg(c.ctx, 65); err != nil { // b5
		t.Fatal(err)
	}
	if _, err := c.js.Publish(c.ctx, c.subject("c"), []byte("once"), jetstream.WithMsgID("once")); err != nil {
		t.Fatal(err)
	}
	acked := c.consumer(stream, jetstream.ConsumerConfig{Durable: "acked", FilterSubject: c.subject("b")})
	c.acknowledge(c.fetch(acked, 10)...)
	begun := c.consumer(stream, jetstream.ConsumerConfig{Durable: "begun", AckWait: time.Hour})
	messages := c.fetch(begun, 5)
	c.acknowledge(messages[0], messages[1], messages[3])

	s := &scene{stream: c.stream, root: c.root, state: c.info(stream).State, acked: c.consumerInfo(acked), begun: c.consumerInfo(begun)}
	for i := 21; i <= 60; i++ {
		s.lines = append(s.lines, fmt.Sprintf("a%d", i))
	}
	for i := 1; i <= 30; i++ {
		if i != 5 {
			s.lines = append(s.lines, fmt.Sprintf("b%d", i))
		}
	}
	s.lines = append(s.lines, "once")
	return s
}

// verify expects the scene as it was, through one node.
func (s *scene) verify(t *testing.T, n *node) {
	t.Helper()
	c := newClient(t, n)
	var stream jetstream.Stream
	eventually(t, readyLimit, "stream is not back", func() (err error) {
		if stream, err = c.js.Stream(c.ctx, s.stream); err != nil {
			return err
		}
		_, first := stream.Consumer(c.ctx, s.acked.Name)
		_, second := stream.Consumer(c.ctx, s.begun.Name)
		return errors.Join(first, second)
	})
	state := stream.CachedInfo().State
	state.Consumers = s.state.Consumers // readers come and go
	if fmt.Sprintf("%+v", state) != fmt.Sprintf("%+v", s.state) {
		t.Errorf("through %s: state %+v, was %+v", n.name, state, s.state)
	}
	check(t, "description", stream.CachedInfo().Config.Description, "kept")
	stored := c.readAll(stream)
	var lines []string
	for sequence := state.FirstSeq; sequence <= state.LastSeq; sequence++ {
		if line, there := stored[sequence]; there {
			lines = append(lines, line)
		}
	}
	if !slices.Equal(lines, s.lines) {
		t.Errorf("through %s: messages %q, want %q", n.name, lines, s.lines)
	}
	for _, want := range []*jetstream.ConsumerInfo{s.acked, s.begun} {
		consumer, err := stream.Consumer(c.ctx, want.Name)
		if err != nil {
			t.Errorf("through %s: consumer %s: %v", n.name, want.Name, err)
			continue
		}
		got := consumer.CachedInfo()
		if got.Delivered.Stream != want.Delivered.Stream || got.Delivered.Consumer != want.Delivered.Consumer ||
			got.AckFloor.Stream != want.AckFloor.Stream || got.AckFloor.Consumer != want.AckFloor.Consumer ||
			got.NumAckPending != want.NumAckPending || got.NumPending != want.NumPending || !got.Created.Equal(want.Created) {
			t.Errorf("through %s: consumer %+v, was %+v", n.name, got, want)
		}
	}
	// Within its window an ID is still known.
	ack, err := c.js.Publish(c.ctx, s.root+".c", []byte("once"), jetstream.WithMsgID("once"))
	if err != nil || !ack.Duplicate {
		t.Errorf("through %s: second publish of an ID: %+v, %v", n.name, ack, err)
	}
}

// TestRestartAll restarts a whole cluster in several orders, gently and not:
// streams, messages and the positions of consumers are back every time.
func TestRestartAll(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	s := playScene(t, c.nodes[0], 3)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	for _, story := range []struct {
		name  string
		end   func()
		order []*node
	}{
		{"stopped one after the other", func() { n1.stop(t); n2.stop(t); n3.stop(t) }, []*node{n3, n1, n2}},
		{"killed at once", func() { n1.kill(t); n2.kill(t); n3.kill(t) }, []*node{n2, n1, n3}},
		{"stopped in another order", func() { n3.stop(t); n1.stop(t); n2.stop(t) }, []*node{n1, n2, n3}},
	} {
		t.Log(story.name)
		story.end()
		for i, n := range story.order {
			n.start(t)
			if i == 1 {
				// Two of three are enough.
				c.waitReady(t)
				s.verify(t, n)
			}
		}
		c.waitReady(t)
		for _, n := range c.nodes {
			s.verify(t, n)
		}
	}

	// And a rolling restart, which never leaves the cluster.
	for _, n := range c.nodes {
		n.stop(t)
		n.start(t)
		c.waitReady(t)
	}
	s.verify(t, n2)
	s.goOn(t, n2)
}

// goOn expects that the consumers continue exactly where they were.
func (s *scene) goOn(t *testing.T, n *node) {
	t.Helper()
	c := newClient(t, n)
	stream, err := c.js.Stream(c.ctx, s.stream)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"acked": "b12", "begun": "a26"} {
		consumer, err := stream.Consumer(c.ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "next message of "+name, string(c.fetch(consumer, 1)[0].Data()), want)
	}
	check(t, "next sequence", c.mustPublish(s.root+".a", "more").Sequence, s.state.LastSeq+1)
}

func (c *client) mustPublish(subject, payload string) *jetstream.PubAck {
	c.t.Helper()
	ack, err := c.js.Publish(c.ctx, subject, []byte(payload))
	if err != nil {
		c.t.Fatalf("publish %q: %v", payload, err)
	}
	return ack
}

// TestRestartSingleNode does the same to one node.
func TestRestartSingleNode(t *testing.T) {
	t.Parallel()
	c := startSingle(t)
	n := c.nodes[0]
	s := playScene(t, n, 1)
	n.stop(t)
	n.start(t)
	c.waitReady(t)
	s.verify(t, n)
	n.kill(t)
	n.start(t)
	c.waitReady(t)
	s.verify(t, n)
	s.goOn(t, n)
}

// TestAnOrderedConsumerOutlivesARestart restarts the node below an ordered consumer,
// which asks to be kept in memory. It is in the log like any other, and goes on with
// its next message; the client has nothing to make again.
func TestAnOrderedConsumerOutlivesARestart(t *testing.T) {
	t.Parallel()
	cluster := startSingle(t)
	n := cluster.nodes[0]
	c := newClient(t, n)
	c.create(jetstream.StreamConfig{Storage: jetstream.MemoryStorage})
	// A heartbeat that is rarer than a restart takes: the client misses none.
	sub, err := c.legacy.SubscribeSync(c.subject("a"), nats.OrderedConsumer(), nats.IdleHeartbeat(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	before, err := sub.ConsumerInfo()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "asks for memory", before.Config.MemoryStorage, true)
	next := func(payload string, sequence uint64) {
		t.Helper()
		m, err := sub.NextMsg(readyLimit)
		if err != nil {
			t.Fatalf("%s did not come: %v", payload, err)
		}
		metadata, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		check(t, "payload", string(m.Data), payload)
		check(t, "consumer", metadata.Consumer, before.Name)
		check(t, "consumer sequence of "+payload, metadata.Sequence.Consumer, sequence)
	}
	c.publish("a", "before")
	next("before", 1)

	n.stop(t)
	n.start(t)
	cluster.waitReady(t)
	newClient(t, n).mustPublish(c.subject("a"), "behind")
	next("behind", 2)
	after, err := sub.ConsumerInfo()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "created", after.Created, before.Created)
}
