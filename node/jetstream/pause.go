package jetstream

import (
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// updatePause follows the configuration.
func (d *Door) updatePause(c *consumer, now int64) {
	c.pausedUntil = 0
	if until := c.machine.PausedUntil(); until > now {
		c.pausedUntil = until
		d.wakeAt(c, until)
	}
}

// paused reports whether nothing may be delivered now.
func (d *Door) paused(c *consumer, now int64) bool { return c.pausedUntil > now }

// pauseDue ends a pause whose time is over.
func (d *Door) pauseDue(c *consumer, now int64) {
	switch {
	case c.pausedUntil == 0:
	case c.pausedUntil > now:
		d.wakeAt(c, c.pausedUntil)
	default:
		c.pausedUntil = 0
		d.advisePause(c.machine)
	}
}

// consumerPause pauses a consumer until a time, or ends its pause.
func (d *Door) consumerPause(r *request) any {
	resp := &server.JSApiConsumerPauseResponse{ApiResponse: responseOf(server.JSApiConsumerPauseResponseType)}
	var body server.JSApiConsumerPauseRequest
	c, apiErr := d.pauseRequest(r, &body)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	until := body.PauseUntil.UTC()
	d.room(len(r.payload) + commandOverhead)
	d.batches.builder.PauseConsumer(c.Incarnation(), until)
	d.propose(r, func(d *Door, result *machine.Result) any {
		if resp.Error = result.Err; resp.Error == nil {
			resp.PauseUntil = until
			left := until.Sub(d.time())
			if resp.Paused = left > 0; resp.Paused {
				resp.PauseRemaining = left
			}
		}
		return resp
	})
	return nil
}

func (d *Door) pauseRequest(r *request, body *server.JSApiConsumerPauseRequest) (*machine.Consumer, *server.ApiError) {
	if isObject(r.payload) {
		if err := decode(r.payload, body); err != nil {
			return nil, server.NewJSInvalidJSONError(err)
		}
	}
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	return d.findConsumer(r)
}
