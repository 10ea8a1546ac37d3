package integration

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestSixteen restarts a cluster that is larger than anybody should need, so
// that whatever grows with the square of the members is seen:
//
//  1. Sixteen members form for the first time.
//  2. All are killed at once.
//  3. Each starts again at a random moment within 20 s.
//  4. The cluster is whole within 5 s of the last start.
func TestSixteen(t *testing.T) {
	requireHoldfast(t)
	const members, window, limit = 16, 20 * time.Second, 5 * time.Second
	s := tale{t: t}
	c := newCluster(t, members)
	s.step(1, "%d members start", members)
	began := time.Now()
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitFormed(t)
	t.Logf("formed %v after the first start", time.Since(began).Round(time.Millisecond))

	s.step(2, "all are killed")
	for _, n := range c.nodes {
		n.kill(t)
	}
	s.step(3, "each starts at a random moment within %v", window)
	seed := chosenSeed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	moments := make([]time.Duration, members)
	for i := range moments {
		moments[i] = time.Duration(random.Int64N(int64(window)))
	}
	slices.Sort(moments)
	began = time.Now()
	for i, at := range random.Perm(members) {
		time.Sleep(time.Until(began.Add(moments[i])))
		c.nodes[at].start(t)
	}
	last := time.Now()
	s.step(4, "the cluster forms")
	c.waitFormed(t)
	if took, limit := time.Since(last), speedLimit(limit); took > limit {
		t.Errorf("formed %v after the last start, want at most %v", took, limit)
	} else {
		t.Logf("formed %v after the last start", took.Round(time.Millisecond))
	}
}
