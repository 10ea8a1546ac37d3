package replication

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast/protocol"
)

// names of the voters beside a.
var otherNames = []string{"b", "c", "d", "e"}

// TestCommitAndRelease: commit needs a majority of the configuration, release
// of a batch a majority of the members as well (rule P2).
func TestCommitAndRelease(t *testing.T) {
	// The log of each leader: 1 founding, 2 noop of its term, 3 batch, 4 bump,
	// 5 batch, 6 bump. Everything is durable at the leader.
	for _, c := range []struct {
		voters, members int
		matches         []uint64 // of the others
		commit, release uint64
	}{
		{1, 1, nil, 6, 6},
		{1, 3, nil, 6, 2}, // schedule O1: a sole voter releases no batch
		{2, 3, []uint64{0}, 0, 0},
		{2, 3, []uint64{5}, 5, 5},
		{3, 3, []uint64{0, 3}, 3, 3},
		{3, 3, []uint64{6, 0}, 6, 6},
		{3, 3, []uint64{1, 1}, 0, 0}, // nothing of its own term yet
		{3, 5, []uint64{6, 0}, 6, 2},
		{3, 5, []uint64{6, 3}, 6, 4}, // the bump at 4 need not wait
		{3, 5, []uint64{6, 4}, 6, 4},
		{3, 5, []uint64{6, 5}, 6, 6},
		{3, 5, []uint64{2, 6}, 6, 2},
		{5, 5, []uint64{6, 4, 0, 0}, 4, 4},
		{4, 5, []uint64{6, 4, 0}, 4, 4},
		{4, 7, []uint64{6, 4, 0}, 4, 2},
	} {
		t.Run(fmt.Sprint(c.voters, " of ", c.members, " with ", c.matches), func(t *testing.T) {
			s := newSolo(t, voters(append([]string{"a"}, otherNames[:c.voters-1]...)...), c.members, 1).elected()
			s.propose(protocol.KindBatch, nil)
			s.propose(protocol.KindBump, protocol.AppendEpoch(nil, 2))
			s.propose(protocol.KindBatch, nil)
			s.propose(protocol.KindBump, protocol.AppendEpoch(nil, 3))
			s.flush()
			for i, match := range c.matches {
				s.step(Message{Type: AppendReply, From: voter(otherNames[i]), Term: s.state.Term, Index: match})
			}
			if s.state.Commit != c.commit || s.state.Release != c.release || s.applied != c.release {
				t.Errorf("commit %d, release %d, applied %d", s.state.Commit, s.state.Release, s.applied)
			}
		})
	}
}

// TestCommitOwnTermOnly: counting never commits an entry of an earlier term by
// itself (Raft, section 5.4.2).
func TestCommitOwnTermOnly(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1, 1, 2).elected()
	for match, commit := range map[uint64]uint64{1: 0, 2: 0, 3: 0} {
		s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: match})
		if s.state.Commit != commit {
			t.Errorf("commit %d with %d stored", s.state.Commit, match)
		}
	}
	if s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: 4}); s.state.Commit != 4 {
		t.Errorf("commit %d with an entry of its own term", s.state.Commit)
	}
}

// TestStrangersDoNotCount: learners, other stores of a listed name, and answers
// beyond the log.
func TestStrangersDoNotCount(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
	learner := protocol.Voter{Name: "b", Store: 99}
	s.AddLearner(learner)
	for _, m := range []Message{
		{From: learner, Index: 2}, {From: voter("d"), Index: 2}, {From: voter("b"), Index: 3},
	} {
		m.Type, m.Term = AppendReply, s.state.Term
		if s.step(m); s.state.Commit != 0 {
			t.Errorf("%v commits %d", &m, s.state.Commit)
		}
	}
	s.Tick()
	for _, v := range []protocol.Voter{learner, voter("d")} {
		s.step(Message{Type: HeartbeatReply, From: v, Term: s.state.Term, Index: 2})
	}
	for range smallLimits.election {
		s.Tick()
	}
	if s.role == Leader {
		t.Error("strangers keep a leader in contact")
	}
}

// TestOwnDiskDoesNotCountEarly: the leader counts itself after Persisted, and a
// majority of others is enough without it.
func TestOwnDiskDoesNotCountEarly(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
	index, err := s.Propose([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	var e Effects
	s.Take(&e)
	reply := Message{Type: AppendReply, To: s.self, Lineage: testLineage, Term: s.state.Term, Index: index}
	reply.From = voter("b")
	if s.Step(reply); s.state.Commit == index {
		t.Error("commits with one disk of three")
	}
	reply.From = voter("c")
	if s.Step(reply); s.state.Commit != index {
		t.Error("does not commit with two disks of three")
	}
	if s.Take(&e); len(e.Released) > 0 && e.Released[len(e.Released)-1].Index >= index {
		t.Error("released before it is durable here")
	}
}

func TestProposeRefuses(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1)
	expect := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := s.Propose(nil)
	expect("follower", err, ErrNotLeader)
	expect("follower", s.ProposeBump(2), ErrNotLeader)
	expect("follower", s.ProposeConfiguration(voters("a", "b")), ErrNotLeader)
	expect("follower", s.Transfer(voter("b")), ErrNotLeader)

	s.elected()
	expect("new leader", s.ProposeConfiguration(voters("a", "b")), ErrNotReady)
	s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: 2})
	expect("to a learner", s.Transfer(protocol.Voter{Name: "b", Store: 99}), ErrNotVoter)
	for name, c := range map[string]protocol.Configuration{
		"no change": voters("a", "b", "c"), "two at once": voters("a"), "another": voters("a", "b", "d"), "none": {},
		"a name twice":  {Voters: append(slices.Clone(voters("a", "b", "c").Voters), protocol.Voter{Name: "c", Store: 99})},
		"another store": voters("a", "b", "c").With(protocol.Voter{Name: "c", Store: 99}),
	} {
		expect(name, s.ProposeConfiguration(c), ErrNotSingle)
	}
	expect("a removal", s.ProposeConfiguration(voters("a", "b")), nil)
	expect("one more", s.ProposeConfiguration(voters("a", "b", "c")), ErrPending)
	expect("to a removed voter", s.Transfer(voter("c")), ErrNotVoter)
	expect("a transfer", s.Transfer(voter("b")), nil)
	_, err = s.Propose(nil)
	expect("during a transfer", err, ErrTransferring)
	expect("during a transfer", s.ProposeBump(2), ErrTransferring)

	alone := newSolo(t, voters("a"), 3, 1).elected()
	_, err = alone.Propose(nil)
	expect("one voter of three members", err, ErrClosed)
	expect("one voter of three members", alone.ProposeBump(2), nil)
}

// TestFlowControl: bytes in flight to one follower are bounded, and a slow
// follower does not slow down another.
func TestFlowControl(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
	for _, name := range otherNames[:2] {
		s.step(Message{Type: AppendReply, From: voter(name), Term: s.state.Term, Index: 2})
	}
	data := make([]byte, 400)
	for range 20 {
		if _, err := s.Propose(data); err != nil {
			t.Fatal(err)
		}
	}
	inflight := map[string]int{}
	count := func(sent []Message) {
		for _, m := range sent {
			size := 0
			for i := range m.Entries {
				size += entryBytes(&m.Entries[i])
			}
			if size > s.options.MaxAppendBytes && len(m.Entries) > 1 {
				t.Errorf("an append of %d bytes", size)
			}
			inflight[m.To.Name] += size
		}
	}
	count(s.flush())
	limit := s.options.MaxInflightBytes + s.options.MaxAppendBytes
	if inflight["b"] == 0 || inflight["b"] > limit || inflight["b"] != inflight["c"] {
		t.Fatalf("%v in flight", inflight)
	}
	for match := uint64(3); match <= s.log.last(); match++ {
		count(s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: match}))
	}
	if want := 20 * (400 + entryOverhead); inflight["b"] != want || inflight["c"] > limit {
		t.Errorf("%v in flight, %d proposed", inflight, want)
	}
}

// TestTransferAborts: after an election timeout the leader goes on, and the
// target's vote request alone ends its term.
func TestTransferAborts(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
	s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: 2})
	if err := s.Transfer(voter("b")); err != nil {
		t.Fatal(err)
	}
	if sent := s.flush(); !slices.ContainsFunc(sent, func(m Message) bool { return m.Type == TimeoutNow && m.To == voter("b") }) {
		t.Fatalf("sent %v", sent)
	}
	for range smallLimits.election {
		s.step(Message{Type: HeartbeatReply, From: voter("b"), Term: s.state.Term, Index: 2})
		s.Tick()
	}
	if _, err := s.Propose(nil); err != nil {
		t.Error(err)
	}
	s.step(Message{Type: Vote, From: voter("b"), Term: s.state.Term + 1, At: at(9, 9), Transfer: true})
	if s.role != Follower {
		t.Error("ignores the successor that it asked for")
	}
}

// TestReadIndex: an answer needs a majority that answered this very round.
func TestReadIndex(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
	var e Effects
	s.ReadIndex(1)
	if s.Take(&e); len(e.Reads) > 0 || len(e.Messages) > 0 {
		t.Fatal("a read before the leader is ready")
	}
	s.Step(Message{Type: AppendReply, From: voter("b"), To: s.self, Lineage: testLineage, Term: s.state.Term, Index: 2})
	s.Take(&e)
	reply := func(from protocol.Voter, round uint64) {
		s.Step(Message{Type: HeartbeatReply, From: from, To: s.self, Lineage: testLineage, Term: s.state.Term, Index: 2, Round: round})
		s.Take(&e)
	}
	if reply(voter("b"), 0); len(e.Reads) > 0 {
		t.Fatal("an answer to an older heartbeat confirms a read")
	}
	if reply(protocol.Voter{Name: "c", Store: 99}, 1); len(e.Reads) > 0 {
		t.Fatal("a stranger confirms a read")
	}
	if reply(voter("b"), 1); !slices.Equal(e.Reads, []Read{{Context: 1, Index: 2}}) {
		t.Fatalf("%+v", e.Reads)
	}
	if s.ReadIndex(2); s.lead.reads.round != 1 {
		t.Fatal("set-up")
	}
	s.Take(&e)
	if reply(voter("b"), 99); s.peer(voter("b")).round > 2 {
		t.Error("an answer confirms rounds that did not begin")
	}
}

// TestNeedsCopy: a follower below what the log still has gets heartbeats only.
func TestNeedsCopy(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1, 1, 1, 1, 1).elected()
	s.disk.first = 4
	sent := s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Reject: true, Index: 5, At: at(1, 2)})
	if len(sent) > 0 || !s.Progress()[0].NeedsCopy {
		t.Fatalf("%v, %+v", sent, s.Progress())
	}
	s.step(Message{Type: HeartbeatReply, From: voter("b"), Term: s.state.Term, At: at(1, 2)})
	if !s.Progress()[0].NeedsCopy {
		t.Fatal("forgets that a copy is needed")
	}
	m := only(t, s.step(Message{Type: HeartbeatReply, From: voter("b"), Term: s.state.Term, At: at(1, 3)}))
	if m.Type != Append || m.At.Index != 3 || s.Progress()[0].NeedsCopy {
		t.Fatalf("%v, %+v", &m, s.Progress())
	}
}

// TestCopiedStoreIsAskedWhereItStands: a store that got its copy out of the
// leader's sight, and comes back, does not need another one because what the
// leader last knew of it is gone.
func TestCopiedStoreIsAskedWhereItStands(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1, 1, 1, 1, 1).elected()
	s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: 2})
	s.disk.first = 4
	s.PeerDown(voter("b"))
	s.PeerUp(voter("b"))
	var e Effects
	s.Take(&e)
	if p := s.Progress()[0]; p.NeedsCopy || len(e.Messages) != 1 || e.Messages[0].At.Index != 6 {
		t.Fatalf("%+v, %+v", p, e.Messages)
	}
	s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Reject: true, Index: 6, At: at(1, 4)})
	if p := s.Progress()[0]; p.NeedsCopy || p.Next != 5 {
		t.Fatalf("%+v", p)
	}
}

// TestMembershipKeepsProgress: a learner that becomes a voter keeps what it has
// acknowledged; a removed voter is not fed any more.
func TestMembershipKeepsProgress(t *testing.T) {
	s := newSolo(t, voters("a", "b"), 3, 1).elected()
	s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: 2})
	s.AddLearner(voter("c"))
	s.AddLearner(voter("b"))
	s.step(Message{Type: AppendReply, From: voter("c"), Term: s.state.Term, Index: 2})
	if err := s.ProposeConfiguration(voters("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	if p := s.Progress(); len(p) != 2 || p[0].Learner || p[1].Learner || p[1].Match != 2 || p[1].Voter != voter("c") {
		t.Fatalf("%+v", p)
	}
	s.RemoveLearner(voter("c"))
	for _, name := range otherNames[:2] {
		s.step(Message{Type: AppendReply, From: voter(name), Term: s.state.Term, Index: 3})
	}
	if err := s.ProposeConfiguration(voters("a", "c")); err != nil {
		t.Fatal(err)
	}
	if p := s.Progress(); len(p) != 1 || p[0].Voter != voter("c") {
		t.Fatalf("%+v", p)
	}
	s.AddLearner(voter("b"))
	s.RemoveLearner(voter("b"))
	if p := s.Progress(); len(p) != 1 {
		t.Fatalf("%+v", p)
	}
}
