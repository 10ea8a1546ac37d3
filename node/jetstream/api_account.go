package jetstream

import (
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

func responseOf(kind string) server.ApiResponse { return server.ApiResponse{Type: kind} }

// limitAccount has the account limited as this node's configuration says, unless it
// is already. It is ahead of whatever else this door proposes.
func (d *Door) limitAccount() {
	allowed := d.options.Allowed
	if allowed == nil {
		allowed = &machine.DefaultLimits
	}
	if d.options.System || d.machine.Limits() == *allowed {
		return
	}
	d.logger.Info("limits of an account are those of this node's configuration", "account", d.accountName(), "limits", *allowed)
	d.room(commandOverhead)
	d.batches.builder.LimitAccount(allowed)
	d.batches.wait(waiter{})
}

// accountInfo answers how much the account uses, and may use.
func (d *Door) accountInfo(r *request) any {
	resp := &server.JSApiAccountInfoResponse{ApiResponse: responseOf(server.JSApiAccountInfoResponseType)}
	if requiresHigherLevel(r.header) {
		resp.Error = server.NewJSRequiredApiLevelError()
		return resp
	}
	stats := d.accountStats()
	resp.JetStreamAccountStats = &stats
	return resp
}

// accountStats is what the account uses, and may use.
func (d *Door) accountStats() server.JetStreamAccountStats {
	stats := server.JetStreamAccountStats{Domain: d.options.Domain, API: d.apiStats()}
	stats.Limits = d.machine.Limits().JetStreamAccountLimits
	stats.Memory, stats.Store = d.machine.Usage()
	stats.ReservedMemory, stats.ReservedStore = d.machine.Reserved()
	stats.Streams, stats.Consumers = d.machine.StreamCount(), d.machine.ConsumerCount()
	return stats
}

// apiStats counts the requests to the account's API since the node started.
func (d *Door) apiStats() server.JetStreamAPIStats {
	return server.JetStreamAPIStats{Level: server.JSApiLevel, Total: d.counts.Requests, Errors: d.counts.RequestErrors}
}
