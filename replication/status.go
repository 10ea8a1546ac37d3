package replication

import (
	"fmt"

	"holdfast/protocol"
)

// Role is what a core currently is.
type Role uint8

const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// String prints the role's name.
func (r Role) String() string {
	switch r {
	case Follower:
		return "follower"
	case PreCandidate:
		return "pre-candidate"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Status is a view of the core. It shares memory with the core only where
// nothing is ever changed in place.
type Status struct {
	Role   Role
	Term   uint64
	Leader protocol.Voter // zero: none known

	// Applied <= Release <= Commit <= Last; Durable <= Last.
	Commit  uint64
	Release uint64
	Applied uint64
	Last    uint64 // last entry, durable or not
	Durable uint64 // last entry that is known to be durable here
	// LastMark is the position of the last entry: its own index, term, lineage.
	LastMark protocol.Mark

	Configuration          protocol.Configuration // the newest, committed or not
	ConfigurationIndex     uint64
	ConfigurationCommitted bool
	InForce                protocol.Configuration // the newest that is committed, as far as this store knows

	Ready        bool // leader, and an entry of its own term is committed
	InContact    bool // leader, and heard from a quorum within an election timeout
	Open         bool // the voters are at least a majority of the members
	Transferring bool
	Frozen       bool
	Failed       error
}

// Progress is what a leader knows of one other store.
type Progress struct {
	Voter       protocol.Voter
	Learner     bool
	Match       uint64 // the store has acknowledged everything up to here
	Next        uint64 // the next entry to send
	Active      bool   // heard from within an election timeout
	Silent      uint64 // ticks since it was heard from, or since this leader began
	NeedsCopy   bool   // the next entry is gone here: only a copy of the store helps
	Replicating bool   // its log is known to agree; entries are pipelined
}
