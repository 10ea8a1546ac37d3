package jetstream

// maxReads bounds the requests that wait for a barrier. nats-server keeps as
// many API requests in its queue.
const maxReads = 10_000

// reads are the requests that wait for a barrier. One barrier is under way at
// a time, and serves every request that came before it.
type reads struct {
	next     []*request // for the next barrier
	current  []*request // for the barrier under way
	context  uint64     // of the barrier under way, or the last
	underWay bool
}

func (r *reads) reset() { *r = reads{context: r.context} }

// afterBarrier serves a request once this node has proved that it leads.
func (d *Door) afterBarrier(r *request) {
	if len(d.reads.next) >= maxReads {
		d.counts.Dropped++
		return
	}
	d.reads.next = append(d.reads.next, r)
}

// startBarrier asks for a barrier if somebody waits for one.
func (d *Door) startBarrier() {
	r := &d.reads
	if r.underWay || len(r.next) == 0 {
		return
	}
	r.context++
	r.underWay = true
	r.current, r.next = r.next, r.current[:0]
	d.node.Barrier(r.context)
}

// Barriered ends a barrier. With ok, everything committed before it was asked
// for has been applied, and this node led at some moment since; without, the
// requests that wait for it are answered that the cluster is not available, or
// kept for the next leader during a hand-over.
func (d *Door) Barriered(context uint64, ok bool) {
	r := &d.reads
	if !r.underWay || context != r.context {
		return
	}
	if !ok && d.role != leading {
		d.holdReads()
		return
	}
	r.underWay = false
	requests := r.current
	r.current = nil
	for _, request := range requests {
		request.fresh = true
		if ok {
			d.serve(request)
		} else {
			d.answerUnavailable(request)
		}
	}
	clear(requests)
	if r.current == nil {
		r.current = requests[:0]
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
