package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/testdisk"
)

var powerFor = flag.Duration("power", 0, "how long TestPowerCuts goes on; 0: a short run")

// diskForTests mounts a disk that records what is done to it, and can fail. There
// is nothing else to do these tests with; `make test` says so at its end.
func diskForTests(t *testing.T) *testdisk.Disk {
	t.Helper()
	requireHoldfast(t)
	d := testdisk.New()
	m, err := d.Mount()
	if err != nil {
		t.Skipf("NOT TESTED on this machine: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// storesIn puts the store of each node into a folder below that one.
func (c *cluster) storesIn(t *testing.T, folder string) {
	t.Helper()
	for _, n := range c.nodes {
		n.elsewhere = filepath.Join(folder, n.name)
		n.configure(t, c)
	}
}

// promises are what publishers were told, and when: after so many changes of the
// disk that all nodes share.
type promises struct {
	mu   sync.Mutex
	made []promise
}

type promise struct {
	moment   int
	sequence uint64
	payload  string
}

// publish goes on until the context ends.
func (p *promises) publish(ctx context.Context, js jetstream.JetStream, subject string, disk *testdisk.Disk) {
	name := randomWord()
	for i := 0; ctx.Err() == nil; i++ {
		payload := fmt.Sprintf("%s-%d-%0*d", name, i, 1+i*i%3000, 0)
		call, cancel := context.WithTimeout(context.Background(), callLimit)
		ack, err := js.Publish(call, subject, []byte(payload))
		cancel()
		if err != nil {
			continue
		}
		p.mu.Lock()
		p.made = append(p.made, promise{disk.Length(), ack.Sequence, payload})
		p.mu.Unlock()
	}
}

func (p *promises) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.made)
}

// TestPowerCuts cuts the power of all nodes at once, at random moments under load:
// of one node, and of three of which one loses its store meanwhile and gets a copy.
// They start with what the cut left, and have everything that was acknowledged.
func TestPowerCuts(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprint(size, " nodes"), func(t *testing.T) {
			t.Parallel()
			began, cuts := time.Now(), 0
			for more := true; more && !t.Failed(); more = time.Since(began) < *powerFor {
				t.Run("load", func(t *testing.T) { cuts += cutUnderLoad(t, size) })
			}
			t.Logf("%d power cuts of %d nodes", cuts, size)
		})
	}
}

// cutsPerLoad is how often the power of one run is cut.
const cutsPerLoad = 4

func cutUnderLoad(t *testing.T, size int) (cuts int) {
	disk := diskForTests(t)
	c := newCluster(t, size)
	c.storesIn(t, disk.Path())
	for _, n := range c.nodes {
		n.start(t)
	}
	leader := c.waitReady(t)
	client := newClient(t, leader)
	client.create(jetstream.StreamConfig{Replicas: size})
	began := disk.Length()
	p := &promises{}
	ctx, cancel := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() { p.publish(ctx, client.js, client.subject("a"), disk) })
	}
	defer publishers.Wait()
	defer cancel()
	stored := func(count int) {
		eventually(t, readyLimit, "nothing is acknowledged", func() error {
			if got := p.count(); got < count {
				return fmt.Errorf("%d of %d messages", got, count)
			}
			return nil
		})
	}
	stored(150)
	if size > 1 {
		wiped := c.others(leader)[0]
		wiped.kill(t)
		wiped.wipe(t)
		wiped.start(t)
		waitVoter(t, c, wiped)
		stored(p.count() + 100)
	}
	cancel()
	publishers.Wait()
	for _, n := range c.nodes {
		n.kill(t)
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	moments := make([]int, cutsPerLoad)
	for i := range moments {
		moments[i] = began + random.IntN(disk.Length()-began+1)
	}
	slices.Sort(moments)
	cut := disk.Cut()
	for _, moment := range moments {
		cut.Advance(moment)
		p.afterCut(t, c, client, cut, random)
		if cuts++; t.Failed() {
			t.Logf("the power was cut after %d changes of %d; %s", moment, disk.Length(), cut.Pending())
			return cuts
		}
	}
	return cuts
}

// afterCut starts the nodes with what a cut leaves and holds them to their promises.
func (p *promises) afterCut(t *testing.T, c *cluster, client *client, cut *testdisk.Cut, random *rand.Rand) {
	t.Helper()
	image, err := os.MkdirTemp(t.TempDir(), "image")
	if err != nil {
		t.Fatal(err)
	}
	if err := cut.Lay(random, image); err != nil {
		t.Fatal(err)
	}
	c.storesIn(t, image)
	for _, n := range c.nodes {
		n.start(t)
	}
	leader := c.waitReady(t)
	through := newClient(t, leader)
	stored := map[uint64]string{}
	s, err := through.js.Stream(through.ctx, client.stream)
	if err == nil {
		stored = through.readAll(s)
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatal(err)
	}
	lost := 0
	for _, told := range p.made {
		if told.moment <= cut.At() && stored[told.sequence] != told.payload {
			if lost++; lost < 4 {
				t.Errorf("message %d is %.60q, %.60q was acknowledged", told.sequence, stored[told.sequence], told.payload)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d acknowledged messages are lost", lost)
	}
	for _, n := range c.nodes {
		n.kill(t)
		if log := n.lastLines(400); strings.Contains(log, "is damaged") {
			t.Errorf("%s: a store is damaged by a power cut:\n%s", n.name, log)
		}
	}
	if err := os.RemoveAll(image); err != nil {
		t.Error(err)
	}
}
