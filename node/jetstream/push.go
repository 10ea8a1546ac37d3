package jetstream

import (
	"slices"

	"holdfast/node/machine"
)

// pushWindow is how many messages one Deliver of a push consumer hands out.
const pushWindow = 1000

// listener is what the bus tells listeners of: an exact subject and a queue
// group, which is empty for those who are in none.
type listener struct{ subject, queue string }

// push is what a push consumer has besides a pull consumer.
type push struct {
	listener  listener
	subject   []byte // the same subject
	active    bool   // somebody listens
	heartbeat int64  // interval in nanoseconds, 0 for none
	nextBeat  int64
	flow      *flow // nil without flow control
	relay     relay
}

// updatePush follows the configuration.
func (d *Door) updatePush(c *consumer, now int64) {
	config := c.config()
	if config.DeliverSubject == "" {
		return // a pull consumer remains one
	}
	if c.push == nil {
		c.push = &push{}
	}
	p := c.push
	if to := (listener{config.DeliverSubject, config.DeliverGroup}); p.listener != to {
		d.unlisten(c)
		p.listener, p.subject, p.relay = to, []byte(to.subject), relay{}
		d.listeners[to] = append(d.listeners[to], c)
		p.active = d.bus.Watch(to.subject, to.queue)
	}
	if heartbeat := int64(config.Heartbeat); heartbeat != p.heartbeat {
		p.heartbeat, p.nextBeat = heartbeat, now+heartbeat
		d.wakeAt(c, p.nextBeat)
	}
	if !config.FlowControl {
		p.flow = nil
	} else if p.flow == nil {
		p.flow = newFlow()
	}
	d.startWaiting(c)
}

// unlisten forgets whom a push consumer delivers to.
func (d *Door) unlisten(c *consumer) {
	if c.push == nil || c.push.listener == (listener{}) {
		return
	}
	from := c.push.listener
	rest := slices.DeleteFunc(d.listeners[from], func(other *consumer) bool { return other == c })
	d.listeners[from] = rest
	if len(rest) == 0 {
		delete(d.listeners, from)
		d.bus.Unwatch(from.subject, from.queue)
	}
}

// unlistenAll ends what the door asked the bus to tell it.
func (d *Door) unlistenAll() {
	for l := range d.listeners { // the order does not show
		d.bus.Unwatch(l.subject, l.queue)
	}
}

// heard follows the listeners of push consumers as they come and go.
func (d *Door) heard(subject, queue string, listens bool) {
	now := d.node.Now()
	listens = listens || queue == "" && d.listensItself(subject)
	for _, c := range d.listeners[listener{subject, queue}] {
		p := c.push
		p.active, c.lastActive = listens, now
		if !listens && p.flow != nil {
			p.flow = newFlow() // whoever comes next owes no answer
		}
		if threshold := c.threshold(); threshold > 0 {
			d.wakeAt(c, now+threshold)
		}
		d.schedule(c)
	}
}

// relisten looks again whether somebody listens to a subject, because a feed or a
// stream of this door came or went.
func (d *Door) relisten(subject string) {
	if len(d.listeners[listener{subject: subject}]) > 0 {
		d.heard(subject, "", d.bus.Watch(subject, ""))
	}
}

// advancePush proposes the next delivery of a push consumer.
func (d *Door) advancePush(c *consumer, now int64) {
	p := c.push
	if !p.active || p.flow.stalled() {
		d.giveUp(c, now)
		return
	}
	if d.holdBack(c, now) || d.holdRelay(c, now) {
		return
	}
	stamp := d.nextStamp(now)
	if c.machine.Ready(stamp) == 0 {
		c.pace.caughtUp(c)
		d.giveUp(c, now)
		return
	}
	messages := pushWindow
	if c.pace != nil {
		if messages = d.paced(c, now, stamp); messages == 0 {
			return
		}
	}
	bytes := maxDeliverBytes
	if p.flow != nil {
		bytes = min(bytes, max(p.flow.window-p.flow.pending, 1))
	}
	d.addDeliver(c, nil, messages, bytes)
}

// sendToPush sends one message to the deliver subject.
func (d *Door) sendToPush(c *consumer, delivery *machine.Delivery, now int64) {
	m, ok := d.load(c, delivery)
	if !ok {
		return
	}
	size := len(m.Subject) + len(d.address) + len(m.Header) + len(m.Payload)
	d.send(c.push.subject, &m)
	into := d.relayedInto(c)
	if into != nil {
		d.relay(into, &m)
	}
	c.pace.sent(delivery, size, now)
	if c.push.heartbeat > 0 {
		c.push.nextBeat = now + c.push.heartbeat
	}
	if c.push.flow != nil && into == nil { // a stream has its own way to slow this down, see holdRelay
		d.accountFlow(c, size)
	}
}

// pushDue sends the heartbeat that is due.
func (d *Door) pushDue(c *consumer, now int64) {
	p := c.push
	if p.heartbeat == 0 {
		return
	}
	if now >= p.nextBeat {
		if p.active {
			state := c.machine.State()
			var stalled []byte
			if p.flow != nil {
				stalled = p.flow.reply
			}
			d.sendHeartbeat(p.subject, state.Delivered.Consumer, state.Delivered.Stream, stalled)
			d.confirmFlow(c, 1)
		}
		p.nextBeat = now + p.heartbeat
	}
	d.wakeAt(c, p.nextBeat)
}
