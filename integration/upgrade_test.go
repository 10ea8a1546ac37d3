package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestUpgradeWipesEveryNode is the day of the first report: the machines are
// renewed one after the other, "with the two followers first and the leader
// last", and their stores are on RAM disks, so each node comes back without its
// memory. The one who rolls them looks at nothing but readiness.
//
//  1. Three nodes on RAM disks. Clients publish and consume, through whichever
//     node they reach.
//  2. The first follower is stopped, its RAM disk is empty, it starts again. The
//     next step comes as soon as it says that it is ready.
//  3. The second follower.
//  4. The leader.
//  5. Everything that was acknowledged is there, on each of the three nodes, none
//     of which has a byte of what it had in the beginning. No message that the
//     consumer acknowledged comes again, and none is left out.
//  6. Nobody had to help: each process is the one that step 2, 3 or 4 started,
//     nothing was founded anew, there was no alarm and no error.
func TestUpgradeWipesEveryNode(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	for _, way := range []struct {
		name string
		end  func(n *node, t testing.TB)
	}{
		{"stopped", func(n *node, t testing.TB) { n.stop(t) }},
		{"powered off", func(n *node, t testing.TB) { n.kill(t) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			upgradeWipesEveryNode(t, way.end)
		})
	}
}

func upgradeWipesEveryNode(t *testing.T, end func(*node, testing.TB)) {
	s := tale{t: t}
	c := newRAMDiskCluster(t, 3)
	s.step(1, "clients publish and consume")
	for _, n := range c.nodes {
		n.start(t)
	}
	leader := c.waitFormed(t)
	setup := newClient(t, leader)
	stream := setup.create(jetstream.StreamConfig{Replicas: 3})
	setup.consumer(stream, jetstream.ConsumerConfig{Durable: "worker", AckWait: 2 * time.Second})
	before := make(map[string]status)
	for _, n := range c.nodes {
		before[n.name] = n.mustStatus(t)
	}
	ledger := newLedger()
	load, ctx := startLoad(t, ledger)
	for i := range c.nodes { // each prefers another node
		order := append(c.nodes[i:len(c.nodes):len(c.nodes)], c.nodes[:i]...)
		load.stubbornPublisher(withConnection(t, connectAll(t, order...)), ctx, setup.subject("a"))
	}
	reader := startReader(t, withConnection(t, connectAll(t, c.others(leader)...)), setup.stream, "worker")

	pids := make(map[string]*process)
	for i, n := range append(c.others(leader), leader) {
		s.step(2+i, "%s", n.name)
		time.Sleep(300 * time.Millisecond)
		began := time.Now()
		end(n, t)
		n.wipe(t)
		n.start(t)
		pids[n.name] = n.process
		eventually(t, readyLimit, n.name+" is not ready", func() error {
			if v, err := underTest.view(n); err != nil || !v.ready {
				return fmt.Errorf("ready %v, %v", v.ready, err)
			}
			return nil
		})
		t.Logf("%s was away for %v", n.name, time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(300 * time.Millisecond)
	load.finish()

	s.step(5, "everything is there")
	c.waitFormed(t)
	ledger.wantNoneRefused(t, "with repetitions")
	for _, n := range c.nodes {
		ledger.verify(t, n, setup.stream)
	}
	reader.finish(t, ledger)

	s.step(6, "nobody had to help")
	for _, n := range c.nodes {
		now := n.mustStatus(t)
		if n.process != pids[n.name] || strings.Count(n.logSince(t, 0), "--- start at") != 2 {
			t.Errorf("%s was restarted", n.name)
		}
		if now.Store == before[n.name].Store {
			t.Errorf("%s is still store %s although its memory was gone", n.name, now.Store)
		}
		check(t, "lineage of "+n.name, now.Lineage, before[n.name].Lineage)
		check(t, "alarms of "+n.name, len(now.Alarms), 0)
		for line := range strings.Lines(n.logSince(t, 0)) {
			if strings.Contains(line, "level=ERROR") {
				t.Errorf("%s says: %s", n.name, line)
			}
		}
	}
	c.wantCalm(t)
}

// stubbornPublisher adds a publisher that sends one message after the other, each
// under an ID of its own and again until it is acknowledged: what an application
// does that cannot afford to lose one.
func (l *load) stubbornPublisher(c *client, ctx context.Context, subject string) {
	l.done.Go(func() {
		name := randomWord()
		for i := 0; ctx.Err() == nil; i++ {
			payload := fmt.Sprintf("%s-%d", name, i)
			deadline := time.Now().Add(readyLimit)
			for {
				call, cancel := context.WithTimeout(context.Background(), time.Second)
				ack, err := c.js.Publish(call, subject, []byte(payload), jetstream.WithMsgID(payload))
				cancel()
				if err == nil || time.Now().After(deadline) {
					l.ledger.record(payload, ack, err)
					break
				}
			}
		}
	})
}

// reader consumes a stream through a durable consumer and asks for more only when
// the server has confirmed every acknowledgement, or has let it wait for long. So
// what was confirmed must not come again: it cannot have been on its way.
type reader struct {
	consumer jetstream.Consumer
	stop     context.CancelFunc
	ended    sync.WaitGroup

	mu   sync.Mutex
	seen map[uint64]string // by stream sequence
	done map[uint64]bool   // acknowledged, and the server said so
	// again are the messages that came once more after that.
	again []uint64
}

func startReader(t *testing.T, c *client, stream, durable string) *reader {
	t.Helper()
	consumer, err := c.js.Consumer(c.ctx, stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{consumer: consumer, seen: make(map[uint64]string), done: make(map[uint64]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.ended.Go(func() {
		for ctx.Err() == nil {
			batch, err := consumer.Fetch(20, jetstream.FetchMaxWait(time.Second))
			if err != nil {
				continue // between two leaders
			}
			for m := range batch.Messages() {
				r.take(c, m)
			}
		}
	})
	t.Cleanup(func() { cancel(); r.ended.Wait() })
	return r
}

// take works on one message. One whose acknowledgement is not confirmed comes
// again; that is as it should be.
func (r *reader) take(c *client, m jetstream.Msg) {
	metadata, err := m.Metadata()
	if err != nil {
		return
	}
	sequence := metadata.Sequence.Stream
	r.mu.Lock()
	if r.done[sequence] {
		r.again = append(r.again, sequence)
	}
	r.seen[sequence] = string(m.Data())
	r.mu.Unlock()
	call, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if m.DoubleAck(call) == nil {
		r.mu.Lock()
		r.done[sequence] = true
		r.mu.Unlock()
	}
}

// finish waits until everything that was published has come and is acknowledged,
// and ends the reader. Of an acknowledgement without a confirmation the consumer
// itself tells whether it counted.
func (r *reader) finish(t *testing.T, ledger *ledger) {
	t.Helper()
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	eventually(t, readyLimit, "the consumer does not get everything", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for sequence, payload := range ledger.acked {
			if r.seen[sequence] != payload {
				return fmt.Errorf("message %d is %q, published was %q; %d of %d came", sequence, r.seen[sequence], payload, len(r.seen), len(ledger.acked))
			}
		}
		info, err := r.consumer.Info(t.Context())
		if err == nil && info.NumAckPending+int(info.NumPending) > 0 {
			err = fmt.Errorf("consumer %+v has work left", info)
		}
		return err
	})
	r.stop()
	r.ended.Wait()
	t.Logf("%d messages consumed, %d acknowledgements confirmed", len(r.seen), len(r.done))
	if len(r.again) > 0 {
		t.Errorf("delivered again after they were acknowledged: %d", r.again)
	}
}
