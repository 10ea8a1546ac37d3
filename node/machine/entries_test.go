package machine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestEntryTableAgainstMap(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	var table entryTable
	model := make(map[uint64]int)
	var living []uint64 // one per live message
	present := make(map[uint64]bool)
	entry, horizon := uint64(1), uint64(0)
	for step := range 60_000 {
		switch n := random.IntN(10); {
		case n < 4 || n < 6 && step < 30_000: // fills up first, then thins out
			if entry += uint64(random.IntN(8)); random.IntN(2000) == 0 {
				entry += 20_000
			}
			for e := entry - min(entry-1, 10); e <= entry; e++ {
				present[e] = present[e] || e > horizon
			}
			present[entry] = true
			table.add(entry, 100, 50)
			model[entry]++
			living = append(living, entry)
		case len(living) > 0:
			i := random.IntN(len(living))
			e := living[i]
			living[i] = living[len(living)-1]
			living = living[:len(living)-1]
			table.remove(e, 1, 50)
			model[e]--
		}
		if step%500 == 0 {
			horizon = max(horizon, entry-min(entry, uint64(random.IntN(1000))))
			for _, e := range table.dead(horizon) {
				expect(t, fmt.Sprint("live messages of dead entry ", e), model[e], 0)
				delete(present, e)
			}
			for e := range present {
				expect(t, fmt.Sprint("entry ", e), table.live(e), model[e])
				if e <= horizon && model[e] == 0 {
					t.Fatalf("dead entry %d was not reported", e)
				}
			}
		}
	}
}

func TestSparseEntriesAreSmall(t *testing.T) {
	var table entryTable
	before := heap()
	const entries = 1_000_000
	for entry := uint64(1); entry <= entries; entry++ {
		table.add(entry, 100, 50)
		if entry > 1 && entry%1000 != 2 { // one in a thousand lives on
			table.remove(entry-1, 1, 50)
		}
	}
	if per := float64(heap()-before) / (entries / 1000); per > 100 {
		t.Errorf("%.0f bytes per entry that lives on", per)
	}
	expect(t, "live", table.live(1001), 1)
}

// An entry whose messages went, and then those of earlier entries in its segment,
// takes another message: in one batch, with two streams.
func TestAnEntryWhoseSegmentIsGoneGoesOn(t *testing.T) {
	w := newWorld(t)
	a, b := w.stream("A"), w.stream("B")
	w.publish(a, "a.1")
	w.batch.Publish(b.Incarnation(), []byte("b.1"), nil, []byte("x"))
	w.batch.PurgeStream(b.Incarnation(), server.JSApiStreamPurgeRequest{})
	w.batch.PurgeStream(a.Incarnation(), server.JSApiStreamPurgeRequest{})
	w.batch.Publish(b.Incarnation(), []byte("b.2"), nil, []byte("x"))
	w.apply()
	expect(t, "messages", b.State().Msgs, 1)
	w.publish(a, "a.2")
	w.machine.Checkpoint()
}
