package jetstream_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestLegacyClient(t *testing.T) {
	client := connect(t)
	js := must[nats.JetStreamContext](t)(client.JetStream())
	must[*nats.StreamInfo](t)(js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	for i := range 20 {
		must[*nats.PubAck](t)(js.Publish("s.a", fmt.Append(nil, i+1)))
	}
	sub := must[*nats.Subscription](t)(js.PullSubscribe("s.>", "pulling"))
	messages := must[[]*nats.Msg](t)(sub.Fetch(12, nats.MaxWait(patience)))
	if len(messages) != 12 || string(messages[11].Data) != "12" {
		t.Fatalf("%d messages", len(messages))
	}
	for _, m := range messages {
		check(t, m.AckSync())
	}
	messages = must[[]*nats.Msg](t)(sub.Fetch(12, nats.MaxWait(200*time.Millisecond)))
	if len(messages) != 8 {
		t.Errorf("%d messages", len(messages))
	}
	if _, err := sub.Fetch(1, nats.MaxWait(100*time.Millisecond)); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("fetch from an exhausted stream: %v", err)
	}
	info := must[*nats.ConsumerInfo](t)(js.ConsumerInfo("S", "pulling"))
	if info.NumAckPending != 8 || info.AckFloor.Stream != 12 {
		t.Errorf("info %+v", info)
	}
	check(t, js.DeleteConsumer("S", "pulling"))
	check(t, js.PurgeStream("S"))
	check(t, js.DeleteStream("S"))
	if _, err := js.StreamInfo("S"); !errors.Is(err, nats.ErrStreamNotFound) {
		t.Errorf("info of a deleted stream: %v", err)
	}
}

func TestLegacyPushConsumers(t *testing.T) {
	client := connect(t)
	js := must[nats.JetStreamContext](t)(client.JetStream())
	must[*nats.StreamInfo](t)(js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	sync := must[*nats.Subscription](t)(js.SubscribeSync("s.>", nats.Durable("pushed"), nats.ManualAck()))
	ordered := must[*nats.Subscription](t)(js.SubscribeSync("s.>", nats.OrderedConsumer()))
	queued := make(chan *nats.Msg, 1000)
	for range 2 {
		must[*nats.Subscription](t)(js.ChanQueueSubscribe("s.>", "workers", queued))
	}
	const n = 300
	for i := range n {
		must[nats.PubAckFuture](t)(js.PublishAsync("s.a", fmt.Append(nil, i+1)))
	}
	for _, sub := range []*nats.Subscription{sync, ordered} {
		for i := range n {
			m := must[*nats.Msg](t)(sub.NextMsg(patience))
			if string(m.Data) != fmt.Sprint(i+1) || m.Subject != "s.a" {
				t.Fatalf("message %d is %s", i+1, m.Data)
			}
			if sub == sync {
				check(t, m.Ack())
			}
		}
	}
	for i := range n {
		select {
		case m := <-queued:
			check(t, m.Ack())
		case <-time.After(patience):
			t.Fatalf("the queue group got %d", i)
		}
	}
}
