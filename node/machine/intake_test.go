package machine

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// backUp reads a stream as a backup does, and fills a new one with it.
func (w *world) backUp(from *Stream, name string) *Stream {
	w.t.Helper()
	config := *from.Config()
	config.Name, config.Subjects = name, []string{"restored.>"}
	state := from.State()
	w.batch.BeginIntake(&config, state.FirstSeq)
	r := w.one()
	if r.Err != nil {
		w.t.Fatal(r.Err)
	}
	to, previous := r.Stream, state.FirstSeq-min(state.FirstSeq, 1)
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		stored, ok := from.Message(seq)
		if !ok {
			continue
		}
		m := w.read(stored.Location)
		w.batch.StoreFrom(to.Incarnation(), &Origin{Previous: previous, Seq: seq, Stamp: stored.Stamp}, m.Subject, m.Header, m.Payload)
		previous = seq
	}
	for slot, r := range w.apply().Slots {
		if r.Err != nil {
			w.t.Fatalf("slot %d: %v", slot, r.Err)
		}
	}
	for _, c := range from.Consumers() {
		w.batch.TakeConsumer(to.Incarnation(), c.Backup())
		if r := w.one(); r.Err != nil {
			w.t.Fatal(r.Err)
		}
	}
	return to
}

func (w *world) endIntake(s *Stream, last uint64) *Results {
	w.t.Helper()
	w.batch.EndIntake(s.Incarnation(), last)
	r := w.apply()
	if r.Slots[0].Err != nil {
		w.t.Fatal(r.Slots[0].Err)
	}
	return r
}

func TestABackupIsTheSameStreamAgain(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*server.StreamConfig){
		"LIMITS":   func(c *server.StreamConfig) { c.AllowRollup = true },
		"INTEREST": func(c *server.StreamConfig) { c.Retention = server.InterestPolicy },
		"QUEUE":    func(c *server.StreamConfig) { c.Retention = server.WorkQueuePolicy },
	} {
		s := w.stream(name, change)
		c := w.consumer(s, explicit)
		subject := func(i int) string {
			return fmt.Sprintf("%s.%d", s.Config().Subjects[0][:len(s.Config().Subjects[0])-2], i%3)
		}
		for i := range 40 {
			w.batch.Publish(s.Incarnation(), []byte(subject(i)), header(server.JSMsgId, fmt.Sprint(i)), []byte("payload of "+subject(i)))
		}
		w.apply()
		w.deliver(c, 20)
		w.batch.Acks(c.Incarnation(), []Ack{{Kind: AckDone, StreamSeq: 1, ConsumerSeq: 1}, {Kind: AckDone, StreamSeq: 3, ConsumerSeq: 3}, {Kind: AckNak, StreamSeq: 5, ConsumerSeq: 5}})
		w.apply()
		w.deliver(c, 1)
		w.batch.DeleteMessage(s.Incarnation(), 40, false)
		w.batch.DeleteMessage(s.Incarnation(), 30, false)
		w.apply()

		to := w.backUp(s, "R"+name)
		expect(t, "hidden", w.machine.Stream("R"+name), nil)
		expect(t, "no subjects", w.machine.Match([]byte("restored.x")), nil)
		w.batch.CreateStream(w.normalStream(streamConfig("R" + name)))
		expect(t, "the name is taken", w.one().Err.ErrCode, uint16(server.JSStreamNameExistErr))

		told := 0
		for _, e := range w.endIntake(to, s.State().LastSeq).Events {
			if e.Kind == EventStreamCreated || e.Kind == EventConsumerCreated {
				told++
			}
		}
		expect(t, "told of", told, 2)
		expect(t, "found", w.machine.Stream("R"+name), to)
		expect(t, "contents", contents(to), contents(s))
		was, is := s.State(), to.State()
		was.Consumers, is.Consumers = 0, 0
		was.LastTime, is.LastTime = time.Time{}, time.Time{} // that of the last message, which was deleted
		expect(t, "state", fmt.Sprintf("%+v", is), fmt.Sprintf("%+v", was))
		before, after := c.State(), to.Consumer(c.Name()).State()
		expect(t, "delivered", after.Delivered.Consumer, before.Delivered.Consumer)
		expect(t, "ack floor", after.AckFloor.Stream, before.AckFloor.Stream)
		expect(t, "pending", fmt.Sprint(after.NumAckPending, after.NumRedelivered, after.NumPending), fmt.Sprint(before.NumAckPending, before.NumRedelivered, before.NumPending))
		w.batch.Deliver(to.Consumer(c.Name()).Incarnation(), 1, 0)
		expect(t, "goes on", w.one().Deliveries[0].StreamSeq, 21)
		w.batch.DeleteStream(to.Incarnation())
		w.apply()
	}
}

func TestAnIntakeThatIsGivenUpLeavesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	w.publishAll(s, "a.1", "a.2")
	to := w.backUp(s, "R")
	expect(t, "intakes", len(w.machine.Account(DefaultAccount).Intakes()), 1)

	puts, _ := w.machine.Checkpoint()
	again, err := Restore(Options{BlockMessages: 8}, w.index, 0, w.machine.Stamp(), func(yield func(key, value []byte) error) error {
		for _, p := range puts {
			if err := yield(p.Key, p.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "digest after restore", again.Digest(), w.machine.Digest())
	expect(t, "intakes after restore", len(again.Account(DefaultAccount).Intakes()), 1)
	expect(t, "hidden after restore", again.Stream("R"), nil)

	w.batch.DeleteStream(to.Incarnation())
	for _, e := range w.apply().Events {
		expect(t, "nobody knew of it", e.Kind != EventStreamDeleted, true)
	}
	expect(t, "intakes", len(w.machine.Account(DefaultAccount).Intakes()), 0)
	expect(t, "the name is free", w.stream("R").Name(), "R")
	w.batch.EndIntake(s.Incarnation(), 9)
	expect(t, "not an intake", w.one().Err != nil, true)
	w.batch.TakeConsumer(s.Incarnation(), &ConsumerBackup{Config: &server.ConsumerConfig{Durable: "c"}, State: &server.ConsumerState{}})
	expect(t, "not an intake", w.one().Err != nil, true)
	w.batch.BeginIntake(w.normalStream(streamConfig("A")), 0)
	expect(t, "exists", w.one().Err.ErrCode, uint16(server.JSStreamNameExistRestoreFailedErr))
	w.pass(time.Second)
	w.tick()
}
