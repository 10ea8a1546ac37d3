package wal

import (
	"errors"
	"math"
	"reflect"
	"sync"
	"syscall"
	"testing"

	"holdfast/protocol"
)

func TestBlankStoreHasAnIdentityAndNothingElse(t *testing.T) {
	d, s := newStore(t)
	m := s.Meta()
	if m.Owner != owner || m.Identity.Store == 0 || !m.Identity.Lineage.Blank() || m.Boot != 1 {
		t.Fatalf("%+v", m)
	}
	if s.First() != 1 || s.Last() != 0 {
		t.Fatalf("log from %d to %d", s.First(), s.Last())
	}
	if mark, ok := s.Mark(0); !ok || mark != (protocol.Mark{}) {
		t.Fatalf("mark of 0: %v, %v", mark, ok)
	}
	if _, ok := s.Mark(1); ok {
		t.Fatal("an empty log has a mark of 1")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openStoreIn(t, d).Meta()
	if again.Identity != m.Identity || again.Boot != 2 {
		t.Fatalf("opened again: %+v", again)
	}
}

func TestEntriesOfEverySizeComeBack(t *testing.T) {
	d, s := newStore(t)
	var want []protocol.Entry
	for i, size := range []int{
		0, 1, firstBytes - 1, firstBytes, firstBytes + 1, firstBytes + pieceBytes - 1, firstBytes + pieceBytes,
		firstBytes + pieceBytes + 1, 3*pieceBytes + 17, 100_000, 1 << 20,
	} {
		want = append(want, batches(uint64(i+1), 1, uint64(i/3+1), size)...)
	}
	commit(t, s, &protocol.Write{Entries: want[:4]}, &protocol.Write{Entries: want[4:]})
	check := func(s *Store) {
		t.Helper()
		got, err := s.Entries(1, uint64(len(want))+1, math.MaxInt)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d entries, %v", len(got), err)
		}
		for i := range got {
			if err := sameEntry(got[i], want[i]); err != nil {
				t.Error(err)
			}
			mark, ok := s.Mark(got[i].Index)
			if first := uint64(i/3*3 + 1); !ok || mark != (protocol.Mark{Index: first, Term: got[i].Term, Lineage: lineage}) {
				t.Errorf("mark of %d: %v", got[i].Index, mark)
			}
		}
	}
	check(s)
	s.Close()
	check(openStoreIn(t, d))
}

func TestEntriesAreLimitedByBytesButNeverToNone(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, &protocol.Write{Entries: batches(1, 10, 1, 5000)})
	for maxBytes, want := range map[int]int{0: 1, 4999: 1, 9999: 1, 10000: 2, 30000: 6, 1 << 30: 10} {
		got, err := s.Entries(1, 11, maxBytes)
		if err != nil || len(got) != want {
			t.Errorf("%d bytes: %d entries, %v", maxBytes, len(got), err)
		}
	}
	if _, err := s.Entries(5, 12, 1); !errors.Is(err, ErrNotPresent) {
		t.Errorf("above the last entry: %v", err)
	}
}

func TestEntriesReplaceTheSuffixOfTheLog(t *testing.T) {
	d, s := newStore(t)
	commit(t, s, &protocol.Write{Entries: batches(1, 5, 1, 3000)})
	commit(t, s, &protocol.Write{Entries: batches(6, 5, 2, 9000)})
	commit(t, s, &protocol.Write{Entries: batches(4, 2, 3, 100)})
	s.Close()
	s = openStoreIn(t, d)
	if s.Last() != 5 {
		t.Fatalf("last %d", s.Last())
	}
	want := append(batches(1, 3, 1, 3000), batches(4, 2, 3, 100)...)
	got, err := s.Entries(1, 6, math.MaxInt)
	if err != nil || len(got) != 5 {
		t.Fatal(len(got), err)
	}
	for i := range got {
		if err := sameEntry(got[i], want[i]); err != nil {
			t.Error(err)
		}
	}
	if mark, _ := s.Mark(5); mark != (protocol.Mark{Index: 4, Term: 3, Lineage: lineage}) {
		t.Errorf("mark of 5: %v", mark)
	}
}

func TestCheckpointKeepsPairsAndLetsDeadEntriesGo(t *testing.T) {
	d, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 9, 1, 3000)})
	commit(t, s, checkpointAt(6, []uint64{2, 3, 5}, pair("a", "1"), pair("b", "2"), pair("c", "")))
	w := checkpointAt(8, []uint64{8}, pair("b", "22"), pair("d", "4"))
	w.Checkpoint.Deletes = [][]byte{[]byte("a"), []byte("never there")}
	commit(t, s, w)
	s.Close()
	s = openStoreIn(t, d)

	got := map[string]string{}
	if err := s.LoadCheckpoint(func(key, value []byte) error { got[string(key)] = string(value); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"b": "22", "c": "", "d": "4"}; !reflect.DeepEqual(got, want) {
		t.Errorf("pairs %v", got)
	}
	var there []uint64
	if err := s.Indices(1, 100, func(index uint64) error { there = append(there, index); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{1, 4, 6, 7, 9, 10}; !reflect.DeepEqual(there, want) {
		t.Errorf("entries %v", there)
	}
	m := s.Meta()
	if m.CheckpointIndex != 8 || m.Horizon != 8 || m.Stamp != 8000 || m.Epoch != 1 || len(m.Foundings) != 1 || len(m.Configuration.Voters) != 2 {
		t.Errorf("%+v", m)
	}
	if s.First() != 9 {
		t.Errorf("first %d", s.First())
	}
	if _, err := s.Entries(8, 10, 1); !errors.Is(err, ErrCompacted) {
		t.Errorf("below first: %v", err)
	}
	err := s.View(func(r *Reader) error {
		if _, err := r.Read(nil, 3, 0, 10); !errors.Is(err, ErrNotPresent) {
			t.Errorf("dead entry: %v", err)
		}
		if _, err := r.Read(nil, 11, 0, 10); !errors.Is(err, ErrNotPresent) {
			t.Errorf("after the end: %v", err)
		}
		data, err := r.Read(nil, 4, 2000, 500)
		if want := content(4, 1, 3000)[2000:2500]; string(data) != string(want) {
			t.Errorf("live entry: %v", err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestInvalidWritesChangeNothing(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 9, 1, 10), HardState: &protocol.HardState{Term: 1, Commit: 5, Release: 5}})
	commit(t, s, checkpointAt(4, nil))
	before := s.Meta()
	gap := batches(11, 2, 1, 1)
	gap[1].Index = 13
	for name, w := range map[string]*protocol.Write{
		"entry 0":                 {Entries: batches(0, 1, 1, 1)},
		"hole after the last":     {Entries: batches(12, 1, 1, 1)},
		"hole inside":             {Entries: gap},
		"committed entry":         {Entries: batches(5, 8, 2, 1)},
		"release above commit":    {HardState: &protocol.HardState{Commit: 6, Release: 7}},
		"checkpoint in future":    checkpointAt(11, nil),
		"checkpoint goes back":    checkpointAt(3, nil),
		"dead above horizon":      checkpointAt(5, []uint64{6}),
		"pair without a key":      checkpointAt(5, nil, pair("", "x")),
		"pair that is too long":   checkpointAt(5, nil, protocol.Pair{Key: []byte("x"), Value: make([]byte, maxPairValueBytes+1)}),
		"horizon above its index": {Checkpoint: &protocol.Checkpoint{Index: 5, Horizon: 6}},
	} {
		if err := s.Commit(&protocol.Write{Promise: &protocol.Attempt{Epoch: 9, ID: 9}}, w); !errors.Is(err, ErrInvalidWrite) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := s.Meta(); !reflect.DeepEqual(before, after) || s.Last() != 10 {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestCounterRisesWithWhatAStatusTells(t *testing.T) {
	_, s := newStore(t)
	step := func(name string, rises bool, w *protocol.Write) {
		t.Helper()
		before := s.Meta().Counter
		commit(t, s, w)
		if after := s.Meta().Counter; (after > before) != rises {
			t.Errorf("%s: %d to %d", name, before, after)
		}
	}
	step("identity", true, founded())
	step("entries", true, &protocol.Write{Entries: batches(2, 3, 1, 10)})
	step("term", true, &protocol.Write{HardState: &protocol.HardState{Term: 2}})
	step("vote", true, &protocol.Write{HardState: &protocol.HardState{Term: 2, Vote: 9}})
	step("watermarks", false, &protocol.Write{HardState: &protocol.HardState{Term: 2, Vote: 9, Commit: 4, Release: 3}})
	step("checkpoint", false, checkpointAt(3, nil))
	step("promise", true, &protocol.Write{Promise: &protocol.Attempt{Epoch: 3, ID: 3}})
	step("nothing", false, &protocol.Write{})
}

// A reader sees one moment, whole, whatever is committed meanwhile: an entry
// with its own term and data, never parts of two.
func TestReadersSeeOneCommitWhileOthersAreMade(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 20, 1, 5000)})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				entries, err := s.Entries(11, 21, math.MaxInt)
				if errors.Is(err, ErrNotPresent) {
					continue // the log is shorter at the moment
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range entries {
					if err := sameEntry(e, batches(e.Index, 1, e.Term, 5000)[0]); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for term := uint64(2); term < 40; term++ {
		first := 11 + term%5
		commit(t, s, &protocol.Write{Entries: batches(first, int(21-first+term%2), term, 5000)})
	}
	close(stop)
	readers.Wait()
}

func TestSpaceOfDeadEntriesIsUsedAgain(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded())
	next, largest := uint64(2), int64(0)
	for round := range 60 {
		commit(t, s, &protocol.Write{Entries: batches(next, 10, 1, 20_000)})
		next += 10
		var dead []uint64
		for index := max(next, 22) - 20; index < max(next, 22)-10; index++ {
			dead = append(dead, index)
		}
		commit(t, s, checkpointAt(next-1, dead, pair("key", string(content(next, 1, 5000)))))
		if round == 10 {
			largest = s.Size()
		}
	}
	if size := s.Size(); size > largest {
		t.Errorf("the file grew from %d to %d bytes", largest, size)
	}
}

func TestReadersReadAnyPartOfAnEntry(t *testing.T) {
	_, s := newStore(t)
	entries := batches(1, 3, 1, 2*pieceBytes+firstBytes+5)
	commit(t, s, &protocol.Write{Entries: entries})
	err := s.View(func(r *Reader) error {
		size := uint32(len(entries[0].Data))
		for _, offset := range []uint32{0, 1, firstBytes - 1, firstBytes, firstBytes + 1, firstBytes + pieceBytes, size - 1, size} {
			for _, length := range []uint32{0, 1, 2, pieceBytes, pieceBytes + 1, size} {
				for _, e := range entries {
					got, err := r.Read([]byte("before"), e.Index, offset, length)
					if offset+length > size {
						if !errors.Is(err, ErrNotPresent) {
							t.Errorf("[%d:+%d] of %d: %v", offset, length, size, err)
						}
						continue
					}
					if want := "before" + string(e.Data[offset:offset+length]); string(got) != want || err != nil {
						t.Errorf("entry %d [%d:+%d]: wrong bytes, %v", e.Index, offset, length, err)
					}
				}
			}
		}
		_, err := r.Read(nil, 2, math.MaxUint32, math.MaxUint32)
		if !errors.Is(err, ErrNotPresent) {
			t.Errorf("far outside: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// How far the check of a large store is, is told while it is opened.
func TestOpeningTellsHowFarItIs(t *testing.T) {
	const file = 2*toldPages*pageSize + 4<<20
	var last int64
	opt := small
	opt.Opening = func(done, total int64) {
		if done <= last || done > total || total < file {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last = done
	}
	d := openDir(t, t.TempDir(), opt)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	const size = file / 16
	data := make([]byte, size)
	for index := uint64(2); index < 18; index++ {
		entry := protocol.Entry{Index: index, Term: 1, Lineage: lineage, Kind: protocol.KindBatch, Data: data}
		commit(t, s, &protocol.Write{Entries: []protocol.Entry{entry}})
	}
	if last != 0 {
		t.Errorf("told of %d bytes of a small store", last)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStoreIn(t, d)
	if last != 2*toldPages*pageSize {
		t.Errorf("told of %d bytes at last", last)
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	_, s := newStore(t)
	s.Close()
	if err := s.Commit(founded()); !errors.Is(err, ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if err := s.View(func(*Reader) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestReserveHasItsBlocks: what is kept for deletes is in the file already, so that
// nobody else can take it from the disk.
func TestReserveHasItsBlocks(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded())
	commit(t, s, &protocol.Write{Entries: batches(2, 12, 1, 1<<20)})
	var info syscall.Stat_t
	if err := syscall.Stat(s.Path(), &info); err != nil {
		t.Fatal(err)
	}
	if reserve, spare := s.Reserve(), 512*info.Blocks-s.db.used.Load()-12<<20; reserve < 4<<20 || spare < reserve-1<<20 {
		t.Errorf("%d bytes are kept in reserve, %d are in the file", reserve, spare)
	}
}

func TestRoomShrinksAndTheLimitIsTold(t *testing.T) {
	d := openDir(t, t.TempDir(), Options{MapBytes: 1 << 20, MaxBytes: 4 << 20})
	s := openStoreIn(t, d)
	commit(t, s, founded())
	room, next := s.Room(), uint64(2)
	if room <= 0 || room > 4<<20 {
		t.Fatalf("room for %d bytes of 4 MiB", room)
	}
	var err error
	for ; next < 100 && err == nil; next++ {
		err = s.Commit(&protocol.Write{Entries: batches(next, 1, 1, 256<<10)})
	}
	if !errors.Is(err, ErrDiskFull) || s.Room() >= room/2 || s.Size() > 5<<20 {
		t.Fatalf("%v with room for %d bytes in %d", err, s.Room(), s.Size())
	}
	// What makes room must still go through, and then there is room again.
	last := s.Last()
	var dead []uint64
	for index := uint64(2); index < last; index++ {
		dead = append(dead, index)
	}
	commit(t, s, checkpointAt(last, dead))
	commit(t, s, &protocol.Write{Entries: batches(last+1, 1, 1, 256<<10)})
	if err := s.Verify(1, last+2); err != nil {
		t.Fatal(err)
	}
}
