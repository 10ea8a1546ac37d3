//go:build explore

package explore

import (
	"testing"

	"holdfast/mesh"
)

// A mount failed, the node went on with a blank store; the mount is repaired,
// and the node restarts on the old one.

func TestR1BackBetweenConfirmAndPromise(t *testing.T) {
	for _, on := range []bool{true, false} {
		var off []string
		if !on {
			off = []string{"exact-electability/listed"}
		}
		s := newScript(t, Formed(off, "a", "b", "c"), on)
		// 1. a, b are wiped (a2, b2). c starts n=2; a2 confirms.
		s.wipe("a", "b")
		s.greet("a", "b")
		s.from("a", "c")
		s.from("b", "c")
		s.from("c", "a")
		confirmed := s.take("a", "c", func(p *packet) bool { return p.kind == packetMembership && p.membership.Type == mesh.TypeConfirmed })
		s.must(len(confirmed) == 1, "1: no confirmation")
		// 2. a restarts on a1. {a1,c1} is electable again. c does not notice.
		s.Return(0)
		s.must(len(s.winners()) == 1, "2")
		// 3. b2 confirms, c promises 2 and stops.
		s.own(2).stalled = true
		s.from("c", "b")
		s.arrive("a", "c", confirmed[0])
		s.from("b", "c")
		s.must(len(s.node("c").writes) > 0, "3: c writes no promise")
		s.Apply(Action{Op: Perform, A: 2})
		s.restart("c")
		s.must(s.node("c").store.promise.Epoch == 2, "3: c promised %v", s.node("c").store.promise)
		// S3 fires in both runs: no rule foresees a store that comes back.
		s.must(s.Fired("S3"), "3: no S3")
		s.must(s.recovers() == on, "recovery")
		if on {
			s.spotless("S3")
		}
	}
}

// returning is R2 and R3, step 1: D0 → {a1,b1}. a, b are wiped. c starts n=2;
// both confirm; c promises 2; a2 grants. The request for b2's grant is late.
func (s *script) returning() (late *packet) {
	s.t.Helper()
	s.must(s.acked(s.write("a", "b")), "1")
	s.lose("a", "c")
	s.lose("b", "c")
	s.wipe("a", "b")
	s.greet("a", "b")
	for range 4 {
		s.from("a", "c")
		s.from("b", "c")
		s.from("c", "a")
		grant := s.take("c", "b", func(p *packet) bool { return p.kind == packetMembership && p.membership.Type == mesh.TypeGrant })
		if len(grant) > 0 {
			late = grant[0]
		}
		s.from("c", "b")
	}
	s.must(late != nil && s.node("a").store.promise.Epoch == 2 && s.node("b").store.promise.Epoch == 0, "1: promises %v %v",
		s.node("a").store.promise, s.node("b").store.promise)
	return late
}

func TestR2BackAfterItsSuccessorsGrant(t *testing.T) {
	s := newScript(t, Formed(nil, "a", "b", "c"), true)
	late := s.returning()
	// 2. a restarts on a1, which has D0. b2 grants. c founds L2@2.
	s.Return(0)
	a1 := s.voter(0)
	s.arrive("c", "b", late)
	s.from("b", "c")
	s.must(s.foundings() == 1, "2: c does not found")
	s.elect("c")
	// S2 fires with all clauses on: a2's grant was honest. a1 is kept and alarmed.
	s.must(s.Fired("S2"), "no S2")
	s.talk("a", "c")
	s.must(s.voter(0) == a1 && s.alarmed("a", "stays in lineage"), "a1 is not kept")
	s.must(s.node("a").replica.View().Members[0].State == mesh.StateAlarmed, "a is %s", s.node("a").replica.View().Members[0].State)
	s.must(s.recovers(), "no recovery")
	s.spotless("S2")
}

func TestR3BackAfterTheFounding(t *testing.T) {
	schedule(t, []string{"leave-rule"}, "S2", func(s *script) {
		// 1. As R2, but a restarts on a1 only after c has founded.
		late := s.returning()
		s.arrive("c", "b", late)
		s.from("b", "c")
		s.must(s.foundings() == 1, "1: c does not found")
		s.Return(0)
		a1 := s.voter(0)
		s.elect("c")
		// 2. a1 restages from c and switches, if it may: a2 granted, a1 did not.
		s.talk("a", "c")
		s.must((s.voter(0) == a1) == s.on, "2")
		s.must(s.alarmed("a", "stays in lineage") == s.on, "2: alarm")
		if s.on {
			s.must(s.recovers(), "no recovery")
		}
	})
}

// Why a blank majority does not found by itself.

func TestB1MinorityHoldsTheData(t *testing.T) {
	schedule(t, []string{"every-member"}, "S2", func(s *script) {
		// 1. b is wiped (b2). D0 → {a1,c1}. a is wiped (a2); c is cut off.
		s.wipe("b")
		s.must(s.acked(s.write("a", "c")), "1")
		s.wipe("a")
		s.isolate("c")
		// 2. a2 and b2 are two of three.
		for range 4 {
			s.talk("a", "b")
			s.timeout("a")
		}
		s.must((s.foundings() == 0) == s.on, "2: %d foundings", s.foundings())
		if s.on {
			waiting := s.node("a").replica.View().Waiting
			s.must(waiting != "", "2: a waits without a word")
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestB2IntactQuorumOfASmallerConfiguration(t *testing.T) {
	for _, on := range []bool{true, false} {
		var off []string
		if !on {
			off = []string{"every-member"}
		}
		s := newScript(t, Formed(off, "a", "b", "c", "d", "e"), on)
		// 1. b is wiped (b2) and cut off from a and c.
		s.wipe("b")
		s.isolate("b")
		// 2. b2, d1, e1 are three of five.
		s.heal("b", "d", "e")
		for range 4 {
			s.talk("b", "d", "e")
			s.timeout("b")
		}
		s.must((s.foundings() == 0) == on, "2: %d foundings", s.foundings())
		// 3. a stores D0 on {a1,c1}, a majority of {a1,b1,c1}.
		s.heal("a", "c")
		s.must(s.Propose(0), "3: a takes no write")
		s.talk("a", "c")
		s.must(s.Fired("S1") != on, "3: S1")
		if on {
			s.must(s.recovers(), "no recovery")
			s.spotless()
		}
	}
}
