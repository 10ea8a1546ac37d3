package mesh

import "holdfast/protocol"

// Effects is what the owner has to do, in the order of the package comment.
type Effects struct {
	// StepDown: the replication core drops leadership or candidacy; nothing is
	// persisted (rule P5, step 1). Freeze: it never votes, campaigns or acknowledges again
	// (rule P3).
	StepDown, Freeze bool
	// DropStage: give up the copy that is being staged or waits, if any.
	DropStage bool

	// Promise is to be persisted; then Persisted(WriteID). Zero WriteID: none.
	Promise *protocol.Attempt
	WriteID uint64

	// Messages and AfterWrite wait for all writes handed out before;
	// AfterWrite also for Promise.
	Messages   []Envelope
	AfterWrite []Envelope

	// Install makes the store the founder of a lineage (rule P5, step 4).
	Install *Install
	// Stage asks for a copy of another member's store; Staged or StageFailed
	// answers. A new request takes the place of the one before, or resumes it.
	Stage *StageRequest
	// Activate makes the whole copy the node's store.
	Activate *Activation

	// Relearn: Learners, sorted by name, is from now on the whole set of
	// non-voting stores to which the leader replicates.
	Relearn  bool
	Learners []protocol.Voter
	// Remove and Add are configuration changes to propose, at most one of them;
	// Bump is an epoch to propose, or zero. The owner may fail to propose.
	Remove, Add *protocol.Voter
	Bump        uint64

	// Regressed, if not empty, says why the store is an older state of itself: it
	// must not be used any more. Nothing else is asked for then.
	Regressed string

	// Events are for the log, one line each, in order.
	Events []Event
}

// Empty reports whether there is nothing to do.
func (e *Effects) Empty() bool {
	return !e.StepDown && !e.Freeze && !e.DropStage && e.WriteID == 0 && len(e.Messages) == 0 && len(e.AfterWrite) == 0 &&
		e.Install == nil && e.Stage == nil && e.Activate == nil && !e.Relearn && e.Remove == nil && e.Add == nil && e.Bump == 0 &&
		len(e.Events) == 0 && e.Regressed == ""
}

// reset empties e and keeps the memory of what Take does not hand out twice.
func (e *Effects) reset() {
	clear(e.Messages)
	clear(e.AfterWrite)
	clear(e.Events)
	*e = Effects{Messages: e.Messages[:0], AfterWrite: e.AfterWrite[:0], Events: e.Events[:0]}
}

// Install is a founding that is to be written now.
type Install struct {
	// Founding has the index of the FOUND entry, the next of the store's log,
	// and as its voter this member with a fresh store ID.
	Founding protocol.Founding
	// Term of the FOUND entry and of the new hard state; above every term that
	// the store has seen.
	Term uint64
}

// Lineage is the one that the founding begins.
func (i *Install) Lineage() protocol.Lineage { return protocol.Lineage(i.Founding.Attempt) }

// Write is the founding as one atomic write. Hard is the store's hard state
// before it; what is committed and released stays so.
func (i *Install) Write(hard protocol.HardState) *protocol.Write {
	return &protocol.Write{
		Entries: []protocol.Entry{{
			Index: i.Founding.Index, Term: i.Term, Lineage: i.Lineage(), Kind: protocol.KindFound,
			Data: protocol.AppendFounding(nil, i.Founding),
		}},
		HardState: &protocol.HardState{Term: i.Term, Commit: hard.Commit, Release: hard.Release},
		Promise:   &protocol.Attempt{}, // a fresh store has promised nothing
		Identity:  &protocol.Identity{Store: i.Founding.Voter.Store, Lineage: i.Lineage()},
	}
}

// StageRequest asks for a copy of the log that a leader has committed.
type StageRequest struct {
	From    string
	Lineage protocol.Lineage
	Purpose Purpose
	// Resume: the copy that was asked for before, whose link broke, goes on where it
	// stopped. The owner answers with StageFailed when it has no such copy any more.
	Resume bool
}

// Activation says who the store is once the copy has taken its place.
type Activation struct {
	Purpose  Purpose
	Identity protocol.Identity
	// Keep: it is a catch-up; term, vote, promise and grants stay those of the
	// store before, and its commit becomes the copy's last index. Otherwise all
	// of them are fresh: no vote, no promise, the term of the copy's last entry.
	Keep bool
	// Reason says why the store before is set aside.
	Reason string
}

// Level is how much an event matters.
type Level uint8

const (
	Info    Level = 1 // a transition
	Warning Level = 2 // something did not go as planned; the node goes on by itself
	Alarm   Level = 3 // needs a person; the text says what to do
)

// Event is one line of the log.
type Event struct {
	Level  Level
	Text   string
	Fields []Field
}

// Field is a detail of an event.
type Field struct {
	Key, Value string
}
