package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"holdfast/protocol"
)

// Log is the durable log that the core reads. What the owner has not yet
// reported as persisted is in the core's own memory and is never asked for
// here. The methods are called from within the core's methods only.
type Log interface {
	// First is the smallest index from which every entry up to Last is whole.
	// It is at least 1 and only grows; entries below may be gone. It may grow
	// between two calls.
	First() uint64
	// Last is the index of the last durable entry; 0 when there is none.
	Last() uint64
	// Mark returns the run that holds index, for any index in 1..Last, also
	// below First. Index 0 gives the zero Mark and true.
	Mark(index uint64) (protocol.Mark, bool)
	// Entries returns entries of [lo, hi), in order and without a gap, that
	// have at most maxBytes of data together; at least one even when that is
	// larger. It is asked for lo >= First only, and any error means that the
	// store cannot be trusted, unless First has passed lo meanwhile.
	Entries(lo, hi uint64, maxBytes int) ([]protocol.Entry, error)
}

// ConfigurationAt is a configuration with the index of the entry that set it.
type ConfigurationAt struct {
	Index         uint64
	Configuration protocol.Configuration
}

// Options is what a core starts from: the store's durable state and the limits.
type Options struct {
	// Self is the store that this core acts for. It need not be a voter.
	Self protocol.Voter
	// Lineage is the lineage that the store holds; never blank. Messages of
	// any other lineage are ignored.
	Lineage protocol.Lineage
	// Members is |M|, the number of members that the cluster is configured
	// with; at least 1. A batch is released only when a majority of them
	// stores it.
	Members int
	// Log is the durable log; it holds at least the lineage's founding entry.
	Log Log
	// HardState is the durable hard state. Its commit never exceeds Log.Last.
	HardState protocol.HardState
	// Configurations lists, ascending, the configuration in force at
	// HardState.Commit (or at the checkpoint) and every later one of the log.
	Configurations []ConfigurationAt
	// Applied is the index up to which the state machine has applied entries
	// already. Release starts after it.
	Applied uint64

	// ElectionTicks is the shortest election timeout; each is drawn from
	// [ElectionTicks, 2*ElectionTicks). More than HeartbeatTicks.
	ElectionTicks int
	// HeartbeatTicks is the pause between heartbeats; at least 1.
	HeartbeatTicks int
	// MaxAppendBytes bounds the data of one append message; a single larger
	// entry is sent alone.
	MaxAppendBytes int
	// MaxInflightBytes bounds the data sent to one follower that it has not
	// acknowledged; one message more than that may be on its way.
	MaxInflightBytes int
	// MaxReleaseBytes bounds the data of one Effects.Released; a single larger
	// entry is released alone.
	MaxReleaseBytes int
	// TailBytes bounds the data of durable entries kept in memory for
	// followers and for release. 0: twice MaxInflightBytes.
	TailBytes int

	// Frozen starts the core frozen: the store has promised an epoch above the
	// lineage's founding epoch (rule P3).
	Frozen bool
	// Random draws the election timeouts; seeded by the owner.
	Random *rand.Rand
}

// validate checks what New relies on.
func (o *Options) validate() error {
	last := uint64(0)
	if o.Log != nil {
		last = o.Log.Last()
	}
	switch {
	case o.Self.Name == "" || o.Self.Store == 0:
		return errors.New("no name or no store of its own")
	case o.Lineage.Blank():
		return errors.New("a blank store takes no part in replication")
	case o.Members < 1:
		return fmt.Errorf("%d members", o.Members)
	case o.Log == nil || o.Random == nil:
		return errors.New("no log or no source of randomness")
	case last == 0:
		return errors.New("the log is empty, it must hold at least its founding entry")
	case o.HardState.Commit > last:
		return fmt.Errorf("commit index %d is above the last entry %d: %w", o.HardState.Commit, last, ErrRegressed)
	case o.HardState.Release > o.HardState.Commit:
		return fmt.Errorf("release index %d is above the commit index %d", o.HardState.Release, o.HardState.Commit)
	case o.Applied > last:
		return fmt.Errorf("applied index %d is above the last entry %d: %w", o.Applied, last, ErrRegressed)
	case o.HeartbeatTicks < 1 || o.ElectionTicks <= o.HeartbeatTicks:
		return fmt.Errorf("election timeout of %d ticks with a heartbeat every %d", o.ElectionTicks, o.HeartbeatTicks)
	case o.MaxAppendBytes < 1 || o.MaxInflightBytes < 1 || o.MaxReleaseBytes < 1 || o.TailBytes < 0:
		return errors.New("a byte limit is missing")
	}
	return o.validateConfigurations(last)
}

func (o *Options) validateConfigurations(last uint64) error {
	if len(o.Configurations) == 0 {
		return errors.New("no configuration")
	}
	for i, at := range o.Configurations {
		if len(at.Configuration.Voters) == 0 {
			return fmt.Errorf("configuration at index %d has no voter", at.Index)
		}
		if at.Index > last || i > 0 && at.Index <= o.Configurations[i-1].Index {
			return fmt.Errorf("configuration at index %d is out of order", at.Index)
		}
	}
	return nil
}
