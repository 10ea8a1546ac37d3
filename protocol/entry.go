package protocol

import "fmt"

// Kind says what an entry is for.
type Kind uint8

const (
	KindNoop   Kind = 1 // first entry of a leader's term; no data
	KindConfig Kind = 2 // a Configuration (EncodeConfiguration)
	KindFound  Kind = 3 // begins a lineage: a Founding (EncodeFounding)
	KindBump   Kind = 4 // raises the epoch of the lineage (EncodeEpoch)
	KindBatch  Kind = 5 // a batch of commands for the state machine
)

// String prints the kind's name.
func (k Kind) String() string {
	switch k {
	case KindNoop:
		return "noop"
	case KindConfig:
		return "config"
	case KindFound:
		return "found"
	case KindBump:
		return "bump"
	case KindBatch:
		return "batch"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Entry is one element of the replicated log. (Lineage, Term, Index) names its
// content: two entries with the same three are the same entry, and so are all
// entries before them (the Log Matching property of Raft, section 5.3, within a
// lineage). Data is never changed after the entry was made; it may be shared.
type Entry struct {
	Index   uint64 // 1 is the first
	Term    uint64
	Lineage Lineage
	Kind    Kind
	Data    []byte
}

// Mark is the start of a run of entries that share a lineage and a term. The
// marks of a log, oldest first, tell the (lineage, term) of every index up to
// the last, also of entries that were deleted because nothing in them lives.
type Mark struct {
	Index   uint64
	Term    uint64
	Lineage Lineage
}

// HardState is what Raft must remember across a restart (section 5.2), with
// two watermarks that only shorten recovery.
type HardState struct {
	Term uint64
	Vote StoreID // the store voted for in Term; zero for none
	// Commit is a log index known to be committed. It may lag.
	Commit uint64
	// Release is a log index up to which entries may be applied: committed, and
	// every batch up to it stored by a majority of the members (rule P2). It
	// may lag and never exceeds Commit.
	Release uint64
}
