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

// TestConfirmingCandidateIsNotElectedByOldVotes: a store that confirms a
// founding gives up its candidacy too. A vote that is on its way, of a store that
// is gone by now, would otherwise make it leader after it told the founder that
// nobody can be.
func TestConfirmingCandidateIsNotElectedByOldVotes(t *testing.T) {
	voters := []protocol.Voter{{Name: "a", Store: 1}, {Name: "b", Store: 2}, {Name: "c", Store: 3}}
	lineage := protocol.Lineage{Epoch: 1, ID: 11}
	founding := protocol.Founding{Attempt: protocol.Attempt(lineage), Index: 1, Voter: voters[0]}
	log := []protocol.Entry{
		{Index: 1, Term: 1, Lineage: lineage, Kind: protocol.KindFound, Data: protocol.AppendFounding(nil, founding)},
		{Index: 2, Term: 1, Lineage: lineage, Kind: protocol.KindConfig, Data: protocol.AppendConfiguration(nil, protocol.NewConfiguration(voters...))},
	}
	a, err := replica.New(replica.Options{
		Member: "a", Members: []string{"a", "b", "c"},
		State: replica.State{Identity: protocol.Identity{Store: 1, Lineage: lineage}, Boot: 1, HardState: protocol.HardState{Term: 1}, Landmarks: log},
		Log:   &memory{entries: log}, ElectionTicks: 20, HeartbeatTicks: 4, RetryTicks: 8, ReportTicks: 400,
		MaxAppendBytes: 4096, MaxInflightBytes: 4096, MaxReleaseBytes: 4096, Random: rand.New(rand.NewPCG(1, 1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	founder := mesh.Status{Member: "c", Store: 3, Lineage: lineage, Epoch: 1, Term: 2, LastTerm: 2, LastIndex: 3, Configuration: protocol.NewConfiguration(voters...), Boot: 1, Counter: 1}
	a.Linked("c", founder)
	var effects replica.Effects
	settle := func() {
		for a.Take(&effects); len(effects.Writes) > 0; a.Take(&effects) {
			a.Written(effects.Writes[len(effects.Writes)-1].ID)
		}
	}
	answer := func(kind replication.MessageType) {
		status, _ := a.Raft()
		reply := replication.Message{Type: kind, From: voters[1], To: voters[0], Lineage: lineage, Term: status.Term}
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
	confirm := mesh.Message{Type: mesh.TypeConfirm, Status: founder, Attempt: protocol.Attempt{Epoch: 2, ID: 22}, Pinned: a.Local().Status, Contained: true}
	if err := a.StepMembership("c", mesh.AppendMessage(nil, &confirm)); err != nil {
		t.Fatal(err)
	}
	a.Take(&effects)
	if !slices.ContainsFunc(effects.Frames, func(f replica.Frame) bool { return f.To == "c" && f.Channel == replica.Membership }) {
		t.Fatalf("no answer: %+v", effects)
	}
	answer(replication.VoteReply)
	if role() == replication.Leader {
		t.Fatal("a leads, after it confirmed that nobody can")
	}
}
