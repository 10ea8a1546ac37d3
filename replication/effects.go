package replication

import "holdfast/protocol"

// Effects is what the owner must do after it has called the core. It belongs
// to the owner and is reused: everything in it, also the entries inside the
// messages, is valid until it is handed to Take again. Entry data is never
// changed and may be kept.
type Effects struct {
	// HardState and Entries are one atomic durable write (protocol.Write has
	// the same fields with the same meaning). Writes become durable in order;
	// several may be joined. Either part may be empty. WriteID counts the
	// writes from 1; it is 0 when there is none.
	HardState *protocol.HardState
	Entries   []protocol.Entry
	WriteID   uint64

	// Messages are to be sent at once, in order. A leader's appends are among
	// them: they need not be durable here first.
	Messages []Message
	// AfterWrite are promises: votes, requests for votes, acknowledgements.
	// They may be sent once WriteID is durable or, when that is 0, the last
	// write before. Dropping them is always safe; they carry no entries.
	AfterWrite []Message

	// Released are the entries, of all kinds, to apply next. All of them are
	// durable in the Log. No more come until Applied was called for the last.
	Released []protocol.Entry

	// Reads may be served once Index is applied.
	Reads []Read
	// ReadsDropped are contexts that will not be answered: leadership was lost.
	ReadsDropped []uint64

	// Failed is set once the core has stopped for good; see ErrRegressed,
	// ErrDiverged and ErrUnreadable.
	Failed error

	hardState protocol.HardState // what HardState points to
	sent      []protocol.Entry   // backing of Messages[i].Entries
}

// Read is a read request that the leader may serve: at the time of the request
// it was the leader, and every write acknowledged before is at or below Index
// (thesis, section 6.4).
type Read struct {
	Context uint64 // as given to ReadIndex
	Index   uint64
}

// Empty reports whether there is nothing to do.
func (e *Effects) Empty() bool {
	return e.WriteID == 0 && len(e.Messages) == 0 && len(e.AfterWrite) == 0 && len(e.Released) == 0 &&
		len(e.Reads) == 0 && len(e.ReadsDropped) == 0 && e.Failed == nil
}

// reset empties e and keeps its memory.
func (e *Effects) reset() {
	clear(e.Entries)
	clear(e.Messages)
	clear(e.AfterWrite)
	clear(e.Released)
	clear(e.sent)
	*e = Effects{
		Entries: e.Entries[:0], Messages: e.Messages[:0], AfterWrite: e.AfterWrite[:0], Released: e.Released[:0],
		Reads: e.Reads[:0], ReadsDropped: e.ReadsDropped[:0], sent: e.sent[:0],
	}
}
