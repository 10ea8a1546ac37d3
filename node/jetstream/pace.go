package jetstream

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// replayGap is the shortest time between two messages that is replayed.
	replayGap = int64(time.Millisecond)
	// replayLate is how far a replay may be behind and still catch up. When it is
	// later than that, nobody wanted messages for a while, and it goes on from now.
	replayLate = int64(100 * time.Millisecond)
)

// pace is for consumers that deliver more slowly than they could: at a limited
// rate, or in the rhythm in which the messages were published.
type pace struct {
	// replaying: what was in the stream when this node began to lead, or when
	// the consumer was made, is not yet through.
	replaying bool
	until     uint64 // the stream's last sequence then
	lastStamp int64  // of the message delivered last, 0 for none
	lastDue   int64  // when that was to be delivered
	next      uint64 // the message whose time is waited for

	rate   float64 // bytes a nanosecond; 0: not limited
	burst  float64 // most bytes of tokens
	tokens float64 // bytes that may be sent; below 0 when the last message was larger
	at     int64   // time of tokens
}

// updatePace follows the configuration.
func (d *Door) updatePace(c *consumer, now int64) {
	config := c.config()
	replay := config.ReplayPolicy == server.ReplayOriginal
	if config.RateLimit == 0 && !replay {
		c.pace = nil
		return
	}
	if c.pace == nil {
		c.pace = &pace{replaying: replay, until: c.machine.Stream().State().LastSeq}
	}
	const bitsPerByte = 8
	rate := float64(config.RateLimit) / bitsPerByte / float64(time.Second)
	burst := float64(d.options.MaxPayload)
	if size := c.machine.Stream().Config().MaxMsgSize; size > 0 {
		burst = float64(size)
	}
	if p := c.pace; p.rate != rate || p.burst != burst {
		p.rate, p.burst, p.tokens, p.at = rate, burst, burst, now
	}
}

// caughtUp ends a replay when there is nothing older to deliver.
func (p *pace) caughtUp(c *consumer) {
	if p == nil || !p.replaying {
		return
	}
	if state := c.machine.State(); state.NumPending == 0 || state.Delivered.Stream >= p.until {
		p.replaying = false
	}
}

// paced is how many messages may be delivered now. When that is none, the
// consumer is looked at again when it is time.
func (d *Door) paced(c *consumer, now, stamp int64) int {
	p := c.pace
	p.refill(now)
	count, tokens, wait := 0, p.tokens, int64(0)
	rhythm := *p
	c.machine.Upcoming(stamp, func(u machine.Upcoming) bool {
		if count == 0 && u.Seq != p.next {
			// The time runs from the moment at which somebody waits.
			if p.next = u.Seq; now-p.lastDue > replayLate {
				p.lastDue, rhythm.lastDue = now, now
			}
		}
		due := rhythm.due(u.Stamp)
		if due <= now && p.rate > 0 {
			size := min(float64(u.Size+c.replySize(count+1)), p.burst)
			if tokens < size {
				due = later(now, int64((size-tokens)/p.rate)+1)
			}
			tokens -= size
		}
		if due > now {
			wait = due
			return false
		}
		rhythm.deliver(u.Stamp, due, now)
		count++
		return count < pushWindow
	})
	if count == 0 {
		d.wakeAt(c, max(wait, now+1))
	}
	return count
}

// due is when a message of that stamp is to be delivered, after the last one.
func (p *pace) due(stamp int64) int64 {
	if gap := stamp - p.lastStamp; p.replaying && p.lastStamp != 0 && gap > replayGap {
		return later(p.lastDue, gap)
	}
	return p.lastDue
}

// deliver takes note of a message of that stamp, which was to be delivered at due.
func (p *pace) deliver(stamp, due, now int64) {
	if p.lastStamp, p.lastDue = stamp, due; now-due > replayLate {
		p.lastDue = now
	}
}

func (p *pace) refill(now int64) {
	if p.rate > 0 {
		p.tokens = min(p.tokens+float64(now-p.at)*p.rate, p.burst)
		p.at = now
	}
}

// sent takes note of a message that was sent.
func (p *pace) sent(delivery *machine.Delivery, size int, now int64) {
	if p == nil {
		return
	}
	p.deliver(delivery.Stamp, min(p.due(delivery.Stamp), now), now)
	if p.rate > 0 {
		p.refill(now)
		p.tokens -= float64(size)
	}
}
