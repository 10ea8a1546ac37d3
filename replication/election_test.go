package replication

import (
	"testing"

	"holdfast/protocol"
)

// TestElectionTimeouts: the timeouts fill [ElectionTicks, 2*ElectionTicks) and
// differ, so that split votes are rare (Raft, section 5.2).
func TestElectionTimeouts(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1)
	seen := map[int]bool{}
	for range 1000 {
		ticks := 0
		for s.role == Follower {
			s.Tick()
			ticks++
		}
		seen[ticks] = true
		if ticks < smallLimits.election || ticks >= 2*smallLimits.election {
			t.Fatalf("a timeout of %d ticks", ticks)
		}
		s.StepDown()
	}
	if len(seen) != smallLimits.election {
		t.Errorf("%d different timeouts", len(seen))
	}
}

// TestPreVote: asking for pre-votes changes nothing durable on either side, and
// refusals by a majority end the campaign.
func TestPreVote(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 3)
	s.campaignAsking()
	if sent := s.flush(); len(sent) != 2 || sent[0].Type != PreVote || sent[0].Term != 4 || s.state.Term != 3 {
		t.Fatalf("%v in term %d", sent, s.state.Term)
	}
	s.step(Message{Type: PreVoteReply, From: voter("b"), Term: 3, Reject: true})
	if s.role != PreCandidate {
		t.Fatal("one refusal of two ends the campaign")
	}
	s.step(Message{Type: PreVoteReply, From: voter("c"), Term: 3, Reject: true})
	if s.role != Follower || s.state.Term != 3 || len(s.disk.entries) != 1 || s.disk.hard.Term != 3 {
		t.Errorf("%s in term %d", s.role, s.state.Term)
	}
}

// TestElectionResults: only exactly the listed stores count, each once.
func TestElectionResults(t *testing.T) {
	impostor := protocol.Voter{Name: "b", Store: 99}
	five := voters("a", "b", "c", "d", "e")
	for name, c := range map[string]struct {
		configuration protocol.Configuration
		granted       []protocol.Voter
		refused       []protocol.Voter
		role          Role
	}{
		"alone":                 {voters("a"), nil, nil, Leader},
		"one of two":            {voters("a", "b"), nil, nil, Candidate},
		"two of three":          {voters("a", "b", "c"), []protocol.Voter{voter("c")}, nil, Leader},
		"two of five":           {five, []protocol.Voter{voter("c")}, nil, Candidate},
		"one voter twice":       {five, []protocol.Voter{voter("c"), voter("c")}, nil, Candidate},
		"three of five":         {five, []protocol.Voter{voter("c"), voter("d")}, nil, Leader},
		"another store":         {voters("a", "b", "c"), []protocol.Voter{impostor}, nil, Candidate},
		"a stranger":            {voters("a", "b", "c"), []protocol.Voter{voter("f")}, nil, Candidate},
		"a change of mind":      {voters("a", "b", "c"), []protocol.Voter{voter("b")}, []protocol.Voter{voter("b")}, Candidate},
		"two refuse of three":   {voters("a", "b", "c"), nil, []protocol.Voter{voter("b"), voter("c")}, Follower},
		"refused by a stranger": {voters("a", "b", "c"), nil, []protocol.Voter{voter("b"), impostor}, Candidate},
	} {
		s := newSolo(t, c.configuration, len(c.configuration.Voters), 1)
		s.campaign(false)
		s.flush()
		for _, v := range c.refused {
			s.step(Message{Type: VoteReply, From: v, Term: 2, Reject: true})
		}
		for _, v := range c.granted {
			s.step(Message{Type: VoteReply, From: v, Term: 2})
		}
		if s.role != c.role {
			t.Errorf("%s: %s", name, s.role)
		}
	}
}

// TestOwnVoteMustBeDurable: a candidate counts itself only after the write.
func TestOwnVoteMustBeDurable(t *testing.T) {
	s := newSolo(t, voters("a"), 1, 1)
	s.Tick()
	var e Effects
	s.Take(&e)
	if s.role != Candidate || e.HardState == nil || e.HardState.Vote != s.self.Store {
		t.Fatalf("%s, %+v", s.role, e)
	}
	s.Persisted(e.WriteID - 1)
	if s.role != Candidate {
		t.Fatal("elected by a vote that is not durable")
	}
	s.Persisted(e.WriteID)
	if s.role != Leader {
		t.Fatal("not elected by its own vote")
	}
}

// TestVoteOnce: first come, first served, in one term (Raft, section 5.2).
func TestVoteOnce(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1)
	for _, c := range []struct {
		from   string
		term   uint64
		reject bool
	}{{"b", 2, false}, {"b", 2, false}, {"c", 2, true}, {"c", 3, false}, {"b", 3, true}} {
		m := only(t, s.step(Message{Type: Vote, From: voter(c.from), Term: c.term, At: at(1, 1)}))
		if m.Type != VoteReply || m.Term != c.term || m.Reject != c.reject {
			t.Errorf("%s in term %d: %v", c.from, c.term, &m)
		}
	}
	if s.disk.hard.Term != 3 || s.disk.hard.Vote != voter("c").Store {
		t.Errorf("durable: %+v", s.disk.hard)
	}
}

// TestVoteNeedsLog: a vote, or a pre-vote, goes only to a log that is at least
// as up to date: by founding epoch, then last term, then length (Raft, section
// 5.4.1).
func TestVoteNeedsLog(t *testing.T) {
	older := protocol.Lineage{Epoch: 0, ID: 9}
	for _, c := range []struct {
		own    []uint64
		other  protocol.Mark
		reject bool
	}{
		{[]uint64{1}, at(1, 1), false},
		{[]uint64{1}, at(1, 2), false},
		{[]uint64{1, 1}, at(1, 1), true},
		{[]uint64{1}, at(2, 1), false},
		{[]uint64{1, 1}, at(2, 1), false},
		{[]uint64{1, 2}, at(1, 2), true},
		{[]uint64{1, 2}, at(1, 9), true},
		{[]uint64{1}, protocol.Mark{Index: 9, Term: 9, Lineage: older}, true},
	} {
		for _, kind := range []MessageType{Vote, PreVote} {
			s := newSolo(t, voters("a", "b", "c"), 3, c.own...)
			m := only(t, s.step(Message{Type: kind, From: voter("b"), Term: 3, At: c.other}))
			if m.Reject != c.reject {
				t.Errorf("%s for %v with a log of terms %v: %v", kind, c.other, c.own, &m)
			}
		}
	}
}

// TestStickiness: who hears a leader gives no other a vote and does not even
// take over its term (thesis, section 4.2.3), unless the leader asked for it or
// its connection broke.
func TestStickiness(t *testing.T) {
	follower := func() *solo {
		s := newSolo(t, voters("a", "b", "c"), 3, 2)
		s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2})
		return s
	}
	vote := Message{Type: Vote, From: voter("c"), Term: 3, At: at(9, 9)}
	preVote := Message{Type: PreVote, From: voter("c"), Term: 3, At: at(9, 9)}

	s := follower()
	if sent := s.step(vote); len(sent) != 0 || s.state.Term != 2 {
		t.Errorf("answers %v in term %d", sent, s.state.Term)
	}
	if m := only(t, s.step(preVote)); !m.Reject {
		t.Error("grants a pre-vote")
	}
	transfer := vote
	transfer.Transfer = true
	if m := only(t, s.step(transfer)); m.Reject || m.Term != 3 {
		t.Error("refuses a transfer")
	}

	s = follower()
	for range smallLimits.election {
		s.Tick()
	}
	s.flush()
	if m := only(t, s.step(preVote)); m.Reject {
		t.Error("sticks to a leader that is silent")
	}

	s = follower()
	s.PeerDown(voter("b"))
	s.StepDown()
	s.flush()
	if m := only(t, s.step(preVote)); m.Reject {
		t.Error("sticks to a leader whose connection broke")
	}

	s = newSolo(t, voters("a", "b", "c"), 3, 2).elected()
	vote.Term, preVote.Term = s.state.Term+1, s.state.Term+1
	if sent := s.step(vote); len(sent) != 0 || s.role != Leader {
		t.Error("a leader with its quorum gives way")
	}
	if m := only(t, s.step(preVote)); !m.Reject {
		t.Error("a leader with its quorum grants a pre-vote")
	}
}

// TestPeerDown: when the leader's connection breaks, a voter campaigns within a
// few ticks, anybody else does not.
func TestPeerDown(t *testing.T) {
	immediate := false
	for range 50 {
		s := newSolo(t, voters("a", "b", "c"), 3, 2)
		s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2})
		s.PeerDown(voter("c"))
		if s.leader != voter("b") {
			t.Fatal("another's connection makes it forget its leader")
		}
		s.PeerDown(voter("b"))
		immediate = immediate || s.role == PreCandidate
		for range hurryTicks {
			s.Tick()
		}
		if s.role != PreCandidate {
			t.Fatal("waits although the leader is gone")
		}
	}
	s := newSolo(t, voters("b", "c"), 3, 2) // a is a learner
	s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2})
	s.PeerDown(voter("b"))
	for range 100 {
		s.Tick()
	}
	if s.role != Follower || s.leader != (protocol.Voter{}) {
		t.Errorf("a learner is %s with leader %v", s.role, s.leader)
	}
}

// TestSimultaneousPreVotes: of two that ask each other at the same time only one
// gets through, so that they do not split the vote.
func TestSimultaneousPreVotes(t *testing.T) {
	for _, c := range []struct {
		from   string
		log    protocol.Mark
		reject bool
	}{{"b", at(1, 2), true}, {"b", at(1, 3), false}} {
		s := newSolo(t, voters("a", "b", "c"), 3, 1, 1)
		s.campaignAsking()
		s.flush()
		if m := only(t, s.step(Message{Type: PreVote, From: voter(c.from), Term: 2, At: c.log})); m.Reject != c.reject {
			t.Errorf("%v: %v", c, &m)
		}
		s.step(Message{Type: PreVoteReply, From: voter(c.from), Term: 1, Reject: true})
		if m := only(t, s.step(Message{Type: PreVote, From: voter(c.from), Term: 2, At: c.log})); m.Reject {
			t.Errorf("%v: refused by one whom it has refused", c)
		}
	}
}

// TestTimeoutNow: only the present leader's word makes a voter stand at once.
func TestTimeoutNow(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 2)
	s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2})
	if sent := s.step(Message{Type: TimeoutNow, From: voter("c"), Term: 2}); len(sent) > 0 {
		t.Errorf("obeys somebody else: %v", sent)
	}
	sent := s.step(Message{Type: TimeoutNow, From: voter("b"), Term: 2})
	if len(sent) != 2 || sent[0].Type != Vote || !sent[0].Transfer || s.role != Candidate {
		t.Errorf("%s sends %v", s.role, sent)
	}
	s = newSolo(t, voters("b", "c"), 3, 2)
	s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2})
	if sent := s.step(Message{Type: TimeoutNow, From: voter("b"), Term: 2}); len(sent) > 0 {
		t.Errorf("a learner stands: %v", sent)
	}
}
