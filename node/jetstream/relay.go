package jetstream

import (
	"bytes"

	"holdfast/node/machine"
)

// A push consumer may deliver to a subject of another stream, which stores what
// comes, under the subject that it was first published to. A leaf does not get back
// what it sends, so the message takes the way of a publish from here.

// relay is the stream that stores what a push consumer delivers.
type relay struct {
	into *machine.Stream // nil for none
	at   uint64          // Door.matching when that was looked up
}

// listensItself reports whether this door listens to exactly that subject: one of its
// feeds, or a stream. A stream with wildcards makes no push consumer deliver, as with
// the NATS server.
func (d *Door) listensItself(subject string) bool {
	return d.feeds.listen(subject) || d.subjects[subject] > 0
}

// relayedInto returns the stream that stores what a push consumer delivers, or nil. A
// stream never stores its own deliveries: that would have no end. Such a consumer is
// refused, but the stream may have got the subject later.
func (d *Door) relayedInto(c *consumer) *machine.Stream {
	r := &c.push.relay
	if r.at != d.matching {
		*r = relay{into: d.machine.Match(c.push.subject), at: d.matching}
		if r.into == c.machine.Stream() {
			r.into = nil
		}
	}
	return r.into
}

// holdRelay reports that there is no room to store what the consumer would deliver,
// and has seen to it that it is looked at again.
func (d *Door) holdRelay(c *consumer, now int64) bool {
	if d.relayedInto(c) == nil || d.batches.queued <= d.options.MaxQueued/2 && d.queue.admitted > 0 {
		return false
	}
	c.retryAt = now + retryDelay
	d.wakeAt(c, c.retryAt)
	return true
}

// relay publishes a message that was delivered to a subject of another stream.
func (d *Door) relay(into *machine.Stream, m *machine.Message) {
	d.publishTo(into, &Message{Subject: bytes.Clone(m.Subject), Header: bytes.Clone(m.Header), Payload: bytes.Clone(m.Payload)})
}
