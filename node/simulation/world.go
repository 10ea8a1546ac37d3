package simulation

import (
	"container/heap"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"holdfast/node/machine"
)

// Durations in virtual nanoseconds.
const (
	microsecond = int64(time.Microsecond)
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
)

// world is the scheduler: everything that happens is an event at a virtual
// time, and every choice is drawn from one source.
type world struct {
	random   *rand.Rand
	now      int64 // since the beginning
	events   eventHeap
	sequence uint64 // orders events of the same time
	trace    *trace

	options Options
	plan    plan
	hosts   []*host
	network *network
	nats    *nats
	checks  *checks
	clients workload
	allowed *machine.AccountLimits // that every node's configuration has; nil: none

	// listen, if set, hears every line that a member logs.
	listen func(h *host, line string)

	waiting ambush
	victims int // of the ambush: 0 only the member itself, 1 all others, 2 some, 3 and more all

	cached map[string][]byte // answers, for a mutation

	regressed *host // whose disk went back in time, and nobody has noticed yet
	formed    bool  // since the faults ended, all members were voters of one lineage once
	formedAt  int64 // the first time
	nextLook  int64 // when the end of the quiet phase is looked for
}

// event is something that happens at a time.
type event struct {
	at       int64
	sequence uint64
	act      func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].sequence < h[j].sequence
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = event{}
	*h = (*h)[:last]
	return e
}

// after lets something happen.
func (w *world) after(delay int64, act func()) { w.at(w.now+delay, act) }

func (w *world) at(when int64, act func()) {
	w.sequence++
	heap.Push(&w.events, event{max(when, w.now), w.sequence, act})
}

// runUntil lets everything happen up to a time, or until done says so.
func (w *world) runUntil(end int64, done func() bool) bool {
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.act()
		if done != nil && done() {
			return true
		}
	}
	w.now = max(w.now, end)
	return false
}

// between draws a duration from [lo, hi).
func (w *world) between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + w.random.Int64N(hi-lo)
}

// often draws a duration that is mostly small and now and then near hi.
func (w *world) often(lo, hi int64) int64 {
	f := w.random.Float64()
	return lo + int64(f*f*f*float64(hi-lo))
}

func (w *world) chance(p float64) bool { return w.random.Float64() < p }

// violation ends a run: something happened that must not.
type violation struct{ text string }

// fail ends the run.
func (w *world) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.trace.note(w.now, "", "VIOLATION "+text)
	panic(violation{text})
}

// heard passes a line of a member's log on.
func (w *world) heard(p *process, level slog.Level, line string) {
	w.checks.heard(p, level, line)
	if w.listen != nil {
		w.listen(p.host, line)
	}
}
