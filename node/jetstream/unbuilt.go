package jetstream

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"
)

// refuseUnbuilt refuses what a configuration may ask for and this server does
// not do: nothing is accepted that has no effect. See docs/differences.md.
func refuseUnbuilt(config *server.StreamConfig) *server.ApiError {
	for _, feature := range []struct {
		asked bool
		what  string
	}{
		{config.AllowMsgCounter, "message counters (allow_msg_counter)"},
		{config.AllowMsgSchedules, "message schedules (allow_msg_schedules)"},
	} {
		if feature.asked {
			return server.NewJSStreamInvalidConfigError(errors.New(feature.what + " is not available on this server: leave it out"))
		}
	}
	return nil
}
