//go:build explore

package explore

import "testing"

// A copy of a disk is made while its member works; the member votes and stores
// what is acknowledged; then the copy is put back. Its boot counter is higher than
// any that was heard, because no other process ran in between.

// rollback is R4 and R5, step 1: b's disk is copied. b and c elect b in term 3,
// unheard by a; D0 → {b1,c1}.
func (s *script) rollback() {
	s.t.Helper()
	s.Image(1)
	s.elect("b", "c")
	s.must(s.acked(s.write("b", "c")), "1")
	s.must(s.node("b").store.hard.Term > s.node("b").image.hard.Term, "1: the term is the same")
	s.lose("b", "a")
	s.lose("c", "a")
	s.lose("a", "b")
	s.lose("a", "c")
}

// campaign lets a candidate ask a voter again and again, who hears no announcement
// of it meanwhile, until it leads a term that is new to it.
func (s *script) campaign(candidate, voter string) bool {
	term := s.node(candidate).store.hard.Term
	for range 4 {
		s.timeout(candidate)
		s.timeout(voter)
		for range 4 {
			s.take(candidate, voter, func(p *packet) bool { return p.announces() })
			s.from(candidate, voter)
			s.from(voter, candidate)
		}
		if n := s.node(candidate); n.leads() && n.store.hard.Term > term {
			return true
		}
	}
	return false
}

func TestR4RolledBackVoterIsToldWhatItWas(t *testing.T) {
	schedule(t, []string{"remember"}, "S2", func(s *script) {
		s.rollback()
		before := s.voter(1)
		// 2. The copy is put back. b restarts on it, and c greets it.
		s.Rollback(1)
		s.from("b", "c")
		s.from("c", "b")
		s.must((s.voter(1) != before) == s.on, "2: b is %s", s.voter(1))
		// 3. a asks for votes. With b1's it leads a term that b1 led before, without D0.
		s.must(s.campaign("a", "b") != s.on, "3: a leads: %v", !s.on)
		s.must(s.Fired("election") != s.on, "3: two leaders of a term")
		if s.on {
			s.must(!s.node("b").store.replaced.Blank(), "3: nothing is set aside")
			s.must(s.recovers(), "no recovery")
		}
	})
}

func TestR5RolledBackVoteIsNotCounted(t *testing.T) {
	schedule(t, []string{"remember"}, "S2", func(s *script) {
		s.rollback()
		// 2. b's announcements reach a. The copy is put back, and b restarts on it; what
		// others have to say to it is late.
		s.from("b", "a")
		s.Rollback(1)
		s.from("b", "a")
		s.must(s.node("a").replica.View().Members[1].Connected != s.on, "2: a goes on with b")
		// 3. a asks for votes. b grants its own: a does not count it.
		s.must(s.campaign("a", "b") != s.on, "3: a leads: %v", !s.on)
		if s.on {
			s.must(s.recovers(), "no recovery")
		}
	})
}

// What the rule cannot know: nobody who is there has heard of what is gone.
func TestR6RolledBackUnheard(t *testing.T) {
	s := newScript(t, Formed(nil, "a", "b", "c"), true)
	s.rollback()
	s.take("b", "a", func(*packet) bool { return true })
	// 2. c is cut off; the copy is put back.
	s.isolate("c")
	s.Rollback(1)
	s.must(s.campaign("a", "b"), "2: a does not lead")
	// S2 fires with all clauses on. It is no wedge.
	s.must(s.Fired("S2"), "2: no S2")
	s.must(s.recovers(), "no recovery")
	s.spotless("S2", "election")
}

func TestSearchFindsRolledBackVoter(t *testing.T) {
	// R4 after step 1, without the copy that c's greeting would be.
	refinds(t, []string{"remember"}, "S2", Search{Brisk: true, Limits: map[Op]int{Rollback: 1, Timeout: 4}, Depth: 5}, func(s *script) {
		s.rollback()
	})
}
