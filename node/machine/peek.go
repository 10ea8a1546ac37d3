package machine

import "github.com/nats-io/nats-server/v2/server"

// NextDue is the stamp at which a Deliver has something to do again for a
// message that was delivered before: deliver it once more, or give it up. 0
// when nothing is unanswered.
func (c *Consumer) NextDue() int64 {
	due := int64(0)
	if t := c.earliest(&c.due); t != nil {
		due = t.due
	}
	if t := c.earliest(&c.final); t != nil && (due == 0 || t.due < due) {
		due = t.due
	}
	return due
}

// maxReadyRedeliveries bounds what Ready counts.
const maxReadyRedeliveries = 1024

// Ready is how many messages a Deliver stamped now would hand out, were there
// no other limit. Of redeliveries it counts at most 1,024.
func (c *Consumer) Ready(now int64) int {
	ready := uint64(c.Redeliveries(now))
	fresh := c.waiting()
	if limit := c.config.MaxAckPending; limit > 0 && c.config.AckPolicy != server.AckNone {
		fresh = min(fresh, uint64(max(limit-c.pending.count, 0)))
	}
	return int(min(ready+fresh, 1<<31))
}

// Redeliveries is how many of those were delivered before; they go first.
func (c *Consumer) Redeliveries(now int64) int {
	if t := c.earliest(&c.due); t == nil || t.due > now {
		return 0
	}
	return c.countDue(now, 0)
}

// countDue counts the current timers due by now below position i of the heap.
func (c *Consumer) countDue(now int64, i int) int {
	if i >= len(c.due.items) || c.due.items[i].due > now || i >= 2*maxReadyRedeliveries {
		return 0
	}
	count := 0
	if c.current(&c.due.items[i]) {
		count = 1
	}
	return count + c.countDue(now, 2*i+1) + c.countDue(now, 2*i+2)
}

// NextSize is the size of subject, header and payload of the message that a
// Deliver stamped now would hand out first; 0 when there is none.
func (c *Consumer) NextSize(now int64) int {
	seq := uint64(0)
	if t := c.earliest(&c.due); t != nil && t.due <= now {
		seq = t.seq
	} else if !c.stalled() {
		seq, _ = c.nextNew()
	}
	r, ok := c.stream.index.get(seq)
	if !ok {
		return 0
	}
	return c.stream.plainSize(&r)
}

// Backlog is how many messages are still to be given out, and how many were given
// out and not answered: NumPending and NumAckPending of State.
func (c *Consumer) Backlog() (pending uint64, unacked int) { return c.waiting(), c.pending.count }

// NextSeq is the consumer sequence of the next delivery.
func (c *Consumer) NextSeq() uint64 { return c.nextSeq }

// Upcoming is a message that a Deliver would hand out.
type Upcoming struct {
	Seq   uint64
	Size  int   // of subject, header and payload
	Stamp int64 // of the message, nanoseconds since 1970
	Location
}

// Upcoming visits what a Deliver stamped now would hand out, in order, until
// visit returns false: either the one message whose redelivery is due first, or
// the new ones. It is for consumers whose deliveries are spaced or limited by
// more than the machine knows; the time it takes grows with what is visited.
func (c *Consumer) Upcoming(now int64, visit func(u Upcoming) bool) {
	s := c.stream
	show := func(seq uint64) bool {
		r, ok := s.index.get(seq)
		return ok && visit(Upcoming{Seq: seq, Size: s.plainSize(&r), Stamp: r.stamp + int64(r.slot), Location: s.locate(&r)})
	}
	if t := c.earliest(&c.due); t != nil && t.due <= now {
		show(t.seq)
		return
	}
	room := c.waiting()
	if limit := c.config.MaxAckPending; limit > 0 && c.config.AckPolicy != server.AckNone {
		room = min(room, uint64(max(limit-c.pending.count, 0)))
	}
	for _, seq := range c.skips {
		if room == 0 || !show(seq) {
			return
		}
		room--
	}
	for seq := c.cursor; room > 0; room-- {
		var ok bool
		if seq, ok = c.search(seq); !ok || !show(seq) {
			return
		}
		seq++
	}
}

// Unanswered tells whether a message was given out and not answered, and when it
// was last given out. A negative answer with a delay shifts that time, as the
// NATS server does.
func (c *Consumer) Unanswered(seq uint64) (given int64, ok bool) {
	d := c.pending.at(seq)
	if d == nil {
		return 0, false
	}
	return d.due - c.wait(d.tries), true
}
