package wal

import (
	"errors"
	"fmt"

	"holdfast/protocol"
)

// Refusals: nothing was touched, and the text that wraps them names both sides.
var (
	// ErrLocked: another process (or another Dir of this one) holds the folder.
	ErrLocked = errors.New("in use")
	// ErrForeign: the folder belongs to another cluster or member, or to
	// something else altogether.
	ErrForeign = errors.New("belongs to somebody else")
	// ErrNewerFormat: the folder was written by a newer program.
	ErrNewerFormat = protocol.ErrNewerFormat
	// ErrDiskFull: there is no room for the change; the store is unharmed and
	// the same call can succeed later.
	ErrDiskFull = errors.New("no room on the disk")
	// ErrRemoved: the store's file has lost its name while it is open. What was
	// written is in it, but nothing of it outlives the process unless the store is
	// closed and Dir.Reattach writes it again.
	ErrRemoved = errors.New("its file was removed while it is in use")
	// ErrInvalidWrite: the change contradicts what the store holds (a gap, a
	// rewrite of committed entries, a checkpoint that goes back); a bug of the
	// caller. Nothing was changed.
	ErrInvalidWrite = errors.New("invalid write")
)

// Answers about what a store has.
var (
	// ErrClosed: the store or folder was closed.
	ErrClosed = errors.New("closed")
	// ErrCompacted: entries below First may be gone.
	ErrCompacted = errors.New("below the first whole entry")
	// ErrNotPresent: the log does not hold this entry (any more), or the entry
	// has no such bytes.
	ErrNotPresent = errors.New("not present")
	// ErrNoFounding: the founding of the lineage is not among the entries that a
	// copy would have, so the copy would not belong to that lineage.
	ErrNoFounding = errors.New("no founding of this lineage there yet")
	// ErrCheckpointMoved: a checkpoint was made while it was being read; start
	// again.
	ErrCheckpointMoved = errors.New("a newer checkpoint was made")
)

// DamageError says that a store can no longer be trusted. Every cause (bad
// checksum, short file, panic of the database, memory-map fault, failed write
// or fsync) arrives as this one type, and once a store has returned it, it
// returns it from every call. The way on is to close the store and to
// quarantine it.
type DamageError struct {
	Path string // the store's file
	What string // what was found and where
	Err  error  // the cause; may be nil
}

// Error says which file is damaged, and what was found.
func (e *DamageError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("store %s is damaged: %s", e.Path, e.What)
	}
	return fmt.Sprintf("store %s is damaged: %s: %v", e.Path, e.What, e.Err)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }
