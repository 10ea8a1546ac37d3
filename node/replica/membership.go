package replica

import (
	"fmt"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/replication"
)

// caughtUpEntries is by how many entries a follower may trail and still count as
// caught up: it then reaches the end of the log within a round trip or two
// (thesis, section 4.2.1, asks for a round shorter than an election timeout).
const caughtUpEntries = 512

// syncLocal tells the membership core what has changed in the store and in the
// replication core. Writes that are queued count: nothing is decided on a log
// that is about to change.
func (r *Replica) syncLocal() {
	if r.stopped {
		return
	}
	r.refreshLocal()
	r.mesh.SetLocal(r.local)
}

func (r *Replica) refreshLocal() {
	l, state := &r.local, &r.options.State
	before := l.Status
	l.Member, l.Store, l.Boot = r.options.Member, state.Identity.Store, state.Boot
	l.Lineage, l.Replaced = state.Identity.Lineage, state.Replaced
	l.Promise, l.Granted = r.promise, r.granted
	l.Configuration, l.Epoch, l.Foundings = r.history.newest()
	l.Term = r.hard.Term
	if r.raft != nil {
		r.refreshRaft(l)
	}
	if !sameMemory(&before, &l.Status) {
		r.counter++
	}
	l.Counter = r.counter
}

func (r *Replica) refreshRaft(l *mesh.Local) {
	status := r.raft.Status()
	l.Log = r.options.Log
	l.Term, l.LastIndex, l.LastTerm = status.Term, status.LastMark.Index, status.LastMark.Term
	l.Leader, l.Ready, l.InContact = status.Role == replication.Leader, status.Ready, status.InContact
	l.Standing = status.Role == replication.Candidate
	l.LeaderName = status.Leader.Name
	l.ChangePending, l.InForce = !status.ConfigurationCommitted, status.InForce
	l.Followers = l.Followers[:0]
	if !l.Leader {
		return
	}
	for _, p := range r.raft.Progress() {
		if p.Voter == r.self() {
			continue
		}
		l.Followers = append(l.Followers, mesh.Follower{
			Voter:    p.Voter,
			CaughtUp: p.Replicating && p.Match+caughtUpEntries >= status.Last,
			Lagging:  p.NeedsCopy,
		})
	}
}

// sameMemory compares what the counter of a status counts the changes of.
func sameMemory(a, b *mesh.Status) bool {
	return a.Store == b.Store && a.Lineage == b.Lineage && a.Epoch == b.Epoch && a.Term == b.Term &&
		a.LastTerm == b.LastTerm && a.LastIndex == b.LastIndex && a.Promise == b.Promise &&
		a.Replaced == b.Replaced && a.Configuration.Equal(b.Configuration)
}

// takeMesh carries out what the membership core wants, in the order that its
// package comment asks for, and reports whether that was anything.
func (r *Replica) takeMesh() bool {
	e := &r.meshEffects
	r.mesh.Take(e)
	if e.Empty() {
		return false
	}
	if r.raft != nil {
		if e.StepDown {
			r.raft.StepDown()
		}
		if e.Freeze {
			r.raft.Freeze()
			r.withhold()
		}
	}
	if e.DropStage {
		r.out.DropStage, r.out.Stage = true, nil
	}
	for i := range e.Messages {
		r.afterWrites(membershipFrame(&e.Messages[i]))
	}
	if e.WriteID != 0 {
		r.promise = *e.Promise
		r.granted = append(r.granted, *e.Promise)
		r.queue(&protocol.Write{Promise: e.Promise}).meshID = e.WriteID
	}
	for i := range e.AfterWrite {
		r.afterWrites(membershipFrame(&e.AfterWrite[i]))
	}
	r.out.Events = append(r.out.Events, e.Events...)
	if e.Stage != nil {
		r.out.Stage = e.Stage
	}
	r.propose(e)
	r.leave(e)
	if e.Regressed != "" {
		r.out.Failed = fmt.Errorf("%w: %s", replication.ErrRegressed, e.Regressed)
		r.stopped = true
	}
	return true
}

// propose carries out what a leader does for the other members. A proposal that
// fails is asked for again by the membership core.
func (r *Replica) propose(e *mesh.Effects) {
	if r.raft == nil {
		return
	}
	if e.Relearn {
		r.relearn(e.Learners)
	}
	newest := r.raft.Status().Configuration
	switch {
	case e.Remove != nil && newest.Contains(*e.Remove):
		r.proposed("remove voter", e.Remove.String(), r.raft.ProposeConfiguration(newest.Without(e.Remove.Name)))
	case e.Add != nil:
		if _, taken := newest.Store(e.Add.Name); !taken || r.off.removeThenAdd {
			r.proposed("add voter", e.Add.String(), r.raft.ProposeConfiguration(newest.With(*e.Add)))
		}
	}
	if e.Bump != 0 {
		r.proposed("raise epoch", "", r.raft.ProposeBump(e.Bump))
	}
}

// proposed logs a proposal that was not taken.
func (r *Replica) proposed(what, which string, err error) {
	if err != nil {
		r.out.Events = append(r.out.Events, mesh.Event{Level: mesh.Warning, Text: "proposal not taken",
			Fields: []mesh.Field{{Key: "proposal", Value: what}, {Key: "voter", Value: which}, {Key: "cause", Value: err.Error()}}})
	}
}

// relearn makes the replication core replicate to exactly these non-voters.
func (r *Replica) relearn(learners []protocol.Voter) {
	wanted := make(map[protocol.Voter]bool, len(learners))
	for _, v := range learners {
		wanted[v] = true
		r.raft.AddLearner(v) // again after each election: a leader starts with none
	}
	for _, p := range r.raft.Progress() {
		if p.Learner && !wanted[p.Voter] {
			r.raft.RemoveLearner(p.Voter)
		}
	}
}

// leave carries out what ends this replica's life over its store.
func (r *Replica) leave(e *mesh.Effects) {
	switch {
	case e.Install != nil:
		r.queue(e.Install.Write(r.hard)).founding = true
		r.stopped = true
	case e.Activate != nil:
		r.out.Activate = e.Activate
		r.stopped = true
	}
}
