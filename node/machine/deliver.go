package machine

import (
	"math"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

func searchSequence(ascending []uint64, seq uint64) (int, bool) {
	return slices.BinarySearch(ascending, seq)
}

// plainSize is the length of subject, header and payload.
func (s *Stream) plainSize(r *record) int {
	return len(s.subjects.list[r.subject].name) + int(r.content>>1) - int(r.content&1)*headerLengthSize
}

// deliver applies a deliver command: messages that are due again first, then
// new ones (consumer.getNextMsg of the NATS server).
func (c *Consumer) deliver(messages int, size int64, result *Result) {
	c.giveUp()
	d := dispatch{consumer: c, messages: messages, size: size, start: len(c.stream.machine.out.deliveries)}
	if d.redeliver() {
		d.deliverNew()
	}
	out := c.stream.machine.out
	if all := out.deliveries; len(all) > d.start {
		result.Deliveries = all[d.start:len(all):len(all)]
		c.lastDelivery = c.stream.machine.now
		c.touch()
	}
}

// giveUp ends the messages that were delivered as often as MaxDeliver allows
// and whose last ack wait is over. They stay counted as redelivered, and an
// interest or work queue stream keeps them, until they are acked after all or
// leave the stream.
func (c *Consumer) giveUp() {
	m := c.stream.machine
	for t := c.earliest(&c.final); t != nil && t.due <= m.now; t = c.earliest(&c.final) {
		d := c.pending.at(t.seq)
		m.event(Event{
			Kind: EventMaxDeliveries, Stream: c.stream, Consumer: c, Seq: d.seq, ConsumerSeq: d.first, Deliveries: uint64(d.tries),
		})
		if c.exhausted == nil {
			c.exhausted = make(map[uint64]uint32)
		}
		c.exhausted[d.seq] = d.tries
		c.settle(d)
	}
}

// dispatch is one deliver command on its way.
type dispatch struct {
	consumer *Consumer
	messages int   // still wanted
	size     int64 // bytes still wanted, 0: any
	start    int   // of its deliveries in Results.deliveries
}

// take reports whether a message of that size may still go out, and accounts for it.
func (d *dispatch) take(size int) bool {
	if d.messages == 0 {
		return false
	}
	if d.size > 0 {
		first := len(d.consumer.stream.machine.out.deliveries) == d.start
		if int64(size) > d.size && !first {
			d.messages = 0
			return false
		}
		if d.size -= int64(size); d.size <= 0 {
			d.size, d.messages = 0, 1 // this was the last one
		}
	}
	d.messages--
	return true
}

// redeliver hands out what is due again. It returns false when nothing more is
// wanted.
func (d *dispatch) redeliver() bool {
	c := d.consumer
	m := c.stream.machine
	for d.messages > 0 {
		t := c.earliest(&c.due)
		if t == nil || t.due > m.now {
			return true
		}
		p := c.pending.at(t.seq)
		r, _ := c.stream.index.get(t.seq)
		if c.stream.rolledUp(t.seq, r.subject) || !d.take(c.stream.plainSize(&r)) {
			return false
		}
		c.due.pop()
		if p.tries < math.MaxUint32 { // a message that is refused at once gets there in weeks
			p.tries++
		}
		if p.tries == 2 {
			c.redelivered++
		}
		c.arm(p, c.dueAfter(p.tries))
		d.send(p.seq, &r, uint64(p.tries), c.pending.count)
	}
	return false
}

func (c *Consumer) dueAfter(deliveries uint32) int64 {
	if wait := c.wait(deliveries); wait > 0 {
		return later(c.stream.machine.now, wait)
	}
	return 0
}

// deliverNew hands out messages for the first time.
func (d *dispatch) deliverNew() {
	c := d.consumer
	s := c.stream
	for d.messages > 0 && !c.stalled() {
		seq, ok := c.nextNew()
		if !ok {
			if c.cursor <= s.last { // looked at, and nothing matched
				c.cursor = s.last + 1
				c.touch()
			}
			return
		}
		r, _ := s.index.get(seq)
		if s.rolledUp(seq, r.subject) || !d.take(s.plainSize(&r)) { // it is as good as gone
			return
		}
		if len(c.skips) > 0 {
			c.skips = c.skips[1:]
		} else {
			c.cursor = seq + 1
		}
		c.count--
		c.lastGiven = seq
		unacked := c.pending.count
		if c.config.AckPolicy == server.AckNone {
			c.floorConsumer, c.floorStream = c.nextSeq, seq
		} else {
			p := delivered{seq: seq, first: c.nextSeq, tries: 1}
			c.arm(&p, c.dueAfter(1))
			c.pending.append(p)
		}
		d.send(seq, &r, 1, unacked)
		if c.config.AckPolicy == server.AckNone {
			s.released(seq)
		}
	}
}

func (d *dispatch) send(seq uint64, r *record, deliveries uint64, unacked int) {
	c := d.consumer
	out := c.stream.machine.out
	out.deliveries = append(out.deliveries, Delivery{
		StreamSeq: seq, ConsumerSeq: c.nextSeq, Deliveries: deliveries, Pending: c.waiting(), Unacked: unacked,
		Stamp: r.stamp + int64(r.slot), Location: c.stream.locate(r),
	})
	c.nextSeq++
}

// nextNew finds the next message to be given out for the first time.
func (c *Consumer) nextNew() (uint64, bool) {
	if c.waiting() == 0 {
		return 0, false
	}
	if len(c.skips) > 0 {
		return c.skips[0], true
	}
	from := c.cursor
	if c.peekCursor == from {
		from = max(from, c.peekSeq)
	}
	seq, ok := c.search(from)
	if ok && len(c.filters) > 0 {
		c.peekCursor, c.peekSeq = c.cursor, seq
	}
	return seq, ok
}

// search finds the first message from a sequence on that the filters match.
func (c *Consumer) search(from uint64) (uint64, bool) {
	s := c.stream
	if len(c.filters) == 0 {
		return s.index.next(from)
	}
	if id, known := s.subjects.ids[c.filters[0]]; known && len(c.filters) == 1 {
		return s.index.nextOf(max(from, s.subjects.list[id].first), id)
	}
	return s.index.nextIn(from, c.matches)
}

// released takes note that a consumer no longer needs a message: an interest
// or work queue stream removes it when no consumer does.
func (s *Stream) released(seq uint64) {
	if s.config.Retention == server.LimitsPolicy {
		return
	}
	b := s.index.locate(seq)
	if b == nil || !b.isAlive(int(seq-b.first)) {
		return
	}
	subject := b.subjectAt(int(seq - b.first))
	for _, c := range s.consumers {
		if c.needs(seq, subject) {
			return
		}
	}
	s.remove(seq)
}
