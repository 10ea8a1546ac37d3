package wal

import (
	"slices"

	"holdfast/protocol"
)

// Meta is what a store knows about itself.
type Meta struct {
	Owner    Owner
	Identity protocol.Identity
	// Boot rises with every opening, before anything else can be done with the
	// store. Counter rises with every Commit that changes what a status tells.
	Boot, Counter uint64
	HardState     protocol.HardState
	Promise       protocol.Attempt
	// Granted lists the attempts that this very store promised, oldest first
	// (rule P4); a promise is its last.
	Granted []protocol.Attempt
	// Replaced is the lineage that was lost with the quarantined store before
	// this one; blank once this one holds a lineage. UnknownLineage: it could
	// not be read any more.
	Replaced protocol.Lineage
	// CheckpointIndex is the last index that the checkpoint contains; zero: there
	// is none. Entries at or below Horizon <= CheckpointIndex may be gone.
	CheckpointIndex, Horizon uint64
	// What the log says up to CheckpointIndex.
	Configuration protocol.Configuration
	Epoch         uint64
	Foundings     []protocol.Founding
	Stamp         int64 // nanoseconds since 1970
}

// state is what a store keeps in memory about one commit. It is never changed once
// it was published: a reader of the transaction that it stands on uses it.
type state struct {
	txid       int // bbolt's ID of the last transaction that is committed
	head       head
	checkpoint checkpointRecord
	// marks begin at index 1 and ascend. A longer slice may share the memory.
	marks []protocol.Mark
	// overlay has the entries since that transaction.
	overlay overlay
	// checkpoints counts those made since the file was opened, and what they let go.
	checkpoints uint64
	// dying are the entries that these said to be dead and that are still there. A
	// shorter or longer slice may share the memory.
	dying []uint64
}

func (st *state) meta() Meta {
	return Meta{
		Owner:           st.checkpoint.owner,
		Identity:        st.head.identity,
		Boot:            st.head.boot,
		Counter:         st.head.counter,
		HardState:       st.head.hardState,
		Promise:         st.head.promise,
		Granted:         slices.Clone(st.checkpoint.granted),
		Replaced:        st.checkpoint.replaced,
		CheckpointIndex: st.checkpoint.index,
		Horizon:         st.checkpoint.horizon,
		Configuration:   protocol.Configuration{Voters: slices.Clone(st.checkpoint.configuration.Voters)},
		Epoch:           st.checkpoint.epoch,
		Foundings:       slices.Clone(st.checkpoint.foundings),
		Stamp:           st.checkpoint.stamp,
	}
}

// mark returns the run that holds an index of the log.
func (st *state) mark(index uint64) (protocol.Mark, bool) {
	if index == 0 || index > st.head.last {
		return protocol.Mark{}, index == 0
	}
	return findMark(st.marks, index)
}

// states are the durable state and, while a commit is under way, the one that
// it makes. A read transaction can already see the latter, because bbolt writes
// the meta page before it waits for the disk.
type states struct {
	durable *state
	next    *state // nil between commits
}

// of returns the state that a transaction sees, or nil when commits have passed
// since it began.
func (s *states) of(txid int) *state {
	switch {
	case s.durable.txid == txid:
		return s.durable
	case s.next != nil && s.next.txid == txid:
		return s.next
	}
	return nil
}
