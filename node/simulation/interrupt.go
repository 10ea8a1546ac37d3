package simulation

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// mayReset tells whether clients may reset the consumer.
func (c *consumer) mayReset() bool {
	return c.topic.kind != queue && c.config.AckPolicy == server.AckExplicit && c.config.PriorityPolicy != server.PriorityPinnedClient
}

// pause has nothing delivered until a moment that is near by the time of the log, or,
// now and then, ends a pause.
func (c *consumer) pause() {
	w := c.topic.world
	call(c.client, "STREAM.INFO."+c.topic.name, nil, func(response *server.JSApiStreamInfoResponse, ok bool) {
		if !ok || response.Error != nil {
			w.after(millisecond, c.work)
			return
		}
		var request server.JSApiConsumerPauseRequest
		if w.chance(0.8) {
			request.PauseUntil = response.TimeStamp.Add(time.Duration(w.between(-second/2, 4*second))).UTC()
		}
		call(c.client, "CONSUMER.PAUSE."+c.key(), &request, func(*server.JSApiConsumerPauseResponse, bool) {
			w.after(millisecond, c.work)
		})
	})
}

// reset has the consumer deliver again from a message on, or go on at a later one.
func (c *consumer) reset() {
	w := c.topic.world
	var request server.JSApiConsumerResetRequest
	if now := w.checks.history.timeline(c.topic.name).now(); now.found && w.chance(0.8) {
		request.Seq = max(now.first, 1) + w.random.Uint64N(now.last+2-now.first)
	}
	q := w.checks.resetting(c.key())
	call(c.client, "CONSUMER.RESET."+c.key(), &request, func(response *server.JSApiConsumerResetResponse, ok bool) {
		if ok && response.Error == nil {
			q.done(request.Seq, response.ResetSeq)
		}
		w.after(millisecond, c.work)
	})
}
