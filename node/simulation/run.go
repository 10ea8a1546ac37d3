package simulation

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"time"
)

// Options say which run to make.
type Options struct {
	Seed   uint64
	Folder string    // for the stores; it should be in memory
	Out    io.Writer // gets a readable trace; nil: nobody reads
	// Mutation breaks something on purpose, to prove that a checker sees it.
	Mutation Mutation
}

// Result is what came of a run.
type Result struct {
	Seed        uint64
	Hash        uint64 // of everything that happened
	Virtual     time.Duration
	Hosts       int
	Acked       int // messages
	Foundings   int
	Faults      int
	Rewrites    int // of what lives in mostly dead entries
	Halves      int // checkpoints in the middle of which their process was killed
	Undropped   int // processes that were killed before all that was dead had gone
	Resumed     int // copies of a store that were interrupted and became whole
	Rollups     int // that replaced messages
	Pending     int // rollups of which something was left to do behind the entry
	Expired     int // messages that ended by their own time to live
	Markers     int // that tell of such an end
	Pinned      int // clients that got messages alone
	Pauses      int // of consumers
	Resets      int // of consumers
	Refusals    int // of streams that the account has no room for
	Overflowed  int // messages that went to clients that want others to wait
	Lost        int // acknowledged messages that physics made unavoidable
	QuietTicks  int // until everything was live again
	Err         error
	Description string
}

// quietTicks is within how many ticks after the last fault everything has to be
// live again: one lineage, all members voters, all workloads done.
const quietTicks = 3000

const tick = 20 * millisecond

// Run makes one run, which depends on nothing but its options.
func Run(o Options) (result Result) {
	result.Seed = o.Seed
	w := &world{options: o, random: rand.New(rand.NewPCG(o.Seed, 0x686f6c6466617374)), trace: newTrace(o.Out), cached: map[string][]byte{}}
	defer func() {
		if caught := recover(); caught != nil {
			if v, ok := caught.(violation); ok {
				result.Err = fmt.Errorf("%s", v.text)
			} else {
				result.Err = fmt.Errorf("panic: %v\n%s", caught, debug.Stack())
			}
		}
		w.shutDown()
		w.describe(&result)
	}()
	w.plan = w.draw()
	w.build()
	w.after(w.between(second, 3*second), w.trouble)
	w.runUntil(w.plan.faulty, nil)
	w.calm()
	began := w.now
	if !w.runUntil(began+quietTicks*tick, w.settled) {
		w.fail("not live %d ticks after the last fault: %s", quietTicks, w.missing()+"\n"+w.standing())
	}
	result.QuietTicks = int((w.now - began) / tick)
	w.checks.atEnd()
	return result
}

// build makes a world by its plan, in which nothing goes wrong by itself.
func (w *world) build() {
	if err := os.MkdirAll(w.options.Folder, 0o700); err != nil {
		w.fail("make a folder for the stores: %v", err)
	}
	w.network = newNetwork(w, w.plan.hosts)
	w.nats = &nats{world: w, arrivals: map[[3]int]int64{}}
	w.checks = newChecks(w)
	for i := range w.plan.hosts {
		w.hosts = append(w.hosts, w.addHost(i))
	}
	for _, h := range w.hosts {
		h.restart(w.between(0, 500*millisecond))
	}
	w.addTopics()
}

// shutDown closes the files of all processes.
func (w *world) shutDown() {
	for _, h := range w.hosts {
		if h.process != nil {
			h.process.member.Store().Close()
			h.process.dir.Close()
			h.process = nil
		}
	}
	os.RemoveAll(w.options.Folder)
}

func (w *world) describe(r *Result) {
	r.Hash = w.trace.hash.Sum64()
	r.Virtual = time.Duration(w.now)
	r.Hosts = w.plan.hosts
	if w.checks != nil {
		r.Acked, r.Foundings, r.Lost, r.Faults = w.checks.acked, w.checks.foundings, w.checks.lost, w.checks.faults
		r.Rewrites, r.Halves, r.Undropped, r.Resumed = w.checks.rewrites, w.checks.halves, w.checks.undropped, w.checks.resumed
		r.Pauses, r.Resets, r.Refusals = w.checks.pauses, w.checks.resetsSeen, w.checks.refusals
		r.Rollups, r.Pending = w.checks.rollups, w.checks.pending
		r.Expired, r.Markers, r.Pinned, r.Overflowed = w.checks.expired, w.checks.markers, w.checks.pinned, w.checks.overflowed
	}
	kind := "one at a time"
	if w.plan.disaster {
		kind = "disasters"
	}
	r.Description = fmt.Sprintf("%d members, %s, %s, %d faults, %d acknowledged, %d foundings, live after %d ticks",
		r.Hosts, kind, r.Virtual.Round(time.Millisecond), r.Faults, r.Acked, r.Foundings, r.QuietTicks)
}
