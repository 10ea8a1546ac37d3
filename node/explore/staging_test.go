//go:build explore

package explore

import "testing"

// Logs that were trimmed, and copies that are made in steps and break off.

func TestSearchFindsCopyWithoutItsTail(t *testing.T) {
	// b has founded L2 with the grant of c, which was frozen, and has a checkpoint
	// below D0: a copy without its tail has neither D0 nor the FOUND.
	refinds(t, []string{wholeCopy}, "S2", Search{Steps: true, Brisk: true, Limits: map[Op]int{}, Depth: 3}, func(s *script) {
		s.must(s.Compact(1, false), "no checkpoint")
		s.must(s.acked(s.write("a", "b", "c")), "D0 is not acknowledged")
		s.beat("a")
		s.talk("a", "b", "c")
		s.parked["a"], s.parked["c"] = true, true
		s.orderStops("c", "a", "b")
		s.wipe("a")
		for range 4 {
			s.talk("a", "b", "c")
			s.timeout("b")
		}
		s.must(s.foundings() == 1, "b does not found")
		s.talk("b", "c")
		s.must(s.node("c").stage != nil && s.node("c").store.frozen(), "c asks for no copy")
	})
}

func TestSearchFindsLaggingVoterThatIsNotServed(t *testing.T) {
	// c was away while D0 was stored. a trims its log without patience, and b is
	// wiped: then a needs c to be elected, and c a copy to acknowledge anything.
	refinds(t, []string{"serve-lagging"}, "L1", Search{Steps: true, Brisk: true, Recover: 1, Limits: map[Op]int{Compact: 1, Wipe: 1}, Depth: 2}, func(s *script) {
		s.isolate("c")
		s.must(s.acked(s.write("a", "b")), "D0")
	})
}

// What is trimmed is gone: a replica that reads it finds its store unreadable.
func TestTrimmedEntriesCannotBeRead(t *testing.T) {
	w := Formed(nil, "a", "b", "c")
	w.Propose(0)
	w.quiet()
	if !w.Compact(0, false) {
		t.Fatal("no checkpoint")
	}
	s := w.nodes[0].store
	if s.First() < 2 || s.applied() != s.Last() {
		t.Fatalf("the log begins at %d, with a checkpoint at %d of %d", s.First(), s.applied(), s.Last())
	}
	if _, err := s.Entries(s.First()-1, s.Last(), 1); err == nil {
		t.Error("an entry that is gone can be read")
	}
	if _, ok := s.Mark(1); !ok {
		t.Error("the mark of an entry that is gone is gone")
	}
}
