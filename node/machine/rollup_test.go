package machine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// rollers are two machines that apply the same log. The world's rolls up at once, the
// other one in steps, so that mostly something is left to do.
type rollers struct {
	*world
	random  *rand.Rand
	steps   *Machine
	results Results // of steps
	durable map[string][]byte
}

func newRollers(t *testing.T, seed uint64, work int) *rollers {
	r := &rollers{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 3)), durable: make(map[string][]byte)}
	r.steps = New(Options{BlockMessages: 8, SettleWork: work})
	return r
}

// both applies what the batch holds to both machines.
func (r *rollers) both() (exact, steps *Results) {
	r.t.Helper()
	exact = r.apply()
	if err := r.steps.Apply(r.index, r.entries[r.index], &r.results); err != nil {
		r.t.Fatal(err)
	}
	r.now = max(r.now, r.steps.Stamp())
	return exact, &r.results
}

// settle goes on until nothing is left to do, and returns how many entries that took.
func (r *rollers) settle() int {
	r.t.Helper()
	return r.settling(r.steps, func() { r.both() })
}

// restart replaces the machine that does it in steps by one that is restored.
func (r *rollers) restart() {
	r.t.Helper()
	puts, deletes := r.steps.Checkpoint()
	for _, p := range puts {
		r.durable[string(p.Key)] = p.Value
	}
	for _, key := range deletes {
		delete(r.durable, string(key))
	}
	again := restored(r.t.(*testing.T), r.steps, r.durable)
	expect(r.t, "digest", again.Digest(), r.steps.Digest())
	expect(r.t, "next expiry", again.NextExpiry(), r.steps.NextExpiry())
	r.steps = again
}

// compareShown compares what both give a reader.
func (r *rollers) compareShown(name string) {
	r.t.Helper()
	exact, steps := r.machine.Stream(name), r.steps.Stream(name)
	for seq := uint64(0); seq <= exact.last+1; seq++ {
		_, want := exact.Message(seq)
		_, got := steps.Message(seq)
		if got != want {
			r.t.Fatalf("message %d is shown: %v, want %v", seq, got, want)
		}
	}
	for _, filter := range []string{"", ">", "a.*", "a.1", "a.2", "*.3", "a.9", "a.none"} {
		from := r.random.Uint64N(exact.last + 2)
		a, foundA := exact.Next(from, filter)
		b, foundB := steps.Next(from, filter)
		expect(r.t, fmt.Sprintf("next of %q from %d", filter, from), fmt.Sprint(b, foundB), fmt.Sprint(a, foundA))
		a, foundA = exact.Last(filter)
		b, foundB = steps.Last(filter)
		expect(r.t, fmt.Sprintf("last of %q", filter), fmt.Sprint(b, foundB), fmt.Sprint(a, foundA))
		lastsA, _ := exact.LastOfEach([]string{filter}, from, 100)
		lastsB, _ := steps.LastOfEach([]string{filter}, from, 100)
		expect(r.t, fmt.Sprintf("last of each of %q up to %d", filter, from), fmt.Sprint(lastsB), fmt.Sprint(lastsA))
		a, foundA, _ = exact.Seek(from, []string{filter}, 1000)
		b, foundB, _ = steps.Seek(from, []string{filter}, 1000)
		expect(r.t, fmt.Sprintf("seek of %q from %d", filter, from), fmt.Sprint(b, foundB), fmt.Sprint(a, foundA))
	}
}

// compareAll compares everything, when nothing is left to do.
func (r *rollers) compareAll(name string) {
	r.t.Helper()
	exact, steps := r.machine.Stream(name), r.steps.Stream(name)
	expect(r.t, "contents", contents(steps), contents(exact))
	expect(r.t, "state", fmt.Sprint(steps.State()), fmt.Sprint(exact.State()))
	expect(r.t, "schedules", fmt.Sprint(len(steps.schedules)), fmt.Sprint(len(exact.schedules)))
	for _, c := range exact.Consumers() {
		// A consumer that has nothing in front of the stream's first message is moved
		// there by a rollup, which is later when that is made in steps.
		state := func(c *Consumer) string {
			state := c.State()
			return fmt.Sprint(state.Delivered.Consumer, state.AckFloor.Consumer, state.NumAckPending, state.NumRedelivered, state.NumPending)
		}
		expect(r.t, "consumer "+c.Name(), state(steps.Consumer(c.Name())), state(c))
	}
}

// step proposes something and compares what it comes to.
func (r *rollers) step(s *Stream) {
	r.t.Helper()
	subject := func() []byte { return fmt.Appendf(nil, "a.%d", r.random.IntN(5)) }
	payload := []byte("payload")
	switch n := r.random.IntN(20); {
	case n < 9:
		for range r.random.IntN(40) {
			r.batch.Publish(s.Incarnation(), subject(), nil, payload)
		}
	case n < 13:
		r.batch.Publish(s.Incarnation(), subject(), header(server.JSMsgRollup, []string{"sub", "sub", "sub", "all"}[r.random.IntN(4)]), payload)
	case n < 14: // several of them in one entry, and all or nothing
		r.batch.BeginAtomic(s.Incarnation())
		for i := range 5 {
			r.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "a.%d", i), header(server.JSMsgRollup, "sub"), payload)
		}
		r.batch.EndAtomic()
	case n < 15:
		id := fmt.Appendf(nil, "fast %d", r.index)
		for i := range 3 {
			r.batch.Fast(s.Incarnation(), &FastMember{ID: id, Seq: uint64(i + 1), Begin: i == 0, Last: i == 2, Flow: 10})
			r.batch.Publish(s.Incarnation(), subject(), header(server.JSMsgRollup, "sub"), payload)
		}
	case n < 16:
		r.batch.DeleteMessage(s.Incarnation(), s.first+r.random.Uint64N(s.last-s.first+2), false)
	case n < 17:
		request := server.JSApiStreamPurgeRequest{Subject: []string{"a.1", "a.*", ">"}[r.random.IntN(3)], Keep: r.random.Uint64N(3) * 10}
		for purged := false; !purged; {
			r.batch.PurgeStream(s.Incarnation(), request)
			_, steps := r.both()
			if purged = !steps.Slots[0].Unmet; !purged {
				expect(r.t, "unmet", request.Keep > 0 && len(r.steps.Stream("A").rolled) > 0, true)
			}
		}
		return
	case n < 18: // a schedule ends, and with it everything of its subject
		r.batch.Publish(s.Incarnation(), subject(), header(server.JSScheduler, "a.9", server.JSScheduleNext, "purge"), payload)
	case n < 19:
		for range r.random.IntN(40) {
			r.batch.Publish(s.Incarnation(), []byte("a.9"), nil, payload)
		}
		r.batch.Preface(PrefaceSchedule, uint64(r.now)+uint64(time.Hour), uint64(ScheduleFine))
		r.batch.Publish(s.Incarnation(), []byte("a.9"), header(server.JSSchedulePattern, "@at 2100-01-01T00:00:00Z", server.JSScheduleTarget, "a.1"), payload)
	default:
		on := subject()
		last, _ := s.Last(string(on))
		r.batch.Publish(s.Incarnation(), on, header(server.JSExpectedLastSubjSeq, fmt.Sprint(last.Seq)), payload)
	}
	exact, steps := r.both()
	for i := range exact.Slots {
		a, b := &exact.Slots[i], &steps.Slots[i]
		expect(r.t, "result", fmt.Sprint(b.Seq, describeError(b.Err), b.Unmet, b.Over), fmt.Sprint(a.Seq, describeError(a.Err), a.Unmet, a.Over))
	}
}

// A rollup in steps shows what one at once shows, and comes to the same, also when
// the machine is restored in between.
func TestRollupsInStepsAreThoseAtOnce(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := newRollers(t, seed, []int{30, 50, 80}[seed%3])
			r.batch.CreateStream(r.normalStream(streamConfig("A", func(c *server.StreamConfig) {
				c.AllowRollup, c.AllowAtomicPublish, c.AllowBatchPublish, c.AllowMsgSchedules = true, true, true, true
				c.MaxMsgsPer = []int64{-1, 1000}[seed%2]
				c.RePublish = &server.RePublish{Source: ">", Destination: "copy.>"}
			})))
			r.both()
			for i, c := range []server.ConsumerConfig{{Durable: "all"}, {FilterSubject: "a.1"}, {FilterSubjects: []string{"a.2", "a.3"}}, {FilterSubject: "a.*", DeliverPolicy: server.DeliverLastPerSubject}} {
				c.Durable, c.AckPolicy = fmt.Sprint("c", i), server.AckExplicit
				normal, err := NormalizeConsumer(&c, r.machine.Stream("A").Config(), Limits{}, false)
				if err != nil {
					t.Fatal(err)
				}
				r.batch.CreateConsumer(r.machine.Stream("A").Incarnation(), normal, server.ActionCreate)
				r.both()
			}
			midway, most := 0, 0
			for range 150 {
				s := r.machine.Stream("A")
				r.step(s)
				if len(r.steps.Stream("A").rolled) > 0 {
					midway++
				}
				r.compareShown("A")
				if r.random.IntN(4) == 0 {
					r.restart()
				}
				if r.random.IntN(6) == 0 {
					most = max(most, r.settle())
					r.compareAll("A")
					r.batch.Deliver(s.Consumer(fmt.Sprint("c", r.random.IntN(4))).Incarnation(), r.random.IntN(20), 0)
					exact, steps := r.both()
					expect(t, "deliveries", len(steps.Slots[0].Deliveries), len(exact.Slots[0].Deliveries))
				}
			}
			if midway < 10 || most < 5 {
				t.Fatalf("only %d times something was left to do, and at most for %d entries", midway, most)
			}
		})
	}
}

// A stream at its limit lets go of nothing else while messages go that were rolled up.
func TestARollupMakesRoomBeforeOthersHaveTo(t *testing.T) {
	w := settleWorld(t, 80)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowRollup, c.MaxMsgs = true, 300 })
	for range 100 {
		w.publishAll(s, "a.kept", "a.much", "a.much")
	}
	w.batch.Publish(s.Incarnation(), []byte("a.much"), header(server.JSMsgRollup, "sub"), nil)
	for range 50 {
		w.batch.Publish(s.Incarnation(), []byte("a.kept"), nil, nil)
	}
	w.apply()
	expect(t, "something is left to do", len(s.rolled), 1)
	w.settled()
	expect(t, "kept", fmt.Sprint(s.Subjects("")), "[{a.kept 150} {a.much 1}]")
	for range 200 {
		w.batch.Publish(s.Incarnation(), []byte("a.kept"), nil, nil)
	}
	w.apply()
	w.settled()
	expect(t, "the limit holds", s.State().Msgs, 300)
}

// What was rolled up is not delivered, neither for the first time nor again.
func TestWhatWasRolledUpIsNotDelivered(t *testing.T) {
	w := settleWorld(t, 80)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowRollup = true })
	all := w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckExplicit, AckWait: time.Second, MaxAckPending: 1000})
	other := w.consumer(s, server.ConsumerConfig{Durable: "other", AckPolicy: server.AckExplicit, FilterSubject: "a.2"})
	for range 100 {
		w.publishAll(s, "a.1")
	}
	w.publishAll(s, "a.2")
	w.deliver(all, 50)
	w.pass(time.Minute) // they are due again
	w.publish(s, "a.1", server.JSMsgRollup, "sub")
	expect(t, "delivered to another one", w.deliver(other, 5), "101/1/1")
	delivered := ""
	for entries := 0; delivered == ""; entries++ {
		if entries == 20 {
			t.Fatal("nothing is delivered any more")
		}
		delivered = w.deliver(all, 5)
	}
	expect(t, "delivered", delivered, "101/51/1 102/52/1")
	expect(t, "consumer", state(all), "delivered 52/102 floor 50/100 unacked 2 redelivered 0 pending 0")
}
