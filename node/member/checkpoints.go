package member

import "holdfast/protocol"

// checkpoints tells when the next checkpoint is due. While a copy of the store
// is on its way to another member there is none: the copy reads the checkpoint
// and the entries it refers to.
type checkpoints struct {
	index    uint64 // of the newest durable checkpoint
	previous uint64 // of the one before: whole entries are kept from there on
	bytes    int    // applied since
	entries  int
	last     uint64 // tick of the last one
	made     uint64 // in this life
	held     int    // copies that are being sent
	pending  uint64
	writeID  uint64
	// waiting are called once no checkpoint is being written.
	waiting []func()
}

// buriedPerTick is how many index blocks of a purge are made up for in a tick: about
// two milliseconds. A checkpoint that is due waits for the last.
const buriedPerTick = 64

func (c *checkpoints) reset(index uint64) {
	*c = checkpoints{index: index, previous: index}
}

func (l *life) counted(bytes int) {
	l.checkpoints.bytes += bytes
	l.checkpoints.entries++
	l.holds.bytes += int64(bytes)
}

func (l *life) checkpointDue() bool {
	c := &l.checkpoints
	if c.held > 0 || c.writeID != 0 {
		return false
	}
	if l.short() && (c.bytes >= shortCheckpointBytes || l.now-c.last >= shortCheckpointTicks) {
		// Also one that only lets go what the one before could not.
		return c.entries > 0 || min(l.horizon(), c.index) >= l.store.First()
	}
	if c.entries == 0 {
		return false
	}
	_, live := l.machine.Space()
	return int64(c.bytes) >= checkpointBytes(l.options.CheckpointBytes, live) || l.now-c.last >= ticks(l.options.CheckpointInterval)
}

// checkpointBytes is how much log is applied between two checkpoints, of at most so many
// bytes. What has died since stays in the file for that long, and a small store has
// room for less of it; its checkpoints cost less.
func checkpointBytes(most int, live int64) int64 {
	return min(int64(most), int64(most)/3+live/24)
}

func (c *checkpoints) written(id uint64, forget func(uint64)) {
	if c.writeID == 0 || id < c.writeID {
		return
	}
	c.writeID = 0
	c.previous, c.index = c.index, c.pending
	c.made++
	forget(c.index)
	waiting := c.waiting
	c.waiting = nil
	for _, f := range waiting {
		f()
	}
}

// checkpoint queues the state machine's changes to the store.
func (l *life) checkpoint() {
	c := &l.checkpoints
	index := l.machine.Applied()
	horizon := min(l.horizon(), c.index, index)
	horizon = max(horizon, l.store.Meta().Horizon)
	configuration, epoch, foundings := l.replica.LogFacts(index)
	puts, deletes := l.machine.Checkpoint()
	c.pending = index
	c.bytes, c.entries, c.last = 0, 0, l.now
	c.writeID = l.replica.Checkpoint(&protocol.Checkpoint{
		Index: index, Horizon: horizon, Puts: puts, Deletes: deletes, Dead: l.machine.Dead(horizon),
		Configuration: configuration, Epoch: epoch, Foundings: foundings, Stamp: l.machine.Stamp(),
	})
}
