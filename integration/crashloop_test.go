package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// formedLimit is how long three members may take from the last start until the
// cluster is whole. It is expected of the usual round: a single one may meet a
// split vote or a busy machine.
const formedLimit = 2 * time.Second

// wantFormed expects that the usual one of several formations was quick.
func wantFormed(t *testing.T, took durations) {
	t.Helper()
	t.Logf("formed after the last start: %v", took)
	if median, limit := took.median(), speedLimit(formedLimit); median > limit {
		t.Errorf("the usual formation takes %v from the last start, want at most %v", median, limit)
	}
}

// linkedTo waits until a process that logs from the given line on has a link to
// another member.
func (n *node) linkedTo(t *testing.T, since int, other *node) {
	t.Helper()
	eventually(t, readyLimit, n.name+" is not linked to "+other.name, func() error {
		if !strings.Contains(n.logSince(t, since), "msg=linked member="+other.name+" ") {
			return fmt.Errorf("its log does not say so")
		}
		return nil
	})
}

// logSize is where the node's log ends now.
func (n *node) logSize(t *testing.T) int {
	t.Helper()
	info, err := os.Stat(n.log())
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// logSince is what the node logged after its log had the given size.
func (n *node) logSince(t *testing.T, size int) string {
	t.Helper()
	text, err := os.ReadFile(n.log())
	if err != nil {
		t.Fatal(err)
	}
	return string(text[size:])
}

// TestCrashLoop follows the crash loop of Materialize's issue 12800, which the
// second report points to, with processes 0, 1 and 2. There a process ends when
// one of its connections does, and so each start meets the end of another:
//
//  1. Process 0 comes up.
//  2. Process 1 comes up and connects to process 0.
//  3. Process 0 crashes.
//  4. Process 0 is brought up again.
//  5. Process 2 comes up and connects to process 0,
//  6. and to process 1, which still knew the old process 0. Here nobody minds,
//     and the cluster forms. There process 1 crashes,
//  7. so here it is killed,
//  8. and process 2 with it.
//  9. Both come up again; one of them connects to process 0 first.
//  10. There process 0 crashes, because one of its two connections is to a
//     process that is gone. Here it goes on, the same process, and the cluster
//     forms.
//  11. There all goes on from step 3. Here too, because the test sees to it.
func TestCrashLoop(t *testing.T) {
	requireHoldfast(t)
	s := tale{t: t}
	c := newCluster(t, 3)
	p0, p1, p2 := c.nodes[0], c.nodes[1], c.nodes[2]

	s.step(1, "process 0 comes up")
	p0.start(t)
	s.step(2, "process 1 comes up and connects to process 0")
	p1.start(t)
	p1.linkedTo(t, 0, p0)

	var took durations
	const rounds = 6
	for round := range rounds {
		s.steps = 2
		s.step(3, "process 0 crashes")
		p0.kill(t)
		s.step(4, "process 0 is brought up again")
		p0.start(t)
		first := p0.process
		s.step(5, "process 2 comes up")
		seen := p2.logSize(t)
		p2.start(t)
		last := time.Now()
		s.step(6, "process 2 connects to both, and the cluster forms")
		p2.linkedTo(t, seen, p0)
		p2.linkedTo(t, seen, p1)
		c.waitFormed(t)
		took = append(took, time.Since(last))
		s.step(7, "process 1 crashes")
		p1.kill(t)
		s.step(8, "process 2 crashes")
		p2.kill(t)
		s.step(9, "both come up again, the one or the other first")
		one, two := p1, p2
		if round%2 == 1 {
			one, two = p2, p1
		}
		seen = one.logSize(t)
		one.start(t)
		one.linkedTo(t, seen, p0)
		two.start(t)
		last = time.Now()
		s.step(10, "process 0 goes on, and the cluster forms")
		c.waitFormed(t)
		took = append(took, time.Since(last))
		if p0.process != first {
			t.Error("process 0 is another process")
		}
		s.step(11, "and again")
		p2.kill(t)
	}
	wantFormed(t, took)
}

// stormVariable is the environment variable with the length of the storm, such
// as "1m".
const stormVariable = "HOLDFAST_TEST_STORM"

// TestStorm is the general case: processes end and start whenever it pleases
// them, into each other's start-up.
//
//  1. Three members start for the first time.
//  2. Each process is killed again and again, now and then in the middle of its
//     start, and started again after up to 200 ms.
//  3. All is quiet: each process runs. The cluster is whole within 2 s of the
//     last start. Clients begin to publish, and it goes on with step 2, some
//     times over.
//  4. Nothing that was acknowledged is lost, on any node.
func TestStorm(t *testing.T) {
	requireHoldfast(t)
	storm := 15 * time.Second
	if text := os.Getenv(stormVariable); text != "" {
		var err error
		if storm, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", stormVariable, err)
		}
	}
	const squalls = 5
	s := tale{t: t}
	seed := chosenSeed(t)
	c := newCluster(t, 3)
	s.step(1, "three members start for the first time")
	for _, n := range c.nodes {
		n.start(t)
	}
	ledger := newLedger()
	load, ctx := startLoad(t, ledger)
	var client *client

	var took durations
	starts := 0
	for squall := range uint64(squalls) {
		s.steps = 1
		s.step(2, "storm %d", squall+1)
		until, cancel := context.WithTimeout(t.Context(), storm/squalls)
		gusts := make([]gust, len(c.nodes))
		var nodes sync.WaitGroup
		for i, n := range c.nodes {
			random := rand.New(rand.NewPCG(seed, squall<<8|uint64(i)))
			nodes.Go(func() { gusts[i] = n.blow(until, random) })
		}
		nodes.Wait()
		cancel()
		var last time.Time
		for _, g := range gusts {
			if g.err != nil {
				t.Fatal(g.err)
			}
			starts += g.starts
			if g.last.After(last) {
				last = g.last
			}
		}
		s.step(3, "quiet")
		c.waitFormed(t)
		took = append(took, time.Since(last))
		if client == nil {
			client = withConnection(t, connectAll(t, c.nodes...))
			client.create(jetstream.StreamConfig{Replicas: 3})
			for _, n := range c.nodes {
				load.publishers(t, ctx, n.connect(t), 1, client.subject("a"), time.Second)
			}
		}
	}
	load.finish()
	wantFormed(t, took)
	s.step(4, "everything that was acknowledged is there")
	acked, refused := ledger.counts()
	t.Logf("%d starts, %d publishes acknowledged, %d not: %q", starts, acked, refused, ledger.errors())
	if acked == 0 {
		t.Error("nothing was acknowledged: that is no test")
	}
	for _, n := range c.nodes {
		ledger.verify(t, n, client.stream)
	}
}

// gust is what a storm did to one node.
type gust struct {
	starts int
	last   time.Time // of the last start
	err    error     // what ended it before its time
}

// blow kills the node and starts it again until ctx ends. A test can only be
// ended by its own goroutine, so what goes wrong is told in the result.
func (n *node) blow(ctx context.Context, random *rand.Rand) (g gust) {
	for pause(ctx, random) {
		if g.err = n.crash(); g.err != nil {
			return g
		}
		time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
		if g.err = n.launch(); g.err != nil {
			return g
		}
		g.starts, g.last = g.starts+1, time.Now()
	}
	return g
}

// pause sleeps for up to a second, most often much shorter; false when ctx ended
// first.
func pause(ctx context.Context, random *rand.Rand) bool {
	limits := []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(random.Int64N(int64(limits[random.IntN(len(limits))])))):
		return true
	}
}
