package protocol

// Write is one atomic change of a store: all of it is durable or none is. A
// nil or empty part leaves what the store has.
type Write struct {
	// Entries replace everything in the log from Entries[0].Index on. They are
	// consecutive, and the first follows an entry that the log holds.
	Entries []Entry
	// HardState replaces the hard state.
	HardState *HardState
	// Promise replaces the promise (rule P3).
	Promise *Attempt
	// Identity makes the store a founder (rule P5, step 4): fresh store ID, new
	// lineage; Entries then carries the FOUND entry.
	Identity *Identity
	// Checkpoint stores the state machine's changes and says which entries are dead.
	Checkpoint *Checkpoint
	// Drop lets some of the entries go that this checkpoint or earlier ones said to be
	// dead: a bounded portion, because whoever publishes waits meanwhile. Which of
	// them are left is not durable: a store that is opened again does not know.
	Drop bool
}

// Identity is who a store is and which lineage it holds.
type Identity struct {
	Store   StoreID
	Lineage Lineage // zero: blank
}

// Checkpoint is the change of the state machine's durable form since the one
// before, as key and value pairs, together with what no longer needs keeping.
type Checkpoint struct {
	// Index is the last log index that the checkpoint contains.
	Index uint64
	// Horizon: every entry above it is kept whole, for followers that lag. At
	// or below it only entries with live messages are kept. Horizon <= Index.
	Horizon uint64
	Puts    []Pair
	Deletes [][]byte
	// Dead lists entries, all at or below Horizon, that hold nothing live. They are
	// there until a Drop comes to them.
	Dead []uint64
	// What the log said up to Index, for when the entries are gone.
	Configuration Configuration
	Epoch         uint64
	Foundings     []Founding
	// Stamp is the newest time stamp applied, in nanoseconds since 1970.
	Stamp int64
}

// Pair is a key and its value.
type Pair struct {
	Key, Value []byte
}
