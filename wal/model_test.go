package wal

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"

	"holdfast/protocol"
)

// model is a store as a child would write it: everything in maps, nothing on a disk.
type model struct {
	meta    Meta
	entries map[uint64]protocol.Entry // those that are there
	marks   []protocol.Mark           // one for every index, from 1
	pairs   map[string]string

	dying      []uint64 // entries that are dead and may be there
	dropPieces int      // Options.DropPieces; zero: all of them go at once
}

func (m *model) apply(w *protocol.Write) {
	if len(w.Entries) > 0 {
		first := w.Entries[0].Index
		maps.DeleteFunc(m.entries, func(index uint64, _ protocol.Entry) bool { return index >= first })
		m.marks = m.marks[:first-1]
		for _, e := range w.Entries {
			m.entries[e.Index] = e
			mark := protocol.Mark{Index: e.Index, Term: e.Term, Lineage: e.Lineage}
			if n := len(m.marks); n > 0 && m.marks[n-1].Term == e.Term && m.marks[n-1].Lineage == e.Lineage {
				mark.Index = m.marks[n-1].Index
			}
			m.marks = append(m.marks, mark)
		}
	}
	if w.HardState != nil {
		m.meta.HardState = *w.HardState
	}
	if w.Promise != nil {
		m.meta.Promise = *w.Promise
		if *w.Promise != (protocol.Attempt{}) && !slices.Contains(m.meta.Granted, *w.Promise) {
			m.meta.Granted = append(slices.Clone(m.meta.Granted), *w.Promise)
		}
	}
	if w.Identity != nil {
		m.meta.Identity = *w.Identity
		m.meta.Granted = nil
	}
	if c := w.Checkpoint; c != nil {
		for _, pair := range c.Puts {
			m.pairs[string(pair.Key)] = string(pair.Value)
		}
		for _, key := range c.Deletes {
			delete(m.pairs, string(key))
		}
		m.dying = append(m.dying, c.Dead...)
		m.meta.CheckpointIndex, m.meta.Horizon = c.Index, c.Horizon
		m.meta.Configuration, m.meta.Epoch, m.meta.Foundings, m.meta.Stamp = c.Configuration, c.Epoch, c.Foundings, c.Stamp
	}
	if w.Drop {
		m.drop()
	}
}

// drop lets a portion of the dead entries go.
func (m *model) drop() {
	for dropped := 0; len(m.dying) > 0 && (m.dropPieces == 0 || dropped < m.dropPieces); m.dying = m.dying[1:] {
		e, there := m.entries[m.dying[0]]
		if dropped++; there {
			dropped += int(pieces(uint32(len(e.Data)))) - 1
		}
		delete(m.entries, e.Index)
	}
}

// picture is what a store that equals the model must look like.
func (m *model) picture() picture {
	p := picture{meta: m.meta, first: m.meta.Horizon + 1, last: uint64(len(m.marks))}
	p.marks = append([]protocol.Mark{{}}, append(slices.Clone(m.marks), protocol.Mark{})...)
	for _, key := range slices.Sorted(maps.Keys(m.pairs)) {
		p.pairs = append(p.pairs, pair(key, m.pairs[key]))
	}
	for _, index := range slices.Sorted(maps.Keys(m.entries)) {
		p.entries = append(p.entries, m.entries[index])
	}
	return p
}

// same compares without the counters, and without telling nil from empty.
func same(got, want picture) error {
	got.meta.Counter, want.meta.Counter = 0, 0
	a, b := fmt.Sprintf("%+v", got.meta), fmt.Sprintf("%+v", want.meta)
	if a != b {
		return fmt.Errorf("meta:\n%s, want\n%s", a, b)
	}
	if got.first != want.first || got.last != want.last || !slices.Equal(got.marks, want.marks) {
		return fmt.Errorf("log from %d to %d, want %d to %d; marks %v, want %v", got.first, got.last, want.first, want.last, got.marks, want.marks)
	}
	if len(got.pairs) != len(want.pairs) || len(got.entries) != len(want.entries) {
		return fmt.Errorf("%d pairs, want %d; %d entries, want %d", len(got.pairs), len(want.pairs), len(got.entries), len(want.entries))
	}
	for i := range got.pairs {
		if string(got.pairs[i].Key) != string(want.pairs[i].Key) || string(got.pairs[i].Value) != string(want.pairs[i].Value) {
			return fmt.Errorf("pair %q", want.pairs[i].Key)
		}
	}
	for i := range got.entries {
		if err := sameEntry(got.entries[i], want.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// randomWrite is a write that the model allows now.
func (m *model) randomWrite(random *rand.Rand) *protocol.Write {
	w := &protocol.Write{}
	last := uint64(len(m.marks))
	protected := max(m.meta.HardState.Commit, m.meta.CheckpointIndex)
	if random.IntN(10) < 7 {
		first := last + 1
		if random.IntN(5) == 0 {
			first -= random.Uint64N(last - min(last, protected) + 1)
		}
		term := uint64(1)
		if last > 0 {
			term = m.marks[last-1].Term
		}
		if first <= last || random.IntN(8) == 0 {
			term++
		}
		size := random.IntN([]int{10, 200, 3000, 20_000}[random.IntN(4)])
		w.Entries = batches(first, 1+random.IntN(4), term, size)
		last = first + uint64(len(w.Entries)) - 1
	}
	if random.IntN(3) == 0 {
		commit := protected + random.Uint64N(last-min(last, protected)+1)
		w.HardState = &protocol.HardState{Term: random.Uint64N(9), Vote: protocol.StoreID(random.Uint64N(3)), Commit: commit, Release: random.Uint64N(commit + 1)}
	}
	if random.IntN(20) == 0 {
		w.Promise = &protocol.Attempt{Epoch: random.Uint64N(5), ID: protocol.AttemptID(random.Uint64())}
	}
	if random.IntN(40) == 0 {
		w.Identity = &protocol.Identity{Store: protocol.StoreID(1 + random.Uint64()>>1), Lineage: lineage}
	}
	if random.IntN(6) == 0 && last > 0 {
		w.Checkpoint, w.Drop = m.randomCheckpoint(random, last), true
	}
	return w
}

func (m *model) randomCheckpoint(random *rand.Rand, last uint64) *protocol.Checkpoint {
	c := &protocol.Checkpoint{Epoch: random.Uint64N(4), Stamp: random.Int64N(1e9)}
	c.Index = m.meta.CheckpointIndex + random.Uint64N(last-min(last, m.meta.CheckpointIndex)+1)
	c.Horizon = m.meta.Horizon + random.Uint64N(c.Index-m.meta.Horizon+1)
	c.Configuration = protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: protocol.StoreID(random.Uint64N(9))})
	for range random.IntN(6) {
		key := fmt.Sprintf("key %d", random.IntN(30))
		c.Puts = append(c.Puts, pair(key, string(content(random.Uint64(), 0, random.IntN([]int{20, 2000, 60_000}[random.IntN(3)])))))
	}
	for range random.IntN(3) {
		c.Deletes = append(c.Deletes, fmt.Appendf(nil, "key %d", random.IntN(30)))
	}
	for index := uint64(1); index <= c.Horizon; index++ {
		if random.IntN(4) == 0 {
			c.Dead = append(c.Dead, index)
		}
	}
	return c
}

// The store against its naive twin: random writes, orderly restarts, and
// processes that end at a random point between two commits.
func TestStoreEqualsModel(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			path, small := t.TempDir(), small
			small.DropPieces = 7
			if seed%2 == 1 {
				small.JournalBytes = 1 << 20 // nearly everything goes there
			}
			d := openDir(t, path, small)
			s := openStoreIn(t, d)
			m := &model{entries: map[uint64]protocol.Entry{}, pairs: map[string]string{}, dropPieces: small.DropPieces}
			m.meta = s.Meta()
			m.meta.Boot = 0
			for step := range 100 {
				var writes []*protocol.Write
				for range 1 + random.IntN(3) {
					w := m.randomWrite(random)
					w.Drop = random.IntN(3) == 0
					m.apply(w)
					writes = append(writes, w)
				}
				commit(t, s, writes...)
				switch random.IntN(12) {
				case 0: // an orderly restart
					s.Close()
					s = openStoreIn(t, d)
					m.dying = nil
				case 1: // the process ends: a copy of the folder is what is left
					path = copyFolder(t, path)
					d.abandon()
					d = openDir(t, path, small)
					s = openStoreIn(t, d)
					m.dying = nil
				case 2, 3:
				default:
					continue
				}
				got, err := look(s)
				if err == nil {
					err = same(got, m.picture())
				}
				if !slices.Equal(s.Dying(), m.dying) {
					t.Errorf("step %d: entries %d are dead and there, want %d", step, s.Dying(), m.dying)
				}
				if err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
			}
		})
	}
}

func copyFolder(t *testing.T, path string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestPresenceEqualsASet(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	p, set := newPresence(), map[uint64]bool{}
	for range 3000 {
		index := random.Uint64N(20_000) + 1
		if random.IntN(3) == 0 {
			last := index + random.Uint64N(50)
			p.set(index, last)
			for at := index; at <= last; at++ {
				set[at] = true
			}
		} else {
			p.clear(index)
			delete(set, index)
		}
	}
	lo, hi := uint64(3000), uint64(15_001)
	var got []uint64
	if err := p.each(lo, hi, func(index uint64) error { got = append(got, index); return nil }); err != nil {
		t.Fatal(err)
	}
	want := slices.SortedFunc(maps.Keys(set), cmp.Compare[uint64])
	want = slices.DeleteFunc(want, func(index uint64) bool { return index < lo || index >= hi })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d indices, want %d", len(got), len(want))
	}
	for at := range uint64(20_100) {
		if p.has(at) != set[at] {
			t.Errorf("%d: %v", at, p.has(at))
		}
	}
}
