package jetstream

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// pushWindow is how many messages one Deliver of a push consumer hands out.
	pushWindow = 1000
	// A push consumer that nobody listens to is checked for a listener, because
	// the bus cannot tell: often at first, since clients create a consumer and
	// subscribe right away or before, then ever more seldom.
	minInterestInterval = int64(20 * time.Millisecond)
	maxInterestInterval = int64(time.Second)
)

// push is what a push consumer has besides a pull consumer.
type push struct {
	subject   []byte
	interest  string // the same, as Bus.Interest wants it
	active    bool   // somebody listens
	since     int64  // time since when nobody listens, unless active
	heartbeat int64  // interval in nanoseconds, 0 for none
	nextBeat  int64
	flow      *flow // nil without flow control
}

// flow is the window of a push consumer with flow control: how many bytes may
// be on their way before the client has said that it got some. It starts
// small and doubles with each answer.
type flow struct {
	limit   int    // of window
	window  int    // bytes
	pending int    // bytes sent and not answered for
	asked   int    // bytes that the next answer is for
	reply   []byte // subject of the answer that is waited for, empty for none
	count   uint64
}

func newFlow() *flow {
	return &flow{limit: server.JsFlowControlMaxPending, window: server.JsFlowControlMaxPending / 16}
}

// stalled reports that the window is used up.
func (f *flow) stalled() bool { return f != nil && f.pending > f.window }

// updatePush follows the configuration.
func (d *Door) updatePush(c *consumer, now int64) {
	config := c.config()
	if config.DeliverSubject == "" {
		c.push = nil
		return
	}
	if c.push == nil {
		c.push = &push{}
	}
	p := c.push
	if p.interest != config.DeliverSubject {
		p.subject, p.interest = []byte(config.DeliverSubject), config.DeliverSubject
		p.active, p.since = false, now
	}
	if p.heartbeat = int64(config.Heartbeat); p.heartbeat > 0 {
		p.nextBeat = now + p.heartbeat
		d.wakeAt(c, p.nextBeat)
	}
	if !config.FlowControl {
		p.flow = nil
	} else if p.flow == nil {
		p.flow = newFlow()
	}
	d.startWaiting(c)
}

// advancePush proposes the next delivery of a push consumer.
func (d *Door) advancePush(c *consumer, now int64) {
	p := c.push
	if !d.listens(c, now) || p.flow.stalled() || d.holdBack(c, now) {
		return
	}
	if c.machine.Ready(d.nextStamp(now)) == 0 {
		d.giveUp(c, now)
		return
	}
	bytes := maxDeliverBytes
	if p.flow != nil {
		bytes = min(bytes, max(p.flow.window-p.flow.pending, 1))
	}
	d.addDeliver(c, nil, pushWindow, bytes)
}

// listens reports whether somebody listens to a push consumer, and looks again
// later when nobody does.
func (d *Door) listens(c *consumer, now int64) bool {
	p := c.push
	was := p.active
	p.active = d.bus.Interest(p.interest)
	if p.active {
		c.lastActive = now
		return true
	}
	if was {
		c.lastActive, p.since = now, now
		if p.flow != nil {
			p.flow = newFlow()
		}
	}
	d.wakeAt(c, now+min(max((now-p.since)/8, minInterestInterval), maxInterestInterval))
	return false
}

// sendToPush sends one message to the deliver subject.
func (d *Door) sendToPush(c *consumer, delivery *machine.Delivery) {
	m, ok := d.load(c, delivery)
	if !ok {
		return
	}
	size := len(m.Subject) + len(d.address) + len(m.Header) + len(m.Payload)
	d.send(c.push.subject, &m)
	if c.push.heartbeat > 0 {
		c.push.nextBeat = d.node.Now() + c.push.heartbeat
	}
	if f := c.push.flow; f != nil {
		f.pending += size
		switch {
		case len(f.reply) == 0 && f.pending > f.window/2:
			d.askFlow(c)
		case len(f.reply) > 0 && f.pending-f.asked >= f.window:
			f.asked += size
		}
	}
}

// askFlow asks the client to answer once it has handled everything so far.
func (d *Door) askFlow(c *consumer) {
	f := c.push.flow
	f.count++
	f.reply = fmt.Appendf(f.reply[:0], "%s%s.%d", flowPrefix, c.key, f.count)
	f.asked = f.pending
	d.scratch = append(d.scratch[:0], statusFlowControl...)
	d.bus.Publish(c.push.subject, f.reply, d.scratch, nil)
}

// handleFlowControl takes the answer to a flow control request; its subject is
// $JS.FC.<stream>.<consumer>.<number>.
func (d *Door) handleFlowControl(m *Message) {
	key := m.Subject[len(flowPrefix):]
	end := bytes.LastIndexByte(key, '.')
	if end < 0 {
		return
	}
	c := d.byName[string(key[:end])]
	if c == nil || c.push == nil || c.push.flow == nil {
		return
	}
	f := c.push.flow
	if !bytes.Equal(m.Subject, f.reply) {
		return
	}
	f.window = min(2*f.window, f.limit)
	f.pending = max(f.pending-f.asked, 0)
	f.asked, f.reply = 0, f.reply[:0]
	d.schedule(c)
}

// pushDue sends the heartbeat that is due.
func (d *Door) pushDue(c *consumer, now int64) {
	p := c.push
	if p.heartbeat == 0 {
		return
	}
	if now >= p.nextBeat {
		if d.listens(c, now) {
			state := c.machine.State()
			var stalled []byte
			if p.flow != nil {
				stalled = p.flow.reply
			}
			d.sendHeartbeat(p.subject, state.Delivered.Consumer, state.Delivered.Stream, stalled)
		}
		p.nextBeat = now + p.heartbeat
	}
	d.wakeAt(c, p.nextBeat)
}
