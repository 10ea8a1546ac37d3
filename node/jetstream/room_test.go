package jetstream

import (
	"math"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestPublishesAreRefusedWithoutRoom: what is beyond the bytes that the node
// admits is refused with JetStream's error, and everything else goes on.
func TestPublishesAreRefusedWithoutRoom(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}})
	const size = 1000
	f.door.queue.Admit(4*publishRoom(size, len("orders")) - 1)
	for range 3 {
		f.publish("orders", strings.Repeat("x", size))
	}
	refused := f.publishWith("orders", "", strings.Repeat("x", size))
	if refused.Error == nil || refused.Error.ErrCode != uint16(server.JSInsufficientResourcesErr) {
		t.Fatalf("a publish without room: %+v", refused)
	}
	f.door.queue.Admit(0)
	more := server.StreamConfig{Name: "MORE", Subjects: []string{"more"}, Storage: server.FileStorage}
	f.wantError(server.JSStorageResourcesExceededErr, "STREAM.CREATE.MORE", more)
	if info := f.createStream(server.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}}); info.State.Msgs != 3 {
		t.Errorf("the stream that exists: %+v", info.State)
	}
	if answer := f.ask("$JS.API.STREAM.PURGE.ORDERS", "", ""); !strings.Contains(answer.payload, `"purged":3`) {
		t.Errorf("purge without room: %s", answer.payload)
	}
	f.door.queue.Admit(math.MaxInt64)
	f.publish("orders", "x")
	f.createStream(more)
}
