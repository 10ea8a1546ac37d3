package machine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestStepsDoNotGrow publishes to a stream whose oldest messages age out at the same
// rate, and counts what one entry ages out and what a checkpoint hands out. Neither
// depends on how much the stream holds.
func TestStepsDoNotGrow(t *testing.T) {
	const perEntry, entriesPerCheckpoint = 64, 16
	measure := func(entries int) (aged, puts int) {
		w := newWorld(t)
		s := w.stream("S", func(c *server.StreamConfig) {
			c.MaxAge, c.Duplicates = time.Duration(entries)*time.Second, time.Second
		})
		for i := range 2 * entries {
			before := s.msgs
			for range perEntry {
				w.batch.Publish(s.incarnation, []byte("s.a"), nil, nil)
			}
			w.pass(time.Second)
			w.apply()
			if i <= entries { // it is still being filled
				if i%entriesPerCheckpoint == 0 {
					w.machine.Checkpoint()
				}
				continue
			}
			aged = max(aged, int(before+perEntry-s.msgs))
			if i%entriesPerCheckpoint == 0 {
				changed, deletes := w.machine.Checkpoint()
				puts = max(puts, len(changed)+len(deletes))
				w.machine.Dead(w.index)
			}
		}
		// All of the rest is due at once.
		w.pass(time.Hour * 24)
		for s.msgs > 0 {
			before := s.msgs
			w.tick()
			aged = max(aged, int(before-s.msgs))
		}
		return aged, puts
	}
	agedFew, putsFew := measure(200)
	agedMany, putsMany := measure(1600)
	expect(t, "messages that one entry ages out", agedMany, agedFew)
	expect(t, "that is the bound", agedMany, expirySteps)
	if putsMany > putsFew+2 { // the page of the sizes of entries may be two
		t.Errorf("a checkpoint of a stream eight times as large hands out %d values, %d of the smaller one", putsMany, putsFew)
	}
}

// TestCaptureStepsDoNotGrow overwrites keys at random and counts what a step of a
// checkpoint hands out, while entries are applied between the steps: a whole checkpoint
// has more values the more keys there are, a step has not.
func TestCaptureStepsDoNotGrow(t *testing.T) {
	const work = 100
	measure := func(keys int) (begin, step, total int) {
		w := newWorld(t)
		s := w.stream("S", func(c *server.StreamConfig) { c.MaxMsgsPer = 1 })
		random := rand.New(rand.NewPCG(1, 2))
		overwrite := func(n int) {
			for range n {
				w.batch.Publish(s.incarnation, fmt.Appendf(nil, "s.%d", random.IntN(keys)), nil, nil)
			}
			w.apply()
		}
		for key := range keys {
			w.batch.Publish(s.incarnation, fmt.Appendf(nil, "s.%d", key), nil, nil)
		}
		w.apply()
		for range 3 {
			for range 20 {
				overwrite(200)
			}
			w.machine.BeginCheckpoint()
			begin = max(begin, len(w.machine.capture.puts))
			for captured := (*Captured)(nil); captured == nil; {
				c := w.machine.capture
				before := len(c.puts)
				captured = w.machine.Capture(work)
				step = max(step, len(c.puts)-before)
				total = max(total, len(c.puts))
				overwrite(2)
			}
		}
		return begin, step, total
	}
	beginFew, stepFew, totalFew := measure(1_000)
	beginMany, stepMany, totalMany := measure(8_000)
	if totalMany < 2*totalFew || totalMany < 5*stepMany {
		t.Errorf("a checkpoint of %d values in steps of %d, and one of %d: that shows nothing", totalMany, stepMany, totalFew)
	}
	if beginMany > beginFew+2 { // the page of the sizes of entries may be two
		t.Errorf("%d values at the beginning of a checkpoint, %d with an eighth of the keys", beginMany, beginFew)
	}
	if stepMany > work+2 || stepFew > work+2 { // a block has two values
		t.Errorf("steps of %d and %d values, for work that allows %d", stepMany, stepFew, work)
	}
}
