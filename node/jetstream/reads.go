package jetstream

import (
	"slices"
	"strings"
	"time"
)

// maxReads bounds the requests that wait for a barrier. nats-server keeps as
// many API requests in its queue.
const maxReads = 10_000

// A flood of API requests does not hold up publishes: requests are served a few
// at a time (a page of a list counts as many), and between two such groups
// the loop has readRespite for everything else that came.
const (
	readsPerBarrier = 64
	listWeight      = 32
	readRespite     = int64(100 * time.Microsecond)
)

// reads are the requests that wait for a barrier. One barrier is under way at
// a time, and serves every request that came before it. It is asked for once what
// came before the request is decided.
type reads struct {
	next     []*request // for the next barrier
	current  []*request // for the barrier under way
	context  uint64     // of the barrier under way, or the last
	underWay bool
	rest     int64 // the next barrier does not start before, in the log's time
}

func (r *reads) reset() { *r = reads{} }

// add puts a request behind the others; false: there are too many.
func (r *reads) add(request *request) bool {
	if len(r.next) >= maxReads {
		return false
	}
	r.next = append(r.next, request)
	return true
}

// ready is how many of the waiting requests have to see nothing from readable on, or
// have waited for it long enough.
func (r *reads) ready(readable uint64, now int64) int {
	for n, request := range r.next {
		if request.early(readable, now) {
			return n
		}
	}
	return len(r.next)
}

// group is how many of those are served together.
func (r *reads) group(readable uint64, now int64) int {
	weight := 0
	for n, request := range r.next {
		if request.early(readable, now) {
			return n
		}
		if strings.Contains(request.subject, ".LIST") {
			weight += listWeight
		} else {
			weight++
		}
		if weight >= readsPerBarrier {
			return n + 1
		}
	}
	return len(r.next)
}

// ask starts a barrier for so many of the requests that wait.
func (d *Door) ask(r *reads, most int) {
	d.barriers++
	r.context = d.barriers
	r.underWay = true
	r.current = append(r.current[:0], r.next[:most]...)
	r.next = slices.Delete(r.next, 0, most)
	d.node.Barrier(r.context)
}

// finish ends the barrier under way and hands each request that it was for to
// serve. What serve adds waits for the next one.
func (r *reads) finish(serve func(*request)) {
	r.underWay = false
	requests := r.current
	r.current = nil
	for _, request := range requests {
		serve(request)
	}
	clear(requests)
	r.current = requests[:0]
}

// afterBarrier serves a request once this node has proved that it leads.
func (d *Door) afterBarrier(r *request) {
	if !d.reads.add(r) {
		d.counts.Dropped++
	}
}

// startBarrier asks for a barrier if somebody waits for one.
func (d *Door) startBarrier() {
	r := &d.reads
	now := d.node.Now()
	if r.underWay || len(r.next) == 0 || now < r.rest {
		return
	}
	if group := r.group(d.readable(), now); group > 0 {
		d.ask(r, group)
	}
}

// Barriered ends a barrier. With ok, everything acknowledged before it was asked
// for has been applied here; without, the requests that wait for it are answered
// that the cluster is not available, or kept for the next leader during a
// hand-over. Direct reads ask again.
func (d *Door) Barriered(context uint64, ok bool) {
	if direct := &d.direct.reads; direct.underWay && context == direct.context {
		d.directBarriered(ok)
		return
	}
	r := &d.reads
	if !r.underWay || context != r.context {
		return
	}
	if !ok && d.role != leading {
		d.holdReads()
		return
	}
	r.finish(func(request *request) {
		request.fresh = true
		if ok {
			d.serve(request)
		} else {
			d.answerUnavailable(request)
		}
	})
	if len(r.next) > 0 {
		r.rest = d.node.Now() + readRespite
	}
}

// holdReads keeps the requests that wait for a barrier, for the next leader.
func (d *Door) holdReads() {
	for _, waiting := range [][]*request{d.reads.current, d.reads.next} {
		for _, r := range waiting {
			d.held = append(d.held, Message{Subject: []byte(r.subject), Reply: r.reply, Header: r.header, Payload: r.payload})
		}
	}
	d.reads.reset()
}
