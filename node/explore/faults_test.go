//go:build explore

package explore

import (
	"testing"
	"time"

	"holdfast/protocol"
)

// That the search finds what is wrong: with one clause off it has to come to a
// broken check by itself. Where the whole schedule is out of reach, it begins
// near the fault, at the state that the comment names.

// refinds searches from a state with clauses off for a check that must fire, and
// from the same state with all clauses on, as far, where nothing may.
func refinds(t *testing.T, off []string, check string, s Search, near func(s *script), names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"a", "b", "c"}
	}
	for _, on := range []bool{false, true} {
		var rules []string
		if !on {
			rules = off
		}
		script := newScript(t, Formed(rules, names...), on)
		near(script)
		start := script.World
		search := s
		if !on {
			search.Want = check
		}
		search.Time = 60 * time.Second
		r := search.Run(start)
		switch f := r.Finding; {
		case on && f != nil:
			t.Errorf("with all clauses on: %s: %s\n%s", f.Check, f.What, search.Story(start, f.Path))
		case on:
			t.Logf("on: %s", &r)
		case f == nil:
			t.Errorf("off: %s is not found: %s", check, &r)
		default:
			t.Logf("off: %s in %d steps: %s; %s", f.Check, len(f.Path), f.What, &r)
			search.Depth = len(f.Path)
		}
		if !on && r.Finding != nil {
			s.Depth = len(r.Finding.Path)
		}
	}
}

func TestSearchFindsOneStepReplacement(t *testing.T) {
	// CE1 after step 2.
	refinds(t, []string{"remove-then-add"}, "S2", Search{Brisk: true, Limits: map[Op]int{Timeout: 3, Wipe: 1}}, func(s *script) {
		s.elect("b", "c")
		s.must(s.acked(s.write("b", "c")), "2")
		s.held[1][0], s.held[2][0] = true, true
		s.lose("b", "a")
		s.lose("c", "a")
		s.lose("a", "c")
		s.held[0][2] = true
	})
}

func TestSearchFindsPromiseOnAStaleView(t *testing.T) {
	// CE2 in the middle of step 3: a3 may start, c3 is about to be added.
	refinds(t, []string{"confirm"}, "S3", Search{Limits: map[Op]int{}, Depth: 6}, func(s *script) {
		s.staleView()
	}, "b", "c", "a")
}

func TestSearchFindsConfirmingLeaderThatLeadsOn(t *testing.T) {
	// CE3 after step 3.
	refinds(t, []string{"leader-refuses", "confirm-steps-down"}, "S3", Search{Limits: map[Op]int{}, Depth: 9}, func(s *script) {
		s.wipe("a")
		s.elect("b", "c")
		s.rejoin("a", "b")
		s.from("a", "b")
		s.from("b", "a")
		s.from("a", "b")
		s.talk("b", "c")
		s.wipe("a", "c")
		s.rejoin("a", "b")
		s.greet("b", "c")
	})
}

func TestSearchFindsStagedCopyActivatedAfterAGrant(t *testing.T) {
	// CE4 in the middle of step 4: c has promised. See the schedule for the second
	// clause that is off.
	refinds(t, []string{"promise-drops-stage", "own-picture"}, "S2", Search{Limits: map[Op]int{}, Depth: 6}, func(s *script) {
		s.must(s.acked(s.write("a", "b")), "1")
		s.lose("a", "c")
		s.wipe("b")
		s.from("b", "a")
		s.from("a", "b")
		s.copyFrom(1)
		s.take("b", "a", func(*packet) bool { return true })
		s.wipe("a")
		if s.on {
			s.greet("a", "b")
		}
		for range 6 {
			if s.node("c").store.promise.Epoch > 0 {
				break
			}
			s.from("a", "c")
			s.from("b", "c")
			s.from("c", "a")
			s.from("c", "b")
		}
		s.must(s.node("c").store.promise.Epoch > 0, "c does not promise")
	})
}

func TestSearchFindsUncommittedBumpThatOutranksData(t *testing.T) {
	// CE5 after step 3.
	refinds(t, []string{"rank-by-founding"}, "S2", Search{Brisk: true, Limits: map[Op]int{Timeout: 3}, Depth: 3}, func(s *script) {
		s.elect("b", "c")
		s.must(s.acked(s.write("b", "c")), "1")
		s.wipe("b")
		s.orderStops("c", "a", "b")
		s.lose("b", "a")
		s.lose("c", "a")
	})
}

func TestSearchFindsLateGrant(t *testing.T) {
	// CE6 after step 1.
	refinds(t, []string{"bump"}, "L1", Search{Brisk: true, Recover: 1, Limits: map[Op]int{Wipe: 1, Found: 1, DeliverAt: 1}, Depth: 4}, func(s *script) {
		toA, toB := s.lateGrants()
		_ = toA
		s.held[2][1] = true
		s.mail[2][1] = []*packet{toB}
	})
}

func TestSearchFindsFounderThatPromisedAgain(t *testing.T) {
	// CE7 after step 2: the request to a is late, the grants are on their way.
	refinds(t, []string{"own-promise", "exact-electability/listed", "counter"}, "promise", Search{Limits: map[Op]int{}, Depth: 4}, func(s *script) {
		late := s.grantsOnTheirWay()
		s.mail[2][0] = append([]*packet{late}, s.mail[2][0]...)
	})
}

func TestSearchFindsRestagingBackwards(t *testing.T) {
	// CE8 after step 1.
	refinds(t, []string{"holder-stays"}, "S2", Search{Limits: map[Op]int{}, Depth: 8}, func(s *script) {
		s.elect("b", "c")
		s.must(s.acked(s.write("b", "c")), "1")
		s.wipe("c")
		s.rejoin("c", "b")
		s.lose("b", "a")
	})
}

func TestSearchFindsCountingInsteadOfElectability(t *testing.T) {
	// CE9 after step 2.
	refinds(t, []string{"exact-electability/above"}, "L1", Search{Recover: 1, Limits: map[Op]int{}, Depth: 2}, func(s *script) {
		s.wipe("b")
		s.orderStops("c", "a", "b")
	})
}

func TestSearchFindsSoleVoterThatAcknowledges(t *testing.T) {
	// O1 from the start.
	refinds(t, []string{"release-by-members"}, "S1", Search{Brisk: true, Limits: map[Op]int{Found: 1, Timeout: 3, Propose: 2}, Depth: 6}, func(s *script) {
		s.isolate("a")
	})
}

func TestSearchFindsHigherEpochTakenForBetter(t *testing.T) {
	// O2 from the start, with c cut off.
	refinds(t, []string{"leave-rule"}, "S2", Search{Brisk: true, Limits: map[Op]int{Found: 1, Timeout: 1, Propose: 1}, Depth: 6}, func(s *script) {
		s.isolate("c")
	})
}

func TestSearchFindsLiftedPromise(t *testing.T) {
	// O3 after step 1, the operator's command given.
	refinds(t, []string{"promise-stays"}, "S2", Search{Limits: map[Op]int{Beat: 1}, Depth: 9}, func(s *script) {
		s.wipe("b")
		s.rejoin("b", "a")
		s.write("a")
		s.lose("a", "c")
		s.from("c", "b")
		s.order("b", "a")
		s.from("b", "c")
		s.from("c", "b")
	})
}

func TestSearchFindsFounderThatKeepsItsStore(t *testing.T) {
	// O4 from the start, with a cut off.
	refinds(t, []string{"fresh-store", "promise-stays"}, "identity", Search{Brisk: true, Limits: map[Op]int{Found: 1, Timeout: 3}, Depth: 4}, func(s *script) {
		s.isolate("a")
	})
}

func TestSearchFindsFoundingAfterAWrongOverride(t *testing.T) {
	// O5 after step 2, a parked with its copy.
	refinds(t, []string{"leave-test"}, "S2", Search{Brisk: true, Limits: map[Op]int{Wipe: 1, Timeout: 1}, Depth: 5}, func(s *script) {
		s.must(s.acked(s.write("a", "b")), "1")
		s.lose("a", "c")
		s.wipe("a")
		s.isolate("b")
		s.from("b", "c")
		s.from("a", "c")
		s.order("c", "a", "b")
		s.elect("c")
		s.parked["a"], s.World.parked[0], s.held[2][0] = true, true, true
		s.talk("a", "c")
		s.copyFrom(0)
	})
}

func TestSearchFindsGrantRecognisedByNumber(t *testing.T) {
	// O6 after step 1.
	refinds(t, []string{"exact-attempt", "one-live"}, "S2", Search{Brisk: true, Limits: map[Op]int{Found: 1, Timeout: 1, Beat: 2}, Depth: 6}, func(s *script) {
		s.promised("a", protocol.Attempt{Epoch: 1, ID: 0x99})
		s.wipe("b")
		s.must(s.acked(s.write("a", "c")), "1")
		s.take("a", "b", func(*packet) bool { return true })
		s.take("c", "b", func(*packet) bool { return true })
		s.isolate("b")
	})
}

func TestSearchFindsGrantInheritedByASwitch(t *testing.T) {
	// O6, by a switch, after step 2.
	refinds(t, []string{inheritBySwitch, "above-epoch", "one-live"}, "S2", Search{Limits: map[Op]int{Timeout: 1}, Depth: 9}, func(s *script) {
		s.wipe("b")
		s.must(s.acked(s.write("a", "c")), "1")
		s.wipe("c")
		s.from("c", "b")
		s.order("b", "a")
		s.from("b", "c")
		s.from("c", "b")
		s.from("b", "c")
		s.from("c", "a")
		s.from("a", "c")
	})
}

func TestSearchFindsGrantInheritedByFounding(t *testing.T) {
	// O6, by founding, after step 3.
	refinds(t, []string{inheritByFounding}, "S2", Search{Brisk: true, Limits: map[Op]int{Found: 1, Timeout: 1, Beat: 2}, Depth: 6}, func(s *script) {
		s.wipe("a", "b")
		s.talk("a", "b", "c")
		s.elect("c")
		s.parked["b"] = true
		s.rejoin("a", "c")
		s.talk("a", "c")
		s.talk("b", "c")
		s.copyFrom(1)
		s.must(s.acked(s.write("c", "a")), "3")
		s.tellStaged(1)
		s.isolate("b")
		s.take("a", "b", func(*packet) bool { return true })
		s.take("c", "b", func(*packet) bool { return true })
	})
}

func TestSearchFindsReturnAfterTheFounding(t *testing.T) {
	// R3 after step 1.
	refinds(t, []string{"leave-rule"}, "S2", Search{Brisk: true, Limits: map[Op]int{Return: 1, Timeout: 2}, Depth: 4}, func(s *script) {
		late := s.returning()
		s.arrive("c", "b", late)
		s.from("b", "c")
	})
}

func TestSearchFindsReturnBetweenConfirmAndPromise(t *testing.T) {
	// R1 in step 1: a2 and b2 are asked to confirm. S3 fires in both runs.
	refinds(t, []string{"exact-electability/listed"}, "L1", Search{Recover: 1, Limits: map[Op]int{Return: 1}, Depth: 5, Ignore: []string{"S3"}}, func(s *script) {
		s.wipe("a", "b")
		s.greet("a", "b")
		s.from("a", "c")
		s.from("b", "c")
	})
}

// A return after the own successor's grant is the known limit: it is found with
// all clauses on, and it is neither a wedge nor anything else.
func TestSearchFindsReturnAfterTheSuccessorsGrant(t *testing.T) {
	// R2 after step 1: a2 has granted, the request to b2 is late.
	near := func() *World {
		s := newScript(t, Formed(nil, "a", "b", "c"), true)
		late := s.returning()
		s.mail[2][1] = append([]*packet{late}, s.mail[2][1]...)
		return s.World
	}
	s := Search{Limits: map[Op]int{Return: 1}, Depth: 3, Want: "S2"}
	r := s.Run(near())
	if r.Finding == nil {
		t.Fatalf("S2 is not found: %s", &r)
	}
	t.Logf("S2 in %d steps: %s; %s", len(r.Finding.Path), r.Finding.What, &r)
	s.Want, s.Ignore, s.Recover = "", []string{"S2", "S3"}, 1
	if r := s.Run(near()); r.Finding != nil {
		t.Errorf("%s: %s\n%s", r.Finding.Check, r.Finding.What, s.Story(near(), r.Finding.Path))
	} else {
		t.Logf("nothing else: %s", &r)
	}
}

func TestSearchFindsFoundingBesideAnIntactQuorum(t *testing.T) {
	// B2 after step 1, d and e linked.
	refinds(t, []string{"every-member"}, "S1", Search{Brisk: true, Limits: map[Op]int{Timeout: 1, Propose: 1}, Depth: 5}, func(s *script) {
		s.wipe("b")
		s.isolate("b")
		s.heal("d", "e")
	}, "a", "b", "c", "d", "e")
}

func TestSearchFindsFoundingByABlankMajority(t *testing.T) {
	// B1 from the formed state.
	refinds(t, []string{"every-member"}, "S2", Search{Brisk: true, Limits: map[Op]int{Wipe: 2, Propose: 1, Cut: 2}, Depth: 5}, func(s *script) {
		s.isolate("b")
	})
}
