package replication

import "errors"

// Refusals of a proposal or a request. Nothing was changed.
var (
	// ErrNotLeader: only the leader takes this.
	ErrNotLeader = errors.New("not the leader")
	// ErrTransferring: leadership is being handed over; ask the next leader.
	ErrTransferring = errors.New("leadership is being transferred")
	// ErrClosed: the configuration has fewer voters than a majority of the
	// members, so a batch could not be released (rule P2).
	ErrClosed = errors.New("closed to writes: fewer voters than a majority of the members")
	// ErrNotReady: the leader has not committed an entry of its own term yet.
	ErrNotReady = errors.New("no entry of the leader's own term is committed yet")
	// ErrPending: an earlier membership change is not committed yet.
	ErrPending = errors.New("a membership change is still pending")
	// ErrNotSingle: the proposed configuration does not differ from the one in
	// force by exactly one voter added or one removed.
	ErrNotSingle = errors.New("a membership change adds or removes exactly one voter")
	// ErrNotVoter: the target of a transfer is not another voter.
	ErrNotVoter = errors.New("not another voter of the configuration")
	// ErrUnreachable: the target of a transfer was not heard from lately.
	ErrUnreachable = errors.New("not heard from within an election timeout")
)

// Failures after which the core does nothing any more. They are reported in
// Effects.Failed and Status.Failed.
var (
	// ErrRegressed: this store lacks entries that it has acknowledged: it was
	// rolled back or damaged, and must be quarantined.
	ErrRegressed = errors.New("the store lacks entries that it once had")
	// ErrDiverged: an entry that this store knows as committed contradicts
	// the leader's log. It cannot happen while every store keeps its word.
	ErrDiverged = errors.New("the log contradicts the leader's below the commit index")
	// ErrUnreadable: the durable log could not be read.
	ErrUnreadable = errors.New("the log cannot be read")
)
