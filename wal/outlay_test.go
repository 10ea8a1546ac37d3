package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// outlayShapes are checkpoints as the state machine makes them, and some that it does not.
var outlayShapes = []struct {
	name string
	// keys there are; sizes of a value, evenly between; puts and deletes of a checkpoint.
	keys, least, most, puts, deletes int
	// neighbours: the keys of a checkpoint follow each other.
	neighbours bool
	usual      bool // the estimate is to be close
}{
	{"liveness anywhere", 4000, 128, 140, 700, 0, false, true},
	{"liveness of a few", 4000, 128, 140, 10, 0, false, true},
	{"subjects, and new ones", 400, 500, 3000, 40, 0, true, true},
	{"pages of subjects", 300, 9000, 10000, 20, 0, false, true},
	{"blocks", 200, 15000, 25000, 20, 4, false, true},
	{"blocks that come and go", 300, 500, 9000, 60, 60, true, true},
	{"many that go", 6000, 10, 200, 20, 600, true, false},
	{"anything", 500, 1, 20000, 40, 40, false, false},
	{"shrinking", 800, 1, 600, 300, 0, false, false},
	{"hardly anything", 5, 1, 300, 3, 1, false, false},
	{"huge", 12, 1, 1 << 20, 3, 1, false, false},
}

// TestOutlayBoundsCheckpoints commits random checkpoints. None takes more pages than was
// looked up before it, so bbolt never makes the file longer by itself, and those of the
// usual kinds take at least half of it.
func TestOutlayBoundsCheckpoints(t *testing.T) {
	for _, shape := range outlayShapes {
		t.Run(shape.name, func(t *testing.T) {
			t.Parallel()
			_, s := newStore(t)
			commit(t, s, founded())
			random := rand.New(rand.NewPCG(uint64(shape.keys), 1))
			length := int64(0) // of the file when bbolt begins to commit
			s.db.opt.disk.before = func(operation, _ string) (err error) {
				if operation == "commit" {
					length, err = s.db.size()
				}
				return err
			}
			told, taken := int64(0), int64(0)
			for round := range 60 {
				c := randomCheckpoint(random, shape.keys, shape.least, shape.most, shape.puts, shape.deletes, shape.neighbours)
				if round == 0 { // all at once
					c = randomCheckpoint(random, shape.keys, shape.least, shape.most, shape.keys, 0, true)
				}
				if shape.name == "shrinking" && round%8 == 7 {
					for i := range c.Puts {
						c.Puts[i].Value = c.Puts[i].Value[:1]
					}
				}
				var o outlay
				if err := s.outlay(&o, []*protocol.Write{{Checkpoint: c}}); err != nil {
					t.Fatal(err)
				}
				before := s.db.bolt.Stats().TxStats.PageAlloc
				commit(t, s, &protocol.Write{Checkpoint: c})
				took := s.db.bolt.Stats().TxStats.PageAlloc - before
				if took > o.bytes+overhead {
					t.Fatalf("checkpoint %d took %d bytes, %d and %d were expected at most", round, took, o.bytes, overhead)
				}
				if size, err := s.db.size(); err != nil || size != length {
					t.Fatalf("checkpoint %d: bbolt made the file %d bytes long, it had %d (%v)", round, size, length, err)
				}
				told, taken = told+o.bytes, taken+took
			}
			t.Logf("told %.2f times what was taken", float64(told)/float64(taken))
			if shape.usual && told > 2*taken {
				t.Errorf("%d bytes were expected, %d taken", told, taken)
			}
		})
	}
}

// randomCheckpoint has a part of the keys, some of them to delete.
func randomCheckpoint(random *rand.Rand, keys, least, most, puts, deletes int, neighbours bool) *protocol.Checkpoint {
	c := &protocol.Checkpoint{Index: 1, Horizon: 1}
	at := random.Perm(keys)[:min(puts+deletes, keys)]
	if neighbours {
		first := random.IntN(keys)
		for i := range at {
			at[i] = (first + i) % keys
		}
	}
	for i, n := range at {
		key := binary.BigEndian.AppendUint64(fmt.Append(nil, n%3), uint64(n))
		if i < deletes {
			c.Deletes = append(c.Deletes, key)
			continue
		}
		c.Puts = append(c.Puts, protocol.Pair{Key: key, Value: make([]byte, least+random.IntN(most-least+1))})
	}
	slices.SortFunc(c.Puts, func(a, b protocol.Pair) int { return bytes.Compare(a.Key, b.Key) })
	return c
}

// TestRunsHaveRoomBehindTheFreePages asks for more than there is behind the pages in
// use, beside many free pages: they do for single pages, not for runs.
func TestRunsHaveRoomBehindTheFreePages(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded())
	all := randomCheckpoint(rand.New(rand.NewPCG(1, 1)), 4000, 8000, 8000, 4000, 0, true)
	commit(t, s, &protocol.Write{Checkpoint: all})
	for puts := range slices.Chunk(all.Puts, 100) {
		some := &protocol.Checkpoint{Index: 1, Horizon: 1}
		for _, p := range puts {
			some.Deletes = append(some.Deletes, p.Key)
		}
		commit(t, s, &protocol.Write{Checkpoint: some})
	}
	size, used := s.Size(), int64(0)
	if err := s.db.view(func(tx *bolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	need := outlay{bytes: size - used + 1<<20}
	if free, _ := s.db.freePages(); free < need.bytes+smallestReserve {
		t.Fatalf("%d bytes are free, and %d behind", free, size-used)
	}
	if err := s.db.reserve(used, need); err != nil || s.Size() != size {
		t.Errorf("for single pages the file has grown from %d to %d bytes (%v)", size, s.Size(), err)
	}
	need.runs = need.bytes
	if err := s.db.reserve(used, need); err != nil || s.Size() < used+need.runs {
		t.Errorf("for runs of %d bytes the file has grown from %d to %d, of which %d are in use (%v)", need.runs, size, s.Size(), used, err)
	}
}
