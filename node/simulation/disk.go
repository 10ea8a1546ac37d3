package simulation

import (
	"errors"

	"holdfast/mesh"
	"holdfast/node/member"
	"holdfast/protocol"
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
	p.host.world.network.join(p.era)
	return nil
}

func (e *environment) Announce(status mesh.Status) { e.process.era.status = status }

func (e *environment) Send(to string, kind byte, body []byte) bool {
	return e.process.host.world.network.send(e.process.era, to, kind, body)
}

func (e *environment) Write(id uint64, write *protocol.Write) {
	era := e.process.era
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
	before := x.store.Meta()
	err := member.Commit(simulatedDisk{x}, x.writing)
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
	if after := x.store.Meta(); err == nil {
		h.world.checks.remembers(h, &before, &after)
		if after.Identity.Lineage != before.Identity.Lineage {
			h.world.checks.founded(h, x.store)
		}
	}
	x.process.put(mailWritten, x.living(func() { x.process.member.Written(id, err) }))
	return err == nil
}

// cutOff is the end of power for the disk: the transaction under way is durable
// as a whole or not at all.
func (x *era) cutOff() {
	w := x.process.host.world
	if x.writing != nil && !x.broken && !x.process.host.full && w.chance(0.5) {
		w.trace.note(w.now, x.process.host.name, "the last write went through")
		x.commit()
	}
	x.ended = true
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
