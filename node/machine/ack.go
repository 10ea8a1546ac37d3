package machine

import (
	"maps"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// acks applies an acks command.
func (m *Machine) acks(body *protocol.Reader, result *Result) {
	c := m.namedConsumer(body, result)
	for len(body.Rest) > 0 {
		a := readAck(body)
		if body.Failed() {
			return
		}
		if c == nil {
			continue
		}
		switch a.Kind {
		case AckDone, AckTerm:
			c.ack(&a)
		case AckNak:
			c.nak(&a)
		case AckProgress:
			c.progress(&a)
		case AckReturn:
			c.takeBack(&a)
		}
	}
}

// ack applies a positive answer; a terminated message is treated alike
// (consumer.processAckMsg of the NATS server).
func (c *Consumer) ack(a *Ack) {
	if a.StreamSeq > c.lastGiven {
		return
	}
	c.touch()
	switch c.config.AckPolicy {
	case server.AckExplicit:
		if d := c.pending.at(a.StreamSeq); d != nil {
			c.lastAck = c.stream.machine.now
			c.settle(d)
			c.stream.released(a.StreamSeq)
		} else if _, ok := c.exhausted[a.StreamSeq]; ok {
			delete(c.exhausted, a.StreamSeq)
			c.stream.released(a.StreamSeq)
		}
	case server.AckAll, server.AckFlowControl:
		c.ackUpTo(a)
	}
}

// ackUpTo answers everything up to a delivery.
func (c *Consumer) ackUpTo(a *Ack) {
	if a.ConsumerSeq <= c.floorConsumer || a.StreamSeq <= c.floorStream || a.ConsumerSeq >= c.nextSeq {
		return
	}
	c.lastAck = c.stream.machine.now
	c.floorConsumer, c.floorStream = a.ConsumerSeq, a.StreamSeq
	for d := c.pending.after(0); d != nil && d.seq <= a.StreamSeq; d = c.pending.after(0) {
		seq := d.seq
		c.drop(d)
		c.stream.released(seq)
	}
	for _, seq := range slices.Sorted(maps.Keys(c.exhausted)) {
		if seq <= a.StreamSeq {
			delete(c.exhausted, seq)
			c.stream.released(seq)
		}
	}
}

// progress starts the ack wait of a message anew, unless it is due again
// already (consumer.progressUpdate of the NATS server).
func (c *Consumer) progress(a *Ack) {
	d := c.pending.at(a.StreamSeq)
	if d == nil || c.isDue(d) {
		return
	}
	c.arm(d, c.dueAfter(d.tries))
	c.touch()
}

func (c *Consumer) isDue(d *delivered) bool { return d.due > 0 && d.due <= c.stream.machine.now }

// nak makes a message due again (consumer.processNak of the NATS server).
func (c *Consumer) nak(a *Ack) {
	if a.ConsumerSeq <= c.floorConsumer || a.ConsumerSeq >= c.nextSeq {
		return
	}
	d := c.pending.at(a.StreamSeq)
	if d == nil {
		return
	}
	if a.Delay == 0 && c.isDue(d) {
		return // it is already, and keeps its turn
	}
	c.arm(d, later(c.stream.machine.now, a.Delay))
	c.touch()
}

// takeBack undoes a delivery that reached nobody (consumer.didNotDeliver of the
// NATS server).
func (c *Consumer) takeBack(a *Ack) {
	d := c.pending.at(a.StreamSeq)
	if d == nil || uint64(d.tries) != a.Deliveries || d.tries == 0 {
		return
	}
	if d.tries--; d.tries == 1 {
		c.redelivered--
	}
	c.arm(d, c.stream.machine.now)
	c.touch()
}

// drop forgets an unanswered message.
func (c *Consumer) drop(d *delivered) {
	if d.tries > 1 {
		c.redelivered--
	}
	c.pending.remove(d)
	c.trimTimers()
	c.touch()
}

// settle forgets an unanswered message and moves the ack floor over what is
// answered by now (consumer.moveAckFloor of the NATS server).
func (c *Consumer) settle(d *delivered) {
	seq, first := d.seq, d.first
	c.drop(d)
	if c.pending.count == 0 {
		c.floorConsumer, c.floorStream = c.nextSeq-1, c.lastGiven
		return
	}
	if first != c.floorConsumer+1 {
		return
	}
	c.floorConsumer, c.floorStream = first, seq
	if next := c.pending.after(seq); next != nil {
		c.floorConsumer, c.floorStream = next.first-1, next.seq-1
	}
}
