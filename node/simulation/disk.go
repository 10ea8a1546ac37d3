package simulation

import (
	"slices"

	"errors"
	"fmt"

	"holdfast/mesh"
	"holdfast/node/member"
	"holdfast/protocol"
	"holdfast/replication"
	"holdfast/wal"
)

// environment is where a simulated member lives (member.Environment).
type environment struct{ process *process }

// era is what serves one life of a member: its writes and its links.
type era struct {
	process     *process
	store       *wal.Store
	incarnation uint64
	status      mesh.Status // of the hello
	stores      map[protocol.StoreID]seenStore

	queue   []queuedWrite
	writing []*protocol.Write // the transaction under way
	last    uint64            // its last ID
	broken  bool              // a write failed
	ended   bool
}

type queuedWrite struct {
	id    uint64
	write *protocol.Write
}

func (e *environment) Begin(store *wal.Store, status mesh.Status) error {
	p := e.process
	p.era = &era{
		process: p, store: store, status: status,
		incarnation: p.host.world.random.Uint64(), stores: map[protocol.StoreID]seenStore{},
	}
	p.opened = store
	p.lives++
	p.host.world.checks.opened(p, store)
	p.host.world.network.join(p.era)
	return nil
}

func (e *environment) Announce(status mesh.Status) { e.process.era.status = status }

func (e *environment) Send(to string, kind byte, body []byte, rest ...[]byte) bool {
	for _, part := range rest {
		body = append(slices.Clip(body), part...)
	}
	if e.process.cut {
		return true // it is dead already
	}
	return e.process.host.world.network.send(e.process.era, to, kind, body)
}

func (e *environment) Write(id uint64, write *protocol.Write) {
	era := e.process.era
	if status, _ := e.process.member.Raft(); status.Role == replication.Leader {
		for i := range write.Entries {
			e.process.host.world.checks.stamped(&write.Entries[i])
		}
	}
	if write.Checkpoint != nil {
		e.process.host.world.checks.deadIsTold(e.process, era.store, write.Checkpoint)
	}
	era.queue = append(era.queue, queuedWrite{id, write})
	if p := e.process; p.host.world.options.Mutation == EarlyWritten {
		p.put(mailWritten, era.living(func() { p.member.Written(id, nil) }))
	}
	era.startWriting()
	e.process.host.world.spring(uponWrite, e.process.host)
}

func (e *environment) Background(work, done func()) {
	era, w := e.process.era, e.process.host.world
	w.after(e.process.host.latency(), func() {
		if era.ended {
			return
		}
		work()
		era.process.put(mailCall, era.living(done))
	})
}

func (e *environment) End() {
	era := e.process.era
	w := e.process.host.world
	if era.writing != nil && !era.broken {
		era.commit()
	}
	for len(era.queue) > 0 && !era.broken && era.writing == nil {
		era.take()
		era.commit()
	}
	era.ended = true
	w.network.leave(era, "closed")
	e.process.era = nil
}

// latency is how long the disk takes for a transaction.
func (h *host) latency() int64 {
	return h.world.often(50*microsecond, h.world.plan.latency) * h.slowness
}

// startWriting begins a transaction with everything that is queued.
func (x *era) startWriting() {
	if x.writing != nil || len(x.queue) == 0 || x.broken {
		return
	}
	x.take()
	x.process.host.world.after(x.process.host.latency(), x.finishWriting)
}

func (x *era) take() {
	x.writing = []*protocol.Write{}
	for _, queued := range x.queue {
		x.writing = append(x.writing, queued.write)
		x.last = queued.id
	}
	x.queue = nil
}

// finishWriting is the end of a transaction.
func (x *era) finishWriting() {
	if x.ended || x.writing == nil {
		return
	}
	if x.commit() {
		x.startWriting()
		return
	}
	if !x.broken {
		x.process.host.world.after(200*millisecond, x.finishWriting)
	}
}

// commit makes the transaction under way durable, and reports whether that was
// so. A full disk leaves it as it is.
func (x *era) commit() bool {
	h := x.process.host
	before, err := x.transact()
	if errors.Is(err, wal.ErrDiskFull) {
		return false
	}
	if errors.Is(err, wal.ErrInvalidWrite) {
		h.world.fail("%s writes what contradicts its store: %v", h.name, err)
	}
	x.writing = nil
	x.broken = err != nil
	id := x.last
	h.world.trace.count(h.world.now, uint64(h.number), id, x.store.Last())
	if err == nil {
		h.world.checks.wrote(h, before, memoryOf(x.store))
	}
	x.process.put(mailWritten, x.living(func() { x.process.member.Written(id, err) }))
	return err == nil
}

// transact makes the transaction under way, and returns what there was before.
func (x *era) transact() (*memory, error) {
	before := memoryOf(x.store)
	x.process.committing = true
	err := member.Commit(simulatedDisk{x}, x.writing)
	x.process.committing = false
	return before, err
}

// lastCommit is the transaction that was under way when the process ended.
type lastCommit struct {
	before, after *memory
	torn          *tornCommit // nil: it had not begun to write
}

// cutOff is the end of the process in the middle of what it writes: the
// transaction under way is there as a whole, in parts that mean nothing, or not
// at all.
func (x *era) cutOff() *lastCommit {
	w := x.process.host.world
	x.ended = true
	if x.writing == nil || x.broken || x.process.cut || x.process.host.full || w.chance(0.3) {
		return nil
	}
	torn := w.beginTorn(x.store.Path())
	before, err := x.transact()
	if err != nil {
		return nil
	}
	return &lastCommit{before, memoryOf(x.store), torn}
}

// judge finds out what became of it, once the file is closed.
func (c *lastCommit) judge(h *host) {
	if h.left = c.before; c.torn.end(h) || c.whole(h) {
		h.left = c.after
		h.world.checks.wrote(h, c.before, c.after)
	}
}

// whole reports whether a transaction that was torn is there all the same: one that
// was a frame of the journal changes no meta page, and all that counts of it may
// have been written.
func (c *lastCommit) whole(h *host) bool {
	found, err := wal.SalvageFile(c.torn.path)
	if err != nil {
		h.world.fail("read %s: %v", c.torn.path, err)
	}
	defer found.Close()
	meta, _ := found.Meta()
	return fmt.Sprint(meta, found.Last()) == fmt.Sprint(c.after.meta, c.after.last)
}

// simulatedDisk is the store as the writer sees it.
type simulatedDisk struct{ era *era }

func (d simulatedDisk) Commit(writes ...*protocol.Write) error {
	if d.era.process.host.full {
		for _, write := range writes {
			if len(write.Entries) > 0 {
				return wal.ErrDiskFull
			}
		}
	}
	return d.era.store.Commit(writes...)
}
