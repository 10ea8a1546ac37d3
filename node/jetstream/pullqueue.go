package jetstream

// pull is a pull request that waits.
type pull struct {
	next, previous *pull
	reply          []byte
	interest       string // the same, as Bus.Interest wants it
	messages       int    // that it still wants; below 1 after the last
	delivered      int
	bytes          int   // that it still takes; 0 for no limit
	expires        int64 // time, 0 for never
	heartbeat      int64 // interval in nanoseconds, 0 for none
	heartbeatAt    int64
	noWait         bool
	checked        uint64 // burst for which somebody was seen to listen
	queued         bool   // is in the queue

	// Of requests in a priority group.
	group      string
	pin        string // the pin that the client believes to have
	minPending uint64 // served when so many messages wait, or
	minUnacked uint64 // so many are unanswered; both 0: always
	priority   int    // lower ones first; the same for all without such a policy
}

// pullQueue is a list of pull requests in the order of their priorities. Those of
// one priority take turns: who got a message and wants more goes behind them.
type pullQueue struct {
	head, tail *pull
	len        int
	noWaits    int   // of them, those that end when there is nothing left
	swept      int64 // when requests were last checked because the queue was full
}

func (q *pullQueue) add(p *pull) {
	after := q.tail
	for after != nil && after.priority > p.priority {
		after = after.previous
	}
	p.previous = after
	if after != nil {
		p.next, after.next = after.next, p
	} else {
		p.next, q.head = q.head, p
	}
	if p.next != nil {
		p.next.previous = p
	} else {
		q.tail = p
	}
	p.queued = true
	q.len++
	if p.noWait {
		q.noWaits++
	}
}

func (q *pullQueue) remove(p *pull) {
	if p.previous != nil {
		p.previous.next = p.next
	} else {
		q.head = p.next
	}
	if p.next != nil {
		p.next.previous = p.previous
	} else {
		q.tail = p.previous
	}
	p.next, p.previous = nil, nil
	p.queued = false
	q.len--
	if p.noWait {
		q.noWaits--
	}
}
