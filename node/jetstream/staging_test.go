package jetstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// withAtomic is a fixture with a stream for atomic batches.
func withAtomic(t *testing.T, change ...func(*Options)) *fixture {
	f := newFixture(t, change...)
	config := orders()
	config.AllowAtomicPublish = true
	f.createStream(config)
	return f
}

// add sends a message of an atomic batch; commit is empty or what ends the batch.
func (f *fixture) add(batch string, seq int, commit, payload string) server.JSPubAckResponse {
	f.Helper()
	header := fmt.Sprintf("NATS/1.0\r\nNats-Batch-Id: %s\r\nNats-Batch-Sequence: %d\r\n", batch, seq)
	if commit != "" {
		header += "Nats-Batch-Commit: " + commit + "\r\n"
	}
	answer := f.ask("orders.a", header+"\r\n", payload)
	var ack server.JSPubAckResponse
	if answer.payload != "" {
		if err := json.Unmarshal([]byte(answer.payload), &ack); err != nil {
			f.Fatalf("answer %q", answer.payload)
		}
	}
	return ack
}

func (f *fixture) wantRefused(ack server.JSPubAckResponse, want server.ErrorIdentifier) {
	f.Helper()
	if ack.Error == nil || ack.Error.ErrCode != uint16(want) {
		f.Errorf("got %+v, want error %d", ack.Error, want)
	}
}

func (f *fixture) last() uint64 { return f.machine.Stream("ORDERS").State().LastSeq }

func TestABatchIsOneEntry(t *testing.T) {
	f := withAtomic(t)
	f.add("b", 1, "", "x")
	f.add("b", 2, "", "y")
	if entries := len(f.node.entries); f.last() != 0 || entries != 1 {
		t.Fatalf("%d messages in %d entries before the commit", f.last(), entries)
	}
	ack := f.add("b", 3, "1", "z")
	if ack.Error != nil || ack.Sequence != 3 || ack.BatchId != "b" || ack.BatchSize != 3 || len(f.node.entries) != 2 {
		t.Errorf("got %+v in %d entries", ack.PubAck, len(f.node.entries))
	}
	f.add("e", 1, "", "x")
	if ack := f.add("e", 2, "eob", "not stored"); ack.Sequence != 4 || ack.BatchSize != 1 || f.last() != 4 {
		t.Errorf("got %+v, last %d", ack.PubAck, f.last())
	}
	if staging := &f.door.staging; staging.bytes != 0 || staging.room != 0 || staging.order.Len() != 0 {
		t.Errorf("left %+v", staging)
	}
}

// A new leader knows nothing of what was staged; the batch is not stored, and its
// publisher is told.
func TestBatchesEndWithTheirLeader(t *testing.T) {
	f := withAtomic(t)
	f.add("b", 1, "", "x")
	f.door.Follow()
	f.door = New(f.door.options)
	f.door.Lead()
	f.wantRefused(f.add("b", 2, "1", "y"), server.JSAtomicPublishIncompleteBatchErr)
	if f.last() != 0 {
		t.Errorf("%d messages", f.last())
	}
}

// A hand-over that comes to nothing does not touch what is staged.
func TestBatchesOutliveAHandoverThatFails(t *testing.T) {
	f := withAtomic(t)
	f.add("b", 1, "", "x")
	f.door.Handover()
	inbox := f.inbox()
	f.send("orders.a", inbox, "NATS/1.0\r\nNats-Batch-Id: b\r\nNats-Batch-Sequence: 2\r\nNats-Batch-Commit: 1\r\n\r\n", "y")
	f.door.Lead()
	f.run()
	f.want(inbox, `{"stream":"ORDERS","seq":2,"batch":"b","count":2}`)
}

func TestBatchesAreBounded(t *testing.T) {
	f := withAtomic(t, func(o *Options) {
		o.Batches = BatchLimits{Bytes: 1000, StagedBytes: 1500, PerStream: 3, Total: 3, Messages: 3}
	})
	advisory := server.JSAdvisoryStreamBatchAbandonedPre + ".ORDERS"
	f.bus.heard[advisory] = true
	f.add("bytes", 1, "", strings.Repeat("x", 800))
	ack := f.add("bytes", 2, "1", strings.Repeat("x", 200))
	f.wantRefused(ack, server.JSAtomicPublishTooLargeBatchErrF)
	if !strings.Contains(ack.Error.Description, "more than 1000 bytes") {
		t.Errorf("got %q", ack.Error.Description)
	}
	f.add("one", 1, "", strings.Repeat("x", 800))
	f.wantRefused(f.add("all", 1, "", strings.Repeat("x", 800)), server.JSAtomicPublishTooManyInflight)
	f.add("two", 1, "", "x")
	f.add("three", 1, "", "x")
	f.wantRefused(f.add("four", 1, "", "x"), server.JSAtomicPublishTooManyInflight)
	f.add("two", 2, "", "x")
	f.add("two", 3, "", "x")
	f.wantRefused(f.add("two", 4, "1", "x"), server.JSAtomicPublishTooLargeBatchErrF)
	if ack := f.add("three", 2, "1", "x"); ack.Sequence != 2 {
		t.Errorf("got %+v", ack)
	}
	if n := len(f.take(advisory)); n != 3 {
		t.Errorf("%d advisories", n)
	}
}

func TestSilentBatchesAreGivenUp(t *testing.T) {
	f := withAtomic(t)
	advisory := server.JSAdvisoryStreamBatchAbandonedPre + ".ORDERS"
	f.bus.heard[advisory] = true
	f.add("first", 1, "", "x")
	f.add("second", 1, "", "x")
	f.wait(9 * time.Second)
	f.add("first", 2, "", "x")
	f.wait(2 * time.Second)
	told := f.take(advisory)
	if len(told) != 1 || !strings.Contains(told[0].payload, `"batch":"second","reason":"timeout"`) {
		t.Errorf("told %q", told)
	}
	if ack := f.add("first", 3, "1", "x"); ack.Sequence != 3 {
		t.Errorf("got %+v", ack)
	}
}

// What is staged will need room on the disk, so nothing else may have it.
func TestBatchesKeepTheirRoom(t *testing.T) {
	f := withAtomic(t)
	f.door.queue.Admit(10_000)
	f.add("b", 1, "", strings.Repeat("x", 6000))
	f.door.queue.Admit(10_000)
	f.wantRefused(f.publishWith("orders.a", "", strings.Repeat("x", 6000)), server.JSInsufficientResourcesErr)
	f.door.queue.Admit(10_000)
	if ack := f.add("b", 2, "1", "x"); ack.Sequence != 2 {
		t.Errorf("got %+v", ack)
	}
}

func TestBatchesGoWithTheirStream(t *testing.T) {
	f := withAtomic(t)
	f.add("b", 1, "", "x")
	config := orders()
	config.Storage = server.FileStorage
	if response := api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE.ORDERS", config); response.Error != nil {
		t.Fatal(response.Error)
	}
	f.wantRefused(f.add("b", 2, "1", "x"), server.JSAtomicPublishDisabledErr)
	config.AllowAtomicPublish = true
	api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE.ORDERS", config)
	f.add("c", 1, "", "x")
	api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE.ORDERS", nil)
	if staging := &f.door.staging; staging.bytes != 0 || staging.room != 0 || staging.order.Len() != 0 {
		t.Errorf("left %+v", staging)
	}
}

// The messages of a batch are stored as those of a publish are: under the subject
// that the stream's transform makes, without the API level, and with the mark of
// the commit on the last.
func TestMembersAreStoredLikeMessages(t *testing.T) {
	f := newFixture(t)
	config := orders()
	config.AllowAtomicPublish = true
	config.SubjectTransform = &server.SubjectTransformConfig{Source: "orders.*", Destination: "kept.{{wildcard(1)}}"}
	f.createStream(config)
	f.ask("orders.a", "NATS/1.0\r\nNats-Batch-Id: b\r\nNats-Required-Api-Level: 1\r\nNats-Batch-Sequence: 1\r\n\r\n", "x")
	f.add("b", 2, "eob", "")
	stored, _ := f.machine.Stream("ORDERS").Message(1)
	m, ok := f.door.read(stored.Location)
	if !ok || string(m.Subject) != "kept.a" || string(m.Header) != "NATS/1.0\r\nNats-Batch-Id: b\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1\r\n\r\n" {
		t.Errorf("got %q %q", m.Subject, m.Header)
	}
}

func TestBatchSequences(t *testing.T) {
	for text, want := range map[string]uint64{"1": 1, "007": 7, "18446744073709551615": 18446744073709551615} {
		if got, ok := parseBatchSequence([]byte(text)); !ok || got != want {
			t.Errorf("%q: %d %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "x", "1 ", "18446744073709551616", "99999999999999999999"} {
		if got, ok := parseBatchSequence([]byte(text)); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}
