package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ledger remembers what publishers were told, to hold the cluster to it.
type ledger struct {
	mu      sync.Mutex
	acked   map[uint64]string // stream sequence → payload
	refused []error           // publishes that got no PubAck
	told    error             // the first acknowledgement that contradicts another
}

func newLedger() *ledger { return &ledger{acked: make(map[uint64]string)} }

// record notes the outcome of one publish.
func (l *ledger) record(payload string, ack *jetstream.PubAck, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.refused = append(l.refused, err)
		return
	}
	if other, taken := l.acked[ack.Sequence]; taken && other != payload && l.told == nil {
		l.told = fmt.Errorf("sequence %d was acknowledged for %q and for %q", ack.Sequence, other, payload)
	}
	l.acked[ack.Sequence] = payload
}

func (l *ledger) counts() (acked, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked), len(l.refused)
}

// wantNoneRefused expects that every publish of a load was acknowledged, and that there
// were any; when says what happened meanwhile.
func (l *ledger) wantNoneRefused(t *testing.T, when string) {
	t.Helper()
	acked, refused := l.counts()
	t.Logf("%d publishes acknowledged %s", acked, when)
	if acked == 0 {
		t.Errorf("no publish was acknowledged %s: that is no test", when)
	}
	if refused > 0 {
		t.Errorf("%d publishes failed %s: %q", refused, when, l.errors())
	}
}

// errors are the distinct reasons of refused publishes with their numbers.
func (l *ledger) errors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]int)
	for _, err := range l.refused {
		counts[err.Error()]++
	}
	var lines []string
	for reason, count := range counts {
		lines = append(lines, fmt.Sprintf("%d × %s", count, reason))
	}
	slices.Sort(lines)
	return lines
}

// verify reads the whole stream through one node and expects every acknowledged
// message at the sequence that its publisher was told.
func (l *ledger) verify(t *testing.T, n *node, stream string) {
	t.Helper()
	c := newClient(t, n)
	s, err := c.js.Stream(c.ctx, stream)
	if err != nil {
		t.Fatalf("stream through %s: %v", n.name, err)
	}
	stored := c.readAll(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told != nil {
		t.Error(l.told)
	}
	lost := 0
	for sequence, payload := range l.acked {
		if got, there := stored[sequence]; !there || got != payload {
			if lost++; lost <= 5 {
				t.Errorf("through %s: message %d is %q, %q was acknowledged", n.name, sequence, got, payload)
			}
		}
	}
	if lost > 0 {
		t.Errorf("through %s: %d of %d acknowledged messages are lost", n.name, lost, len(l.acked))
	}
}

// readAll returns every message of a stream by its sequence.
func (c *client) readAll(s jetstream.Stream) map[uint64]string {
	c.t.Helper()
	consumer := c.consumer(s, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: readyLimit})
	stored := make(map[uint64]string)
	for left := int(consumer.CachedInfo().NumPending); left > 0; {
		batch, err := consumer.Fetch(min(left, 1000), jetstream.FetchMaxWait(callLimit))
		if err != nil {
			c.t.Fatalf("read stream: %v", err)
		}
		read := 0
		for m := range batch.Messages() {
			stored[c.metadata(m).Sequence.Stream] = string(m.Data())
			read++
		}
		if read == 0 {
			c.t.Fatalf("read stream: %d messages are not delivered: %v", left, batch.Error())
		}
		left -= read
	}
	return stored
}

// load is a set of publishers that go on until they are stopped.
type load struct {
	ledger *ledger
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// startLoad begins a load on a ledger.
func startLoad(t testing.TB, ledger *ledger) (*load, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{ledger: ledger, stop: cancel}
	t.Cleanup(l.finish)
	return l, ctx
}

// finish ends the publishers and waits for their last answers.
func (l *load) finish() {
	l.stop()
	l.done.Wait()
}

// publishers adds publishers that send one message after the other over nc and
// wait at most limit for each PubAck, otherwise as nats.go does by default.
func (l *load) publishers(t *testing.T, ctx context.Context, nc *nats.Conn, count int, subject string, limit time.Duration) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		l.done.Go(func() {
			name := randomWord()
			for i := 0; ctx.Err() == nil; i++ {
				payload := fmt.Sprintf("%s-%d", name, i)
				call, cancel := context.WithTimeout(context.Background(), limit)
				ack, err := js.Publish(call, subject, []byte(payload))
				cancel()
				l.ledger.record(payload, ack, err)
			}
		})
	}
}

// asyncPublisher adds a publisher that keeps messages outstanding, as nats.go
// does by default, and never waits for a single one.
func (l *load) asyncPublisher(t *testing.T, ctx context.Context, nc *nats.Conn, subject string, outstanding int) {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(outstanding))
	if err != nil {
		t.Fatal(err)
	}
	l.done.Go(func() {
		name := randomWord()
		var answers sync.WaitGroup
		for i := 0; ctx.Err() == nil; i++ {
			payload := fmt.Sprintf("%s-%d", name, i)
			future, err := js.PublishAsync(subject, []byte(payload), jetstream.WithStallWait(callLimit))
			if err != nil {
				l.ledger.record(payload, nil, err)
				continue
			}
			answers.Go(func() {
				select {
				case ack := <-future.Ok():
					l.ledger.record(payload, ack, nil)
				case err := <-future.Err():
					l.ledger.record(payload, nil, err)
				case <-time.After(callLimit):
					l.ledger.record(payload, nil, fmt.Errorf("no answer to an async publish within %v", callLimit))
				}
			})
			time.Sleep(500 * time.Microsecond) // a load, not a benchmark
		}
		answers.Wait()
	})
}
