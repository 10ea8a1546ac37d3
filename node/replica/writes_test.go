package replica_test

import (
	"testing"

	"holdfast/protocol"
)

// A write is handed out once and performed later. What it says must not change
// meanwhile, whatever the replica does next.
func TestWritesStayAsTheyWereHandedOut(t *testing.T) {
	for seed := range uint64(10) {
		c := newCluster(t, seed, "a", "b", "c")
		said := map[*protocol.Write]protocol.HardState{}
		check := func() {
			for _, m := range c.members {
				for _, w := range m.writes {
					if w.Write.HardState == nil {
						continue
					}
					before, seen := said[w.Write]
					if !seen {
						said[w.Write] = *w.Write.HardState
						if w.Write.HardState.Term == 0 {
							t.Fatalf("seed %d: %s hands out a hard state without a term", seed, m.name)
						}
					} else if before != *w.Write.HardState {
						t.Fatalf("seed %d: write %d of %s said %+v and now says %+v", seed, w.ID, m.name, before, *w.Write.HardState)
					}
				}
			}
		}
		for range 20_000 {
			c.step()
			check()
		}
	}
}
