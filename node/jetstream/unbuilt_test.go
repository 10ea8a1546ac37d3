package jetstream

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestUnbuiltFeaturesAreRefused: what has no effect must not be accepted, by an
// update either.
func TestUnbuiltFeaturesAreRefused(t *testing.T) {
	f := newFixture(t)
	plain := server.StreamConfig{Name: "A", Subjects: []string{"a.>"}, Storage: server.FileStorage}
	f.createStream(plain)
	for field, change := range map[string]func(c *server.StreamConfig){
		"allow_msg_counter":   func(c *server.StreamConfig) { c.AllowMsgCounter = true },
		"allow_msg_schedules": func(c *server.StreamConfig) { c.AllowMsgSchedules = true },
	} {
		config := plain
		change(&config)
		if got := f.refusal("STREAM.UPDATE.A", config); !strings.Contains(got.Description, field) {
			t.Errorf("update with %s: %v", field, got)
		}
		config.Name, config.Subjects = "B", []string{"b.>"}
		if got := f.refusal("STREAM.CREATE.B", config); !strings.Contains(got.Description, field) {
			t.Errorf("create with %s: %v", field, got)
		}
	}
}
