package jetstream

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestReplayKeepsTheRhythm(t *testing.T) {
	for name, config := range map[string]server.ConsumerConfig{
		"push": pusher(func(c *server.ConsumerConfig) { c.ReplayPolicy, c.AckPolicy = server.ReplayOriginal, server.AckNone }),
		"pull": {Durable: "push", AckPolicy: server.AckNone, ReplayPolicy: server.ReplayOriginal},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.createStream(orders())
			f.publish("orders.a", "a")
			f.publish("orders.a", "at once")
			f.wait(400 * time.Millisecond)
			f.publish("orders.a", "b")
			f.wait(200 * time.Millisecond)
			f.publish("orders.a", "c")
			f.node.now += int64(time.Minute)
			f.createConsumer("ORDERS", config)
			to := "deliver.here"
			if name == "pull" {
				to = f.pull("ORDERS", "push", `{"batch":10}`)
			}
			f.run()
			f.want(to, "a at once")
			f.wait(360 * time.Millisecond)
			f.want(to, "")
			f.wait(60 * time.Millisecond)
			f.want(to, "b")
			f.publish("orders.a", "meanwhile")
			f.wait(100 * time.Millisecond)
			f.want(to, "")
			f.wait(120 * time.Millisecond)
			f.want(to, "c")
			// What came during the replay is part of it, what comes later is not.
			f.wait(2 * time.Minute)
			f.want(to, "meanwhile")
			f.wait(time.Minute)
			f.publish("orders.a", "now")
			f.want(to, "now")
		})
	}
}

// Somebody who was away does not get everything at once on return.
func TestReplayGoesOnWhereItWas(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	for _, word := range []string{"a", "b", "c"} {
		f.publish("orders.a", word)
		f.wait(time.Second)
	}
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) { c.ReplayPolicy, c.AckPolicy = server.ReplayOriginal, server.AckNone }))
	f.run()
	f.want("deliver.here", "a")
	f.bus.deaf["deliver.here"] = true
	f.wait(time.Minute)
	delete(f.bus.deaf, "deliver.here")
	f.run()
	f.want("deliver.here", "b")
	f.wait(980 * time.Millisecond)
	f.want("deliver.here", "")
	f.wait(40 * time.Millisecond)
	f.want("deliver.here", "c")
}

func TestRateLimit(t *testing.T) {
	f := newFixture(t)
	config := orders()
	config.MaxMsgSize = 2000
	f.createStream(config)
	for range 50 {
		f.publish("orders.a", strings.Repeat("x", 1000))
	}
	f.createConsumer("ORDERS", pusher(func(c *server.ConsumerConfig) { c.RateLimit = 8 * 10_000 }))
	f.run()
	if n := len(f.take("deliver.here")); n != 1 {
		t.Errorf("%d messages at the start", n) // the burst is 2000 bytes
	}
	f.wait(2 * time.Second)
	n := len(f.take("deliver.here"))
	if n < 17 || n > 19 { // 20,000 bytes of about 1,070 each
		t.Errorf("%d messages in two seconds", n)
	}
	api[server.JSApiConsumerCreateResponse](f, "CONSUMER.CREATE.ORDERS.push", server.CreateConsumerRequest{
		Stream: "ORDERS", Config: pusher(),
	})
	f.wait(100 * time.Millisecond)
	if rest := len(f.take("deliver.here")); rest != 49-n {
		t.Errorf("%d messages without the limit, want %d", rest, 49-n)
	}
}
