package jetstream_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestBatchesOfAClient publishes batches of both kinds through a real server.
func TestBatchesOfAClient(t *testing.T) {
	client, js := modern(t)
	ctx := t.Context()
	stream := must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}, AllowAtomicPublish: true, AllowBatchPublish: true}))

	var last *nats.Msg
	for i := range 3 {
		m := nats.NewMsg("b.atomic")
		m.Header.Set(server.JSBatchId, "one")
		m.Header.Set(server.JSBatchSeq, fmt.Sprint(i+1))
		if i == 2 {
			m.Header.Set(server.JSBatchCommit, "1")
		}
		last = must[*nats.Msg](t)(client.RequestMsgWithContext(ctx, m))
	}
	if got := string(last.Data); got != `{"stream":"B","seq":3,"batch":"one","count":3}` {
		t.Errorf("atomic batch: %s", got)
	}

	inbox := nats.NewInbox()
	heard := must[*nats.Subscription](t)(client.SubscribeSync(inbox + ".>"))
	const messages = 1000
	for i := range messages {
		operation := server.FastBatchOpAppend
		switch i {
		case 0:
			operation = server.FastBatchOpStart
		case messages - 1:
			operation = server.FastBatchOpCommit
		}
		check(t, client.PublishRequest("b.fast", fmt.Sprintf("%s.two.100.fail.%d.%d.$FI", inbox, i+1, operation), []byte("x")))
	}
	told := uint64(0)
	for {
		m := must[*nats.Msg](t)(heard.NextMsg(patience))
		var flow server.BatchFlowAck
		check(t, json.Unmarshal(m.Data, &flow))
		if flow.Type != "ack" {
			if got := string(m.Data); got != `{"stream":"B","seq":1003,"batch":"two","count":1000}` {
				t.Errorf("fast batch: %s", got)
			}
			break
		}
		if flow.Sequence < told {
			t.Errorf("told %d after %d", flow.Sequence, told)
		}
		told = flow.Sequence
	}
	if told < messages-200 {
		t.Errorf("told of %d messages at last", told)
	}
	if info := must[*jetstream.StreamInfo](t)(stream.Info(ctx)); info.State.Msgs != 1003 || info.Config.Metadata["_nats.req.level"] != "4" {
		t.Errorf("got %+v", info)
	}
}
