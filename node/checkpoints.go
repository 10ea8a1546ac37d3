package node

import (
	"time"

	"holdfast/protocol"
)

const (
	// checkpointBytes is how much log is applied between two checkpoints. It
	// bounds what a restart applies again, and what each checkpoint writes.
	checkpointBytes = 16 << 20
	// checkpointInterval is the pause after which a quieter log gets one too.
	checkpointInterval = time.Minute
)

// checkpoints tells when the next checkpoint is due. While a copy of the store
// is on its way to another member there is none: the copy reads the checkpoint
// and the entries it refers to.
type checkpoints struct {
	index    uint64 // of the newest durable checkpoint
	previous uint64 // of the one before: whole entries are kept from there on
	bytes    int    // applied since
	entries  int
	last     time.Time
	held     int // copies that are being sent
	pending  uint64
	writeID  uint64
	// waiting are called once no checkpoint is being written.
	waiting []func()
}

func (c *checkpoints) reset(index uint64) {
	*c = checkpoints{index: index, previous: index, last: time.Now()}
}

func (c *checkpoints) applied(bytes int) {
	c.bytes += bytes
	c.entries++
}

func (c *checkpoints) due(now time.Time) bool {
	if c.held > 0 || c.writeID != 0 || c.entries == 0 {
		return false
	}
	return c.bytes >= checkpointBytes || now.Sub(c.last) >= checkpointInterval
}

func (c *checkpoints) written(id uint64, forget func(uint64)) {
	if c.writeID == 0 || id < c.writeID {
		return
	}
	c.writeID = 0
	c.previous, c.index = c.index, c.pending
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
	horizon := min(l.replica.Horizon(), c.index, index)
	horizon = max(horizon, l.store.Meta().Horizon)
	configuration, epoch, foundings := l.replica.LogFacts(index)
	puts, deletes := l.machine.Checkpoint()
	c.pending = index
	c.bytes, c.entries, c.last = 0, 0, time.Now()
	c.writeID = l.replica.Checkpoint(&protocol.Checkpoint{
		Index: index, Horizon: horizon, Puts: puts, Deletes: deletes, Dead: l.machine.Dead(horizon),
		Configuration: configuration, Epoch: epoch, Foundings: foundings, Stamp: l.machine.Stamp(),
	})
}
