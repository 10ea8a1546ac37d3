package replica_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

var lone = struct {
	voters  []protocol.Voter
	lineage protocol.Lineage
	log     []protocol.Entry
	founder mesh.Status
}{
	voters:  []protocol.Voter{{Name: "a", Store: 1}, {Name: "b", Store: 2}, {Name: "c", Store: 3}},
	lineage: protocol.Lineage{Epoch: 1, ID: 11},
}

func init() {
	l := &lone
	founding := protocol.Founding{Attempt: protocol.Attempt(l.lineage), Index: 1, Voter: l.voters[0]}
	configuration := protocol.NewConfiguration(l.voters...)
	l.log = []protocol.Entry{
		{Index: 1, Term: 1, Lineage: l.lineage, Kind: protocol.KindFound, Data: protocol.AppendFounding(nil, founding)},
		{Index: 2, Term: 1, Lineage: l.lineage, Kind: protocol.KindConfig, Data: protocol.AppendConfiguration(nil, configuration)},
	}
	l.founder = mesh.Status{Member: "c", Store: 3, Lineage: l.lineage, Epoch: 1, Term: 2, LastTerm: 2, LastIndex: 3, Configuration: configuration, Boot: 1, Counter: 1}
}

// newLone returns the replica of a, one of three voters, with two entries; c,
// whose log is longer, is linked.
func newLone(t *testing.T) *replica.Replica {
	t.Helper()
	a, err := replica.New(replica.Options{
		Member: "a", Members: []string{"a", "b", "c"},
		State: replica.State{Identity: protocol.Identity{Store: 1, Lineage: lone.lineage}, Boot: 1, HardState: protocol.HardState{Term: 1}, Landmarks: lone.log},
		Log:   &memory{entries: lone.log}, ElectionTicks: 20, HeartbeatTicks: 4, RetryTicks: 8, ReportTicks: 400,
		MaxAppendBytes: 4096, MaxInflightBytes: 4096, MaxReleaseBytes: 4096, Random: rand.New(rand.NewPCG(1, 1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Linked("c", lone.founder)
	return a
}

// asked gives a the founder's question.
func asked(t *testing.T, a *replica.Replica, kind mesh.Type) {
	t.Helper()
	m := mesh.Message{Type: kind, Status: lone.founder, Attempt: protocol.Attempt{Epoch: 2, ID: 22}, Pinned: a.Local().Status, Contained: true}
	if err := a.StepMembership("c", mesh.AppendMessage(nil, &m)); err != nil {
		t.Fatal(err)
	}
}

// TestGranterTakesNothingAfterItsGrant: frames are handled one after the other
// before anything is taken. A grant binds from the moment at which it is given.
func TestGranterTakesNothingAfterItsGrant(t *testing.T) {
	a := newLone(t)
	var effects replica.Effects
	a.Take(&effects)
	asked(t, a, mesh.TypeGrant)
	m := replication.Message{Type: replication.Append, From: lone.voters[1], To: lone.voters[0], Lineage: lone.lineage, Term: 1,
		At:      protocol.Mark{Index: 2, Term: 1, Lineage: lone.lineage},
		Entries: []protocol.Entry{{Index: 3, Term: 1, Lineage: lone.lineage, Kind: protocol.KindBatch, Data: []byte("late")}}}
	if err := a.StepRaft("b", replication.AppendMessage(nil, &m)); err != nil {
		t.Fatal(err)
	}
	a.Take(&effects)
	promised := false
	for _, w := range effects.Writes {
		promised = promised || w.Write.Promise != nil
		if len(w.Write.Entries) > 0 {
			t.Fatal("the log moved after the grant")
		}
	}
	if !promised {
		t.Fatalf("no promise: %+v", effects)
	}
}

// TestConfirmingCandidateIsNotElectedByOldVotes: a store that confirms a
// founding gives up its candidacy too. A vote that is on its way, of a store that
// is gone by now, would otherwise make it leader after it told the founder that
// nobody can be.
func TestConfirmingCandidateIsNotElectedByOldVotes(t *testing.T) {
	a := newLone(t)
	var effects replica.Effects
	settle := func() {
		for a.Take(&effects); len(effects.Writes) > 0; a.Take(&effects) {
			a.Written(effects.Writes[len(effects.Writes)-1].ID)
		}
	}
	answer := func(kind replication.MessageType) {
		status, _ := a.Raft()
		reply := replication.Message{Type: kind, From: lone.voters[1], To: lone.voters[0], Lineage: lone.lineage, Term: status.Term}
		if kind == replication.PreVoteReply {
			reply.Term++
		}
		if err := a.StepRaft("b", replication.AppendMessage(nil, &reply)); err != nil {
			t.Fatal(err)
		}
		settle()
	}
	role := func() replication.Role {
		settle()
		status, _ := a.Raft()
		return status.Role
	}

	for role() != replication.PreCandidate {
		a.Tick()
	}
	answer(replication.PreVoteReply)
	if role() != replication.Candidate {
		t.Fatalf("a is %s", role())
	}
	asked(t, a, mesh.TypeConfirm)
	a.Take(&effects)
	if !slices.ContainsFunc(effects.Frames, func(f replica.Frame) bool { return f.To == "c" && f.Channel == replica.Membership }) {
		t.Fatalf("no answer: %+v", effects)
	}
	answer(replication.VoteReply)
	if role() == replication.Leader {
		t.Fatal("a leads, after it confirmed that nobody can")
	}
}
