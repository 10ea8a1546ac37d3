package replica_test

import (
	"fmt"
	"testing"
)

// TestLaggingVoterIsNeededForTheFirstCommit: one voter is wiped while another
// was away for so long that the survivor does not keep what it lacks. The
// survivor is elected with its vote, but cannot commit anything before it has
// caught up, and it can catch up only from a copy.
func TestLaggingVoterIsNeededForTheFirstCommit(t *testing.T) {
	for seed := range uint64(10) {
		c := newCluster(t, seed, "a", "b", "c")
		c.until("formed", 200_000, c.formed)
		c.publish("before")
		away, wiped, survivor := c.member("c"), c.member("b"), c.member("a")
		c.stop(away)
		var texts []string
		for i := range 8 {
			texts = append(texts, fmt.Sprint("message ", i))
			c.publish(texts[i])
		}
		c.stop(wiped)
		c.stop(survivor)
		survivor.store.first = survivor.store.hard.Release + 1
		if away.store.Last() >= survivor.store.first {
			t.Fatalf("seed %d: nothing is missing: %d, first %d", seed, away.store.Last(), survivor.store.first)
		}
		wiped.store = c.blank()
		for _, m := range c.members {
			c.start(m)
		}
		c.until("formed again", 400_000, c.formed)
		c.requireAll(texts...)
	}
}
