package bus

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
)

// answering is a node whose link answers each request on the stream's subject
// with its own name, on a goroutine of its own.
type answering struct {
	node
	*owner
	fence atomic.Uint64
	seen  []int // how often each request arrived; owner's goroutine
}

func answeringCluster(t *testing.T, requests int) []*answering {
	t.Helper()
	var answerers []*answering
	for i, n := range clustered(t) {
		a := &answering{node: *n, seen: make([]int, requests)}
		name := fmt.Appendf(nil, "n%d", i+1)
		chunks := make(chan *Chunk, 1<<12)
		a.link.options.Handler = func(c *Chunk) { chunks <- c } // nothing is subscribed yet
		a.owner = own(t, chunks, a.link, func(c *Chunk) {
			for _, m := range c.Messages {
				if id, err := strconv.Atoi(string(m.Payload)); err == nil {
					a.seen[id]++
					a.link.Publish(m.Reply, nil, nil, name)
				}
			}
			if c.Fence > 0 {
				a.fence.Store(c.Fence)
			}
		})
		answerers = append(answerers, a)
	}
	return answerers
}

// takeOver subscribes and waits until every server of the cluster knows.
func (a *answering) takeOver(t *testing.T, all []*answering, round int) {
	a.do(func() {
		a.link.SetRank(1)
		a.link.Subscribe("orders.>", "ingest")
	})
	a.known(t, all, fmt.Sprintf("takes.%d", round))
}

// leave yields, waits until every server knows and has finished what it was
// about to do, unsubscribes, and waits until nothing more can arrive.
func (a *answering) leave(t *testing.T, all []*answering, round int, finished func()) {
	a.do(func() { a.link.Yield("orders.>", "ingest") })
	a.known(t, all, fmt.Sprintf("leaves.%d", round))
	finished()
	var fence uint64
	a.do(func() {
		a.link.Unsubscribe("orders.>", "ingest")
		fence = a.link.Fence()
	})
	eventually(t, "the fence", func() bool { return a.fence.Load() >= fence })
}

// known waits until every server knows what the link has subscribed to so far:
// a marker takes the same way behind it.
func (a *answering) known(t *testing.T, all []*answering, marker string) {
	a.do(func() { a.link.Subscribe(marker, "") })
	for _, other := range all {
		other.interested(marker)
	}
	a.do(func() { a.link.Unsubscribe(marker, "") })
}

// TestAHandOverLosesNothing moves a subscription from link to link while
// clients on all servers publish: (1) the new leader subscribes, (2) every
// server knows, (3) the old leader yields, (4) every server knows, (5) the old
// leader unsubscribes (6) and drains. Each request is answered, without being
// repeated by the client, and arrives exactly once.
//
// Between (4) and (5) a server may still be busy with messages for which it
// picked the old leader before it knew. In operation time has to pass; here
// every client gets two answers, the second to a request that came later.
func TestAHandOverLosesNothing(t *testing.T) {
	const (
		requests  = 6000
		clients   = 6
		handOvers = 12
	)
	nodes := answeringCluster(t, requests)
	nodes[0].takeOver(t, nodes, 0)

	var next atomic.Int64
	var answered [clients]atomic.Int64
	finished := func() {
		for i := range answered {
			enough := answered[i].Load() + 2
			eventually(t, "answers to every client", func() bool { return answered[i].Load() >= enough || next.Load() > requests })
		}
	}
	var publishers sync.WaitGroup
	for i := range clients {
		nc := nodes[i%len(nodes)].client()
		publishers.Go(func() {
			for {
				id := next.Add(1) - 1
				if id >= requests {
					return
				}
				_, err := nc.RequestMsg(&nats.Msg{Subject: "orders.new", Data: strconv.AppendInt(nil, id, 10)}, patience)
				if err != nil {
					t.Errorf("request %d: %v", id, err)
				}
				answered[i].Add(1)
			}
		})
	}
	leader := nodes[0]
	for round := 1; round <= handOvers; round++ {
		due := int64(round) * requests / (handOvers + 1)
		eventually(t, "publishing goes on", func() bool { return next.Load() >= due })
		heir := nodes[round%len(nodes)]
		heir.takeOver(t, nodes, round)
		leader.leave(t, nodes, round, finished)
		leader = heir
	}
	publishers.Wait()
	for id := range requests {
		arrived := 0
		for _, n := range nodes {
			n.do(func() { arrived += n.seen[id] })
		}
		if arrived != 1 {
			t.Errorf("request %d arrived %d times", id, arrived)
		}
	}
}
