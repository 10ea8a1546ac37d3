package jetstream_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// request sends a request to the JetStream API and reads the answer.
func request[T any](t testing.TB, client *nats.Conn, subject string, body any) T {
	t.Helper()
	encoded := must[[]byte](t)(json.Marshal(body))
	answer := must[*nats.Msg](t)(client.Request("$JS.API."+subject, encoded, patience))
	var response T
	check(t, json.Unmarshal(answer.Data, &response))
	return response
}

// backUp takes a backup in the way of the nats command.
func backUp(t testing.TB, client *nats.Conn, name string) (server.JSApiStreamSnapshotResponse, [][]byte) {
	t.Helper()
	inbox := client.NewInbox()
	sub := must[*nats.Subscription](t)(client.SubscribeSync(inbox))
	described := request[server.JSApiStreamSnapshotResponse](t, client, "STREAM.SNAPSHOT."+name,
		server.JSApiStreamSnapshotRequest{DeliverSubject: inbox, ChunkSize: 8 << 10, WindowSize: 64 << 10})
	if described.Error != nil {
		t.Fatal(described.Error)
	}
	var chunks [][]byte
	for {
		m := must[*nats.Msg](t)(sub.NextMsg(patience))
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "204" && status != "" {
				t.Fatalf("the backup ends with %v", m.Header)
			}
			return described, chunks
		}
		chunks = append(chunks, m.Data)
		if m.Reply != "" {
			check(t, m.Respond(nil))
		}
	}
}

// restore restores one in the same way.
func restore(t testing.TB, client *nats.Conn, described server.JSApiStreamSnapshotResponse, chunks [][]byte) *server.StreamInfo {
	t.Helper()
	begun := request[server.JSApiStreamRestoreResponse](t, client, "STREAM.RESTORE."+described.Config.Name,
		server.JSApiStreamRestoreRequest{Config: *described.Config, State: *described.State})
	if begun.Error != nil {
		t.Fatal(begun.Error)
	}
	for i, chunk := range chunks {
		if answer := must[*nats.Msg](t)(client.Request(begun.DeliverSubject, chunk, patience)); len(answer.Data) > 0 {
			t.Fatalf("chunk %d: %s", i, answer.Data)
		}
	}
	answer := must[*nats.Msg](t)(client.Request(begun.DeliverSubject, nil, patience))
	var outcome server.JSApiStreamCreateResponse
	check(t, json.Unmarshal(answer.Data, &outcome))
	if outcome.Error != nil {
		t.Fatal(outcome.Error)
	}
	return outcome.StreamInfo
}

// A stream wanders to a nats-server and back.
func TestBackupsAreThoseOfNATSServer(t *testing.T) {
	remote, theirs := hub(t)
	their := must[*nats.Conn](t)(nats.Connect(remote.ClientURL()))
	defer their.Close()
	our, ours := modern(t)
	ctx := t.Context()

	stream := must[jetstream.Stream](t)(ours.CreateStream(ctx, jetstream.StreamConfig{Name: "O", Subjects: []string{"o.>"}}))
	for i := range 500 {
		m := nats.NewMsg(fmt.Sprintf("o.%d", i%7))
		m.Data = fmt.Appendf(nil, "%d %x", i, i*i*i*7919)
		m.Header.Set("Number", fmt.Sprint(i))
		must[*jetstream.PubAck](t)(ours.PublishMsg(ctx, m))
	}
	check(t, stream.DeleteMsg(ctx, 250))
	check(t, stream.DeleteMsg(ctx, 500))
	consumer := must[jetstream.Consumer](t)(stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "work", AckPolicy: jetstream.AckExplicitPolicy}))
	batch := must[jetstream.MessageBatch](t)(consumer.Fetch(10))
	for m := range batch.Messages() {
		check(t, m.DoubleAck(ctx))
	}

	same := func(where string, js jetstream.JetStream, info *server.StreamInfo) {
		t.Helper()
		if info.State.Msgs != 498 || info.State.FirstSeq != 1 || info.State.LastSeq != 500 {
			t.Errorf("%s: %+v", where, info.State)
		}
		s := must[jetstream.Stream](t)(js.Stream(ctx, "O"))
		for _, seq := range []uint64{1, 249, 251, 499} {
			m := must[*jetstream.RawStreamMsg](t)(s.GetMsg(ctx, seq))
			n := int(seq) - 1
			if string(m.Data) != fmt.Sprintf("%d %x", n, n*n*n*7919) || m.Header.Get("Number") != fmt.Sprint(n) || m.Subject != fmt.Sprintf("o.%d", n%7) {
				t.Errorf("%s: message %d is %s %v %s", where, seq, m.Subject, m.Header, m.Data)
			}
		}
		c := must[jetstream.Consumer](t)(s.Consumer(ctx, "work"))
		state := must[*jetstream.ConsumerInfo](t)(c.Info(ctx))
		if state.AckFloor.Stream != 10 || state.NumAckPending != 0 || state.NumPending != 488 {
			t.Errorf("%s: consumer %+v", where, state)
		}
	}
	described, chunks := backUp(t, our, "O")
	first := must[*jetstream.RawStreamMsg](t)(stream.GetMsg(ctx, 1))
	same("a nats-server", theirs, restore(t, their, described, chunks))

	described, chunks = backUp(t, their, "O")
	check(t, ours.DeleteStream(ctx, "O"))
	same("back again", ours, restore(t, our, described, chunks))
	again := must[jetstream.Stream](t)(ours.Stream(ctx, "O"))
	if m := must[*jetstream.RawStreamMsg](t)(again.GetMsg(ctx, 1)); !m.Time.Equal(first.Time) {
		t.Errorf("the first message is of %v, was of %v", m.Time, first.Time)
	}
}
