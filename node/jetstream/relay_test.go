package jetstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestStreamsStoreWhatIsDelivered: a push consumer delivers into a stream as long as
// that listens to exactly its subject, and not into its own stream.
func TestStreamsStoreWhatIsDelivered(t *testing.T) {
	f := newFixture(t)
	f.bus.deaf["deliver.here"] = true
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) { c.AckPolicy = server.AckNone }))
	f.fill("orders.a", 2)
	copies := server.StreamConfig{Name: "COPIES", Subjects: []string{"deliver.>"}}
	f.createStream(copies)
	f.run()
	f.wantStored("COPIES", "")
	if f.info("ORDERS", "push").PushBound {
		t.Error("bound to wildcards")
	}
	change := func(name string, subjects ...string) {
		t.Helper()
		config := f.machine.Stream(name).Config()
		changed := *config
		changed.Subjects = subjects
		api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE."+name, changed)
		f.run()
	}
	change("COPIES", "deliver.here", "more")
	f.wantStored("COPIES", "1:orders.a=00000001 2:orders.a=00000002")
	if !f.info("ORDERS", "push").PushBound {
		t.Error("not bound")
	}
	change("COPIES", "more")
	f.fill("orders.b", 1)
	if info := f.info("ORDERS", "push"); info.PushBound || info.NumPending != 1 {
		t.Errorf("info %+v", info)
	}
	change("COPIES", "deliver.here")
	f.wantStored("COPIES", "1:orders.a=00000001 2:orders.a=00000002 3:orders.b=00000001")
	f.lead()
	f.fill("orders.b", 1)
	f.run()
	f.wantStored("COPIES", "1:orders.a=00000001 2:orders.a=00000002 3:orders.b=00000001 4:orders.b=00000001")
	f.deleteStream("COPIES")
	f.fill("orders.c", 1)
	if info := f.info("ORDERS", "push"); info.PushBound || info.NumPending != 1 {
		t.Errorf("info %+v", info)
	}
	change("ORDERS", "orders.>", "deliver.here")
	f.run()
	if last := f.last(); last != 5 {
		t.Errorf("the stream stored its own deliveries, up to %d", last)
	}
}

// TestDeliveriesWaitForRoom: what a stream cannot take yet is not delivered into it,
// and heartbeats are not stored.
func TestDeliveriesWaitForRoom(t *testing.T) {
	f := newFixture(t)
	f.bus.deaf["deliver.here"] = true
	f.createStream(orders())
	f.createStream(server.StreamConfig{Name: "COPIES", Subjects: []string{"deliver.here"}})
	f.fill("orders.a", 3)
	f.door.queue.admitted = 0
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) { c.AckPolicy, c.Heartbeat = server.AckNone, time.Second }))
	f.run()
	f.wantStored("COPIES", "")
	f.door.queue.admitted = 1 << 30
	f.wait(3 * time.Second)
	f.wantStored("COPIES", "1:orders.a=00000001 2:orders.a=00000002 3:orders.a=00000003")
	if delivered := fmt.Sprint(f.info("ORDERS", "push").Delivered.Consumer); delivered != "3" {
		t.Errorf("%s delivered", delivered)
	}
}
