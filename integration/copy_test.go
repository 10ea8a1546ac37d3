package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// copied is a stream that is larger than what a copy has on its way at a time, and a
// member that has lost its memory.
type copied struct {
	*cluster
	leader, joiner *node
	client         *client
	ledger         *ledger
	from           int // where the joiner's log went on
}

// startCopied starts a cluster whose members reach each other by wires, and wipes a
// follower, which is not started yet.
func startCopied(t *testing.T, size int) *copied {
	t.Helper()
	requireHoldfast(t)
	c := &copied{cluster: newCluster(t, size), ledger: newLedger()}
	newNetwork(t, c.cluster)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.leader = c.waitFormed(t)
	c.joiner = c.others(c.leader)[0]
	c.client = newClient(t, c.others(c.leader)[1])
	c.client.create(jetstream.StreamConfig{Replicas: min(size, 5)})
	fill(t, c.client, c.ledger, 16_000)
	c.joiner.kill(t)
	c.joiner.wipe(t)
	c.from = len(c.said(t))
	return c
}

// said is what the joiner has said since it was wiped.
func (c *copied) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(c.joiner.log())
	if err != nil {
		t.Fatal(err)
	}
	return string(text[c.from:])
}

// TestConnectionBreaksDuringACopy breaks the connection over which a member receives
// a copy of the store, twice. The copy goes on where it stopped.
func TestConnectionBreaksDuringACopy(t *testing.T) {
	t.Parallel()
	c := startCopied(t, 3)
	way := c.network.wires[direction{c.leader.name, c.joiner.name}]
	stopped := way.stopAfter(5 << 20)
	c.joiner.start(t)
	<-stopped
	again := way.stopAfter(4 << 20)
	way.reset()
	<-again
	way.reset()
	waitVoter(t, c.cluster, c.joiner)
	c.ledger.verify(t, c.joiner, c.client.stream)
	said := c.said(t)
	check(t, "copies that were begun", strings.Count(said, "asking for a copy of the store"), 1)
	check(t, "times that it went on", strings.Count(said, "asking for the rest of the copy of the store"), 2)
}

// TestLeaderDiesDuringACopy kills the leader in the middle of the copy that it sends.
// The member gets everything from the next one.
func TestLeaderDiesDuringACopy(t *testing.T) {
	t.Parallel()
	c := startCopied(t, 5)
	stopped := c.network.wires[direction{c.leader.name, c.joiner.name}].stopAfter(5 << 20)
	c.joiner.start(t)
	<-stopped
	c.leader.kill(t)
	waitVoter(t, c.cluster, c.joiner)
	c.ledger.verify(t, c.joiner, c.client.stream)
	if said := c.said(t); !strings.Contains(said, `"asking for a copy of the store" from=`+c.leader.name) || strings.Count(said, "copy of the store received") != 1 {
		t.Errorf("it did not begin with a copy of %s, or needed more than one whole copy:\n%s", c.leader.name, said)
	}
}
