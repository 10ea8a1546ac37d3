package member

import (
	"math"

	"holdfast/protocol"
)

// checkpoints tells when the next checkpoint is due. While a copy of the store
// is on its way to another member there is none: the copy reads the checkpoint
// and the entries it refers to.
type checkpoints struct {
	index    uint64 // of the newest durable checkpoint
	previous uint64 // of the one before: whole entries are kept from there on
	bytes    int    // applied since
	entries  int
	last     uint64 // tick of the last one
	held     int    // copies that are being sent
	pending  uint64
	writeID  uint64
	// waiting are called once no checkpoint is being written.
	waiting []func()
	// kept is up to where members have the log to whom a copy was sent and who are
	// opening it. What follows is kept for them until they are linked again.
	kept map[string]kept
}

// kept ends by itself, in case the member does not come back.
type kept struct{ index, until uint64 }

// openPatience is how long a member may take to open a copy, in ticks: for each
// GiB, that takes about 0.7 s of processor time.
const openPatience = 3000 // 60 s

func (c *checkpoints) keepFor(member string, k kept) {
	if c.kept == nil {
		c.kept = make(map[string]kept)
	}
	c.kept[member] = k
}

// keeps is up to where entries may go for the sake of those who open a copy.
func (c *checkpoints) keeps(now uint64, giveUp func(name string) bool) uint64 {
	horizon := uint64(math.MaxUint64)
	for member, k := range c.kept { // the order does not show
		switch {
		case now > k.until:
			delete(c.kept, member)
		case !giveUp(member):
			horizon = min(horizon, k.index)
		}
	}
	return horizon
}

func (c *checkpoints) reset(index uint64) {
	*c = checkpoints{index: index, previous: index}
}

func (c *checkpoints) applied(bytes int) {
	c.bytes += bytes
	c.entries++
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
	return c.bytes >= l.options.CheckpointBytes || l.now-c.last >= ticks(l.options.CheckpointInterval)
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
