package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxSilence is how long publishing may pause when the leader's process dies.
const maxSilence = 500 * time.Millisecond

// TestLeaderKilled kills the stream's leader under load, three times over:
// nothing acknowledged is lost, and publishing goes on through the other nodes
// at once.
func TestLeaderKilled(t *testing.T) {
	c := startCluster(t, 3)
	first := newClient(t, c.nodes[0])
	first.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()

	var silences []time.Duration
	for range 3 {
		c.waitReady(t)
		leader := c.streamLeader(t, first.stream)
		load, ctx := startLoad(t, ledger)
		pulses := make([]*pulse, 0, 2)
		for _, n := range c.others(leader) {
			nc := n.connect(t)
			load.publishers(t, ctx, nc, 4, first.subject("load"), time.Second)
			pulses = append(pulses, startPulse(t, ctx, nc, first.subject("pulse")))
		}
		time.Sleep(300 * time.Millisecond)
		died := leader.kill(t)
		for _, p := range pulses {
			eventually(t, readyLimit, "no publish is acknowledged after the death of "+leader.name, func() error {
				if _, over := p.silenceAfter(died); !over {
					return errors.New("still silent")
				}
				return nil
			})
		}
		time.Sleep(500 * time.Millisecond)
		load.finish()
		for _, p := range pulses {
			silence, _ := p.silenceAfter(died)
			silences = append(silences, silence)
		}
		leader.start(t)
		c.waitReady(t)
	}

	slices.Sort(silences)
	t.Logf("silences after a crash of the leader: %v", silences)
	requireHoldfast(t) // JetStream takes part for the figure above
	// One crash may meet a split vote or a busy machine; the usual one must not.
	if median, limit := silences[len(silences)/2], speedLimit(maxSilence); median > limit {
		t.Errorf("publishing pauses for %v when the leader is killed, want at most %v", median, limit)
	}
	acked, refused := ledger.counts()
	t.Logf("%d publishes acknowledged, %d unanswered: %q", acked, refused, ledger.errors())
	if acked < 100 {
		t.Errorf("only %d publishes were acknowledged: that is no load", acked)
	}
	for _, n := range c.nodes {
		ledger.verify(t, n, first.stream)
	}
}

// streamLeader is the node that leads a stream, as clients are told.
func (c *cluster) streamLeader(t *testing.T, stream string) *node {
	t.Helper()
	var leader *node
	eventually(t, readyLimit, "stream has no leader", func() error {
		client := newClient(t, c.nodes[0])
		defer client.nc.Close()
		s, err := client.js.Stream(client.ctx, stream)
		if err != nil {
			return err
		}
		cluster := s.CachedInfo().Cluster
		if cluster == nil || c.node(cluster.Leader) == nil {
			return fmt.Errorf("stream info says cluster %+v", cluster)
		}
		leader = c.node(cluster.Leader)
		return nil
	})
	return leader
}

// pulse sends a small publish every few milliseconds, without retries, and
// notes when each was sent and answered.
type pulse struct {
	mu    sync.Mutex
	beats []beat // those that were acknowledged
}

type beat struct{ sent, acked time.Time }

func startPulse(t *testing.T, ctx context.Context, nc *nats.Conn, subject string) *pulse {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	p := &pulse{}
	var beats sync.WaitGroup
	t.Cleanup(beats.Wait)
	beats.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			<-ticker.C
			beats.Go(func() {
				call, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				sent := time.Now()
				if _, err := js.Publish(call, subject, nil, jetstream.WithRetryAttempts(0)); err == nil {
					p.mu.Lock()
					p.beats = append(p.beats, beat{sent, time.Now()})
					p.mu.Unlock()
				}
			})
		}
	})
	return p
}

// silenceAfter is the time from a moment to the first acknowledgement of a
// publish that was sent after it.
func (p *pulse) silenceAfter(moment time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, found := time.Time{}, false
	for _, b := range p.beats {
		if b.sent.After(moment) && (!found || b.acked.Before(first)) {
			first, found = b.acked, true
		}
	}
	return first.Sub(moment), found
}

// TestLeaderStopped stops the leader as an upgrade would, each time on another
// node: leadership is handed over and not one publish fails, with nats.go's own
// retries and nothing else.
func TestLeaderStopped(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	first := newClient(t, c.nodes[0])
	first.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	for range 3 {
		leader := c.waitReady(t)
		load, ctx := startLoad(t, ledger)
		for _, n := range c.others(leader) {
			nc := n.connect(t)
			load.publishers(t, ctx, nc, 3, first.subject("sync"), callLimit)
			load.asyncPublisher(t, ctx, nc, first.subject("async"), 100)
		}
		time.Sleep(300 * time.Millisecond)
		leader.stop(t)
		c.waitReady(t)
		time.Sleep(300 * time.Millisecond)
		load.finish()
		leader.start(t)
		c.waitReady(t)
	}
	ledger.wantNoneRefused(t, "during planned stops")
	for _, n := range c.nodes {
		ledger.verify(t, n, first.stream)
	}
}

// TestFollowerStopped is the other half of an upgrade: a client of the stopped
// node goes on at another one, and nobody else notices.
func TestFollowerStopped(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	leader := c.waitReady(t)
	follower := c.others(leader)[0]
	moving := withConnection(t, connectAll(t, append([]*node{follower}, c.others(follower)...)...))
	moving.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	load, ctx := startLoad(t, ledger)
	load.publishers(t, ctx, leader.connect(t), 3, moving.subject("a"), callLimit)
	check(t, "node of the client", moving.nc.ConnectedUrl(), follower.clientURL())
	follower.stop(t)
	eventually(t, callLimit, "client of the stopped node does not go on", func() error {
		ack, err := moving.js.Publish(moving.ctx, moving.subject("moved"), []byte("moved"))
		if err == nil {
			ledger.record("moved", ack, nil)
		}
		return err
	})
	follower.start(t)
	c.waitReady(t)
	load.finish()
	ledger.wantNoneRefused(t, "while a follower was stopped")
	for _, n := range c.nodes {
		ledger.verify(t, n, moving.stream)
	}
}

// TestLeaderPaused freezes the leader without closing its connections, as a
// host that hangs does: the others go on after an election timeout, and the old
// leader finds its place when it wakes.
func TestLeaderPaused(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	leader := c.waitReady(t)
	others := c.others(leader)
	client := newClient(t, others[0])
	client.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	load, ctx := startLoad(t, ledger)
	load.publishers(t, ctx, others[0].connect(t), 3, client.subject("a"), 2*time.Second)
	time.Sleep(200 * time.Millisecond)
	leader.pause(t)
	eventually(t, readyLimit, "nobody takes over from a frozen leader", func() error {
		call, cancel := context.WithTimeout(client.ctx, time.Second)
		defer cancel()
		_, err := client.js.Publish(call, client.subject("b"), nil, jetstream.WithRetryAttempts(0))
		return err
	})
	leader.resume(t)
	c.waitReady(t)
	time.Sleep(300 * time.Millisecond)
	load.finish()
	for _, n := range c.nodes {
		ledger.verify(t, n, client.stream)
	}
}

// TestLeaderVanishes has a leader whose host is gone without a word: its
// connections stay open and the NATS servers of the others believe in it for a
// while. As soon as the next leader answers once, it answers every time.
func TestLeaderVanishes(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	vanished := c.waitFormed(t)
	others := c.others(vanished)
	client := newClient(t, others[0])
	stream := client.create(jetstream.StreamConfig{Replicas: 3})
	consumer := client.consumer(stream, jetstream.ConsumerConfig{Durable: "d"})
	ledger := newLedger()
	vanished.pause(t)
	for _, n := range others {
		through := newClient(t, n)
		eventually(t, readyLimit, "nobody takes over", func() error {
			call, cancel := context.WithTimeout(through.ctx, 500*time.Millisecond)
			defer cancel()
			_, err := through.js.Publish(call, client.subject("first"), nil, jetstream.WithRetryAttempts(0))
			return err
		})
	}
	load, ctx := startLoad(t, ledger)
	for _, n := range others {
		load.publishers(t, ctx, n.connect(t), 2, client.subject("a"), callLimit)
	}
	const rounds = 50
	for range rounds {
		client.publish("b", "x")
		client.acknowledge(client.fetch(consumer, 1)...)
		client.info(stream)
	}
	load.finish()
	ledger.wantNoneRefused(t, "without the leader that vanished")
	replicas(t, client.info(stream), vanished.name)
	vanished.resume(t)
	c.waitFormed(t)
	replicas(t, client.info(stream), "")
	for _, n := range c.nodes {
		ledger.verify(t, n, client.stream)
	}
}

// replicas checks what an info says of them: all but the one that is named are there,
// and when each was last heard from.
func replicas(t *testing.T, info *jetstream.StreamInfo, absent string) {
	t.Helper()
	if info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
		t.Fatalf("cluster of %s: %+v", info.Config.Name, info.Cluster)
	}
	for _, r := range info.Cluster.Replicas {
		if r.Offline != (r.Name == absent) || r.Active <= 0 {
			t.Errorf("replica %+v, absent is %q", r, absent)
		}
	}
}
