package machine

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// pause applies a pause command: nothing is to be delivered before a time, or,
// with the zero time, deliveries go on. The door keeps to it; here it is part of
// the configuration.
func (c *Consumer) pause(encoded []byte, result *Result) {
	var request server.JSApiConsumerPauseRequest
	if err := json.Unmarshal(encoded, &request); err != nil {
		result.Err = server.NewJSInvalidJSONError(err)
		return
	}
	config := *c.config
	config.PauseUntil = nil
	if !request.PauseUntil.IsZero() {
		until := request.PauseUntil.UTC()
		config.PauseUntil = &until
	}
	config.Metadata = setLevel(maps.Clone(config.Metadata), consumerLevel(&config))
	changed := !equalTime(c.config.PauseUntil, config.PauseUntil)
	c.config, c.encoded = &config, encodeJSON(&config)
	c.changed.config = true
	c.touch()
	if changed {
		c.stream.machine.event(Event{Kind: EventConsumerPaused, Stream: c.stream, Consumer: c})
	}
}

// PausedUntil is the time before which nothing is to be delivered, in
// nanoseconds since 1970, or 0.
func (c *Consumer) PausedUntil() int64 {
	until := c.config.PauseUntil
	if until == nil || until.IsZero() {
		return 0
	}
	if until.After(time.Unix(0, MaxStamp)) { // what UnixNano cannot say
		return MaxStamp
	}
	return max(until.UnixNano(), 0)
}
