package wal

import (
	"fmt"

	"holdfast/protocol"
)

const (
	// maxPairKeyBytes and maxPairValueBytes bound a pair of the checkpoint.
	maxPairKeyBytes   = 16 << 10
	maxPairValueBytes = 16 << 20

	// keptFree is left by commits with entries for those without: a checkpoint, and
	// what lets dead entries go, must find room on a disk that entries have filled.
	keptFree = 1 << 20
	// dropBytes is about what letting a portion of dead entries go writes: the edges
	// of what is cut out.
	dropBytes = keptFree / 4
)

// plan checks writes against what the store holds, before anything is changed.
type plan struct {
	last, commit        uint64
	checkpoint, horizon uint64
	hardState           protocol.HardState

	dying    bool // there are entries to drop
	empty    bool // nothing to do
	status   bool // something that a status tells changes (rule P1)
	grows    bool // the log gets longer
	identity *protocol.Identity
	need     outlay
}

// room is how much must be there for the commit to begin.
func (p *plan) room() outlay {
	room := p.need
	if p.grows {
		room.bytes += keptFree
	}
	return room
}

// adds is about by how many bytes the file has more in it while the journal keeps the
// commit.
func (p *plan) adds() int64 { return p.need.bytes - overhead }

func newPlan(st *state) plan {
	return plan{
		last:       st.head.last,
		commit:     st.head.hardState.Commit,
		checkpoint: st.checkpoint.index,
		horizon:    st.checkpoint.horizon,
		hardState:  st.head.hardState,
		dying:      len(st.dying) > 0,
		empty:      true,
		need:       outlay{bytes: overhead},
	}
}

func (p *plan) add(w *protocol.Write) error {
	if err := p.addEntries(w.Entries); err != nil {
		return err
	}
	if w.HardState != nil && *w.HardState != p.hardState {
		if w.HardState.Release > w.HardState.Commit {
			return fmt.Errorf("%w: release %d above commit %d", ErrInvalidWrite, w.HardState.Release, w.HardState.Commit)
		}
		p.status = p.status || w.HardState.Term != p.hardState.Term || w.HardState.Vote != p.hardState.Vote
		p.hardState, p.commit = *w.HardState, w.HardState.Commit
		p.empty = false
	}
	if w.Promise != nil || w.Identity != nil {
		p.status, p.empty = true, false
	}
	if w.Identity != nil {
		p.identity = w.Identity
	}
	if w.Checkpoint != nil {
		p.empty = false
		if err := p.addCheckpoint(w.Checkpoint); err != nil {
			return err
		}
	}
	if w.Drop && p.dying {
		p.empty = false
		p.need.bytes += dropBytes
	}
	return nil
}

func (p *plan) addEntries(entries []protocol.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	first := entries[0].Index
	switch protected := max(p.commit, p.checkpoint); {
	case first == 0 || first > p.last+1:
		return fmt.Errorf("%w: entry %d does not follow the last one, %d", ErrInvalidWrite, first, p.last)
	case first <= min(protected, p.last):
		return fmt.Errorf("%w: entry %d would replace one that is committed (up to %d)", ErrInvalidWrite, first, protected)
	}
	for i := range entries {
		e := &entries[i]
		if e.Index != first+uint64(i) {
			return fmt.Errorf("%w: entry %d after %d", ErrInvalidWrite, e.Index, first+uint64(i)-1)
		}
		if len(e.Data) > MaxEntryBytes {
			return fmt.Errorf("%w: entry %d has %d bytes, more than %d", ErrInvalidWrite, e.Index, len(e.Data), MaxEntryBytes)
		}
		p.need.bytes += int64(len(e.Data)) + int64(len(e.Data)/16) + 256
	}
	p.grows = true
	p.last = first + uint64(len(entries)) - 1
	p.status, p.empty = true, false
	return nil
}

func (p *plan) addCheckpoint(c *protocol.Checkpoint) error {
	switch {
	case c.Index > p.last || c.Index < p.checkpoint:
		return fmt.Errorf("%w: checkpoint at %d, after one at %d and with the last entry %d", ErrInvalidWrite, c.Index, p.checkpoint, p.last)
	case c.Horizon > c.Index || c.Horizon < p.horizon:
		return fmt.Errorf("%w: horizon %d with a checkpoint at %d, after a horizon of %d", ErrInvalidWrite, c.Horizon, c.Index, p.horizon)
	}
	for _, index := range c.Dead {
		if index == 0 || index > c.Horizon {
			return fmt.Errorf("%w: entry %d is above the horizon %d and must stay", ErrInvalidWrite, index, c.Horizon)
		}
	}
	p.dying = p.dying || len(c.Dead) > 0
	for _, pair := range c.Puts {
		if len(pair.Key) == 0 || len(pair.Key) > maxPairKeyBytes || len(pair.Value) > maxPairValueBytes {
			return fmt.Errorf("%w: checkpoint pair of %d and %d bytes", ErrInvalidWrite, len(pair.Key), len(pair.Value))
		}
	}
	p.checkpoint, p.horizon = c.Index, c.Horizon
	return nil
}
