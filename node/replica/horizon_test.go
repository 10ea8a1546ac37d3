package replica_test

import (
	"fmt"
	"testing"
)

// TestHorizonWaitsForWhoeverIsLinked: what a voter lacks that was away is let go
// of; from the moment on at which it is linked again the rest is kept for it,
// although it has not been heard of in this term.
func TestHorizonWaitsForWhoeverIsLinked(t *testing.T) {
	for seed := range uint64(10) {
		c := newCluster(t, seed, "a", "b", "c")
		c.until("formed", 200_000, c.formed)
		away := c.members[seed%3]
		c.stop(away)
		last := away.store.Last()
		for i := range 5 {
			c.publish(fmt.Sprint("message ", i))
		}
		leader := c.leader()
		status, _ := leader.replica.Raft()
		c.until("forgotten", 200_000, func() bool { return c.leader() == leader && leader.replica.Horizon(nobody, nobody) == status.Release })
		c.start(away)
		if horizon := leader.replica.Horizon(nobody, nobody); horizon > last {
			t.Fatalf("seed %d: the horizon is %d, %s has entries up to %d", seed, horizon, away.name, last)
		}
		c.until("formed again", 200_000, c.formed)
		c.until("level", 200_000, func() bool {
			status, _ := c.leader().replica.Raft()
			return c.leader().replica.Horizon(nobody, nobody) == status.Release
		})
	}
}

func nobody(string) bool { return false }
