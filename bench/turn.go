package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/servers"
)

// loadNames are the loads in the order in which they run.
var loadNames = []string{"start", "async128", "fetch", "async1k", "sync128", "failover"}

const (
	// startTime bounds the wait for the first stream.
	startTime = 60 * time.Second
	// quietTime lets followers and delayed writes finish before bytes are read.
	quietTime = 500 * time.Millisecond
	// pollTime is the pause between two looks at something that comes by itself.
	pollTime = 10 * time.Millisecond
	replicas = 3
)

// turn is one target's turn: a fresh cluster, all loads, and its end.
type turn struct {
	*options
	target  *servers.Target
	program string
	dir     string
	results *results

	cluster *cluster
}

// wants reports whether a load was asked for.
func (t *turn) wants(load string) bool { return slices.Contains(t.loads, load) }

// add records a figure of this turn.
func (t *turn) add(f *figure, value float64) {
	t.results.add(t.target, f, value)
	fmt.Fprintf(os.Stderr, "  %-34s %s\n", f.title, f.format(value))
}

func (t *turn) run(ctx context.Context) (err error) {
	cluster, err := newCluster(t.target, t.program, t.dir, t.secret)
	if err != nil {
		return err
	}
	t.cluster = cluster
	defer func() {
		cluster.stop()
		err = errors.Join(err, os.RemoveAll(cluster.Folder))
	}()
	began := time.Now()
	for _, n := range cluster.nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	if err := t.firstStream(ctx, began); err != nil {
		return errors.Join(err, cluster.dead(), fmt.Errorf("the log of n1 ends:\n%s", cluster.nodes[0].LastLines(20)))
	}
	for _, load := range []struct {
		wanted bool
		run    func(context.Context) error
	}{
		{t.wants("async128") || t.wants("fetch"), t.async128},
		{t.wants("async1k"), t.async1k},
		{t.wants("sync128"), t.sync128},
		{t.wants("failover"), t.failover},
	} {
		if !load.wanted {
			continue
		}
		if err := load.run(ctx); err != nil {
			return errors.Join(err, cluster.dead())
		}
	}
	return nil
}

// firstStream waits until a stream can be created, which every target has to
// do before anything can be measured.
func (t *turn) firstStream(ctx context.Context, began time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("no stream could be created"))
	defer cancel()
	var last error
	for ctx.Err() == nil {
		last = t.with(t.cluster.nodes[0], func(js jetstream.JetStream) error {
			return createStream(ctx, js, "first")
		})
		if last == nil {
			t.add(startFigure, time.Since(began).Seconds())
			return nil
		}
		if t.cluster.dead() != nil {
			break
		}
		time.Sleep(pollTime)
	}
	return fmt.Errorf("create the first stream: %w", errors.Join(last, context.Cause(ctx)))
}

// with connects to a node for the time of do.
func (t *turn) with(n *node, do func(jetstream.JetStream) error) error {
	nc, err := nats.Connect(n.URL(), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(0))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(outstanding), jetstream.WithPublishAsyncTimeout(ackTime))
	if err != nil {
		return err
	}
	return do(js)
}

// withStream creates a stream and connects to the node that leads it.
func (t *turn) withStream(ctx context.Context, name string, do func(jetstream.JetStream, *node) error) error {
	creating, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err := t.with(t.cluster.nodes[0], func(js jetstream.JetStream) error { return createStream(creating, js, name) })
	if err != nil {
		return fmt.Errorf("create stream %s: %w", name, err)
	}
	leader, err := t.leader(ctx, name)
	if err != nil {
		return err
	}
	return t.with(leader, func(js jetstream.JetStream) error { return do(js, leader) })
}

// leader is the node that leads a stream, once there is one.
func (t *turn) leader(ctx context.Context, stream string) (leader *node, err error) {
	err = t.with(t.cluster.nodes[0], func(js jetstream.JetStream) error {
		for {
			s, err := js.Stream(ctx, stream)
			if err != nil {
				return fmt.Errorf("look up stream %s: %w", stream, err)
			}
			if info := s.CachedInfo().Cluster; info != nil {
				if leader = t.cluster.named(info.Leader); leader != nil {
					return nil
				}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pollTime):
			}
		}
	})
	return leader, err
}

// createStream creates a stream as soon as the cluster does that. A young one may
// not know yet that all of its members are there. It returns the last refusal.
func createStream(ctx context.Context, js jetstream.JetStream, name string) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err := js.CreateStream(attempt, streamConfig(name))
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(pollTime)
	}
}

func streamConfig(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Storage: jetstream.FileStorage, Replicas: replicas}
}
