package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestPublishesAreAcknowledged(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	if got := f.ask("orders.a", "", "x").payload; got != `{"stream":"ORDERS","seq":1}` {
		t.Errorf("PubAck %s", got)
	}
	id := "NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n"
	f.ask("orders.a", id, "x")
	if got := f.ask("orders.a", id, "x").payload; got != `{"stream":"ORDERS","seq":2,"duplicate": true}` {
		t.Errorf("PubAck of a duplicate %s", got)
	}
	f.send("orders.a", "", "", "unanswered")
	f.run()
	if len(f.bus.sent) != 0 || f.machine.Stream("ORDERS").State().LastSeq != 3 {
		t.Errorf("publish without reply: %q", f.bus.sent)
	}
	domain := newFixture(t, func(o *Options) { o.Domain = "hub" })
	domain.createStream(orders())
	var ack server.PubAck
	if got := domain.ask("orders.a", "", "x").payload; json.Unmarshal([]byte(got), &ack) != nil || ack.Domain != "hub" || ack.Sequence != 1 {
		t.Errorf("PubAck with a domain %s", got)
	}
}

func TestPublishesAreRefused(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxPayload = 1000 })
	config := orders()
	config.MaxMsgSize = 100
	f.createStream(config)
	for header, want := range map[string]server.ErrorIdentifier{
		"Nats-Expected-Stream: OTHER":            server.JSStreamNotMatchErr,
		"Nats-Expected-Last-Sequence: 7":         server.JSStreamWrongLastSequenceErrF,
		"Nats-Expected-Last-Msg-Id: x":           server.JSStreamWrongLastMsgIDErrF,
		"Nats-Expected-Last-Subject-Sequence: 7": server.JSStreamWrongLastSequenceErrF,
	} {
		ack := f.publishWith("orders.a", "NATS/1.0\r\n"+header+"\r\n\r\n", "x")
		if ack.Error == nil || ack.Error.ErrCode != uint16(want) || ack.Stream != "ORDERS" {
			t.Errorf("%s: %+v %+v", header, ack.Error, ack.PubAck)
		}
	}
	for _, size := range []int{101, 1001} {
		ack := f.publishWith("orders.a", "", strings.Repeat("x", size))
		if ack.Error == nil || ack.Error.ErrCode != uint16(server.JSStreamMessageExceedsMaximumErr) {
			t.Errorf("%d bytes: %+v", size, ack.Error)
		}
	}
	if got := f.ask("unknown", "", "x"); got.status() != "503" || got.value("Nats-Subject") != "unknown" {
		t.Errorf("no stream: %q", got)
	}
}

func TestBusyNodeRefuses(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxQueued, o.MaxInFlight = 1, 1 })
	f.createStream(orders())
	inbox := f.inbox()
	large := strings.Repeat("x", maxBatchBytes/2)
	for range 5 {
		f.send("orders.a", inbox, "", large)
	}
	f.run()
	got := f.take(inbox)
	if last := got[0]; len(got) != 5 || last.status() != "429 Too Many Requests" || !strings.Contains(last.payload, `"stream":"ORDERS","seq":0`) {
		t.Errorf("got %d: %q", len(got), got[0])
	}
	header, payload := RefuseBusy(Message{Subject: []byte("orders.a"), Reply: []byte("x")})
	if !strings.HasPrefix(string(header), "NATS/1.0 429") || !strings.Contains(string(payload), "10167") {
		t.Errorf("got %q %q", header, payload)
	}
	if header, payload = RefuseBusy(Message{Subject: []byte("$JS.API.INFO")}); header != nil || payload != nil {
		t.Errorf("got %q %q", header, payload)
	}
}

// A few large messages wait where many small ones of as many bytes are refused.
func TestFewLargeMessagesWait(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxQueued, o.MaxInFlight = maxBatchBytes, 1 })
	f.createStream(orders())
	large := strings.Repeat("x", maxBatchBytes/2)
	for range 12 {
		f.send("orders.a", f.inbox(), "", large)
	}
	if b := &f.door.batches; b.queued <= f.door.options.MaxQueued || f.door.counts.Refused != 0 {
		t.Fatalf("%d bytes wait, %d publishes are refused", b.queued, f.door.counts.Refused)
	}
	f.door.batches.commands += fewQueued // as if they were small
	f.send("orders.a", f.inbox(), "", "x")
	f.door.batches.commands -= fewQueued
	if f.door.counts.Refused != 1 {
		t.Error("taken among many")
	}
	f.run()
	if state := f.machine.Stream("ORDERS").State(); state.Msgs != 12 || f.door.batches.commands != 0 {
		t.Errorf("%d messages, %d commands wait", state.Msgs, f.door.batches.commands)
	}
}

func TestStatusAndClientInfoAreNotStored(t *testing.T) {
	f := withWork(t, 0)
	f.publishWith("orders.a", "NATS/1.0 503 Trick\r\nColour: blue\r\nNats-Request-Info: {}\r\n\r\n", "x")
	f.publishWith("orders.a", "NATS/1.0 503 Trick\r\n\r\n", "y")
	got := f.want(f.pull("ORDERS", "work", "2"), "x y")
	if got[0].header != "NATS/1.0\r\nColour: blue\r\n\r\n" || got[1].header != "" {
		t.Errorf("got %q", got)
	}
}

// Messages of one connection keep their order, and so do the answers.
func TestOrderIsKept(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	inbox := f.inbox()
	payload := strings.Repeat("x", 3000)
	for i := range 1000 {
		f.send("orders.a", inbox, "", fmt.Sprint(i, payload))
	}
	f.run()
	got := f.take(inbox)
	if len(got) != 1000 || f.machine.Applied() < 6 {
		t.Fatalf("%d answers, %d entries", len(got), f.machine.Applied())
	}
	for i, s := range got {
		if s.payload != fmt.Sprintf(`{"stream":"ORDERS","seq":%d}`, i+1) {
			t.Fatalf("answer %d is %s", i, s.payload)
		}
	}
}

func TestStreamsMayStoreWhatIsForJetStream(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createStream(server.StreamConfig{Name: "ADVISORIES", Subjects: []string{"$JS.EVENT.>"}})
	f.createConsumer("ORDERS", work())
	last, ok := f.machine.Stream("ADVISORIES").Last("$JS.EVENT.ADVISORY.CONSUMER.CREATED.ORDERS.work")
	if !ok || last.Seq != 3 { // behind what is told of the stream's own creation
		t.Errorf("stored %+v %v", last, ok)
	}
	config := server.StreamConfig{Name: "ALL", Subjects: []string{">"}, NoAck: true}
	other := newFixture(t)
	other.createStream(config)
	other.ask(apiPrefix+"INFO", "", "")
	if _, ok := other.machine.Stream("ALL").Last("$JS.API.INFO"); !ok {
		t.Error("request not stored")
	}
}

func TestBatchesWaitForCompany(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.node.entries = f.node.entries[:len(f.node.entries):len(f.node.entries)]
	before := len(f.node.entries)
	send := func(n, size int) {
		for range n {
			f.send("orders.a", "", "", strings.Repeat("x", size))
		}
		f.door.Flush()
	}
	send(1, 10)
	send(1, 10)
	send(1, 10)
	if got := len(f.node.entries) - before; got != 1 {
		t.Errorf("%d batches with little to say, want one in flight", got)
	}
	for range 3 {
		send(10, 8000)
	}
	if got := len(f.node.entries) - before; got != 1 {
		t.Errorf("%d batches, want the second one to wait for %d bytes", got, minBatchBytes)
	}
	send(10, 8000)
	if got := len(f.node.entries) - before; got != 2 {
		t.Errorf("%d batches, want a second one for %d bytes", got, minBatchBytes)
	}
	for range 20 {
		send(10, 8000)
	}
	if got := len(f.node.entries) - before; got != f.door.options.MaxInFlight {
		t.Errorf("%d batches in flight", got)
	}
	f.run()
	if msgs := f.machine.Stream("ORDERS").State().Msgs; msgs != 3+10*24 {
		t.Errorf("%d messages", msgs)
	}
}

func TestRefusedProposals(t *testing.T) {
	f := withWork(t, 2)
	f.node.refuse = errors.New("not the leader")
	inbox := f.inbox()
	f.send("orders.a", inbox, "", "x")
	f.run()
	if got := f.take(inbox); len(got) != 0 {
		t.Errorf("a publish that may not be stored was answered: %q", got)
	}
	if got := f.refusal("STREAM.CREATE.NEW", server.StreamConfig{Name: "NEW", Storage: server.FileStorage}); got.ErrCode != uint16(server.JSClusterNotAvailErr) {
		t.Errorf("got %v", got)
	}
	f.pull("ORDERS", "work", "1")
	f.node.refuse = nil
	f.want(f.pull("ORDERS", "work", "1"), "00000002")
}

func FuzzRequest(f *testing.F) {
	for subject, payload := range map[string]string{
		"INFO": "", "STREAM.CREATE.X": `{"name":"X","subjects":["x.>"]}`, "STREAM.UPDATE.ORDERS": `{"name":"ORDERS","max_msgs":-5}`,
		"STREAM.INFO.ORDERS": `{"subjects_filter":">","offset":-1}`, "STREAM.LIST": `{"offset":99,"subject":">"}`,
		"STREAM.MSG.GET.ORDERS": `{"start_time":"2026-01-02T03:04:05Z"}`, "STREAM.PURGE.ORDERS": `{"seq":1}`,
		"CONSUMER.CREATE.ORDERS.c.orders.a": `{"stream_name":"ORDERS","config":{"filter_subject":"orders.a"}}`,
		"CONSUMER.DURABLE.CREATE.ORDERS.c":  `{"stream_name":"ORDERS","config":{"durable_name":"c","backoff":[1,2]}}`,
		"DIRECT.GET.ORDERS.orders.a":        "", "DIRECT.GET.ORDERS": `{"seq":1}`, "STREAM.MSG.DELETE.ORDERS": `{"seq":1}`,
		"CONSUMER.MSG.NEXT.ORDERS.work": "1", "..": "", "STREAM.": "[",
	} {
		f.Add(subject, payload)
	}
	f.Fuzz(func(t *testing.T, subject, payload string) {
		x := withWork(t, 2)
		inbox := x.pull("ORDERS", "work", `{"batch":3,"expires":1000000000}`)
		x.send(apiPrefix+subject, inbox, "", payload)
		x.wait(40 * time.Millisecond)
	})
}
