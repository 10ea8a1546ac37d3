package machine

import (
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Consumer is one consumer of a stream: how far it is, and what it was given
// and has not answered. What its methods return is of the last applied entry.
type Consumer struct {
	stream      *Stream
	incarnation Incarnation
	name        string
	config      *server.ConsumerConfig // never changed in place
	encoded     []byte                 // config as JSON
	created     int64                  // stamp
	deleted     bool

	filters []string // empty: every subject
	matches idSet    // IDs of the stream's subjects that the filters cover; nil without filters

	// cursor is the lowest sequence not looked at yet. Below it, everything was
	// given out or passed over, except what skips lists.
	cursor uint64
	// peekSeq saves searching twice: with the cursor at peekCursor, nothing
	// below peekSeq matches the filters. Not part of the replicated state.
	peekCursor, peekSeq uint64
	// skips are messages below cursor still to be given out, ascending: the
	// last of each subject as of the consumer's creation.
	skips []uint64
	// count is how many live messages are still to be given out, modulo 2^64.
	// Unless watches is set it is relative to Stream.stored, so that storing a
	// message costs nothing per consumer.
	count   uint64
	watches bool

	nextSeq       uint64 // consumer sequence of the next delivery, from 1
	lastGiven     uint64 // stream sequence of the last first delivery, or where it started less 1
	floorConsumer uint64 // every delivery up to here is answered
	floorStream   uint64
	lastDelivery  int64 // stamp, 0 none
	lastAck       int64 // stamp, 0 none

	pending     pendingList
	redelivered int               // pending messages delivered more than once
	exhausted   map[uint64]uint32 // given up at MaxDeliver, by sequence: number of deliveries
	nextOrder   uint64
	// due holds the messages that may be delivered again, final those that
	// were delivered MaxDeliver times and are given up when due.
	due, final timerHeap

	changed consumerChanges
}

// ConsumerState holds the numbers of server.ConsumerInfo.
type ConsumerState struct {
	Delivered      server.SequenceInfo
	AckFloor       server.SequenceInfo
	NumAckPending  int
	NumRedelivered int
	NumPending     uint64
}

// Incarnation names this consumer and no other of the same name.
func (c *Consumer) Incarnation() Incarnation { return c.incarnation }

// Stream is the stream that it belongs to.
func (c *Consumer) Stream() *Stream { return c.stream }

// Name is the consumer's name.
func (c *Consumer) Name() string { return c.name }

// Config is the configuration in force. It must not be changed.
func (c *Consumer) Config() *server.ConsumerConfig { return c.config }

// Created is when the consumer was created.
func (c *Consumer) Created() time.Time { return time.Unix(0, c.created).UTC() }

// State returns the consumer's numbers as the NATS server reports them.
func (c *Consumer) State() ConsumerState {
	state := ConsumerState{
		Delivered:      server.SequenceInfo{Consumer: c.nextSeq - 1, Stream: c.lastGiven},
		AckFloor:       server.SequenceInfo{Consumer: c.floorConsumer, Stream: c.floorStream},
		NumAckPending:  c.pending.count,
		NumRedelivered: c.redelivered + len(c.exhausted),
		NumPending:     c.waiting(),
	}
	if c.config.MaxDeliver == 1 { // there are no redeliveries to report
		state.NumRedelivered = 0
	}
	if c.lastDelivery != 0 {
		last := time.Unix(0, c.lastDelivery).UTC()
		state.Delivered.Last = &last
	}
	if c.lastAck != 0 {
		last := time.Unix(0, c.lastAck).UTC()
		state.AckFloor.Last = &last
	}
	return state
}

// waiting is how many live messages are still to be given out.
func (c *Consumer) waiting() uint64 {
	if c.watches {
		return c.count
	}
	return c.count + c.stream.stored
}

func (c *Consumer) setWaiting(n uint64) {
	c.count = n
	if !c.watches {
		c.count -= c.stream.stored
	}
}

func (c *Consumer) wants(subject uint32) bool {
	return len(c.filters) == 0 || c.matches.has(subject)
}

// see counts a new message, if the consumer watches.
func (c *Consumer) see(seq uint64, subject uint32) {
	if seq >= c.cursor && c.wants(subject) {
		c.count++
		c.touchCount()
	}
}

// needs reports whether a message of an interest or work queue stream must be
// kept for this consumer (consumer.needAck of the NATS server).
func (c *Consumer) needs(seq uint64, subject uint32) bool {
	if !c.wants(subject) {
		return false
	}
	if seq >= c.cursor || c.pending.at(seq) != nil || c.skipIndex(seq) >= 0 {
		return true
	}
	_, given := c.exhausted[seq]
	return given
}

// gone takes note that a message left the stream.
func (c *Consumer) gone(seq uint64, subject uint32) {
	if seq >= c.cursor {
		if c.wants(subject) {
			c.count--
			c.touchCount()
		}
		return
	}
	if d := c.pending.at(seq); d != nil {
		if !c.stream.purging {
			c.stream.machine.event(Event{
				Kind: EventTerminated, Stream: c.stream, Consumer: c, Seq: seq, ConsumerSeq: d.first, Deliveries: uint64(d.tries),
			})
		}
		c.settle(d)
		return
	}
	if i := c.skipIndex(seq); i >= 0 {
		c.skips = append(c.skips[:i], c.skips[i+1:]...)
		c.count--
		c.touch()
		return
	}
	if _, ok := c.exhausted[seq]; ok {
		delete(c.exhausted, seq)
		c.touch()
	}
}

func (c *Consumer) skipIndex(seq uint64) int {
	if len(c.skips) == 0 {
		return -1
	}
	i, ok := searchSequence(c.skips, seq)
	if !ok {
		return -1
	}
	return i
}

// forgetMessages is gone for all messages at once.
func (c *Consumer) forgetMessages() {
	c.pending, c.due, c.final = pendingList{}, timerHeap{}, timerHeap{}
	c.exhausted, c.skips, c.redelivered = nil, nil, 0
	clear(c.matches)
	c.setWaiting(0)
	c.touch()
}

// skipTo moves over what a purge removed: nothing below start is given out any
// more (consumer.purge of the NATS server).
func (c *Consumer) skipTo(start uint64) {
	start = max(start, 1)
	c.cursor = max(c.cursor, start)
	if len(c.skips) == 0 {
		c.lastGiven = c.cursor - 1
	}
	c.floorStream = max(c.floorStream, start-1)
	if c.pending.count == 0 {
		c.exhausted = nil
		c.floorConsumer, c.floorStream = c.nextSeq-1, c.lastGiven
	}
	c.touch()
}

// wait is the time from the n-th delivery of a message to the next one.
func (c *Consumer) wait(deliveries uint32) int64 { return waitOf(c.config, deliveries) }

func waitOf(config *server.ConsumerConfig, deliveries uint32) int64 {
	if n := len(config.BackOff); n > 0 {
		return span(config.BackOff[min(max(int(deliveries), 1), n)-1])
	}
	return span(config.AckWait)
}

// arm sets when an unanswered message is due again; at or below 0: never.
func (c *Consumer) arm(d *delivered, due int64) {
	d.due, d.order = max(due, 0), c.nextOrder
	c.nextOrder++
	if due <= 0 {
		return
	}
	heap := &c.due
	if limit := c.config.MaxDeliver; limit > 0 && int(d.tries) >= limit {
		heap = &c.final
	}
	c.trimTimers()
	heap.push(timer{due: due, order: d.order, seq: d.seq})
}

// trimTimers keeps the stale timers from outnumbering the others by far.
func (c *Consumer) trimTimers() {
	for _, heap := range [2]*timerHeap{&c.due, &c.final} {
		if len(heap.items) > 2*c.pending.count+64 {
			heap.compact(c.current)
		}
	}
}

// retime follows a change of what says when unanswered messages are due again.
// A new deliver subject has not seen any of them: they are due at once.
func (c *Consumer) retime(old *server.ConsumerConfig) {
	switch {
	case old.DeliverSubject != c.config.DeliverSubject:
		c.pending.each(func(d *delivered) {
			d.due, d.order = c.stream.machine.now, c.nextOrder
			c.nextOrder++
		})
	case old.AckWait != c.config.AckWait || !slices.Equal(old.BackOff, c.config.BackOff):
		c.pending.each(func(d *delivered) {
			if d.due > c.stream.machine.now { // what is due already stays so
				d.due = max(later(d.due-waitOf(old, d.tries), c.wait(d.tries)), 1)
			}
		})
	case old.MaxDeliver == c.config.MaxDeliver:
		return
	}
	c.rearm()
}

// rearm builds the timers anew from what is pending.
func (c *Consumer) rearm() {
	c.due.items, c.final.items = nil, nil
	c.pending.each(func(d *delivered) {
		if d.due == 0 {
			return
		}
		heap := &c.due
		if limit := c.config.MaxDeliver; limit > 0 && int(d.tries) >= limit {
			heap = &c.final
		}
		heap.push(timer{due: d.due, order: d.order, seq: d.seq})
	})
}

func (c *Consumer) current(t *timer) bool {
	d := c.pending.at(t.seq)
	return d != nil && d.order == t.order
}

// earliest returns the first timer that is current, or nil.
func (c *Consumer) earliest(heap *timerHeap) *timer {
	for len(heap.items) > 0 {
		if c.current(&heap.items[0]) {
			return &heap.items[0]
		}
		heap.pop()
	}
	return nil
}

// stalled reports whether MaxAckPending forbids new deliveries.
func (c *Consumer) stalled() bool {
	limit := c.config.MaxAckPending
	return limit > 0 && c.config.AckPolicy != server.AckNone && c.pending.count >= limit
}
