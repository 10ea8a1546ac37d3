package jetstream

import (
	"bytes"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// flow is the window of a push consumer with flow control: how many bytes may
// be on their way before the client has said that it got some. It starts
// small and doubles with each answer.
type flow struct {
	limit   int    // of window
	window  int    // bytes
	pending int    // bytes sent and not answered for
	asked   int    // bytes that the next answer is for
	reply   []byte // subject of the answer that is waited for, empty for none
}

func newFlow() *flow {
	return &flow{limit: server.JsFlowControlMaxPending, window: server.JsFlowControlMaxPending / 16}
}

// stalled reports that the window is used up.
func (f *flow) stalled() bool { return f != nil && f.pending > f.window }

// accountFlow takes note of a message that was sent, and asks for an answer when
// half of the window is used up.
func (d *Door) accountFlow(c *consumer, size int) {
	f := c.push.flow
	f.pending += size
	switch {
	case len(f.reply) > 0:
		if f.pending-f.asked >= f.window {
			f.asked += size
		}
	case f.pending > f.window/2:
		d.askFlow(c)
	}
}

// confirmFlow asks for an answer where answers are acknowledgements and at least
// so many messages wait for one, unless an answer is under way.
func (d *Door) confirmFlow(c *consumer, least int) {
	f := c.push.flow
	if f == nil || len(f.reply) > 0 || c.config().AckPolicy != server.AckFlowControl {
		return
	}
	if _, unacked := c.machine.Backlog(); unacked >= least {
		d.askFlow(c)
	}
}

// askFlow asks the client to answer once it has handled everything so far.
func (d *Door) askFlow(c *consumer) {
	f := c.push.flow
	f.reply = fmt.Appendf(f.reply[:0], "%s%s.%s", flowPrefix, c.key, d.randomName(4))
	f.asked = f.pending
	d.scratch = append(d.scratch[:0], statusFlowControl...)
	d.bus.Publish(c.push.subject, f.reply, d.scratch, nil)
}

// handleFlowControl takes the answer to a flow control request; its subject is
// $JS.FC.<stream>.<consumer>.<word>.
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
	if c.config().AckPolicy == server.AckFlowControl {
		d.acknowledgeFlow(c, m.Header)
	}
	d.schedule(c)
}

// acknowledgeFlow takes the answer to a flow control request as acknowledgement
// of everything up to what its header says.
func (d *Door) acknowledgeFlow(c *consumer, header []byte) {
	streamSeq, ok := parseNumber(headerValue(header, server.JSLastStreamSeq))
	if !ok || streamSeq == 0 {
		return
	}
	consumerSeq, _ := parseNumber(headerValue(header, server.JSLastConsumerSeq))
	d.counts.Acks++
	d.addAck(c, machine.Ack{Kind: machine.AckDone, StreamSeq: streamSeq, ConsumerSeq: consumerSeq, Deliveries: 1}, nil)
}
