package machine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// settleWorld is a world whose entries do little work at a time.
func settleWorld(t *testing.T, work int) *world {
	w := newWorld(t)
	w.machine = New(Options{BlockMessages: 8, SettleWork: work})
	return w
}

// settled applies ticks until nothing is left to do, and returns how many.
func (w *world) settled() int {
	w.t.Helper()
	return w.settling(w.machine, func() { w.tick() })
}

// settling applies entries until a machine has nothing left to do, and returns how many
// that took.
func (w *world) settling(m *Machine, apply func()) (entries int) {
	w.t.Helper()
	messages := func() (count uint64) {
		for _, s := range m.Streams() {
			count += s.msgs
		}
		return count
	}
	for ; ; entries++ {
		if due := m.NextExpiry(); due == 0 || due > w.now {
			return entries
		}
		before := messages()
		apply()
		if removed, most := before-messages(), uint64(m.settleMax/removeWork+1); removed > most {
			w.t.Fatalf("an entry removed %d messages, more than %d", removed, most)
		}
	}
}

// What a change makes superfluous goes in steps of bounded work, and comes to what it
// would have come to at once.
func TestChangesTakeEffectInSteps(t *testing.T) {
	limit := func(change func(c *server.StreamConfig)) func(w *world, s *Stream) {
		return func(w *world, s *Stream) {
			if err := w.updateStream("A", change); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	consumers := func(w *world, s *Stream) {
		w.consumer(s, server.ConsumerConfig{Durable: "one", FilterSubject: "a.1", AckPolicy: server.AckExplicit})
		w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckExplicit})
	}
	interest := func(c *server.StreamConfig) { c.Retention = server.InterestPolicy }
	for _, test := range []struct {
		name   string
		before func(w *world, s *Stream)
		change func(w *world, s *Stream)
		least  int // steps
	}{
		{"max_msgs", nil, limit(func(c *server.StreamConfig) { c.MaxMsgs = 7 }), 30},
		{"max_bytes", nil, limit(func(c *server.StreamConfig) { c.MaxBytes = 400 }), 30},
		{"one of each subject", nil, limit(func(c *server.StreamConfig) { c.MaxMsgsPer = 1 }), 30},
		{"three of each subject", nil, limit(func(c *server.StreamConfig) { c.MaxMsgsPer = 3 }), 30},
		{"three of each subject, then two", nil, func(w *world, s *Stream) {
			limit(func(c *server.StreamConfig) { c.MaxMsgsPer = 3 })(w, s)
			w.tick()
			limit(func(c *server.StreamConfig) { c.MaxMsgsPer = 2 })(w, s)
		}, 30},
		{"all limits", nil, limit(func(c *server.StreamConfig) { c.MaxMsgs, c.MaxMsgsPer = 20, 3 }), 30},
		{"interest", func(w *world, s *Stream) {
			w.consumer(s, server.ConsumerConfig{Durable: "one", FilterSubject: "a.1", AckPolicy: server.AckExplicit})
		}, limit(interest), 30},
		{"the last consumer of most messages", func(w *world, s *Stream) { consumers(w, s); limit(interest)(w, s) }, func(w *world, s *Stream) {
			w.batch.DeleteConsumer(s.Consumer("all").Incarnation())
			w.apply()
		}, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			var states []string
			for _, work := range []int{0, 80} {
				w := settleWorld(t, work)
				s := w.stream("A")
				if test.before != nil {
					test.before(w, s)
				}
				for i := range 400 {
					w.publish(s, fmt.Sprint("a.", i*i%7))
				}
				expect(t, "steps before", w.settled(), 0)
				test.change(w, s)
				w.publishAll(s, "a.1", "a.2") // others have their turn in between
				steps := w.settled()
				expect(t, "in steps", steps >= test.least, work != 0)
				w.publishAll(s, "a.1", "a.2", "a.4")
				expect(t, "steps after", w.settled(), 0)
				states = append(states, fmt.Sprint(contents(s), s.State()))
			}
			expect(t, "what is left", states[1], states[0])
		})
	}
}

// A stream that takes in messages while it is behind does not grow, and a message that
// makes many others go does not make an entry long.
func TestAStreamThatIsBehindDoesNotGrow(t *testing.T) {
	w := settleWorld(t, 80)
	s := w.stream("A")
	for range 500 {
		w.publish(s, "a.1")
	}
	if err := w.updateStream("A", func(c *server.StreamConfig) { c.MaxBytes = 5000 }); err != nil {
		t.Fatal(err)
	}
	for s.overTotals() {
		before := s.msgs
		for range 100 {
			w.batch.Publish(s.Incarnation(), []byte("a.1"), nil, nil)
		}
		w.apply()
		if s.msgs >= before {
			t.Fatalf("%d messages, and then %d", before, s.msgs)
		}
		if before-s.msgs > 100+80/removeWork+1 {
			t.Fatalf("an entry removed %d messages more than it stored", before-s.msgs)
		}
	}
	w.settled()
	before := s.msgs
	w.batch.Publish(s.Incarnation(), []byte("a.1"), nil, make([]byte, 4500))
	w.apply()
	if gone := before + 1 - s.msgs; gone > 2+80/removeWork+1 {
		t.Fatalf("one message made %d others go at once", gone)
	}
	w.settled()
	expect(t, "over its limit", s.overTotals(), false)
}

// A machine that is restored while a change takes effect goes on where it was.
func TestAChangeInStepsSurvivesARestore(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := settleWorld(t, 40)
		s := w.stream("A")
		w.consumer(s, server.ConsumerConfig{Durable: "one", FilterSubject: "a.1", AckPolicy: server.AckExplicit})
		w.consumer(s, server.ConsumerConfig{Durable: "all", AckPolicy: server.AckExplicit})
		durable := make(map[string][]byte)
		midway := 0
		for range 150 {
			switch random.IntN(12) {
			case 0:
				_ = w.updateStream("A", func(c *server.StreamConfig) {
					c.MaxMsgs, c.MaxMsgsPer = int64(20+random.IntN(200)), int64(random.IntN(4)-1)*10
					c.Retention = []server.RetentionPolicy{server.LimitsPolicy, server.InterestPolicy}[random.IntN(2)]
				})
			case 1:
				w.ack(s.Consumer("all"), AckDone, 0, s.first, 1)
			case 2:
				w.batch.Deliver(s.Consumer("all").Incarnation(), 5, 0)
				w.apply()
			default:
				for range random.IntN(30) {
					w.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "a.%d", random.IntN(9)), nil, fmt.Appendf(nil, "payload of a"))
				}
				w.apply()
			}
			if s.behind() {
				midway++
			}
			puts, deletes := w.machine.Checkpoint()
			for _, p := range puts {
				durable[string(p.Key)] = p.Value
			}
			for _, key := range deletes {
				delete(durable, string(key))
			}
			again := restored(t, w.machine, durable)
			expect(t, "digest", again.Digest(), w.machine.Digest())
			expect(t, "next expiry", again.NextExpiry(), w.machine.NextExpiry())
			if random.IntN(3) == 0 {
				w.machine = again
				s = again.Stream("A")
			}
		}
		if midway < 10 {
			t.Fatalf("seed %d: only %d restores while a change took effect", seed, midway)
		}
	}
}

func restored(t *testing.T, m *Machine, durable map[string][]byte) *Machine {
	t.Helper()
	again, err := Restore(Options{BlockMessages: 8, SettleWork: m.settleMax}, m.applied, m.entries.reported, m.stamp, func(yield func(key, value []byte) error) error {
		for key, value := range durable {
			if err := yield([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return again
}
