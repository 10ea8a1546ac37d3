package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// numbered publishes n messages "1", "2", … on the subject.
func numbered(t *testing.T, js jetstream.JetStream, subject string, n int) {
	t.Helper()
	for i := range n {
		must[jetstream.PubAckFuture](t)(js.PublishAsync(subject, fmt.Append(nil, i+1)))
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("publishes are not acknowledged")
	}
}

func payloads(messages []jetstream.Msg) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Data()))
	}
	return all
}

func drain(t *testing.T, batch jetstream.MessageBatch) []jetstream.Msg {
	t.Helper()
	var all []jetstream.Msg
	for m := range batch.Messages() {
		all = append(all, m)
	}
	check(t, batch.Error())
	return all
}

func TestClientManagesStreams(t *testing.T) {
	_, js := modern(t)
	ctx := within(t)
	config := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, AllowDirect: true}
	stream := must[jetstream.Stream](t)(js.CreateStream(ctx, config))
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"other"}}); !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		t.Errorf("create another: %v", err)
	}
	config.MaxMsgs = 100
	must[jetstream.Stream](t)(js.UpdateStream(ctx, config))
	numbered(t, js, "orders.a", 3)
	must[*jetstream.PubAck](t)(js.PublishMsg(ctx, &nats.Msg{Subject: "orders.b", Header: nats.Header{"Colour": {"blue"}}, Data: []byte("4")}))

	info := must[*jetstream.StreamInfo](t)(stream.Info(ctx, jetstream.WithSubjectFilter(">")))
	if info.State.Msgs != 4 || info.State.Subjects["orders.a"] != 3 || info.Config.MaxMsgs != 100 {
		t.Errorf("info %+v", info)
	}
	if name := must[string](t)(js.StreamNameBySubject(ctx, "orders.x")); name != "ORDERS" {
		t.Errorf("stream of a subject: %s", name)
	}
	message := must[*jetstream.RawStreamMsg](t)(stream.GetLastMsgForSubject(ctx, "orders.b"))
	if message.Sequence != 4 || message.Header.Get("Colour") != "blue" || string(message.Data) != "4" {
		t.Errorf("last message %+v", message)
	}
	check(t, stream.DeleteMsg(ctx, 2))
	if _, err := stream.GetMsg(ctx, 2); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("get a deleted message: %v", err)
	}
	check(t, stream.SecureDeleteMsg(ctx, 3))
	check(t, stream.Purge(ctx, jetstream.WithPurgeSubject("orders.a")))
	if state := must[*jetstream.StreamInfo](t)(stream.Info(ctx)).State; state.Msgs != 1 || state.FirstSeq != 4 {
		t.Errorf("state %+v", state)
	}
	names := js.StreamNames(ctx)
	if name := <-names.Name(); name != "ORDERS" {
		t.Errorf("names begin with %q: %v", name, names.Err())
	}
	account := must[*jetstream.AccountInfo](t)(js.AccountInfo(ctx))
	if account.Streams != 1 {
		t.Errorf("account %+v", account)
	}
	check(t, js.DeleteStream(ctx, "ORDERS"))
	if _, err := js.Stream(ctx, "ORDERS"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("stream after its deletion: %v", err)
	}
	if _, err := js.Publish(ctx, "orders.a", nil, jetstream.WithRetryAttempts(0)); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("publish after the deletion: %v", err)
	}
}

func TestClientPublishesWithConditions(t *testing.T) {
	_, js := modern(t)
	ctx := within(t)
	must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	first := must[*jetstream.PubAck](t)(js.Publish(ctx, "s.a", []byte("x"), jetstream.WithMsgID("one")))
	again := must[*jetstream.PubAck](t)(js.Publish(ctx, "s.a", []byte("x"), jetstream.WithMsgID("one")))
	if first.Duplicate || !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("got %+v and %+v", first, again)
	}
	must[*jetstream.PubAck](t)(js.Publish(ctx, "s.a", nil, jetstream.WithExpectLastSequence(1), jetstream.WithExpectStream("S"), jetstream.WithExpectLastMsgID("one")))
	must[*jetstream.PubAck](t)(js.Publish(ctx, "s.b", nil, jetstream.WithExpectLastSequencePerSubject(0)))
	for _, wrong := range []jetstream.PublishOpt{
		jetstream.WithExpectLastSequence(9), jetstream.WithExpectStream("T"), jetstream.WithExpectLastMsgID("two"), jetstream.WithExpectLastSequencePerSubject(1),
	} {
		if _, err := js.Publish(ctx, "s.b", nil, wrong); err == nil {
			t.Error("a wrong expectation was accepted")
		}
	}
}

func TestClientFetches(t *testing.T) {
	_, js := modern(t)
	ctx := within(t)
	stream := must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	consumer := must[jetstream.Consumer](t)(stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}))
	if got := drain(t, must[jetstream.MessageBatch](t)(consumer.FetchNoWait(5))); len(got) != 0 {
		t.Errorf("got %v", payloads(got))
	}
	numbered(t, js, "s.a", 10)
	got := drain(t, must[jetstream.MessageBatch](t)(consumer.Fetch(4)))
	if !slices.Equal(payloads(got), []string{"1", "2", "3", "4"}) || got[0].Subject() != "s.a" {
		t.Fatalf("got %v", payloads(got))
	}
	meta := must[*jetstream.MsgMetadata](t)(got[1].Metadata())
	if meta.Sequence.Stream != 2 || meta.Sequence.Consumer != 2 || meta.NumDelivered != 1 || meta.NumPending != 8 || meta.Stream != "S" || meta.Consumer != "c" {
		t.Errorf("metadata %+v", meta)
	}
	check(t, got[0].Ack())
	check(t, got[1].DoubleAck(ctx))
	check(t, got[2].Nak())
	check(t, got[3].Term())
	if got = drain(t, must[jetstream.MessageBatch](t)(consumer.Fetch(1))); !slices.Equal(payloads(got), []string{"3"}) {
		t.Errorf("got %v", payloads(got))
	}
	check(t, got[0].InProgress())
	check(t, got[0].DoubleAck(ctx))
	if got = drain(t, must[jetstream.MessageBatch](t)(consumer.Fetch(9, jetstream.FetchMaxWait(time.Second)))); len(got) != 6 {
		t.Errorf("got %v", payloads(got))
	}
	for _, m := range got {
		check(t, m.Ack())
	}
	numbered(t, js, "s.a", 10)
	if got = drain(t, must[jetstream.MessageBatch](t)(consumer.FetchBytes(130))); len(got) != 2 {
		t.Errorf("got %v in 130 bytes", payloads(got))
	}
	next := must[jetstream.Msg](t)(consumer.Next())
	if string(next.Data()) != "3" {
		t.Errorf("next is %s", next.Data())
	}
	info := must[*jetstream.ConsumerInfo](t)(consumer.Info(ctx))
	if info.NumAckPending != 3 || info.NumPending != 7 || info.AckFloor.Stream != 10 {
		t.Errorf("info %+v", info)
	}
}

func TestClientConsumes(t *testing.T) {
	_, js := modern(t)
	ctx := within(t)
	stream := must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	consumer := must[jetstream.Consumer](t)(stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "s.a"}))
	const n = 3000
	got := make(chan string, 2*n)
	consuming := must[jetstream.ConsumeContext](t)(consumer.Consume(func(m jetstream.Msg) {
		if m.Ack() == nil {
			got <- string(m.Data())
		}
	}))
	numbered(t, js, "s.a", n)
	numbered(t, js, "s.b", 10)
	for i := range n {
		select {
		case payload := <-got:
			if payload != fmt.Sprint(i+1) {
				t.Fatalf("message %d is %s", i+1, payload)
			}
		case <-time.After(patience):
			t.Fatalf("%d of %d messages", i, n)
		}
	}
	consuming.Stop()
	<-consuming.Closed()

	messages := must[jetstream.MessagesContext](t)(consumer.Messages(jetstream.PullMaxMessages(10)))
	numbered(t, js, "s.a", 25)
	for i := range 25 {
		m := must[jetstream.Msg](t)(messages.Next())
		if string(m.Data()) != fmt.Sprint(i+1) {
			t.Fatalf("message %d is %s", i+1, m.Data())
		}
		check(t, m.Ack())
	}
	check(t, stream.DeleteConsumer(ctx, consumer.CachedInfo().Name))
	if _, err := messages.Next(); !errors.Is(err, jetstream.ErrConsumerDeleted) {
		t.Errorf("next of a deleted consumer: %v", err)
	}
	messages.Stop()
}

func TestClientConsumesInOrder(t *testing.T) {
	_, js := modern(t)
	ctx := within(t)
	must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}))
	numbered(t, js, "s.a", 700)
	consumer := must[jetstream.Consumer](t)(js.OrderedConsumer(ctx, "S", jetstream.OrderedConsumerConfig{}))
	got := drain(t, must[jetstream.MessageBatch](t)(consumer.Fetch(200)))
	if len(got) != 200 || string(got[199].Data()) != "200" {
		t.Errorf("got %v", payloads(got))
	}
	consumer = must[jetstream.Consumer](t)(js.OrderedConsumer(ctx, "S", jetstream.OrderedConsumerConfig{}))
	done := make(chan string, 1)
	seen := 0
	consuming := must[jetstream.ConsumeContext](t)(consumer.Consume(func(m jetstream.Msg) {
		if seen++; string(m.Data()) != fmt.Sprint(seen) {
			done <- fmt.Sprintf("message %d is %s", seen, m.Data())
		} else if seen == 700 {
			done <- ""
		}
	}))
	defer consuming.Stop()
	select {
	case problem := <-done:
		if problem != "" {
			t.Error(problem)
		}
	case <-time.After(patience):
		t.Error("not everything came")
	}
}

func TestClientKeepsKeysAndValues(t *testing.T) {
	_, js := modern(t)
	ctx := within(t)
	kv := must[jetstream.KeyValue](t)(js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "B", History: 5}))
	must[uint64](t)(kv.Create(ctx, "colour", []byte("blue")))
	revision := must[uint64](t)(kv.Put(ctx, "colour", []byte("red")))
	must[uint64](t)(kv.Update(ctx, "colour", []byte("green"), revision))
	if _, err := kv.Update(ctx, "colour", []byte("grey"), revision); err == nil {
		t.Error("an old revision was accepted")
	}
	entry := must[jetstream.KeyValueEntry](t)(kv.Get(ctx, "colour"))
	if string(entry.Value()) != "green" || entry.Revision() != 3 {
		t.Errorf("got %s at %d", entry.Value(), entry.Revision())
	}
	if history := must[[]jetstream.KeyValueEntry](t)(kv.History(ctx, "colour")); len(history) != 3 {
		t.Errorf("history %v", history)
	}
	check(t, kv.Delete(ctx, "colour"))
	if _, err := kv.Get(ctx, "colour"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("get a deleted key: %v", err)
	}
}
