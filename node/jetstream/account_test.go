package jetstream

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// TestLimitsOfAnAccount: what the configuration of the leader says is in force
// before its first request, and shown.
func TestLimitsOfAnAccount(t *testing.T) {
	allowed := machine.DefaultLimits
	allowed.MaxStreams, allowed.MaxStore, allowed.MaxConsumers = 1, 1000, 1
	f := newFixture(t, func(o *Options) { o.Allowed = &allowed })
	config := server.StreamConfig{Name: "A", Subjects: []string{"a"}, Storage: server.FileStorage, MaxBytes: 900}
	f.createStream(config)
	f.publish("a", "x")
	f.createConsumer("A", server.ConsumerConfig{Durable: "C", AckPolicy: server.AckExplicit})
	f.wantError(server.JSMaximumConsumersLimitErr, "CONSUMER.DURABLE.CREATE.A.D", server.CreateConsumerRequest{Stream: "A", Config: server.ConsumerConfig{Durable: "D"}})
	other := config
	other.Name, other.Subjects = "B", []string{"b"}
	f.wantError(server.JSMaximumStreamsLimitErr, "STREAM.CREATE.B", other)

	info := api[server.JSApiAccountInfoResponse](f, "INFO", nil)
	if info.Error != nil || info.Limits != allowed.JetStreamAccountLimits {
		t.Errorf("limits %+v, error %v", info.Limits, info.Error)
	}
	if info.ReservedStore != 900 || info.Store != f.machine.Stream("A").State().Bytes || info.Streams != 1 || info.Consumers != 1 {
		t.Errorf("usage %+v", info.JetStreamTier)
	}

	// The next leader is configured otherwise, and one like it adds nothing.
	f.door.Follow()
	f.door.options.Allowed = nil
	f.door.Lead()
	f.createStream(other)
	f.door.Follow()
	entries := len(f.node.entries)
	f.door.Lead()
	f.run()
	if len(f.node.entries) != entries {
		t.Errorf("%d entries for limits that are in force already", len(f.node.entries)-entries)
	}
}
