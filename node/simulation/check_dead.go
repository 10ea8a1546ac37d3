package simulation

import (
	"holdfast/protocol"
	"holdfast/wal"
)

// unreported are entries of a store that were dead when a checkpoint was written, and
// neither did it say so nor did one before it in this life: they had died just then.
type unreported struct {
	store   *wal.Store
	entries map[uint64]bool
}

// deadIsTold: an entry at or below the horizon in which nothing lives is named by a
// checkpoint and leaves the file after it, also if the process was killed in between.
// One that was dead when the checkpoint before was written is named by this one.
func (c *checks) deadIsTold(p *process, store *wal.Store, checkpoint *protocol.Checkpoint) {
	told := make(map[uint64]bool)
	for _, entry := range append(checkpoint.Dead[:len(checkpoint.Dead):len(checkpoint.Dead)], store.Dying()...) {
		told[entry] = true
	}
	if p.unreported.store != store {
		p.unreported = unreported{store: store}
	}
	dead := make(map[uint64]bool)
	store.Indices(1, store.Meta().Horizon+1, func(entry uint64) error {
		if told[entry] || p.member.Machine().Live(entry) > 0 {
			return nil
		}
		if p.unreported.entries[entry] {
			c.world.fail("never let go: nothing lives in entry %d of %s, and the checkpoint at %d does not say so", entry, p.host.name, checkpoint.Index)
		}
		dead[entry] = true
		return nil
	})
	p.unreported.entries = dead
}
