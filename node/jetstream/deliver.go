package jetstream

import (
	"strconv"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// deliverReady looks after every scheduled consumer.
func (d *Door) deliverReady() {
	if len(d.work) == 0 {
		return
	}
	now := d.node.Now()
	for i := 0; i < len(d.work); i++ {
		c := d.work[i]
		c.scheduled = false
		if !c.gone && !c.delivering {
			d.advance(c, now)
		}
	}
	clear(d.work)
	d.work = d.work[:0]
}

// advance proposes the next delivery of a consumer, if it has one.
func (d *Door) advance(c *consumer, now int64) {
	if d.paused(c, now) {
		d.expirePulls(c, now, true)
		return
	}
	if c.push != nil {
		d.advancePush(c, now)
		return
	}
	if c.pulls.len == 0 {
		d.giveUp(c, now)
		return
	}
	if d.holdBack(c, now) {
		return
	}
	stamp := d.nextStamp(now)
	if c.machine.Ready(stamp) == 0 {
		c.pace.caughtUp(c)
		d.nothingFor(c, now)
		return
	}
	messages := maxDeliverMessages
	if c.pace != nil {
		if messages = d.paced(c, now, stamp); messages == 0 {
			d.expirePulls(c, now, false)
			return
		}
	}
	d.serveNext(c, now, stamp, messages)
}

// serveNext proposes a delivery of at most so many messages to the requests whose
// turn it is.
func (d *Door) serveNext(c *consumer, now, stamp int64, messages int) {
	for target := d.nextServed(c, stamp); target != nil; target = d.nextServed(c, stamp) {
		if target.bytes == 0 {
			d.addDeliver(c, nil, min(c.wanted(target, stamp), messages), maxDeliverBytes)
			return
		}
		if fitting, bytes := d.fitting(c, target, stamp); fitting > 0 {
			d.addDeliver(c, target, min(fitting, messages), bytes)
			return
		}
		d.sendPullStatus(target.reply, statusTooLarge, target.messages, target.bytes)
		d.endPull(c, target)
	}
	d.nothingFor(c, now)
}

// nothingFor is for a consumer that has nothing for those who wait: requests that
// do not wait end, unless it is only that too much is unanswered.
func (d *Door) nothingFor(c *consumer, now int64) {
	if c.pulls.noWaits > 0 {
		d.expirePulls(c, now, !c.full())
	}
	d.giveUp(c, now)
}

// fitting returns how many messages, and how many bytes of subjects, headers
// and payloads, surely fit into the byte limit of a request, which counts the
// reply subjects as well. No message: the next one is too large.
func (d *Door) fitting(c *consumer, p *pull, stamp int64) (messages, bytes int) {
	limit := min(p.bytes, maxDeliverBytes)
	most := min(max(p.messages, 1), maxDeliverMessages)
	if policy := c.config().PriorityPolicy; policy == server.PriorityOverflow {
		most = 1 // the next one may not be for it any more
	}
	if c.config().HeadersOnly {
		return d.fittingHeaders(c, limit, min(most, maxPeeked), stamp), maxDeliverBytes
	}
	reply := c.replySize(1)
	size := c.machine.NextSize(stamp)
	fits := limit / max(size+reply, 1)
	if fits < 1 {
		return 0, 0
	}
	if messages = min(fits, most); messages > 1 {
		reply = c.replySize(messages)
		messages = max(min(messages, limit/(size+reply)), 1)
	}
	return messages, limit - messages*reply
}

// maxPeeked bounds how many messages are read ahead of their delivery.
const maxPeeked = 64

// fittingHeaders is fitting for a consumer that delivers no payloads: only the
// messages themselves tell how long their headers are.
func (d *Door) fittingHeaders(c *consumer, limit, most int, stamp int64) int {
	messages := 0
	c.machine.Upcoming(stamp, func(u machine.Upcoming) bool {
		m, ok := d.read(u.Location)
		if ok {
			d.scratch = appendHeadersOnly(d.scratch[:0], m.Header, len(m.Payload))
			limit -= len(m.Subject) + len(d.scratch)
		}
		if limit < (messages+1)*c.replySize(messages+1) {
			return false
		}
		messages++
		return messages < most
	})
	return messages
}

// replySize bounds the length of the reply subjects of the next deliveries. It
// is exact for one new message, unless the stream's next sequences differ in
// length.
func (c *consumer) replySize(messages int) int {
	const deliveries, stamp, dots = 1, 19, 4
	pending, _ := c.machine.Backlog()
	return len(c.replyPrefix) + deliveries + stamp + dots +
		digits(c.machine.Stream().LastSeq()) +
		digits(c.machine.NextSeq()-1+uint64(messages)) +
		digits(max(pending, 1)-1)
}

func digits(n uint64) int {
	count := 1
	for ; n >= 10; n /= 10 {
		count++
	}
	return count
}

// holdBack reports that the consumer must not deliver now, and has seen to it
// that it is looked at again.
func (d *Door) holdBack(c *consumer, now int64) bool {
	if c.retryAt > now {
		d.wakeAt(c, c.retryAt)
		return true
	}
	if d.bus.Pending() > d.options.MaxOutbound {
		if !c.isStalled {
			c.isStalled = true
			d.stalled = append(d.stalled, c)
		}
		return true
	}
	return false
}

// addDeliver adds a command that hands out messages, to one request or (nil) to
// whoever waits. Acks that came before count before.
func (d *Door) addDeliver(c *consumer, target *pull, messages, bytes int) {
	d.room(commandOverhead)
	d.writeAcksOf(c)
	d.batches.builder.Deliver(c.machine.Incarnation(), messages, int64(bytes))
	d.batches.waitForCall(waitDeliver, call{consumer: c, target: target})
	c.delivering = true
}

const (
	// maxGuesses bounds the deliveries that are added to a batch on a guess.
	maxGuesses = 64
	// maxMisses in a row: the consumer's filter seldom matches, stop guessing.
	maxMisses = 3
)

// guessDeliveries adds to a batch that is about to close deliveries to those
// who wait for what the batch publishes. Usually there is something for them,
// and they get it one commit earlier.
func (d *Door) guessDeliveries() {
	if len(d.touched) == 0 {
		return
	}
	now, guesses := d.node.Now(), 0
	for _, st := range d.touched {
		st.touched = false
		for _, c := range st.waiting {
			if guesses < maxGuesses && d.mayGuess(c, now) {
				guesses++
				wanted, bytes := pushWindow, maxDeliverBytes
				if c.push == nil {
					wanted = min(c.wanted(c.pulls.head, 0), maxDeliverMessages)
				}
				d.batches.builder.Deliver(c.machine.Incarnation(), wanted, int64(bytes))
				d.batches.waitForCall(waitDeliver, call{consumer: c, guess: true})
				c.delivering = true
			}
		}
	}
	clear(d.touched)
	d.touched = d.touched[:0]
}

func (d *Door) mayGuess(c *consumer, now int64) bool {
	if c.gone || c.delivering || c.misses >= maxMisses || c.retryAt > now || c.pausedUntil > now || c.pace != nil ||
		d.bus.Pending() > d.options.MaxOutbound {
		return false
	}
	if c.push != nil {
		return c.push.flow == nil && c.push.active && d.relayedInto(c) == nil
	}
	// Who may have the next message, and what a request with a byte limit can
	// take, must be known beforehand.
	if policy := c.config().PriorityPolicy; policy != server.PriorityNone && policy != server.PriorityPrioritized {
		return false
	}
	return c.pulls.head != nil && c.pulls.head.bytes == 0 && d.bus.Interest(c.pulls.head.interest)
}

// giveUp waits for the next redelivery. When that is over and there is nothing
// to deliver, messages were delivered as often as they may be and nobody
// acknowledged them: the machine is told to give them up, which deliveries do
// in passing.
func (d *Door) giveUp(c *consumer, now int64) {
	due := c.machine.NextDue()
	if due == 0 {
		return
	}
	if c.pulls.len == 0 && c.push == nil && c.config().MaxDeliver <= 0 {
		return
	}
	if due > d.nextStamp(now) {
		d.wakeAt(c, due)
		return
	}
	if c.giveUpAt > now {
		d.wakeAt(c, c.giveUpAt)
		return
	}
	c.giveUpAt = now + max(giveUpInterval, int64(c.config().AckWait))
	d.addDeliver(c, nil, 0, 0)
}

// delivered sends out what a Deliver handed out.
func (d *Door) delivered(k *call, result *machine.Result) {
	c := k.consumer
	c.delivering = false
	if c.gone || result.Err != nil {
		return
	}
	now := d.node.Now()
	d.burst++
	for i := range result.Deliveries {
		switch delivery := &result.Deliveries[i]; {
		case c.push == nil:
			d.sendToPull(c, k.target, delivery, now)
		case c.push.active:
			d.sendToPush(c, delivery, now)
		default:
			d.giveBack(c, delivery)
		}
	}
	if c.push != nil && c.push.active {
		d.confirmFlow(c, c.config().MaxAckPending)
	}
	switch {
	case len(result.Deliveries) > 0:
		c.lastDelivered, c.lastActive, c.misses = now, now, 0
	case k.guess:
		c.misses++
	default:
		c.retryAt = now + retryDelay
	}
	d.schedule(c)
}

// sendToPull sends one message to the request whose turn it is. Without one,
// the message is given back, to be delivered again at once.
func (d *Door) sendToPull(c *consumer, target *pull, delivery *machine.Delivery, now int64) {
	m, ok := d.load(c, delivery)
	if !ok {
		return
	}
	to := d.takeTurn(c, target, len(m.Subject)+len(d.address)+len(m.Header)+len(m.Payload), delivery.Pending, uint64(delivery.Unacked))
	if to == nil {
		d.giveBack(c, delivery)
		return
	}
	pinned := false
	if c.config().PriorityPolicy == server.PriorityPinnedClient {
		pinned = d.assignPin(c, to, now)
		d.tellPin(c, &m)
	}
	d.send(to.reply, &m)
	if pinned {
		d.advisePinned(c)
	}
	c.pace.sent(delivery, 0, now)
	if to.messages <= 0 {
		if to.bytes > 0 {
			d.sendPullStatus(to.reply, statusBatchCompleted, to.messages, to.bytes)
		}
		d.endPull(c, to)
		return
	}
	if to.heartbeat > 0 {
		to.heartbeatAt = now + to.heartbeat
	}
	if c.pulls.len > 1 {
		c.pulls.remove(to)
		c.pulls.add(to)
	}
}

// takeTurn returns the request that gets a message of that size, which is
// charged to it, or nil. A Deliver for one request (target) goes to no other.
// Pending messages wait behind this one, and unacked ones were unanswered before.
func (d *Door) takeTurn(c *consumer, target *pull, size int, pending, unacked uint64) *pull {
	p := c.pulls.head
	if target != nil && target.queued {
		p = target
	}
	for p != nil {
		following := p.next
		switch {
		case p.checked != d.burst && !d.bus.Interest(p.interest):
			d.endPull(c, p)
		case !c.served(p, pending, unacked):
		case p.bytes > 0 && size > p.bytes:
			d.sendPullStatus(p.reply, statusTooLarge, p.messages, p.bytes)
			d.endPull(c, p)
		default:
			p.checked = d.burst
			p.delivered++
			p.messages--
			if p.bytes > 0 {
				if p.bytes -= size; p.bytes == 0 {
					p.messages = 0
				}
			}
			return p
		}
		p = following
	}
	return nil
}

// giveBack returns a message that was handed out but has nobody to go to. A
// consumer without acks cannot take it back: its deliveries are made at most
// once.
func (d *Door) giveBack(c *consumer, delivery *machine.Delivery) {
	if c.config().AckPolicy == server.AckNone {
		return
	}
	d.addAck(c, machine.Ack{
		Kind:        machine.AckReturn,
		StreamSeq:   delivery.StreamSeq,
		ConsumerSeq: delivery.ConsumerSeq,
		Deliveries:  delivery.Deliveries,
	}, nil)
}

// load reads the message of a delivery into d.raw, which the result aliases,
// and writes its reply subject to d.address. A message that cannot be read is
// counted and stays pending: it comes again after its ack wait.
func (d *Door) load(c *consumer, delivery *machine.Delivery) (machine.Message, bool) {
	m, ok := d.read(delivery.Location)
	if !ok {
		return m, false
	}
	if c.config().HeadersOnly {
		d.scratch = appendHeadersOnly(d.scratch[:0], m.Header, len(m.Payload))
		m.Header, m.Payload = d.scratch, nil
	}
	b := append(d.address[:0], c.replyPrefix...)
	b = strconv.AppendUint(b, delivery.Deliveries, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, delivery.StreamSeq, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, delivery.ConsumerSeq, 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, delivery.Stamp, 10)
	b = append(b, '.')
	d.address = strconv.AppendUint(b, delivery.Pending, 10)
	return m, true
}

// read loads a stored message; the result aliases d.raw.
func (d *Door) read(at machine.Location) (machine.Message, bool) {
	var m machine.Message
	raw, err := d.node.Read(d.raw[:0], at)
	if err == nil {
		d.raw = raw
		m, err = machine.DecodeMessage(raw)
	}
	if err != nil {
		d.counts.ReadErrors++
		d.logger.Error("stored message cannot be read", "index", at.Index, "offset", at.Offset, "error", err)
		return m, false
	}
	return m, true
}

// send delivers a message that load prepared: the client sees the subject that
// the message was published to, and the reply subject that acknowledges it.
func (d *Door) send(to []byte, m *machine.Message) {
	d.address = append(d.address, '@')
	d.address = append(d.address, m.Subject...)
	d.bus.Deliver(to, d.address, m.Header, m.Payload)
	d.counts.Delivered++
}
