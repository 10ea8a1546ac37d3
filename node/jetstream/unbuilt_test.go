package jetstream

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestUnbuiltFeaturesAreRefused: what has no effect must not be accepted, by an
// update either.
func TestUnbuiltFeaturesAreRefused(t *testing.T) {
	f := newFixture(t)
	config := server.StreamConfig{Name: "A", Subjects: []string{"a.>"}, Storage: server.FileStorage, AllowMsgCounter: true}
	f.createStream(config)
	config.AllowBatchPublish = true
	f.wantError(server.JSStreamInvalidConfigF, "STREAM.UPDATE.A", config)
	config.Name, config.Subjects = "B", []string{"b.>"}
	f.wantError(server.JSStreamInvalidConfigF, "STREAM.CREATE.B", config)
}
