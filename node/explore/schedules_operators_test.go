//go:build explore

package explore

import (
	"testing"

	"holdfast/mesh"
	"holdfast/protocol"
)

func TestO1SoleVoterAcknowledges(t *testing.T) {
	schedule(t, []string{"release-by-members"}, "S1", func(s *script) {
		// 1. a appends D0 on a1 only; the client waits.
		d0 := s.write("a")
		// 2. {b1,c1} elect b.
		s.elect("b", "c")
		// 3. Operator at a without b, c (both alive). a promises 2 and founds L2@2
		//    as a2, sole voter, with D0 in its log.
		s.isolate("a")
		s.order("a", "b", "c")
		s.elect("a")
		s.must(s.node("a").store.identity.Lineage.Epoch == 2 && s.node("a").store.holds(&d0), "3")
		s.must(s.acked(d0) != s.on, "3: acknowledged: %v", s.acked(d0))
		s.must(s.Propose(0) != s.on, "3: open to writes")
		// 4. b: D1 → {b1,c1} in L1.
		s.must(s.acked(s.write("b", "c")), "4")
		if s.on {
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestO2HigherEpochTakenForBetter(t *testing.T) {
	schedule(t, []string{"leave-rule"}, "S2", func(s *script) {
		// 1. D0 → {a1,b1}.
		s.must(s.acked(s.write("a", "b")), "1")
		s.lose("a", "c")
		// 2. Operator at c without a, b (both alive). c founds L2@2 as c2.
		s.isolate("c")
		s.from("a", "c")
		s.from("b", "c")
		s.order("c", "a", "b")
		s.elect("c")
		// 3. a1 sees epoch 2. It may not go over to it.
		a1 := s.voter(0)
		s.heal("a", "c")
		s.talk("a", "c")
		s.must((s.voter(0) == a1) == s.on, "3")
		if s.on {
			s.must(s.alarmed("a", "two lineages are live") && s.alarmed("c", "two lineages are live"), "3: no alarm")
			_, epochA := s.node("a").store.foundings()
			_, epochC := s.node("c").store.foundings()
			s.must(epochA == 1 && epochC == 2, "3: one of two live lineages bumps")
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestO3BumpLiftsThePromise(t *testing.T) {
	schedule(t, []string{"promise-stays"}, "S2", func(s *script) {
		// 1. b is wiped. a appends D0 on a1 only. b rejoins from a as b3.
		s.wipe("b")
		s.rejoin("b", "a")
		d0 := s.write("a")
		// 2. Operator at b without a (alive, leading). b3, level with c1, is first
		//    by name: c confirms, b promises 2, c1 grants.
		s.lose("a", "c")
		s.from("c", "b")
		s.order("b", "a")
		s.from("b", "c")
		s.from("c", "b")
		s.from("b", "c")
		s.must(s.node("c").store.promise.Epoch == 2, "2: c promised %v", s.node("c").store.promise)
		granted := s.take("c", "b", func(p *packet) bool { return p.kind == packetMembership && p.membership.Type == mesh.TypeGranted })
		s.must(len(granted) == 1, "2: no grant")
		// 3. a hears of it and sends D0 and BUMP 3 to c1.
		s.talk("a", "c")
		s.beat("a")
		s.talk("a", "c")
		_, epoch := s.node("a").store.foundings()
		s.must(epoch == 3, "3: a's epoch is %d", epoch)
		s.must(s.acked(d0) != s.on, "3: acknowledged: %v", s.acked(d0))
		// 4. b founds L2@2 as b4.
		s.arrive("c", "b", granted[0])
		s.must(s.node("b").store.identity.Lineage.Epoch == 2, "4: b does not found")
		if s.on {
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestO4FounderKeepsItsStoreID(t *testing.T) {
	schedule(t, []string{"fresh-store", "promise-stays"}, "identity", func(s *script) {
		// 1. Operator at a without b, c (both alive). a founds L2@2.
		s.isolate("a")
		s.from("b", "a")
		s.from("c", "a")
		s.order("a", "b", "c")
		s.must(s.node("a").store.identity.Lineage.Epoch == 2, "1")
		// 2. {b1,c1} elect a leader of L1, which sees that a1 is missing.
		s.lose("a", "b")
		s.lose("a", "c")
		s.elect("b", "c")
		s.must(s.node("b").store.configuration().Contains(s.voter(0)) != s.on, "2: a counts in L1")
		if s.on {
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestO5FoundingAfterAWrongOverride(t *testing.T) {
	schedule(t, []string{"leave-test"}, "S2", func(s *script) {
		// 1. D0 → {a1,b1}. a is wiped (a2).
		s.must(s.acked(s.write("a", "b")), "1")
		s.lose("a", "c")
		s.wipe("a")
		// 2. Operator at c without a, b (b1 is alive). c founds L2@2 as c2.
		s.isolate("b")
		s.from("b", "c")
		s.from("a", "c")
		s.order("c", "a", "b")
		s.elect("c")
		// 3. a stages L2 from c; c is wiped (c3); a switches: a3. Nobody is
		//    electable.
		s.parked["a"] = true
		s.talk("a", "c")
		s.copyFrom(0)
		s.must(s.node("a").staged != nil, "3: nothing staged")
		s.wipe("c")
		s.tellStaged(0)
		s.parked["a"] = false
		s.must(s.node("a").store.identity.Lineage.Epoch == 2 && len(s.winners()) == 0, "3")
		// 4. a starts n=3 by itself, first by founding epoch. b1 may not leave.
		s.heal("a", "b", "c")
		for range 3 {
			s.talk("a", "b", "c")
			s.timeout("a")
		}
		s.must((s.foundings() == 1) == s.on, "4: %d foundings", s.foundings())
		if s.on {
			s.must(s.alarmed("b", "asks to found a new lineage without") && s.alarmed("a", "b does not let a found"), "4: no alarm")
			s.must(s.node("b").store.promise.Epoch == 0 && s.node("a").store.promise.Epoch == 0, "4: a promise")
			s.must(s.recovers(), "no recovery")
		}
	})
}

// promised gives a store a promise to an attempt that came to nothing before it
// joined L1.
func (s *script) promised(name string, attempt protocol.Attempt) {
	i := s.index(name)
	s.stop(i)
	n := s.own(i)
	n.store.promise, n.store.granted = attempt, append(n.store.granted, attempt)
	s.start(i)
	s.talk(s.names...)
	s.timeout(name)
	s.talk(s.names...)
	s.must(s.node(name).leads(), "%s is not elected", name)
}

func TestO6OwnGrantRecognisedByNumber(t *testing.T) {
	schedule(t, []string{"exact-attempt", "one-live"}, "S2", func(s *script) {
		// 0. a1 promised 1 to an attempt that came to nothing, before it joined L1.
		s.promised("a", protocol.Attempt{Epoch: 1, ID: 0x99})
		// 1. b is wiped (b2). D0 → {a1,c1}.
		s.wipe("b")
		s.must(s.acked(s.write("a", "c")), "1")
		// 2. Operator at b without a, c (both alive). b2 is blank and knows no
		//    epoch: n=1, L2@1 as b3.
		s.take("a", "b", func(*packet) bool { return true })
		s.take("c", "b", func(*packet) bool { return true })
		s.isolate("b")
		s.order("b", "a", "c")
		s.elect("b")
		s.must(s.node("b").store.identity.Lineage.Epoch == 1, "2")
		// 3. b hears of L1 at epoch 1, and bumps if it does not see that L1 lives.
		// 4. a1 takes its promise for a grant.
		a1 := s.voter(0)
		s.heal("a", "b")
		for range 4 {
			s.talk("a", "b")
			s.beat("b")
		}
		s.must((s.voter(0) == a1) == s.on, "4")
		if s.on {
			s.must(s.alarmed("a", "two lineages are live"), "4: no alarm")
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestO6GrantInheritedByASwitch(t *testing.T) {
	schedule(t, []string{inheritBySwitch, "above-epoch", "one-live"}, "S2", func(s *script) {
		// 1. b is wiped; D0 → {a1,c1}; c is wiped (c2).
		s.wipe("b")
		s.must(s.acked(s.write("a", "c")), "1")
		s.wipe("c")
		// 2. Operator at b without a: c2 grants n=1.
		s.from("c", "b")
		s.order("b", "a")
		s.from("b", "c")
		s.from("c", "b")
		s.from("b", "c")
		s.must(s.node("c").store.promise.Epoch == 1, "2: c promised %v", s.node("c").store.promise)
		granted := s.take("c", "b", func(p *packet) bool { return p.kind == packetMembership && p.membership.Type == mesh.TypeGranted })
		// 3. c2 stages from a, but does not switch yet. The rule that its epoch is
		//    above the promise forbids that, too; it is off in the other run.
		s.parked["c"] = true
		s.from("c", "a")
		s.from("a", "c")
		s.must((s.node("c").stage != nil) != s.on, "3")
		if s.on {
			s.arrive("c", "b", granted[0])
			s.must(s.recovers(), "no recovery")
			return
		}
		s.copyFrom(2)
		// 4. b founds L2@1.
		s.arrive("c", "b", granted[0])
		s.must(s.node("b").store.identity.Lineage.Epoch == 1, "4")
		s.elect("b")
		// 5. c switches (c3, with D0), then leaves for L2 on c2's grant.
		s.tellStaged(2)
		s.parked["c"] = false
		s.must(s.node("c").store.Last() > 1, "5: c does not switch")
		for range 4 {
			s.talk("b", "c")
			s.beat("b")
		}
	})
}

func TestO6GrantInheritedByFounding(t *testing.T) {
	schedule(t, []string{inheritByFounding}, "S2", func(s *script) {
		// 1. a, b are wiped; c founds L2@2 as c2 with both grants.
		s.wipe("a", "b")
		s.talk("a", "b", "c")
		s.must(s.node("c").store.identity.Lineage.Epoch == 2, "1")
		s.elect("c")
		c2 := s.voter(2)
		// 2. a rejoins as a3, c adds it; b stages from c.
		s.parked["b"] = true
		s.rejoin("a", "c")
		s.talk("a", "c")
		s.must(s.node("c").store.configuration().Contains(s.voter(0)), "2: %s", s.node("c").store.configuration())
		s.talk("b", "c")
		s.copyFrom(1)
		s.must(s.node("b").staged != nil, "2: nothing staged")
		// 3. D0 → {a3,c2}; b switches, without D0.
		s.must(s.acked(s.write("c", "a")), "3")
		s.tellStaged(1)
		s.parked["b"] = false
		s.must(s.node("b").store.identity.Lineage.Epoch == 2, "3: b does not switch")
		// 4. Operator at b without a, c founds L3@3.
		s.isolate("b")
		s.take("a", "b", func(*packet) bool { return true })
		s.take("c", "b", func(*packet) bool { return true })
		s.order("b", "a", "c")
		s.elect("b")
		// 5. c2 leaves for L3 if it takes the FOUND of L2 for its own grant.
		s.heal("b", "c")
		for range 4 {
			s.talk("b", "c")
			s.beat("b")
		}
		s.must((s.voter(2) == c2) == s.on, "5")
		if s.on {
			s.must(s.alarmed("c", "two lineages are live"), "5: no alarm")
			s.must(s.recovers(), "no recovery")
		}
	})
}
