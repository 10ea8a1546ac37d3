package machine

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

var explicit = server.ConsumerConfig{AckPolicy: server.AckExplicit}

func TestDeliverAndAck(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, explicit)
	expect(t, "new", state(c), "delivered 0/0 floor 0/0 unacked 0 redelivered 0 pending 0")
	w.publishAll(s, "a.1", "a.2", "a.3", "a.4")
	expect(t, "ready", c.Ready(w.now), 4)
	expect(t, "given", w.deliver(c, 3), "1/1/1 2/2/1 3/3/1")
	expect(t, "pending in reply", w.results.Slots[0].Deliveries[2].Pending, 1)
	expect(t, "given", state(c), "delivered 3/3 floor 0/0 unacked 3 redelivered 0 pending 1")
	w.ack(c, AckDone, 0, 2, 2)
	expect(t, "middle acked", state(c), "delivered 3/3 floor 0/0 unacked 2 redelivered 0 pending 1")
	w.ack(c, AckDone, 0, 1, 1)
	expect(t, "floor jumps", state(c), "delivered 3/3 floor 2/2 unacked 1 redelivered 0 pending 1")
	w.ack(c, AckDone, 0, 3, 3, 9, 9)
	expect(t, "all acked", state(c), "delivered 3/3 floor 3/3 unacked 0 redelivered 0 pending 1")
	expect(t, "rest", w.deliver(c, 3), "4/4/1")
	if last := c.State().Delivered.Last; last == nil || last.UnixNano() != w.results.Stamp {
		t.Fatalf("last delivery at %v", last)
	}
}

func TestAckAllAndNone(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	all := w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckAll})
	none := w.consumer(s, server.ConsumerConfig{Durable: "none", AckPolicy: server.AckNone})
	w.publishAll(s, "a.1", "a.2", "a.3", "a.4")
	w.deliver(all, 4)
	w.ack(all, AckDone, 0, 3, 3)
	expect(t, "all", state(all), "delivered 4/4 floor 3/3 unacked 1 redelivered 0 pending 0")
	w.ack(all, AckDone, 0, 2, 2)
	expect(t, "all again", state(all), "delivered 4/4 floor 3/3 unacked 1 redelivered 0 pending 0")
	w.deliver(none, 3)
	expect(t, "none", state(none), "delivered 3/3 floor 3/3 unacked 0 redelivered 0 pending 1")
	expect(t, "none is due", none.NextDue(), 0)
}

// The number of deliveries of one message stays at the most that it can say.
func TestDeliveriesAreCountedToTheEnd(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, AckWait: time.Second})
	w.publishAll(s, "a.1")
	w.deliver(c, 1)
	w.pass(time.Second)
	expect(t, "again", w.deliver(c, 1), "1/2/2")
	c.pending.at(1).tries = math.MaxUint32 - 1
	for _, want := range []string{"1/3/4294967295", "1/4/4294967295", "1/5/4294967295"} {
		w.pass(time.Second)
		expect(t, "near the top", w.deliver(c, 1), want)
	}
	expect(t, "state", state(c), "delivered 5/1 floor 0/0 unacked 1 redelivered 1 pending 0")
}

func TestRedelivery(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, AckWait: time.Second})
	w.publishAll(s, "a.1", "a.2", "a.3")
	w.deliver(c, 2)
	given := w.results.Stamp
	expect(t, "due", c.NextDue(), given+int64(time.Second))
	w.pass(time.Second)
	expect(t, "ready", c.Ready(w.now), 3)
	expect(t, "again, then new", w.deliver(c, 10), "1/3/2 2/4/2 3/5/1")
	expect(t, "state", state(c), "delivered 5/3 floor 0/0 unacked 3 redelivered 2 pending 0")
	w.ack(c, AckDone, 0, 1, 3)
	expect(t, "floor keeps the first delivery", state(c), "delivered 5/3 floor 1/1 unacked 2 redelivered 1 pending 0")

	w.ack(c, AckNak, 0, 3, 5, 2, 4)
	expect(t, "in the order of the naks", w.deliver(c, 10), "3/6/2 2/7/3")
	w.ack(c, AckNak, time.Minute, 3, 6)
	w.pass(59 * time.Second)
	expect(t, "later", w.deliver(c, 10), "2/8/4")
	w.pass(500 * time.Millisecond)
	w.ack(c, AckProgress, 0, 2, 8)
	w.pass(500 * time.Millisecond)
	expect(t, "delay over, in progress", w.deliver(c, 10), "3/9/3")
	w.ack(c, AckTerm, 0, 2, 8)
	w.ack(c, AckDone, 0, 3, 9)
	expect(t, "end", state(c), "delivered 9/3 floor 9/3 unacked 0 redelivered 0 pending 0")
	expect(t, "nothing due", c.NextDue(), 0)
}

func TestBackOffAndMaxDeliver(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, MaxDeliver: 3, BackOff: []time.Duration{time.Second, 5 * time.Second}})
	w.publishAll(s, "a.1", "a.2")
	w.deliver(c, 2)
	w.ack(c, AckDone, 0, 2, 2)
	w.pass(time.Second)
	expect(t, "second", w.deliver(c, 1), "1/3/2")
	w.pass(4 * time.Second)
	expect(t, "not yet", w.deliver(c, 1), "")
	w.pass(time.Second)
	expect(t, "third", w.deliver(c, 1), "1/4/3")
	expect(t, "state", state(c), "delivered 4/2 floor 0/0 unacked 1 redelivered 1 pending 0")
	w.pass(5 * time.Second)
	expect(t, "due to be given up", c.NextDue() <= w.now, true)
	expect(t, "not ready", c.Ready(w.now), 0)
	w.batch.Deliver(c.Incarnation(), 0, 0)
	e := w.apply().Events[0]
	expect(t, "event", fmt.Sprint(e.Kind, e.Seq, e.Deliveries, e.Consumer == c), fmt.Sprint(EventMaxDeliveries, 1, 3, true))
	expect(t, "state", state(c), "delivered 4/2 floor 4/2 unacked 0 redelivered 1 pending 0")

	// More deliveries allowed: what waits for its last ack is delivered again.
	w.publishAll(s, "a.3")
	w.deliver(c, 1)
	c2 := *c.Config()
	c2.MaxDeliver, c2.BackOff = 2, nil
	if r := w.tryConsumer(s, server.ActionUpdate, c2); r.Err != nil {
		t.Fatal(r.Err)
	}
	w.ack(c, AckNak, 0, 3, 5)
	expect(t, "second", w.deliver(c, 1), "3/6/2")
	c2.MaxDeliver = 5
	w.tryConsumer(s, server.ActionCreateOrUpdate, c2)
	w.pass(time.Minute)
	expect(t, "third", w.deliver(c, 1), "3/7/3")
}

func TestMaxAckPending(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, MaxAckPending: 2, AckWait: time.Second})
	w.publishAll(s, "a.1", "a.2", "a.3", "a.4")
	expect(t, "ready", c.Ready(w.now), 2)
	expect(t, "limited", w.deliver(c, 10), "1/1/1 2/2/1")
	expect(t, "stalled", c.Ready(w.now), 0)
	expect(t, "stalled", w.deliver(c, 10), "")
	w.pass(time.Second)
	expect(t, "redelivered all the same", w.deliver(c, 10), "1/3/2 2/4/2")
	w.ack(c, AckDone, 0, 1, 3)
	expect(t, "goes on", w.deliver(c, 10), "3/5/1")
}

func TestMaxBytes(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, explicit)
	w.publishAll(s, "a.1", "a.2", "a.3")
	size := len("a.1") + len("payload of a.1")
	expect(t, "size of the next", c.NextSize(w.now), size)
	deliver := func(n int64) int {
		w.batch.Deliver(c.Incarnation(), 10, n)
		return len(w.one().Deliveries)
	}
	expect(t, "two fit", deliver(int64(2*size+1)), 2)
	expect(t, "the first always fits", deliver(1), 1)
	expect(t, "no next", c.NextSize(w.now), 0)
}

func TestDeliverPolicies(t *testing.T) {
	start := time.Unix(0, epoch+int64(time.Second)).UTC() // between the third message and the fourth
	for i, want := range []struct {
		config         server.ConsumerConfig
		state, deliver string
	}{
		{server.ConsumerConfig{DeliverPolicy: server.DeliverAll}, "0/0 5", "1 2 3 5 6 7"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverAll, FilterSubject: "a.1"}, "0/0 3", "1 3 6 7"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverAll, FilterSubjects: []string{"a.2", "a.3"}}, "0/0 2", "2 5"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverLast}, "0/5 1", "6 7"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverLast, FilterSubject: "a.2"}, "0/1 1", "2"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverNew}, "0/6 0", "7"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverByStartSequence, OptStartSeq: 4}, "0/3 2", "5 6 7"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverByStartSequence, OptStartSeq: 8}, "0/7 0", ""},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverByStartTime, OptStartTime: &start}, "0/4 2", "5 6 7"},
		{server.ConsumerConfig{DeliverPolicy: server.DeliverLastPerSubject, FilterSubject: "a.*"}, "0/1 3", "2 5 6 7"},
	} {
		w := newWorld(t)
		s := w.stream("A")
		w.publishAll(s, "a.1", "a.2", "a.1")
		w.pass(time.Second)
		w.publishAll(s, "a.2", "a.3", "a.1")
		w.batch.DeleteMessage(s.Incarnation(), 4, false)
		w.apply()
		want.config.AckPolicy = server.AckExplicit
		want.config.Durable = fmt.Sprintf("c%d", i)
		c := w.consumer(s, want.config)
		st := c.State()
		expect(t, want.config.Durable, fmt.Sprintf("%d/%d %d", st.Delivered.Consumer, st.Delivered.Stream, st.NumPending), want.state)
		w.publishAll(s, "a.1")
		got := ""
		w.batch.Deliver(c.Incarnation(), 100, 0)
		for _, d := range w.one().Deliveries {
			if got != "" {
				got += " "
			}
			got += fmt.Sprint(d.StreamSeq)
		}
		expect(t, want.config.Durable, got, want.deliver)
		expect(t, want.config.Durable+" pending", c.State().NumPending, 0)
	}
}

func TestFutureStart(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, DeliverPolicy: server.DeliverByStartSequence, OptStartSeq: 3})
	w.publishAll(s, "a.1", "a.2")
	expect(t, "before", state(c), "delivered 0/2 floor 0/2 unacked 0 redelivered 0 pending 0")
	w.publishAll(s, "a.3", "a.4")
	expect(t, "pending", c.State().NumPending, 2)
	expect(t, "given", w.deliver(c, 5), "3/1/1 4/2/1")
}

func TestFilteredPendingFollowsTheStream(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgsPer = 2 })
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, FilterSubject: "a.*.x"})
	w.publishAll(s, "a.1.x", "a.1.y", "a.2.x", "a.1.x")
	expect(t, "pending", c.State().NumPending, 3)
	w.publishAll(s, "a.1.x")
	expect(t, "one replaced", c.State().NumPending, 3)
	expect(t, "given", w.deliver(c, 1), "3/1/1")
	w.batch.DeleteMessage(s.Incarnation(), 4, false)
	w.apply()
	expect(t, "one deleted", c.State().NumPending, 1)
	changed := *c.Config()
	changed.FilterSubject = "a.1.>"
	if r := w.tryConsumer(s, server.ActionUpdate, changed); r.Err != nil {
		t.Fatal(r.Err)
	}
	expect(t, "filter changed", c.State().NumPending, 1)
	w.publishAll(s, "a.1.y", "a.2.x")
	expect(t, "new filter", c.State().NumPending, 2)
	expect(t, "given", w.deliver(c, 5), "5/2/1 6/3/1")
}

func TestMessagesThatLeaveWhilePending(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgs = 3 })
	c := w.consumer(s, explicit)
	w.publishAll(s, "a.1", "a.2", "a.3")
	w.deliver(c, 3)
	w.batch.DeleteMessage(s.Incarnation(), 2, false)
	w.batch.Publish(s.Incarnation(), []byte("a.4"), nil, []byte("payload of a.4"))
	w.batch.Publish(s.Incarnation(), []byte("a.5"), nil, []byte("payload of a.5"))
	r := w.apply()
	expect(t, "events", fmt.Sprint(r.Events[0].Kind, r.Events[0].Seq, r.Events[0].Slot), fmt.Sprint(EventTerminated, 2, 0))
	expect(t, "state", state(c), "delivered 3/3 floor 2/2 unacked 1 redelivered 0 pending 2")
	w.batch.PurgeStream(s.Incarnation(), server.JSApiStreamPurgeRequest{})
	w.apply()
	expect(t, "purged", state(c), "delivered 3/5 floor 3/5 unacked 0 redelivered 0 pending 0")
	w.publishAll(s, "a.6")
	expect(t, "goes on", w.deliver(c, 5), "6/4/1")
}

func TestPurgeOfASubjectMovesItsConsumers(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	one := w.consumer(s, server.ConsumerConfig{Durable: "one", AckPolicy: server.AckExplicit, FilterSubject: "a.1"})
	other := w.consumer(s, server.ConsumerConfig{Durable: "other", AckPolicy: server.AckExplicit, FilterSubject: "a.2"})
	all := w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckExplicit})
	w.publishAll(s, "a.1", "a.2", "a.1", "a.2")
	w.deliver(one, 1)
	w.deliver(all, 2)
	w.batch.PurgeStream(s.Incarnation(), server.JSApiStreamPurgeRequest{Subject: "a.1"})
	w.apply()
	expect(t, "one", state(one), "delivered 1/4 floor 1/4 unacked 0 redelivered 0 pending 0")
	expect(t, "other", state(other), "delivered 0/0 floor 0/0 unacked 0 redelivered 0 pending 2")
	expect(t, "all", state(all), "delivered 2/2 floor 1/1 unacked 1 redelivered 0 pending 1")
}

func TestConsumerActions(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxConsumers = 2 })
	config := server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit}
	changed := config
	changed.MaxAckPending = 7
	expectError(t, w.tryConsumer(s, server.ActionUpdate, config).Err, server.JSConsumerDoesNotExist)
	r := w.tryConsumer(s, server.ActionCreate, config)
	expect(t, "created", r.Created, true)
	r = w.tryConsumer(s, server.ActionCreate, config)
	expect(t, "created again", fmt.Sprint(r.Err, r.Created), "<nil> false")
	expectError(t, w.tryConsumer(s, server.ActionCreate, changed).Err, server.JSConsumerAlreadyExists)
	r = w.tryConsumer(s, server.ActionCreateOrUpdate, changed)
	expect(t, "updated", fmt.Sprint(r.Err, r.Created, r.Consumer.Config().MaxAckPending), "<nil> false 7")
	for _, change := range []func(c *server.ConsumerConfig){
		func(c *server.ConsumerConfig) { c.AckPolicy = server.AckAll },
		func(c *server.ConsumerConfig) { c.DeliverPolicy = server.DeliverNew },
		func(c *server.ConsumerConfig) { c.MaxWaiting = 5 },
		func(c *server.ConsumerConfig) { c.ReplayPolicy = server.ReplayOriginal },
		func(c *server.ConsumerConfig) { c.DeliverSubject, c.MaxWaiting = "x", 0 },
	} {
		c := changed
		change(&c)
		expectError(t, w.tryConsumer(s, server.ActionCreateOrUpdate, c).Err, server.JSConsumerCreateErrF)
	}
	w.consumer(s, server.ConsumerConfig{Name: "e", AckPolicy: server.AckExplicit})
	expectError(t, w.tryConsumer(s, server.ActionCreate, server.ConsumerConfig{Name: "f"}).Err, server.JSMaximumConsumersLimitErr)
	expect(t, "count", s.State().Consumers, 2)
	c := w.machine.Consumer("A", "c")
	expect(t, "by incarnation", w.machine.ConsumerOf(c.Incarnation()), c)
	w.batch.DeleteConsumer(c.Incarnation())
	w.apply()
	expect(t, "gone", w.machine.Consumer("A", "c"), nil)
	w.batch.DeleteConsumer(c.Incarnation())
	expectError(t, w.one().Err, server.JSConsumerNotFoundErr)
}

func TestManyPendingOutOfOrder(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, server.ConsumerConfig{AckPolicy: server.AckExplicit, MaxAckPending: -1, AckWait: time.Minute})
	const n = 5000
	for range n {
		w.batch.Publish(s.Incarnation(), []byte("a.x"), nil, []byte("payload of a.x"))
	}
	w.apply()
	w.deliver(c, n)
	for i := uint64(n); i > 1; i-- { // backwards, all but the first
		w.batch.Acks(c.Incarnation(), []Ack{{Kind: AckDone, StreamSeq: i, ConsumerSeq: i}})
	}
	w.apply()
	expect(t, "state", state(c), fmt.Sprintf("delivered %d/%d floor 0/0 unacked 1 redelivered 0 pending 0", n, n))
	if due, kept := c.NextDue(), len(c.due.items); due == 0 || kept > n {
		t.Fatalf("due %d, %d timers", due, kept)
	}
	w.ack(c, AckDone, 0, 1, 1)
	expect(t, "nothing due", c.NextDue(), 0)
	expect(t, "no timers", len(c.due.items), 0)
}
