package jetstream

import (
	"math"

	"github.com/nats-io/nats-server/v2/server"
)

func responseOf(kind string) server.ApiResponse { return server.ApiResponse{Type: kind} }

// accountInfo answers how much the account uses.
func (d *Door) accountInfo(r *request) any {
	resp := &server.JSApiAccountInfoResponse{ApiResponse: responseOf(server.JSApiAccountInfoResponseType)}
	if requiresHigherLevel(r.header) {
		resp.Error = server.NewJSRequiredApiLevelError()
		return resp
	}
	stats := &server.JetStreamAccountStats{
		Domain: d.options.Domain,
		API:    server.JetStreamAPIStats{Level: server.JSApiLevel, Total: d.counts.Requests, Errors: d.counts.RequestErrors},
	}
	stats.Limits = server.JetStreamAccountLimits{
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1,
		MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}
	if d.options.Limits.MaxAckPending > 0 {
		stats.Limits.MaxAckPending = d.options.Limits.MaxAckPending
	}
	for _, s := range d.machine.Streams() {
		config, state := s.Config(), s.State()
		reserved := uint64(max(config.MaxBytes, 0))
		if replicas := uint64(max(config.Replicas, 1)); reserved > math.MaxInt64/replicas {
			reserved = math.MaxInt64
		} else {
			reserved *= replicas
		}
		if config.Storage == server.MemoryStorage {
			stats.Memory += state.Bytes
			stats.ReservedMemory += reserved
		} else {
			stats.Store += state.Bytes
			stats.ReservedStore += reserved
		}
		stats.Consumers += state.Consumers
		stats.Streams++
	}
	resp.JetStreamAccountStats = stats
	return resp
}
