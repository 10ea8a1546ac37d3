package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	outstanding = 500 // asynchronous publishes, and messages of one fetch
	// ackTime is how long an asynchronous publish may wait for its answer.
	ackTime = 10 * time.Second
	// fetchTime is how long one fetch may wait for messages that are there.
	fetchTime = 10 * time.Second
	// failoverTime bounds the wait for a new leader.
	failoverTime = 60 * time.Second
	// failoverEvery is the time between two publishes of the failover load, and
	// so the resolution of its figure.
	failoverEvery = 10 * time.Millisecond
	// warmUp goes before each publishing load and is not counted.
	warmUp = 500 * time.Millisecond
)

func payload(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	return data
}

func (t *turn) async128(ctx context.Context) error {
	return t.withStream(ctx, "async128", func(js jetstream.JetStream, _ *node) error {
		if err := t.async(ctx, js, "async128", 128, async128Figure, written128Figure); err != nil {
			return err
		}
		if !t.wants("fetch") {
			return nil
		}
		return t.fetch(ctx, js, "async128")
	})
}

func (t *turn) async1k(ctx context.Context) error {
	return t.withStream(ctx, "async1k", func(js jetstream.JetStream, _ *node) error {
		return t.async(ctx, js, "async1k", 1024, async1kFigure, written1kFigure)
	})
}

// async publishes as fast as answers come, and waits for the last answer.
func (t *turn) async(ctx context.Context, js jetstream.JetStream, stream string, size int, rate, written *figure) error {
	data := payload(size)
	subject := stream + ".load"
	if _, err := publishAsync(ctx, js, subject, data, warmUp); err != nil {
		return err
	}
	before, err := t.cluster.written()
	if err != nil {
		return err
	}
	began := time.Now()
	count, err := publishAsync(ctx, js, subject, data, t.load)
	if err != nil {
		return err
	}
	took := time.Since(began)
	time.Sleep(quietTime)
	after, err := t.cluster.written()
	if err != nil {
		return err
	}
	if t.wants(stream) {
		t.add(rate, float64(count)/took.Seconds())
		t.add(written, float64(after-before)/float64(count*size*len(t.cluster.nodes)))
	}
	return nil
}

// publishAsync publishes for some time and returns how many publishes were
// acknowledged, which has to be all of them.
func publishAsync(ctx context.Context, js jetstream.JetStream, subject string, data []byte, length time.Duration) (count int, err error) {
	var futures [outstanding]jetstream.PubAckFuture
	var refused error
	check := func(f jetstream.PubAckFuture) {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			refused = err
		}
	}
	for end := time.Now().Add(length); refused == nil && ctx.Err() == nil && time.Now().Before(end); count++ {
		slot := &futures[count%outstanding]
		if *slot != nil {
			check(*slot) // the 500th before this one
		}
		if *slot, err = js.PublishAsync(subject, data); err != nil {
			return count, fmt.Errorf("publish: %w", err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return count, ctx.Err()
	case <-time.After(ackTime):
		return count, errors.New("publishes are left without an answer")
	}
	for _, f := range futures[:min(count, outstanding)] {
		check(f)
	}
	if ctx.Err() != nil {
		return count, ctx.Err()
	}
	if refused != nil {
		return count, fmt.Errorf("publish: %w", refused)
	}
	return count, nil
}

// fetch reads a stream from its beginning with a durable pull consumer.
func (t *turn) fetch(ctx context.Context, js jetstream.JetStream, stream string) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", stream, err)
	}
	left := int(s.CachedInfo().State.Msgs)
	consumer, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "fetch", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return fmt.Errorf("create a consumer: %w", err)
	}
	for info := consumer.CachedInfo(); info.Cluster == nil || info.Cluster.Leader == ""; { // nobody answers before
		time.Sleep(pollTime)
		if info, err = consumer.Info(ctx); err != nil {
			return fmt.Errorf("look up the consumer: %w", err)
		}
	}
	began := time.Now()
	count := 0
	for end := began.Add(t.load); left > 0 && ctx.Err() == nil && time.Now().Before(end); {
		batch, err := consumer.Fetch(min(left, outstanding), jetstream.FetchMaxWait(fetchTime))
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		for m := range batch.Messages() {
			if err := m.Ack(); err != nil {
				return fmt.Errorf("acknowledge: %w", err)
			}
			left, count = left-1, count+1
		}
		err = batch.Error()
		if errors.Is(err, nats.ErrNoResponders) && count == 0 {
			time.Sleep(pollTime) // the servers do not know yet who answers
			began = time.Now()
			continue
		}
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	took := time.Since(began)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := acknowledged(ctx, consumer, count); err != nil {
		return err
	}
	t.add(fetchFigure, float64(count)/took.Seconds())
	return nil
}

// acknowledged waits until all acknowledgements have arrived.
func acknowledged(ctx context.Context, consumer jetstream.Consumer, count int) error {
	for end := time.Now().Add(ackTime); ; time.Sleep(pollTime) {
		info, err := consumer.Info(ctx)
		if err != nil {
			return fmt.Errorf("look up the consumer: %w", err)
		}
		if info.AckFloor.Consumer >= uint64(count) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("of %d acknowledgements the consumer has %d", count, info.AckFloor.Consumer)
		}
	}
}

// sync128 publishes one message after the other.
func (t *turn) sync128(ctx context.Context) error {
	return t.withStream(ctx, "sync128", func(js jetstream.JetStream, _ *node) error {
		data := payload(128)
		began, count := time.Now(), 0
		for end := began.Add(t.load); time.Now().Before(end); count++ {
			if _, err := js.Publish(ctx, "sync128.load", data); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		t.add(sync128Figure, float64(count)/time.Since(began).Seconds())
		return nil
	})
}

// failover kills the leader while publishes go on through another node. It
// leaves two nodes, so it comes last.
func (t *turn) failover(ctx context.Context) error {
	return t.withStream(ctx, "failover", func(_ jetstream.JetStream, leader *node) error {
		other := t.cluster.nodes[0]
		if other == leader {
			other = t.cluster.nodes[1]
		}
		return t.with(other, func(js jetstream.JetStream) error { return t.silence(ctx, js, leader) })
	})
}

// silence measures from the kill to the first acknowledgement of a publish that
// was sent after it.
func (t *turn) silence(ctx context.Context, js jetstream.JetStream, leader *node) error {
	var killed atomic.Int64 // time since began, in ns; 0: not yet
	began := time.Now()
	acks := make(chan time.Duration, 1<<16) // of publishes sent after the kill, at which time
	warm := make(chan struct{}, 1<<16)
	publish := func() {
		f, err := js.PublishAsync("failover.load", payload(128), jetstream.WithRetryAttempts(0))
		if err != nil {
			return // too many are outstanding: the silence goes on
		}
		after := killed.Load() != 0
		go func() {
			select {
			case <-f.Ok():
				if after {
					acks <- time.Since(began)
				} else {
					warm <- struct{}{}
				}
			case <-f.Err():
			}
		}()
	}
	ticker := time.NewTicker(failoverEvery)
	defer ticker.Stop()
	limit := time.After(failoverTime)
	var at time.Duration
	for acknowledged := 0; ; {
		select {
		case <-ticker.C:
			publish()
		case <-warm:
			if acknowledged++; acknowledged == 50 {
				at = time.Since(began)
				leader.told = true
				leader.Process.Kill()
				killed.Store(int64(at))
			}
		case first := <-acks:
			t.add(failoverFigure, (first - at).Seconds())
			return nil
		case <-limit:
			return fmt.Errorf("no publish was acknowledged within %v of the leader's end", failoverTime)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
