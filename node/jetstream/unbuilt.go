package jetstream

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"
)

// refuseUnbuilt refuses what a configuration may ask for and this server does
// not do: nothing is accepted that has no effect. See docs/differences.md.
func refuseUnbuilt(config *server.StreamConfig) *server.ApiError {
	if config.AllowBatchPublish && config.AllowMsgCounter {
		return server.NewJSStreamInvalidConfigError(errors.New("counters (allow_msg_counter) do not take fast-ingest batches (allow_batched) on this server: leave one of them out"))
	}
	return nil
}
