package machine

import (
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
