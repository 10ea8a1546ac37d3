package jetstream

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func pusher(change ...func(*server.ConsumerConfig)) server.ConsumerConfig {
	config := server.ConsumerConfig{Durable: "push", AckPolicy: server.AckExplicit, DeliverSubject: "deliver.here"}
	for _, c := range change {
		c(&config)
	}
	return config
}

func TestPushConsumersDeliver(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher())
	f.fill("orders.a", 2)
	got := f.want("deliver.here", "00000001 00000002")
	f.ack(got[0], "-NAK")
	f.ack(got[1], "")
	f.want("deliver.here", "00000001")
	if info := f.info("ORDERS", "push"); !info.PushBound || info.NumAckPending != 1 || info.NumRedelivered != 1 {
		t.Errorf("info %+v", info)
	}
}

func TestPushConsumersWaitForAListener(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.bus.deaf["deliver.here"] = true
	f.createConsumer("ORDERS", pusher())
	f.fill("orders.a", 2)
	f.want("deliver.here", "")
	if f.info("ORDERS", "push").PushBound {
		t.Error("bound to nobody")
	}
	delete(f.bus.deaf, "deliver.here")
	f.wait(20 * time.Millisecond)
	for _, delivery := range f.want("deliver.here", "00000001 00000002") {
		f.ack(delivery, "")
	}
	f.bus.deaf["deliver.here"] = true
	f.wait(time.Minute)
	f.publish("orders.a", "late")
	delete(f.bus.deaf, "deliver.here")
	f.wait(time.Second)
	f.want("deliver.here", "late")
}

// The listener may go away unseen. What was handed out meanwhile waits for the
// next one, not for the ack wait.
func TestPushListenersMayChange(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher())
	f.fill("orders.a", 1)
	f.want("deliver.here", "00000001")
	f.bus.deaf["deliver.here"] = true
	f.fill("orders.a", 2)
	f.want("deliver.here", "")
	delete(f.bus.deaf, "deliver.here")
	f.wait(40 * time.Millisecond)
	f.want("deliver.here", "00000001 00000002")

	f.send("orders.a", "", "", "between")
	f.door.Flush()
	f.bus.deaf["deliver.here"] = true
	f.run()
	f.want("deliver.here", "")
	delete(f.bus.deaf, "deliver.here")
	f.wait(40 * time.Millisecond)
	f.want("deliver.here", "between")
}

func TestPushConsumersNobodyListensToAreRemoved(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	config := pusher()
	config.Durable, config.Name = "", "push"
	f.createConsumer("ORDERS", config)
	f.wait(20 * time.Second)
	if f.machine.Consumer("ORDERS", "push") == nil {
		t.Fatal("removed while somebody listens")
	}
	f.bus.deaf["deliver.here"] = true
	f.wait(11 * time.Second)
	if f.machine.Consumer("ORDERS", "push") != nil {
		t.Error("not removed")
	}
}

func TestPushHeartbeats(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) { c.Heartbeat = time.Second }))
	f.publish("orders.a", "x")
	f.want("deliver.here", "x")
	f.wait(2100 * time.Millisecond)
	beats := f.want("deliver.here", "<100 Idle Heartbeat> <100 Idle Heartbeat>")
	if beats[0].value(server.JSLastConsumerSeq) != "1" {
		t.Errorf("got %q", beats[0].header)
	}
}

func TestFlowControl(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) {
		c.FlowControl, c.Heartbeat, c.MaxAckPending = true, time.Second, -1
	}))
	for range 60 {
		f.publish("orders.a", strings.Repeat("x", 100_000))
	}
	got := f.take("deliver.here")
	var asked []sent
	for _, s := range got {
		if s.status() == "100 FlowControl Request" {
			asked = append(asked, s)
		}
	}
	// The first window is 2 MiB, and a little may be beyond it.
	if len(asked) != 1 || len(got) < 21 || len(got) > 25 {
		t.Fatalf("%d messages, %d requests", len(got), len(asked))
	}
	f.wait(1100 * time.Millisecond)
	beat := f.want("deliver.here", "<100 Idle Heartbeat>")
	if beat[0].value(server.JSConsumerStalled) != asked[0].reply {
		t.Errorf("got %q", beat[0].header)
	}
	f.send("$JS.FC.ORDERS.push.wrong", "", "", "")
	f.run()
	f.want("deliver.here", "")
	f.send(asked[0].reply, "", "", "")
	f.run()
	if more := f.take("deliver.here"); len(more) < 20 {
		t.Errorf("%d messages after the answer", len(more))
	}
}
