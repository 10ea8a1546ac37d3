package machine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestCreateStream(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.Metadata = map[string]string{"owner": "me"} })
	expect(t, "incarnation", s.Incarnation(), Incarnation(1<<16))
	expect(t, "metadata", s.Config().Metadata["owner"], "me")
	expect(t, "event", w.results.Events[0].Kind, EventStreamCreated)

	w.batch.CreateStream(w.normalStream(streamConfig("A", func(c *server.StreamConfig) { c.Metadata = map[string]string{"owner": "me"} })))
	if r := w.one(); r.Err != nil || r.Created || r.Stream != s {
		t.Fatalf("creating an equal stream again: %+v", r)
	}
	w.batch.CreateStream(w.normalStream(streamConfig("A", func(c *server.StreamConfig) { c.MaxMsgs = 5 })))
	expectError(t, w.one().Err, server.JSStreamNameExistErr)
	for _, subject := range []string{"a.b", "a.*", "a.>", "*.x", ">"} {
		w.batch.CreateStream(w.normalStream(&server.StreamConfig{Name: "B", Subjects: []string{subject}, NoAck: true}))
		expectError(t, w.one().Err, server.JSStreamSubjectOverlapErr)
	}
	w.batch.CreateStream(w.normalStream(&server.StreamConfig{Name: "B", Subjects: []string{"a", "b.>"}}))
	if r := w.one(); r.Err != nil {
		t.Fatal(r.Err)
	}
	expect(t, "match", w.machine.Match([]byte("a.b")), s)
	expect(t, "match of a", w.machine.Match([]byte("a")), w.machine.Stream("B"))
	expect(t, "no match", w.machine.Match([]byte("c")), nil)
}

func TestUpdateAndDeleteStream(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	w.stream("B")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit})
	expectError(t, w.updateStream("A", func(c *server.StreamConfig) { c.Subjects = []string{"b.x"} }), server.JSStreamSubjectOverlapErr)
	expectError(t, w.updateStream("A", func(c *server.StreamConfig) { c.Storage = server.MemoryStorage }), server.JSStreamInvalidConfigF)
	expectError(t, w.updateStream("A", func(c *server.StreamConfig) { c.Retention = server.WorkQueuePolicy }), server.JSStreamInvalidConfigF)
	expectError(t, w.updateStream("A", func(c *server.StreamConfig) { c.ConsumerLimits.MaxAckPending = 5 }), server.JSStreamUpdateErrF)

	w.publishAll(s, "a.1", "a.2", "a.2", "a.3")
	if err := w.updateStream("A", func(c *server.StreamConfig) {
		c.Subjects = []string{"a.>", "z"}
		c.MaxMsgs = 2
	}); err != nil {
		t.Fatal(err)
	}
	expect(t, "trimmed", contents(s), "3:a.2 4:a.3")
	expect(t, "new subject", w.machine.Match([]byte("z")), s)

	old := s.Incarnation()
	w.batch.DeleteStream(old)
	r := w.apply()
	expect(t, "events", fmt.Sprint(r.Events[0].Kind, r.Events[1].Kind), fmt.Sprint(EventConsumerDeleted, EventStreamDeleted))
	expect(t, "match after delete", w.machine.Match([]byte("z")), nil)

	again := w.stream("A")
	if again.Incarnation() == old {
		t.Fatal("incarnation used twice")
	}
	w.batch.Publish(old, []byte("a.1"), nil, nil)
	w.batch.Acks(c.Incarnation(), []Ack{{Kind: AckDone, StreamSeq: 3}})
	w.batch.Deliver(c.Incarnation(), 1, 0)
	w.batch.DeleteMessage(old, 3, true)
	r = w.apply()
	for slot, want := range []server.ErrorIdentifier{server.JSStreamNotFoundErr, server.JSConsumerNotFoundErr, server.JSConsumerNotFoundErr, server.JSStreamNotFoundErr} {
		expectError(t, r.Slots[slot].Err, want)
		expect(t, "event", r.Events[slot].Kind, EventStale)
	}
	expect(t, "messages", again.State().Msgs, 0)
}

func TestDuplicateWindow(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.Duplicates = time.Second })
	expect(t, "first", w.publish(s, "a.x", server.JSMsgId, "one").Seq, 1)
	if r := w.publish(s, "a.y", server.JSMsgId, "one"); !r.Duplicate || r.Seq != 1 {
		t.Fatalf("duplicate: %+v", r)
	}
	expect(t, "wake-up", w.machine.NextExpiry(), s.Created().UnixNano()+1+int64(time.Second))
	w.pass(time.Second)
	r := w.publish(s, "a.y", server.JSMsgId, "one")
	if r.Duplicate || r.Seq != 2 {
		t.Fatalf("after the window: %+v", r)
	}
	// The same ID twice in one entry.
	w.batch.Publish(s.Incarnation(), []byte("a.z"), header(server.JSMsgId, "two"), nil)
	w.batch.Publish(s.Incarnation(), []byte("a.z"), header(server.JSMsgId, "two"), nil)
	slots := w.apply().Slots
	expect(t, "second in entry", fmt.Sprint(slots[1].Duplicate, slots[1].Seq), "true 3")
	w.pass(2 * time.Second)
	w.tick()
	expect(t, "IDs remembered", len(s.dedup.seen), 0)
	expect(t, "nothing to wake up for", w.machine.NextExpiry(), 0)
}

func TestPublishExpectations(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	w.publish(s, "a.x", server.JSMsgId, "m1")
	w.publish(s, "a.y")
	w.publish(s, "a.x", server.JSMsgId, "m3")

	refused := func(want server.ErrorIdentifier, headers ...string) {
		t.Helper()
		expectError(t, w.publish(s, "a.x", headers...).Err, want)
	}
	refused(server.JSStreamNotMatchErr, server.JSExpectedStream, "B")
	refused(server.JSStreamWrongLastSequenceErrF, server.JSExpectedLastSeq, "2")
	refused(server.JSStreamWrongLastSequenceErrF, server.JSExpectedLastSeq, "x")
	refused(server.JSStreamWrongLastMsgIDErrF, server.JSExpectedLastMsgId, "m1")
	refused(server.JSStreamWrongLastSequenceErrF, server.JSExpectedLastSubjSeq, "1")
	refused(server.JSStreamWrongLastSequenceErrF, server.JSExpectedLastSubjSeq, "3", server.JSExpectedLastSubjSeqSubj, "a.y")
	refused(server.JSStreamExpectedLastSeqPerSubjectInvalid, server.JSExpectedLastSubjSeqSubj, "a.y")
	refused(server.JSStreamRollupFailedF, server.JSMsgRollup, "sub")
	refused(server.JSMessageTTLDisabledErr, server.JSMessageTTL, "1s")
	refused(server.JSMessageIncrDisabledErr, server.JSMessageIncr, "1")
	refused(server.JSMessageSchedulesDisabledErr, server.JSSchedulePattern, "@every 1s")
	refused(server.JSAtomicPublishDisabledErr, server.JSBatchId, "b")
	refused(server.JSMessageSourceHdrNotAllowedErr, server.JSStreamSource, "B 1")
	expect(t, "description", w.publish(s, "a.x", server.JSExpectedLastSeq, "2").Err.Description, "wrong last sequence: 3")

	for _, headers := range [][]string{
		{server.JSExpectedStream, "A", server.JSExpectedLastSeq, "3", server.JSExpectedLastMsgId, "m3"},
		{server.JSExpectedLastSubjSeq, "4"},
		{server.JSExpectedLastSubjSeq, "2", server.JSExpectedLastSubjSeqSubj, "a.y"},
		{server.JSExpectedLastSubjSeq, "6", server.JSExpectedLastSubjSeqSubj, "a.*"},
		{server.JSExpectedLastSubjSeq, "0", server.JSExpectedLastSubjSeqSubj, "a.none"},
	} {
		if r := w.publish(s, "a.x", headers...); r.Err != nil {
			t.Fatalf("%v: %v", headers, r.Err)
		}
	}
}

func TestMessageSizeLimit(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgSize = 20 })
	w.batch.Publish(s.Incarnation(), []byte("a.x"), nil, make([]byte, 21))
	expectError(t, w.one().Err, server.JSStreamMessageExceedsMaximumErr)
	w.batch.Publish(s.Incarnation(), []byte("a.x"), []byte("NATS/1.0\r\n\r\n"), make([]byte, 9))
	expectError(t, w.one().Err, server.JSStreamMessageExceedsMaximumErr)
	w.batch.Publish(s.Incarnation(), []byte("a.x"), nil, make([]byte, 20))
	expect(t, "fits", w.one().Seq, 1)

	big := w.stream("B")
	w.batch.Publish(big.Incarnation(), []byte("b.x"), header("K", strings.Repeat("v", 70_000)), nil)
	expectError(t, w.one().Err, server.JSStreamHeaderExceedsMaximumErr)
}

func TestBytesAreCountedAsTheServerCounts(t *testing.T) {
	w := newWorld(t)
	file := w.stream("F")
	memory := w.stream("M", func(c *server.StreamConfig) { c.Storage = server.MemoryStorage })
	h := []byte("NATS/1.0\r\nA: b\r\n\r\n")
	w.batch.Publish(file.Incarnation(), []byte("f.x"), nil, make([]byte, 10))
	w.batch.Publish(memory.Incarnation(), []byte("m.x"), nil, make([]byte, 10))
	w.batch.Publish(file.Incarnation(), []byte("f.x"), h, make([]byte, 10))
	w.batch.Publish(memory.Incarnation(), []byte("m.x"), h, make([]byte, 10))
	w.apply()
	expect(t, "file", file.State().Bytes, uint64(22+3+10+8+22+3+4+len(h)+10+8))
	expect(t, "memory", memory.State().Bytes, uint64(3+10+16+3+len(h)+10+16))
	stored, _ := file.Message(2)
	m := w.read(stored.Location)
	expect(t, "header", string(m.Header), string(h))
	expect(t, "stream", m.Stream, file.Incarnation())
}

func TestDiscardOld(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgs = 4; c.MaxMsgsPer = 2 })
	w.publishAll(s, "a.1", "a.1", "a.1", "a.2")
	expect(t, "per subject", contents(s), "2:a.1 3:a.1 4:a.2")
	w.publishAll(s, "a.3", "a.4", "a.1")
	expect(t, "in total", contents(s), "4:a.2 5:a.3 6:a.4 7:a.1")
	bytes := s.State().Bytes
	if err := w.updateStream("A", func(c *server.StreamConfig) { c.MaxBytes = int64(bytes / 2) }); err != nil {
		t.Fatal(err)
	}
	expect(t, "by bytes", contents(s), "6:a.4 7:a.1")
	if err := w.updateStream("A", func(c *server.StreamConfig) { c.MaxBytes, c.MaxMsgs = -1, -1 }); err != nil {
		t.Fatal(err)
	}
	w.publishAll(s, "a.1", "a.4")
	if err := w.updateStream("A", func(c *server.StreamConfig) { c.MaxMsgsPer = 1 }); err != nil {
		t.Fatal(err)
	}
	expect(t, "per subject after update", contents(s), "8:a.1 9:a.4")
	expect(t, "deleted", fmt.Sprint(s.Deleted()), "[]")
}

// A message that goes from the middle says nothing about the oldest of its subject,
// also when a gap in the chain has hidden which that is (simulation, seed 13).
func TestDiscardOldBehindAGap(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgsPer = 3 })
	remove := func(seq uint64) {
		w.batch.DeleteMessage(s.Incarnation(), seq, false)
		w.apply()
	}
	w.publishAll(s, "a.1", "a.1", "a.1")
	remove(3) // a gap between 2 and 4
	w.publishAll(s, "a.1", "a.1", "a.1")
	expect(t, "behind the gap", contents(s), "4:a.1 5:a.1 6:a.1")
	remove(5)
	w.publishAll(s, "a.1", "a.1")
	expect(t, "the oldest goes", contents(s), "6:a.1 7:a.1 8:a.1")
}

func TestDiscardNew(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgs, c.Discard, c.MaxMsgsPer = 2, server.DiscardNew, 1 })
	w.publishAll(s, "a.1", "a.2")
	r := w.publish(s, "a.3")
	expectError(t, r.Err, server.JSStreamStoreFailedF)
	expect(t, "description", r.Err.Description, "maximum messages exceeded")
	expect(t, "replaces", w.publish(s, "a.1").Seq, 3)
	expect(t, "contents", contents(s), "2:a.2 3:a.1")

	per := w.stream("B", func(c *server.StreamConfig) {
		c.Discard, c.DiscardNewPer, c.MaxMsgsPer, c.AllowRollup = server.DiscardNew, true, 1, true
	})
	w.publish(per, "b.1")
	expect(t, "per subject", w.publish(per, "b.1").Err.Description, "maximum messages per subject exceeded")
	expect(t, "rollup passes", w.publish(per, "b.1", server.JSMsgRollup, "sub").Seq, 2)
	expect(t, "rolled up", contents(per), "2:b.1")

	size := w.stream("C", func(c *server.StreamConfig) { c.Discard, c.MaxBytes = server.DiscardNew, 100 })
	w.publishAll(size, "c.1", "c.1")
	expect(t, "bytes", w.publish(size, "c.1").Err.Description, "maximum bytes exceeded")
}

func TestAge(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxAge = time.Second })
	w.publishAll(s, "a.1", "a.2")
	first, _ := s.Message(1)
	expect(t, "due", w.machine.NextExpiry(), first.Stamp+int64(time.Second))
	w.pass(500 * time.Millisecond)
	w.publishAll(s, "a.3")
	w.pass(500 * time.Millisecond)
	w.tick()
	expect(t, "left", contents(s), "3:a.3")
	w.pass(time.Second)
	w.tick()
	st := s.State()
	expect(t, "empty", fmt.Sprint(st.Msgs, st.FirstSeq, st.LastSeq, st.FirstTime.IsZero()), "0 4 3 true")
	w.pass(3 * time.Minute)
	w.tick()
	expect(t, "nothing due", w.machine.NextExpiry(), 0)
}

func TestAgeInBoundedSteps(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxAge = time.Second })
	for range expirySteps/100 + 1 {
		for range 200 {
			w.batch.Publish(s.Incarnation(), []byte("a.x"), nil, nil)
		}
		w.apply()
	}
	w.pass(time.Minute)
	total := s.State().Msgs
	w.tick()
	expect(t, "after one tick", s.State().Msgs, total-expirySteps)
	for w.machine.NextExpiry() != 0 && w.machine.NextExpiry() <= w.now {
		w.tick()
	}
	expect(t, "in the end", s.State().Msgs, 0)
}

func TestStampsRise(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	w.publishAll(s, "a.1", "a.2")
	last, _ := s.Message(2)
	w.batch.Reset(epoch - 1000)
	w.batch.Publish(s.Incarnation(), []byte("a.3"), nil, nil)
	w.index++
	if err := w.machine.Apply(w.index, w.batch.Bytes(), &w.results); err != nil {
		t.Fatal(err)
	}
	next, _ := s.Message(3)
	expect(t, "stamp", next.Stamp, last.Stamp+1)
}

func TestPurgeAndDelete(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	fill := func() { w.publishAll(s, "a.1", "a.2", "a.1", "a.3", "a.1", "a.2") }
	purge := func(r server.JSApiStreamPurgeRequest) uint64 {
		t.Helper()
		w.batch.PurgeStream(s.Incarnation(), r)
		result := w.one()
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		return result.Seq
	}
	fill()
	expect(t, "by subject and sequence", purge(server.JSApiStreamPurgeRequest{Subject: "a.1", Sequence: 5}), 2)
	expect(t, "left", contents(s), "2:a.2 4:a.3 5:a.1 6:a.2")
	expect(t, "deleted", fmt.Sprint(s.Deleted()), "[3]")
	expect(t, "keep", purge(server.JSApiStreamPurgeRequest{Keep: 2}), 2)
	expect(t, "left", contents(s), "5:a.1 6:a.2")
	fill()
	expect(t, "keep of subject", purge(server.JSApiStreamPurgeRequest{Subject: "a.1", Keep: 1}), 3)
	expect(t, "left", contents(s), "6:a.2 8:a.2 10:a.3 11:a.1 12:a.2")
	expect(t, "up to sequence", purge(server.JSApiStreamPurgeRequest{Sequence: 11}), 3)
	expect(t, "all", purge(server.JSApiStreamPurgeRequest{}), 2)
	st := s.State()
	expect(t, "state", fmt.Sprint(st.FirstSeq, st.LastSeq, st.Bytes, st.NumSubjects), "13 12 0 0")
	expect(t, "beyond the end", purge(server.JSApiStreamPurgeRequest{Sequence: 100}), 0)
	expect(t, "next", w.publish(s, "a.1").Seq, 100)

	w.batch.DeleteMessage(s.Incarnation(), 100, true)
	w.batch.DeleteMessage(s.Incarnation(), 100, false)
	slots := w.apply().Slots
	expect(t, "delete", slots[0].Err, nil)
	expectError(t, slots[1].Err, server.JSStreamMsgDeleteFailedF)
	expect(t, "last stays", s.State().LastSeq, 100)
}

func TestSealedAndDenied(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.DenyDelete, c.DenyPurge = true, true })
	w.publish(s, "a.1")
	w.batch.DeleteMessage(s.Incarnation(), 1, false)
	w.batch.PurgeStream(s.Incarnation(), server.JSApiStreamPurgeRequest{})
	slots := w.apply().Slots
	expectError(t, slots[0].Err, server.JSStreamMsgDeleteFailedF)
	expectError(t, slots[1].Err, server.JSStreamPurgeFailedF)
	expectError(t, w.updateStream("A", func(c *server.StreamConfig) { c.DenyDelete = false }), server.JSStreamInvalidConfigF)
	if err := w.updateStream("A", func(c *server.StreamConfig) { c.Sealed = true }); err != nil {
		t.Fatal(err)
	}
	expectError(t, w.publish(s, "a.1").Err, server.JSStreamSealedErr)
	expectError(t, w.updateStream("A", func(c *server.StreamConfig) { c.Sealed = false }), server.JSStreamInvalidConfigF)
}

func TestFirstSequence(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.FirstSeq = 1000 })
	st := s.State()
	expect(t, "state", fmt.Sprint(st.FirstSeq, st.LastSeq), "1000 999")
	expect(t, "first", w.publish(s, "a.1").Seq, 1000)
}

func TestRollup(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowRollup = true })
	w.publishAll(s, "a.1", "a.2", "a.1")
	w.publish(s, "a.1", server.JSMsgRollup, "sub")
	expect(t, "subject", contents(s), "2:a.2 4:a.1")
	expectError(t, w.publish(s, "a.1", server.JSMsgRollup, "other").Err, server.JSStreamRollupFailedF)
	w.publish(s, "a.3", server.JSMsgRollup, "all")
	expect(t, "all", contents(s), "5:a.3")
}

func TestReads(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	for range 10 {
		w.publishAll(s, "a.1", "a.2.x", "a.3")
	}
	seq := func(at Stored, ok bool) uint64 { return at.Seq }
	expect(t, "last", seq(s.Last("a.2.x")), 29)
	expect(t, "last of wildcard", seq(s.Last("a.*")), 30)
	expect(t, "last of none", seq(s.Last("b")), 0)
	expect(t, "next", seq(s.Next(5, "a.1")), 7)
	expect(t, "next of all", seq(s.Next(0, "")), 1)
	expect(t, "next of wildcard", seq(s.Next(3, "a.*.x")), 5)
	expect(t, "next of none", seq(s.Next(0, "x")), 0)
	w.batch.DeleteMessage(s.Incarnation(), 29, false)
	w.batch.DeleteMessage(s.Incarnation(), 2, false)
	w.apply()
	expect(t, "last after delete", seq(s.Last("a.2.x")), 26)
	expect(t, "next after delete", seq(s.Next(1, "a.2.x")), 5)
	expect(t, "subjects", fmt.Sprint(s.Subjects("a.*")), "[{a.1 10} {a.3 10}]")
	expect(t, "deleted", fmt.Sprint(s.Deleted()), "[2 29]")
}

func TestInterest(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.Retention = server.InterestPolicy })
	r := w.publish(s, "a.1")
	expect(t, "sequence without interest", r.Seq, 1)
	st := s.State()
	expect(t, "state", fmt.Sprint(st.Msgs, st.FirstSeq, st.LastSeq), "0 2 1")

	one := w.consumer(s, server.ConsumerConfig{Durable: "one", AckPolicy: server.AckExplicit})
	two := w.consumer(s, server.ConsumerConfig{Durable: "two", AckPolicy: server.AckExplicit, FilterSubject: "a.1"})
	w.publishAll(s, "a.1", "a.2", "a.1")
	expect(t, "one", w.deliver(one, 10), "2/1/1 3/2/1 4/3/1")
	expect(t, "two", w.deliver(two, 10), "2/1/1 4/2/1")
	w.ack(one, AckDone, 0, 2, 1, 3, 2)
	expect(t, "acked by one", contents(s), "2:a.1 4:a.1")
	w.ack(two, AckTerm, 0, 2, 1)
	expect(t, "acked by both", contents(s), "4:a.1")
	w.batch.DeleteConsumer(two.Incarnation())
	w.apply()
	expect(t, "one still needs it", contents(s), "4:a.1")
	w.batch.DeleteConsumer(one.Incarnation())
	w.apply()
	expect(t, "nobody does", contents(s), "")
}

func TestInterestWithoutAcks(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.Retention = server.InterestPolicy })
	none := w.consumer(s, server.ConsumerConfig{Durable: "none", AckPolicy: server.AckNone})
	all := w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckAll})
	w.publishAll(s, "a.1", "a.2", "a.3")
	w.deliver(none, 2)
	w.deliver(all, 3)
	w.ack(all, AckDone, 0, 3, 3)
	expect(t, "left", contents(s), "3:a.3")
	w.deliver(none, 1)
	expect(t, "left", contents(s), "")
}

func TestWorkQueue(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.Retention = server.WorkQueuePolicy })
	refused := func(want server.ErrorIdentifier, c server.ConsumerConfig) {
		t.Helper()
		expectError(t, w.tryConsumer(s, server.ActionCreate, c).Err, want)
	}
	explicit := server.ConsumerConfig{Durable: "one", AckPolicy: server.AckExplicit, FilterSubject: "a.1", MaxDeliver: 1, AckWait: time.Second}
	refused(server.JSConsumerWQRequiresExplicitAckErr, server.ConsumerConfig{Durable: "x", AckPolicy: server.AckAll})
	refused(server.JSConsumerWQConsumerNotDeliverAllErr, server.ConsumerConfig{Durable: "x", AckPolicy: server.AckExplicit, DeliverPolicy: server.DeliverNew})
	c := w.consumer(s, explicit)
	refused(server.JSConsumerWQMultipleUnfilteredErr, server.ConsumerConfig{Durable: "x", AckPolicy: server.AckExplicit})
	refused(server.JSConsumerWQConsumerNotUniqueErr, server.ConsumerConfig{Durable: "x", AckPolicy: server.AckExplicit, FilterSubject: "a.*"})
	w.publishAll(s, "a.1", "a.2", "a.1")
	expect(t, "given", w.deliver(c, 5), "1/1/1 3/2/1")
	w.ack(c, AckDone, 0, 1, 1)
	expect(t, "left", contents(s), "2:a.2 3:a.1")
	// Given up is not acknowledged: the message stays, until it is after all.
	w.pass(time.Second)
	w.batch.Deliver(c.Incarnation(), 0, 0)
	r := w.apply()
	expect(t, "given up", r.Events[0].Kind, EventMaxDeliveries)
	expect(t, "left", contents(s), "2:a.2 3:a.1")
	w.ack(c, AckDone, 0, 3, 2)
	expect(t, "late ack", contents(s), "2:a.2")
}

func TestStoredEventsWakeOncePerStream(t *testing.T) {
	w := newWorld(t)
	a, b := w.stream("A"), w.stream("B")
	for range 3 {
		w.batch.Publish(a.Incarnation(), []byte("a.x"), nil, nil)
		w.batch.Publish(b.Incarnation(), []byte("b.x"), nil, nil)
	}
	var names []string
	for _, e := range w.apply().Events {
		if e.Kind == EventStored {
			names = append(names, e.Stream.Name())
		}
	}
	expect(t, "stored", strings.Join(names, " "), "A B")
}
