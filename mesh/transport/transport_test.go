package transport

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFramesCrossTheLinkInOrder(t *testing.T) {
	for _, mode := range []struct {
		name   string
		adjust func(*Options)
	}{{"tls", func(*Options) {}}, {"plain", plain}} {
		t.Run(mode.name, func(t *testing.T) {
			w := newTown(t, "n1", "n2")
			n1 := w.start("n1", 1, mode.adjust)
			n2 := w.start("n2", 1, mode.adjust)
			n1.awaitUp("n2", 1)
			n2.awaitUp("n1", 1)
			n1.await("the status of the hello", func() bool { return string(n1.up["n2"].Status) == "n2" })
			random := rand.New(rand.NewPCG(3, 4))
			const count = 3000
			sum := 0
			for i := range count {
				body := make([]byte, 8+random.IntN(1000))
				if i%500 == 0 {
					body = make([]byte, 2<<20)
				}
				binary.LittleEndian.PutUint64(body, uint64(i))
				sum += len(body)
				for !n1.Send("n2", 9, body) { // the queue is full: let it drain
					runtime.Gosched()
				}
			}
			n2.await("all frames", func() bool { return len(n2.frames["n1"]) == count })
			n2.mu.Lock()
			defer n2.mu.Unlock()
			for i, f := range n2.frames["n1"] {
				if binary.LittleEndian.Uint64(f.body) != uint64(i) || f.kind != 9 {
					t.Fatalf("frame %d is frame %d of kind %d", i, binary.LittleEndian.Uint64(f.body), f.kind)
				}
				sum -= len(f.body)
			}
			if sum != 0 {
				t.Errorf("%d bytes missing", sum)
			}
		})
	}
}

func TestSendIsBounded(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	limits := func(o *Options) { o.MaxQueued, o.MaxFrame = 1000, 5000 }
	n1 := w.start("n1", 1, limits)
	if n1.Send("n2", 1, nil) {
		t.Error("sent to a member that is not connected")
	}
	release := make(chan struct{})
	n2 := w.start("n2", 1, limits, func(o *Options) { o.Handler = blocking{o.Handler, release} })
	n1.awaitUp("n2", 1)
	if n1.Send("n9", 1, nil) || n1.Send("n2", MaxKind+1, nil) || n1.Send("n2", 1, make([]byte, 5001)) {
		t.Error("sent to an unknown member, with a reserved kind, or above MaxFrame")
	}
	if !n1.Send("n2", 1, make([]byte, 4000)) {
		t.Error("a frame above MaxQueued does not fit an empty queue")
	}
	accepted := 1
	for n1.Send("n2", 1, make([]byte, 900)) || n1.Queued("n2") == 0 {
		accepted++
		if accepted > 1e6 {
			t.Fatal("a receiver that does not read never fills the queue")
		}
	}
	if queued := n1.Queued("n2"); queued > 4000+headerBytes {
		t.Errorf("%d bytes queued", queued)
	}
	close(release)
	n2.await("frames", func() bool { return len(n2.frames["n1"]) > 0 })
}

// blocking is a handler that takes its first frame only when released.
type blocking struct {
	Handler
	release chan struct{}
}

func (b blocking) Frame(name string, kind byte, body []byte) {
	<-b.release
	b.Handler.Frame(name, kind, body)
}

// TestProcessRestartsWhileOthersConnect is the order of the crash loop that
// Materialize's report on restarting meshes tells of:
//
//  1. Processes 0, 1 and 2 start; every one needs links to both others.
//  2. 0 dies before 1 and 2 have all their links, and comes back.
//  3. 1 and 2 hold connections to and from the dead 0 while they meet the new 0.
//
// Nobody may exit, and nobody may wait for a connection that will never come:
// after the last restart all three are linked.
func TestProcessRestartsWhileOthersConnect(t *testing.T) {
	w := newTown(t, "n0", "n1", "n2")
	var n1, n2 *node
	const last = 15
	for boot := uint64(1); boot <= last; boot++ {
		n0 := w.start("n0", boot)
		switch boot {
		case 1:
			n1 = w.start("n1", 1)
		case 2:
			n2 = w.start("n2", 1)
		}
		switch boot % 3 { // die at different moments of the start-up
		case 0:
			n0.awaitUp("n1", 1)
		case 1:
			runtime.Gosched()
		}
		if boot < last {
			n0.Close()
			continue
		}
		for _, n := range []*node{n1, n2} {
			n0.awaitUp(map[*node]string{n1: "n1", n2: "n2"}[n], 1)
			n.awaitUp("n0", last)
		}
	}
	n1.awaitUp("n2", 1)
	n2.awaitUp("n1", 1)
}

// Everybody restarts at random, several at a time; then all are linked, to the
// newest process of each member.
func TestEverybodyRestarts(t *testing.T) {
	names := []string{"n1", "n2", "n3"}
	w := newTown(t, names...)
	nodes := make([]*node, len(names))
	var lives sync.WaitGroup
	for i, name := range names {
		lives.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(i)))
			for boot := uint64(1); boot <= 12; boot++ {
				if nodes[i] != nil {
					nodes[i].Close()
				}
				nodes[i] = w.start(name, boot)
				if random.IntN(2) == 0 {
					other := names[(i+1)%len(names)]
					wait := time.After(time.Duration(random.IntN(30)) * time.Millisecond)
					select {
					case <-wait:
					case <-nodes[i].upOf(other):
					}
				}
			}
		})
	}
	lives.Wait()
	for _, n := range nodes {
		for _, name := range names {
			if name != n.options.Self {
				n.awaitUp(name, 12)
			}
		}
	}
}

// upOf is closed when something changes, after which name may be up.
func (r *recorder) upOf(string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func TestDeadProcessIsNoticedByItsConnection(t *testing.T) {
	w := newTown(t, "n1", "n2")
	// No heartbeat will ever tell: only the connection can.
	never := func(o *Options) { o.heartbeat = time.Hour }
	n1 := w.start("n1", 1, never)
	n2 := w.start("n2", 1, never)
	n1.awaitUp("n2", 1)
	n2.Close()
	n1.awaitDown("n2")
	if n1.Send("n2", 1, nil) {
		t.Error("sent to a dead process")
	}
	w.start("n2", 2, never)
	n1.awaitUp("n2", 2)
}

func TestVanishedHostIsNoticedOnBothEnds(t *testing.T) {
	w := newTown(t, "n1", "n2")
	real := w.members[1].Address
	line := newLine(t, real) // n1 reaches n2 over a line that can go dead
	w.members[1].Address = line.address()
	fast := func(o *Options) { o.heartbeat = 50 * time.Millisecond }
	n1 := w.start("n1", 1, fast)
	n2 := w.start("n2", 1, fast, func(o *Options) { o.Listen = real })
	n1.awaitUp("n2", 1)
	n2.awaitUp("n1", 1)
	line.cut()
	n1.awaitDown("n2")
	n2.awaitDown("n1")
	line.mend()
	n1.awaitUp("n2", 1)
	n2.awaitUp("n1", 1)
	n1.Send("n2", 1, []byte("again"))
	n2.await("a frame over the mended line", func() bool {
		f := n2.frames["n1"]
		return len(f) > 0 && bytes.Equal(f[len(f)-1].body, []byte("again"))
	})
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	for range 5 {
		n1 := w.start("n1", 1)
		n2 := w.start("n2", 1)
		knock(t, n1.Addr().String()) // says nothing
		n1.awaitUp("n2", 1)
		n1.Close()
		n1.Close()
		n2.Close()
	}
	// A cancelled context ends its callbacks a moment later.
	for range 1000 {
		if !strings.Contains(stacks(), "transport.(*") {
			return
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", stacks())
}

func stacks() string {
	text := make([]byte, 1<<20)
	return strings.ReplaceAll(string(text[:runtime.Stack(text, true)]), "testing.(*", "")
}
