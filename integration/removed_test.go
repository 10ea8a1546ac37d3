package integration

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestStoresRemovedWhileRunning empties the store folders of running nodes, as a script
// that cleans up too much does: of a follower, of the leader, of all at once. Publishing
// goes on, and afterwards every node has all of it on its disk.
func TestStoresRemovedWhileRunning(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	leader := c.waitReady(t)
	client := newClient(t, leader)
	client.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	load, ctx := startLoad(t, ledger)
	load.stubbornPublisher(withConnection(t, connectAll(t, c.nodes...)), ctx, client.subject("a"))

	before := make(map[*node]status)
	for _, n := range c.nodes {
		before[n] = n.mustStatus(t)
	}
	written := func(n *node) int { return strings.Count(n.logSince(t, 0), "the file of the store is where it was") }
	remove := func(nodes ...*node) {
		t.Helper()
		was := make(map[*node]int)
		for _, n := range nodes {
			was[n] = written(n)
			if err := os.RemoveAll(n.store()); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range nodes {
			eventually(t, readyLimit, n.name+" has not written its store again", func() error {
				if written(n) == was[n] {
					return errors.New("its log does not say so")
				}
				return nil
			})
			waitVoter(t, c, n)
		}
		c.waitReady(t)
	}
	remove(c.others(leader)[0])
	remove(c.waitReady(t))
	remove(c.nodes...)
	load.finish()

	ledger.wantNoneRefused(t, "with repetitions")
	for _, n := range c.nodes {
		if now := n.mustStatus(t); now.Store != before[n].Store {
			t.Errorf("%s is store %s, and was %s", n.name, now.Store, before[n].Store)
		}
		if log := n.logSince(t, 0); strings.Count(log, "--- start at") != 1 {
			t.Errorf("%s was restarted", n.name)
		}
	}
	for _, n := range c.nodes {
		n.kill(t)
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	for _, n := range c.nodes {
		ledger.verify(t, n, client.stream)
	}
}
