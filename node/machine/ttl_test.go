package machine

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// restored is the machine that a checkpoint of this one describes.
func (w *world) restored() *Machine {
	w.t.Helper()
	puts, _ := w.machine.Checkpoint()
	again, err := Restore(Options{}, w.machine.Applied(), 0, w.machine.Stamp(), func(yield func(key, value []byte) error) error {
		for _, put := range puts {
			if err := yield(put.Key, put.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	expect(w.t, "digest after restore", again.Digest(), w.machine.Digest())
	return again
}

// TestAgeingOrderAfterRestore has more due than one entry ages out. A machine
// that was there all the time knows only that something may be due early; it
// must age out the same messages as one that was restored.
func TestAgeingOrderAfterRestore(t *testing.T) {
	for _, headers := range [][]string{nil, {server.JSMessageTTL, "1s"}} {
		w := newWorld(t)
		age := func(c *server.StreamConfig) {
			if c.MaxAge = time.Second; len(headers) > 0 {
				c.MaxAge, c.AllowMsgTTL = 0, true
			}
		}
		a, b := w.stream("A", age), w.stream("B", age)
		first := w.publish(a, "a.first", headers...).Seq
		for range 3000 {
			w.batch.Publish(b.Incarnation(), []byte("b.x"), header(headers...), nil)
		}
		w.pass(time.Millisecond)
		w.apply()
		for range 3000 {
			w.batch.Publish(a.Incarnation(), []byte("a.x"), header(headers...), nil)
		}
		w.pass(time.Millisecond)
		w.apply()
		w.batch.DeleteMessage(a.Incarnation(), first, false) // what A was due for
		w.apply()

		again := w.restored()
		w.pass(2 * time.Second)
		for range 3 {
			w.tick()
			var results Results
			if err := again.Apply(w.index, w.entries[w.index], &results); err != nil {
				t.Fatal(err)
			}
			expect(t, "digest", again.Digest(), w.machine.Digest())
		}
		expect(t, "left", a.State().Msgs+b.State().Msgs, 0)
	}
}

func TestNeverOutlivesMaxAge(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxAge, c.AllowMsgTTL = time.Second, true })
	w.publish(s, "a.1", server.JSMessageTTL, "never")
	w.publish(s, "a.2")
	w.publish(s, "a.3", server.JSMessageTTL, "never")
	w.publish(s, "a.4", server.JSMessageTTL, "1h") // MaxAge is sooner
	w.pass(2 * time.Second)
	w.tick()
	expect(t, "left", contents(s), "1:a.1 3:a.3")
	expect(t, "nothing ends any more", w.machine.NextExpiry() == 0 || w.machine.NextExpiry() > w.now, true)
}

// TestTimeToLiveCostsLittle: a column of equal numbers takes no room, and no
// message has a timer of its own.
func TestTimeToLiveCostsLittle(t *testing.T) {
	size := func(headers ...string) float64 {
		w := newWorld(t)
		w.machine = New(Options{})
		s := w.stream("A", func(c *server.StreamConfig) { c.AllowMsgTTL = true })
		before := heap()
		const messages = 200_000
		for range messages / 400 {
			w.batch.Reset(w.now)
			for range 400 {
				w.batch.Publish(s.Incarnation(), []byte("a.x"), header(headers...), nil)
			}
			w.applyAgain()
		}
		per := float64(heap()-before) / messages
		expect(t, "messages", s.State().Msgs, messages)
		return per
	}
	plain := size("Other", "1h")
	if with := size(server.JSMessageTTL, "1h"); with > plain+1 {
		t.Errorf("%.1f bytes a message with a time to live, %.1f without", with, plain)
	}
}

func TestTTLColumnSurvivesSealingAndReopening(t *testing.T) {
	w := newWorld(t) // blocks of eight
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowMsgTTL = true })
	for i := range 20 {
		switch i % 3 {
		case 0:
			w.publish(s, "a.x")
		default:
			w.publish(s, "a.x", server.JSMessageTTL, fmt.Sprint(i))
		}
	}
	w.machine = w.restored()
	s = w.machine.Stream("A")
	for seq := uint64(1); seq <= 20; seq++ {
		b, want := s.index.locate(seq), uint32(0)
		if i := uint32(seq - 1); i%3 != 0 {
			want = i + ttlNever
		}
		expect(t, fmt.Sprint("time to live of ", seq), b.ttlAt(int(seq-b.first)), want)
	}
}
