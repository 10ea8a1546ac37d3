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
	made     uint64 // in this life
	held     int    // copies that are being sent
	pending  uint64
	writeID  uint64 // of the checkpoint that is on its way to the store; zero: none
	dropID   uint64 // likewise of what lets dead entries go
	// making is what will be written of the checkpoint whose pages the machine hands
	// out step by step, as of making.Index; nil: none.
	making  *protocol.Checkpoint
	sorting bool // all of them are there, and are put in order
	// waiting are copies that begin once no checkpoint is being made. For a time they also
	// wait until what it says to be dead is gone. They count as held.
	waiting []waitingCopy
}

// waitingCopy is a copy that was asked for and has not begun.
type waitingCopy struct {
	to    string
	since uint64 // tick
	begin func()
}

// deadPatience is how long a copy waits for dead entries to go, in ticks: they need not
// be copied, but who asked is not to be kept waiting (copyPatience). A member that gets
// some of them lets them go with its own next checkpoint, as after a restart.
const deadPatience = uint64(2 * secondTicks)

// busy reports whether a checkpoint is being made.
func (c *checkpoints) busy() bool { return c.making != nil || c.writeID != 0 }

// captureWork is a tenth of a tick.
const captureWork = 2000

// buriedPerTick is how many index blocks of a purge are made up for in a tick: about
// two milliseconds. A checkpoint that is due waits for the last.
const buriedPerTick = 64

// orderedPerTick is how many subjects are put in order in a tick: about three
// milliseconds in a large stream.
const orderedPerTick = 2048

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
	if c.held > 0 || c.busy() {
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

// checkpointsWritten takes note that the store has everything up to a write.
func (l *life) checkpointsWritten(id uint64) {
	c := &l.checkpoints
	wrote, dropped := c.writeID != 0 && id >= c.writeID, c.dropID != 0 && id >= c.dropID
	if wrote {
		c.writeID = 0
		c.previous, c.index = c.index, c.pending
		c.made++
		l.replica.Forget(c.index)
	}
	if dropped {
		c.dropID = 0
	}
	if wrote || dropped {
		l.beginCopies()
	}
}

// beginCopies begins the copies that wait, if nothing keeps them waiting any more.
func (l *life) beginCopies() {
	c := &l.checkpoints
	if len(c.waiting) == 0 || c.busy() || c.dropID != 0 || l.mayDrop() && l.now-c.waiting[0].since < deadPatience {
		return
	}
	waiting := c.waiting
	c.waiting = nil
	for _, w := range waiting {
		w.begin()
	}
}

// mayDrop reports whether there are dead entries to let go. None are while a copy is read.
func (l *life) mayDrop() bool {
	c := &l.checkpoints
	return c.held == len(c.waiting) && len(l.store.Dying()) > 0
}

// dropOn lets a portion of the dead entries go. All of those of one checkpoint at once
// would keep what is published waiting.
func (l *life) dropOn() {
	if c := &l.checkpoints; c.dropID == 0 && c.writeID == 0 && l.mayDrop() {
		c.dropID = l.replica.Drop()
	}
}

// checkpoint begins a checkpoint as of the newest applied entry. Everything that is
// written besides the pages is of this moment, also which entries are dead: the pages
// refer to what died later.
func (l *life) checkpoint() {
	c := &l.checkpoints
	index := l.machine.Applied()
	horizon := min(l.horizon(), c.index, index)
	horizon = max(horizon, l.store.Meta().Horizon)
	c.making = &protocol.Checkpoint{Index: index, Horizon: horizon, Stamp: l.machine.Stamp()}
	c.making.Configuration, c.making.Epoch, c.making.Foundings = l.replica.LogFacts(index)
	l.machine.BeginCheckpoint()
	c.making.Dead = l.machine.Dead(horizon)
	c.pending = index
	c.bytes, c.entries, c.last = 0, 0, l.now
}

// captureOn goes on with the checkpoint that is being made. When all of its pages are
// there they are put in order beside the loop, and queued to the store.
func (l *life) captureOn() {
	c := &l.checkpoints
	if c.making == nil || c.sorting {
		return
	}
	captured := l.machine.Capture(l.options.CaptureWork)
	if captured == nil {
		return
	}
	c.sorting = true
	l.environment.Background(func() {
		c.making.Puts, c.making.Deletes = captured.Pairs()
	}, func() {
		c.sorting = false
		l.queueCheckpoint()
	})
}

func (l *life) queueCheckpoint() {
	c := &l.checkpoints
	c.writeID = l.replica.Checkpoint(c.making)
	c.making = nil
}

// lastCheckpoint makes a whole checkpoint at the end of a life, or finishes the one that
// is being made.
func (l *life) lastCheckpoint() {
	c := &l.checkpoints
	if c.sorting || c.writeID != 0 {
		return
	}
	if c.making == nil {
		if c.held > 0 || c.entries == 0 {
			return
		}
		l.checkpoint()
	}
	c.making.Puts, c.making.Deletes = l.machine.Capture(math.MaxInt).Pairs()
	l.queueCheckpoint()
	l.settle()
}

// Capturing reports whether a checkpoint has begun that is not on its way to the store
// yet, and the last index that it lets go of.
func (m *Member) Capturing() (horizon uint64, begun bool) {
	if making := m.life.checkpoints.making; making != nil {
		return making.Horizon, true
	}
	return 0, false
}
