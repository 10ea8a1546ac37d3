package machine

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// update changes a consumer's configuration.
func (w *world) updateConsumer(c *Consumer, change func(config *server.ConsumerConfig)) *server.ApiError {
	w.t.Helper()
	config := *c.Config()
	change(&config)
	return w.tryConsumer(c.Stream(), server.ActionUpdate, config).Err
}

func TestAReturnedDeliveryDoesNotCount(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit, MaxDeliver: 2})
	w.publishAll(s, "a.1")
	for range 3 {
		expect(t, "delivered", w.deliver(c, 1)[:4], fmt.Sprintf("1/%d/1", c.nextSeq-1)[:4])
		w.batch.Acks(c.Incarnation(), []Ack{{Kind: AckReturn, StreamSeq: 1, ConsumerSeq: 1, Deliveries: 1}})
		w.one()
	}
	expect(t, "redelivered", c.State().NumRedelivered, 0)
	w.deliver(c, 1)
	w.pass(31 * time.Second)
	w.deliver(c, 1)
	expect(t, "redelivered", c.State().NumRedelivered, 1)
	// One that is late, about an earlier delivery, changes nothing.
	w.batch.Acks(c.Incarnation(), []Ack{{Kind: AckReturn, StreamSeq: 1, ConsumerSeq: 1, Deliveries: 1}})
	w.one()
	expect(t, "given out", w.deliver(c, 1), "")
	// The last delivery is not the last when it was returned.
	w.batch.Acks(c.Incarnation(), []Ack{{Kind: AckReturn, StreamSeq: 1, ConsumerSeq: 1, Deliveries: 2}})
	w.one()
	expect(t, "redelivered", c.State().NumRedelivered, 0)
	expect(t, "again", len(w.deliver(c, 1)) > 0, true)
}

func TestPause(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit})
	until := time.Unix(0, epoch).Add(time.Hour)
	w.batch.PauseConsumer(c.Incarnation(), until)
	events := len(w.apply().Events)
	expect(t, "events", events, 1)
	expect(t, "until", c.PausedUntil(), until.UnixNano())
	expect(t, "level", c.Config().Metadata[server.JSRequiredLevelMetadataKey], "1")
	w.batch.PauseConsumer(c.Incarnation(), until)
	expect(t, "events", len(w.apply().Events), 0)
	w.batch.PauseConsumer(c.Incarnation(), time.Time{})
	expect(t, "events", len(w.apply().Events), 1)
	expect(t, "until", c.PausedUntil(), 0)
	expect(t, "level", c.Config().Metadata[server.JSRequiredLevelMetadataKey], "0")
	w.batch.PauseConsumer(c.Incarnation(), time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC))
	w.apply()
	expect(t, "until", c.PausedUntil(), MaxStamp)
}

func TestReset(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	w.publishAll(s, "a.1", "a.2", "a.3", "a.4")
	reset := func(c *Consumer, seq uint64) Result {
		w.batch.ResetConsumer(c.Incarnation(), seq)
		return w.one()
	}
	all := w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckExplicit})
	w.deliver(all, 3)
	w.ack(all, AckDone, 0, 1, 1)
	r := reset(all, 0)
	expect(t, "reset", fmt.Sprint(r.Err == nil, r.Seq), "true 2")
	expect(t, "state", state(all), "delivered 0/1 floor 0/1 unacked 0 redelivered 0 pending 3")
	expect(t, "reset", reset(all, 4).Seq, 4)
	expect(t, "state", state(all), "delivered 0/3 floor 0/3 unacked 0 redelivered 0 pending 1")
	expect(t, "reset", reset(all, 9).Seq, 9)
	w.publishAll(s, "a.5", "a.6", "a.7", "a.8", "a.9")
	expect(t, "pending", all.State().NumPending, 1)

	from := w.consumer(s, server.ConsumerConfig{Durable: "from", DeliverPolicy: server.DeliverByStartSequence, OptStartSeq: 3, AckPolicy: server.AckExplicit})
	expectError(t, reset(from, 2).Err, server.JSConsumerInvalidResetErr)
	expect(t, "reset", reset(from, 3).Seq, 3)
	fresh := w.consumer(s, server.ConsumerConfig{Durable: "new", DeliverPolicy: server.DeliverNew, AckPolicy: server.AckExplicit})
	expectError(t, reset(fresh, 3).Err, server.JSConsumerInvalidResetErr)
	expect(t, "reset", reset(fresh, 0).Seq, 10)
	third, _ := s.Message(3)
	since := time.Unix(0, third.Stamp)
	timed := w.consumer(s, server.ConsumerConfig{Durable: "timed", DeliverPolicy: server.DeliverByStartTime, OptStartTime: &since, AckPolicy: server.AckExplicit})
	expectError(t, reset(timed, 2).Err, server.JSConsumerInvalidResetErr)
	expect(t, "reset", reset(timed, 3).Seq, 3)
}

// Of the last messages of each subject, those that were not answered come again.
func TestResetAmongTheLastOfEachSubject(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	w.publishAll(s, "a.1", "a.1", "a.2", "a.2", "a.3", "a.3")
	c := w.consumer(s, server.ConsumerConfig{Durable: "c", DeliverPolicy: server.DeliverLastPerSubject, FilterSubject: "a.>", AckPolicy: server.AckExplicit})
	w.deliver(c, 2)
	w.ack(c, AckDone, 0, 2, 1)
	w.batch.ResetConsumer(c.Incarnation(), 0)
	w.one()
	var seqs []uint64
	c.Upcoming(w.now, func(u Upcoming) bool { seqs = append(seqs, u.Seq); return true })
	expect(t, "next", fmt.Sprint(seqs), "[4 6]")
	expect(t, "pending", c.State().NumPending, 2)
}

// A message that nobody else waits for leaves an interest stream when a consumer
// is moved past it.
func TestResetReleasesMessages(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.Retention = server.InterestPolicy })
	c := w.consumer(s, server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit})
	w.publishAll(s, "a.1", "a.2", "a.3")
	w.batch.ResetConsumer(c.Incarnation(), 3)
	w.one()
	expect(t, "contents", contents(s), "3:a.3")
}

func TestANewDeliverSubjectGetsWhatIsPending(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit, DeliverSubject: "x"})
	w.publishAll(s, "a.1", "a.2")
	w.deliver(c, 2)
	expect(t, "due", c.Ready(w.now), 0)
	expect(t, "update", w.updateConsumer(c, func(config *server.ConsumerConfig) { config.DeliverSubject = "y" }), nil)
	expect(t, "due", c.Ready(w.now), 2)
}

func TestAckWaitChangesForPendingMessages(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit, AckWait: time.Minute})
	w.publishAll(s, "a.1")
	w.deliver(c, 1)
	given, _ := c.Unanswered(1)
	expect(t, "given", w.now-given < int64(time.Microsecond), true)
	w.pass(time.Second)
	expect(t, "update", w.updateConsumer(c, func(config *server.ConsumerConfig) { config.AckWait = 5 * time.Second }), nil)
	expect(t, "due", c.NextDue()-given, int64(5*time.Second))
	at, ok := c.Unanswered(1)
	expect(t, "given", fmt.Sprint(at-given, ok), "0 true")
	w.pass(10 * time.Second)
	expect(t, "update", w.updateConsumer(c, func(config *server.ConsumerConfig) { config.AckWait = time.Hour }), nil)
	expect(t, "still due", c.NextDue()-given, int64(5*time.Second))
}
