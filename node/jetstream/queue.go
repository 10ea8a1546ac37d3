package jetstream

import (
	"math"
	"slices"
)

// Queue is the way into the log that the doors of one node share, one door for
// each account. Batches get into the log in the order of their stamps: the machine
// would otherwise give a batch a later stamp than those who wait for it know. The
// zero Queue is ready for use; everybody who calls its doors is the same goroutine.
type Queue struct {
	doors   []*Door // that do not follow, in the order in which they began to lead
	waiting []*Door // one for each closed batch that was not proposed yet, in their order
	last    int64   // stamp of the batch closed last, plus its slots
	// admitted is how many bytes of new messages may still be taken before the
	// next Admit.
	admitted int64
}

// join adds a door that begins to lead, at the time of the log.
func (q *Queue) join(d *Door, stamp int64) {
	if len(q.doors) == 0 {
		*q = Queue{doors: q.doors, waiting: q.waiting[:0], last: stamp, admitted: math.MaxInt64}
	}
	q.doors = append(q.doors, d)
}

// part removes a door that follows, and its batches.
func (q *Queue) part(d *Door) {
	is := func(other *Door) bool { return other == d }
	q.doors, q.waiting = slices.DeleteFunc(q.doors, is), slices.DeleteFunc(q.waiting, is)
}

// ticks reports whether it is that door which lets the log's clock tick for all.
func (q *Queue) ticks(d *Door) bool { return len(q.doors) > 0 && q.doors[0] == d }

// next is the stamp of a batch that is closed now.
func (q *Queue) next(now int64) int64 { return max(now, q.last+1) }

// closed notes that a door closed a batch.
func (q *Queue) closed(d *Door, stamp int64, slots int) {
	q.last = stamp + int64(slots)
	q.waiting = append(q.waiting, d)
}

// turn reports whether that door may propose: no other has closed a batch before.
func (q *Queue) turn(d *Door) bool { return len(q.waiting) == 0 || q.waiting[0] == d }

// proposeAll proposes every closed batch of all doors, whatever is in flight.
func (q *Queue) proposeAll() {
	for len(q.waiting) > 0 && q.waiting[0].proposeNext() {
	}
}

// Admit says for how many bytes there is room on the disks, until the next call.
// Publishes beyond it, and new streams, are refused as JetStream does when its
// storage is used up; everything else goes on. Until the first call after Lead
// there is no bound.
func (q *Queue) Admit(bytes int64) {
	q.admitted = min(bytes, math.MaxInt64/2)
	for _, d := range q.doors {
		q.admitted -= d.batches.unwritten() + d.staging.room
	}
}
