package jetstream

import (
	"math"
	"time"

	"holdfast/node/machine"
)

// What a client sends over one connection, it expects to take effect in that order,
// also where it does not wait for answers: a request sees the publishes and the
// acknowledgements before it. They are in a batch when the request arrives, and the
// request waits until that batch is decided: applied, or lost. Batches are numbered
// in the order in which they are decided. A stream knows the last one with something
// for it, so that nobody waits for what concerns other streams only.
//
// A batch that is not decided for decidePatience is on a disk without room. Reads go on,
// and do not see it.
//
// An increment of a counter whose sum has to be made anew is in no batch meanwhile,
// and a request may overtake it.

// decidePatience is the longest that a request waits for what came before it.
const decidePatience = int64(time.Second)

// early reports whether a request still waits for a batch from readable on.
func (r *request) early(readable uint64, now int64) bool {
	return r.after >= readable && now-r.arrived < decidePatience
}

// undecided is the number of the oldest batch that is not decided, which is the open
// one at the latest.
func (b *batches) undecided() uint64 {
	switch {
	case len(b.flying) > 0:
		return b.flying[0].number
	case len(b.closed) > 0:
		return b.closed[0].number
	}
	return b.open.number
}

// newest is the number of the newest batch with something in it.
func (b *batches) newest() uint64 {
	if b.builder.Slots() == 0 && b.gathered == 0 {
		return b.open.number - 1
	}
	return b.open.number
}

// wrote takes note that the open batch has something for a stream, nil for none.
func (b *batches) wrote(st *stream) {
	if st != nil {
		st.written = b.open.number
	}
}

// lastFor is the number of the last batch with something for a stream, which may be
// nil: then it is about what has been asked for and may create it.
func (d *Door) lastFor(s *machine.Stream) uint64 {
	last := d.batches.asked
	if s == nil {
		return last
	}
	if st := d.streams[s.Incarnation()]; st != nil {
		last = max(last, st.written)
	}
	return last
}

// lastBefore is the number of the last batch that a request has to see.
func (d *Door) lastBefore(r *request) uint64 {
	if len(r.args) == 0 {
		return d.batches.newest()
	}
	return d.lastFor(d.machine.Stream(r.args[0]))
}

// readable is the number below which batches do not hold up a read. Those of a node
// that does not lead are of no consequence.
func (d *Door) readable() uint64 {
	if d.role != leading {
		return math.MaxUint64
	}
	return d.batches.undecided()
}
