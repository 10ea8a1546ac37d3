package machine

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Limits are what the configuration of the node allows.
type Limits struct {
	MaxAckPending   int           // 0: no limit
	MaxRequestBatch int           // 0: no limit
	Duplicates      time.Duration // largest duplicate window; 0: no limit
}

// NormalizeStream returns a copy of config with the defaults filled in, or why it is invalid.
func NormalizeStream(config *server.StreamConfig, limits Limits, pedantic bool) (*server.StreamConfig, *server.ApiError) {
	return nil, nil
}

// NormalizeConsumer does the same for a consumer of a stream.
func NormalizeConsumer(config *server.ConsumerConfig, stream *server.StreamConfig, limits Limits, pedantic bool) (*server.ConsumerConfig, *server.ApiError) {
	return nil, nil
}
