package jetstream

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// ackSubject is what the subject of an acknowledgement says.
type ackSubject struct {
	key         []byte // stream.consumer
	deliveries  uint64
	streamSeq   uint64
	consumerSeq uint64
	stamp       int64 // of the message
}

// Tokens of $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer
// seq>.<time>.<pending>. The second form has domain and account after $JS.ACK,
// and room for more tokens at the end.
const (
	ackTokens       = 9
	ackTokensLonger = 11
)

// parseAck takes the subject of an acknowledgement apart.
func parseAck(subject []byte) (ackSubject, bool) {
	var ends [ackTokensLonger]int // of the tokens
	tokens := 0
	for at := 0; at <= len(subject); at++ {
		if at == len(subject) || subject[at] == '.' {
			if tokens < len(ends) {
				ends[tokens] = at
			}
			tokens++
		}
	}
	name := 2
	if tokens >= ackTokensLonger {
		name = 4
	} else if tokens != ackTokens {
		return ackSubject{}, false
	}
	number := func(token int) (n uint64, ok bool) {
		return parseNumber(subject[ends[token-1]+1 : ends[token]])
	}
	a := ackSubject{key: subject[ends[name-1]+1 : ends[name+1]]}
	var ok [4]bool
	var stamp uint64
	a.deliveries, ok[0] = number(name + 2)
	a.streamSeq, ok[1] = number(name + 3)
	a.consumerSeq, ok[2] = number(name + 4)
	stamp, ok[3] = number(name + 5)
	a.stamp = int64(stamp)
	return a, ok == [4]bool{true, true, true, true} && a.streamSeq > 0
}

// parseNumber reads a decimal number that fits an int64.
func parseNumber(digits []byte) (uint64, bool) {
	const most = 18
	if len(digits) == 0 || len(digits) > most+1 {
		return 0, false
	}
	n := uint64(0)
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = n*10 + uint64(digit-'0')
	}
	return n, n < 1<<63
}

// handleAck takes the acknowledgement of a delivery. One that names what is
// gone is counted and dropped: a stream or consumer of that name may be there
// again, and the message of that sequence another one, which its time tells.
func (d *Door) handleAck(m *Message) {
	a, ok := parseAck(m.Subject)
	if !ok {
		return
	}
	c := d.byName[string(a.key)]
	if c == nil || !c.takesAcks() {
		d.dropStale(m)
		d.sendNoResponders(m.Reply, m.Subject)
		return
	}
	if stored, ok := c.machine.Stream().Message(a.streamSeq); ok && stored.Stamp != a.stamp {
		d.dropStale(m)
		return
	}
	d.counts.Acks++
	c.lastActive = d.node.Now()
	ack := machine.Ack{StreamSeq: a.streamSeq, ConsumerSeq: a.consumerSeq, Deliveries: a.deliveries}
	switch kind := m.Payload; {
	case len(kind) == 0, bytes.Equal(kind, server.AckAck), bytes.Equal(kind, server.AckOK):
		ack.Kind = machine.AckDone
		d.sampleAck(c, &a)
	case bytes.HasPrefix(kind, server.AckNext):
		ack.Kind = machine.AckDone
		d.sampleAck(c, &a)
		d.addAck(c, ack, nil)
		d.handlePull(c, m.Reply, kind[len(server.AckNext):], false)
		return
	case bytes.HasPrefix(kind, server.AckNak):
		ack.Kind = machine.AckNak
		ack.Delay = d.parseNakDelay(c, kind[len(server.AckNak):])
	case bytes.Equal(kind, server.AckProgress):
		ack.Kind = machine.AckProgress
	case bytes.HasPrefix(kind, server.AckTerm):
		ack.Kind = machine.AckTerm
		d.adviseTerminated(c, &a, bytes.TrimSpace(kind[len(server.AckTerm):]))
	default:
		// Unknown words change nothing, but who asks is told they arrived.
		if len(m.Reply) > 0 {
			d.bus.Publish(m.Reply, nil, nil, nil)
		}
		return
	}
	if ack.Kind == machine.AckNak {
		if _, pending := c.machine.Unanswered(a.streamSeq); pending {
			d.adviseNak(c, &a)
		}
	}
	d.addAck(c, ack, m.Reply)
}

// takesAcks reports whether deliveries are acknowledged one by one. With flow
// control for acknowledgement they are not.
func (c *consumer) takesAcks() bool {
	policy := c.config().AckPolicy
	return policy != server.AckNone && policy != server.AckFlowControl
}

// sampleAck tells how long a message took, if its acknowledgement is among those
// that are sampled.
func (d *Door) sampleAck(c *consumer, a *ackSubject) {
	const always = 100
	if c.sample <= 0 || c.config().AckPolicy != server.AckExplicit {
		return
	}
	if c.sample < always && d.random.IntN(always) > c.sample {
		return
	}
	if given, pending := c.machine.Unanswered(a.streamSeq); pending {
		d.adviseAck(c, a, given)
	}
}

func (d *Door) dropStale(m *Message) {
	d.counts.StaleAcks++
	d.staleAck = append(d.staleAck[:0], m.Subject...)
}

// parseNakDelay reads the delay that may follow -NAK: a duration, or an object
// with one. What cannot be read counts as no delay.
func (d *Door) parseNakDelay(c *consumer, argument []byte) int64 {
	argument = bytes.TrimSpace(argument)
	if len(argument) == 0 {
		return 0
	}
	var delay time.Duration
	var err error
	if argument[0] == '{' {
		var options server.ConsumerNakOptions
		err = json.Unmarshal(argument, &options)
		delay = options.Delay
	} else {
		delay, err = time.ParseDuration(string(argument))
	}
	if err != nil {
		d.logger.Warn("bad delay of a negative acknowledgement", "consumer", c.key, "delay", string(argument))
		return 0
	}
	return int64(delay)
}

// addAck gathers an ack for the consumer's next Acks command. A reply is
// answered when the command was applied.
func (d *Door) addAck(c *consumer, ack machine.Ack, reply []byte) {
	d.room(ackBytes)
	if !c.gathered {
		c.gathered = true
		d.acked = append(d.acked, c)
		d.batches.wrote(c.stream)
	}
	c.acks = append(c.acks, ack)
	d.batches.gathered++
	if len(reply) > 0 {
		c.replies = append(c.replies, d.batches.keep(reply))
	}
}

// writeAcks writes one command for each consumer with acks.
func (d *Door) writeAcks() {
	for _, c := range d.acked {
		d.writeAcksOf(c)
		c.gathered = false
	}
	clear(d.acked)
	d.acked = d.acked[:0]
}

// writeAcksOf writes the gathered acks of one consumer.
func (d *Door) writeAcksOf(c *consumer) {
	if len(c.acks) == 0 {
		return
	}
	b := &d.batches
	b.gathered -= len(c.acks)
	if !c.gone {
		b.builder.Acks(c.machine.Incarnation(), c.acks)
		start := uint32(len(b.open.replies))
		b.open.replies = append(b.open.replies, c.replies...)
		b.waitForCall(waitAcks, call{consumer: c, replies: span{start: start, end: uint32(len(b.open.replies))}})
	}
	c.acks, c.replies = c.acks[:0], c.replies[:0]
}
