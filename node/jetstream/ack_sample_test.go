package jetstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestSampledAcksAreToldOf(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	config := work()
	config.SampleFrequency = "100%"
	f.createConsumer("ORDERS", config)
	const told = "$JS.EVENT.METRIC.CONSUMER.ACK.ORDERS.work"
	f.bus.heard[told] = true
	f.fill("orders.a", 3)
	got := f.want(f.pull("ORDERS", "work", "3"), "00000001 00000002 00000003")
	f.wait(time.Second)
	f.ack(got[0], "")
	f.ack(got[0], "") // it is answered already
	f.ack(got[1], "-NAK")
	f.ack(got[2], "+NXT")
	metrics := advisories[server.JSConsumerAckMetric](f, told)
	if len(metrics) != 2 {
		t.Fatalf("told %+v", metrics)
	}
	if m := metrics[0]; m.StreamSeq != 1 || m.ConsumerSeq != 1 || m.Deliveries != 1 || m.Delay < int64(999*time.Millisecond) || m.Delay > int64(1100*time.Millisecond) {
		t.Errorf("told %+v", m)
	}
	config.SampleFrequency = "0"
	f.createConsumer("ORDERS", config)
	f.ack(f.take(f.pull("ORDERS", "work", "1"))[0], "")
	if more := advisories[server.JSConsumerAckMetric](f, told); len(more) != 0 {
		t.Errorf("told %+v", more)
	}
}

func TestNaksAreToldOfWhileThePossessorHasTheMessage(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", work())
	const told = "$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.ORDERS.work"
	f.bus.heard[told] = true
	f.fill("orders.a", 1)
	got := f.want(f.pull("ORDERS", "work", "1"), "00000001")
	f.ack(got[0], `-NAK {"delay":1000000000}`)
	f.ack(got[0], "")
	f.ack(got[0], "-NAK")
	if naks := advisories[server.JSConsumerDeliveryNakAdvisory](f, told); len(naks) != 1 || naks[0].StreamSeq != 1 {
		t.Errorf("told %+v", naks)
	}
}

func TestFlowControlAcknowledges(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) {
		c.AckPolicy, c.FlowControl, c.Heartbeat, c.MaxAckPending = server.AckFlowControl, true, time.Second, 3
	}))
	f.fill("orders.a", 5)
	got := f.want("deliver.here", "00000001 00000002 00000003 <100 FlowControl Request>")
	f.ack(got[0], "") // not the way here
	header := fmt.Sprintf("NATS/1.0\r\n%s: 2\r\n%s: 2\r\n\r\n", server.JSLastConsumerSeq, server.JSLastStreamSeq)
	f.send(got[3].reply, "", header, "")
	f.run()
	again := f.want("deliver.here", "00000004 00000005 <100 FlowControl Request>")
	if info := f.info("ORDERS", "push"); info.AckFloor.Stream != 2 || info.NumAckPending != 3 {
		t.Errorf("info %+v", info)
	}
	header = fmt.Sprintf("NATS/1.0\r\n%s: 4\r\n%s: 4\r\n\r\n", server.JSLastConsumerSeq, server.JSLastStreamSeq)
	f.send(again[2].reply, "", header, "")
	f.run()
	// With the stream at its end, the heartbeat brings the last request.
	f.wait(time.Second)
	f.want("deliver.here", "<100 Idle Heartbeat> <100 FlowControl Request>")
}
