package integration

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestRequestsSeePublishesWithoutAnAnswer publishes without waiting and asks behind
// it on the same connection, at every node, while others publish as well.
func TestRequestsSeePublishesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	requireHoldfast(t) // a replicated stream of JetStream does not promise it
	c := startCluster(t, 3)
	c.waitFormed(t)
	leaveAlone := beside(t, newClient(t, c.nodes[0]))
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() { askBehindPublishes(t, newClient(t, n)) })
	}
	all.Wait()
	leaveAlone()
}

// decidePatience is how long a request waits at most for what came before it: on a
// machine that is so busy the answer may tell of less.
const decidePatience = time.Second

// askBehindPublishes asks in each way that does not depend on which node answers.
func askBehindPublishes(t *testing.T, c *client) {
	const turns, each = 5, 100
	s := c.create(jetstream.StreamConfig{})
	add := func(config jetstream.ConsumerConfig) jetstream.Consumer {
		config.InactiveThreshold = readyLimit // others may keep the machine busy between two requests to it
		consumer, err := s.CreateConsumer(c.ctx, config)
		if err != nil {
			t.Errorf("create consumer: %v", err)
			return nil
		}
		return consumer
	}
	idle := add(jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	busy := add(jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if idle == nil || busy == nil {
		return
	}
	fetched := uint64(0)
	ways := []struct {
		name string
		ask  func() (seen uint64, err error)
	}{
		{"stream info", func() (uint64, error) {
			info, err := s.Info(c.ctx)
			if err != nil {
				return 0, err
			}
			return info.State.Msgs, nil
		}},
		{"consumer info", func() (uint64, error) {
			info, err := idle.Info(c.ctx)
			if err != nil {
				return 0, err
			}
			return info.NumPending, nil
		}},
		{"last message", func() (uint64, error) {
			m, err := s.GetLastMsgForSubject(c.ctx, c.subject("a"))
			if err != nil {
				return 0, err
			}
			return m.Sequence, nil
		}},
		{"new consumer", func() (uint64, error) {
			last, err := s.CreateConsumer(c.ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPolicy})
			if err != nil {
				return 0, err
			}
			info := last.CachedInfo()
			return info.Delivered.Stream + info.NumPending, nil
		}},
		{"fetch", func() (uint64, error) {
			batch, err := busy.FetchNoWait(turns * each * 10)
			if err != nil {
				return 0, err
			}
			for range batch.Messages() {
				fetched++
			}
			return fetched, batch.Error()
		}},
	}
	stored := uint64(0)
	for range turns {
		for _, way := range ways {
			for range each {
				c.nc.Publish(c.subject("a"), []byte("without an answer"))
			}
			stored += each
			began := time.Now()
			seen, err := way.ask()
			if took := time.Since(began); err != nil || seen != stored && took < decidePatience {
				t.Errorf("%s: saw %d of %d after %v, %v", way.name, seen, stored, took, err)
			}
		}
	}
}

// beside publishes to a stream of its own until it is told to end.
func beside(t *testing.T, c *client) (end func()) {
	c.create(jetstream.StreamConfig{})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				c.publishedAll()
				return
			case <-time.After(time.Millisecond):
			}
			for range 50 {
				if _, err := c.js.PublishAsync(c.subject("b"), []byte("load")); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	return func() { close(stop); <-ended }
}
