package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"holdfast/protocol"
)

// roomy is a journal in which a test's commits stay.
var roomy = Options{MapBytes: 1 << 20, JournalBytes: 1 << 20}

// journaled returns a store of which the last commits are in the journal only.
func journaled(t *testing.T) (*Dir, *Store) {
	t.Helper()
	d := openDir(t, t.TempDir(), roomy)
	s := openStoreIn(t, d)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 8, 1, 700)})
	for index := uint64(10); index < 20; index++ {
		commit(t, s, &protocol.Write{
			Entries:   batches(index, 2, index/4, 300*int(index)),
			HardState: &protocol.HardState{Term: index / 4, Commit: 5, Release: 4},
		})
	}
	// The last one is replaced, also where the database has it.
	commit(t, s, &protocol.Write{Entries: batches(8, 4, 9, 2000)})
	if s.db.open == nil || s.journal.next == s.journal.from+blockBytes {
		t.Fatal("nothing is in the journal")
	}
	return d, s
}

func lookAt(t *testing.T, s *Store) picture {
	t.Helper()
	p, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// openAgain opens the folder as the next process does.
func openAgain(t *testing.T, path string) (picture, error) {
	t.Helper()
	d, err := OpenDir(path, owner, roomy)
	if err != nil {
		t.Fatal(err)
	}
	defer d.abandon()
	s, err := d.Open()
	if err != nil {
		return picture{}, err
	}
	return look(s)
}

func TestFramesAreAppliedAgain(t *testing.T) {
	d, s := journaled(t)
	want, counter := lookAt(t, s), s.Meta().Counter
	path := copyFolder(t, d.path)
	got, err := openAgain(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) || got.meta.Counter != counter {
		t.Errorf("after the end of the process: %+v, want %+v", got.meta, want.meta)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := surveyFile(s.Path())
	if err != nil || len(found.frames) > 0 || found.head.last != want.last {
		t.Errorf("closed: %d frames are left, last entry %d of %d, %v", len(found.frames), found.head.last, want.last, err)
	}
}

// A power failure while the last frame is written leaves any of its sectors.
func TestTornFrame(t *testing.T) {
	d, s := journaled(t)
	before, folder := lookAt(t, s), copyFolder(t, d.path)
	last := s.Last()
	commit(t, s, &protocol.Write{Entries: batches(last+1, 3, 9, 3000)})
	after := lookAt(t, s)
	whole, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, filepath.Base(s.Path()))
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old = append(old, make([]byte, max(0, len(whole)-len(old)))...) // it may have grown
	lock, err := os.ReadFile(filepath.Join(folder, lockName))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	torn := 0
	for range 25 {
		mixed := bytes.Clone(old)
		share := []float64{0.1, 0.5, 0.95}[random.IntN(3)]
		for at := 0; at < len(whole); at += 512 {
			if random.Float64() < share {
				copy(mixed[at:at+512], whole[at:])
			}
		}
		for name, content := range map[string][]byte{path: mixed, filepath.Join(folder, lockName): lock} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := before
		if bytes.Equal(mixed, whole) {
			want = after
		} else {
			torn++
		}
		if got, err := openAgain(t, folder); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("last entry %d, want %d: %v", got.last, want.last, err)
		}
	}
	if torn < 12 {
		t.Errorf("only %d of the frames were torn", torn)
	}
}

// A bit of a frame that was synced is damage, and never a log that ends earlier.
func TestFlippedBitInTheJournal(t *testing.T) {
	d, s := journaled(t)
	from, next := s.journal.from+blockBytes, s.journal.next
	folder := copyFolder(t, d.path)
	path := filepath.Join(folder, filepath.Base(s.Path()))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := lookAt(t, s)
	random := rand.New(rand.NewPCG(3, 4))
	named := 0
	for range 40 {
		copied := copyFolder(t, folder)
		at, bit := from+random.Int64N(next-from), byte(1)<<random.IntN(8)
		flipByte(t, filepath.Join(copied, filepath.Base(path)), at, whole[at]^bit)
		got, err := openAgain(t, copied)
		switch {
		case isDamage(err):
			named++
		case err != nil || !reflect.DeepEqual(got, want): // else it was behind the end of a frame
			t.Fatalf("last entry %d, want %d: %v", got.last, want.last, err)
		}
	}
	if named < 20 {
		t.Errorf("only %d of 40 flips were noticed", named)
	}
}

func flipByte(t *testing.T, path string, at int64, to byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{to}, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Without the mark, as after a loss of power, only the last frame can go unnoticed.
func TestFlippedBitWithoutTheMark(t *testing.T) {
	d, s := journaled(t)
	lastFrame := s.journal.next
	commit(t, s, &protocol.Write{Entries: batches(s.Last()+1, 1, 9, 100)})
	path := filepath.Join(copyFolder(t, d.path), filepath.Base(s.Path()))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at      int64
		damaged bool
	}{{lastFrame, false}, {lastFrame - blockBytes, true}, {s.journal.from + blockBytes + 40, true}} {
		flipByte(t, path, c.at, whole[c.at]^1)
		found, err := surveyFile(path)
		if (err != nil) != c.damaged {
			t.Errorf("byte %d: %d frames, %v", c.at, len(found.frames), err)
		}
		flipByte(t, path, c.at, whole[c.at])
	}
}

// An older file under the same name is noticed by the mark.
func TestJournalThatWentBack(t *testing.T) {
	d, s := journaled(t)
	old, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, &protocol.Write{Entries: batches(s.Last()+1, 1, 9, 100)})
	folder := copyFolder(t, d.path)
	if err := os.WriteFile(filepath.Join(folder, filepath.Base(s.Path())), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openAgain(t, folder); !isDamage(err) || !strings.Contains(err.Error(), "journal") {
		t.Errorf("%v", err)
	}
}

// The power fails after the journal was made and before it had its tag. It gets one
// then: no two journals may have the same, or the mark of one would speak of the
// other.
func TestJournalWithoutATag(t *testing.T) {
	d := openDir(t, t.TempDir(), roomy)
	s := openStoreIn(t, d)
	at := s.journal.from
	s.Close()
	f, err := os.OpenFile(s.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, tagBytes), at); err != nil {
		t.Fatal(err)
	}
	s = openStoreIn(t, d)
	if s.journal.tag == [tagBytes]byte{} {
		t.Error("the journal has no tag")
	}
	commit(t, s, founded())
	d.abandon()
	if p, err := openAgain(t, d.path); err != nil || p.last != 1 {
		t.Errorf("last %d, %v", p.last, err)
	}
}

// The journal is folded into the database when it is full, again and again.
func TestFullJournal(t *testing.T) {
	d := openDir(t, t.TempDir(), small)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	folds, open := 0, false
	for index := uint64(2); index < 120; index++ {
		commit(t, s, &protocol.Write{Entries: batches(index, 1, 1, 400)})
		if open && s.db.open == nil {
			folds++
		}
		open = s.db.open != nil
	}
	if folds < 5 {
		t.Errorf("folded %d times", folds)
	}
	want := lookAt(t, s)
	if got, err := openAgain(t, copyFolder(t, d.path)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("last entry %d of %d, %v", got.last, want.last, err)
	}
}

// A fold that finds no room changes nothing, and is made when there is room.
func TestFoldWithoutRoom(t *testing.T) {
	full := false
	opt := roomy
	opt.Before = func(operation, path string) error {
		if full && operation == "commit" && !strings.HasSuffix(path, temporarySuffix) {
			return ErrDiskFull
		}
		return nil
	}
	d := openDir(t, t.TempDir(), opt)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	commit(t, s, &protocol.Write{Entries: batches(2, 4, 1, 500)})
	want := lookAt(t, s)
	full = true
	for range 2 {
		if err := s.Commit(&protocol.Write{Entries: batches(6, 1, 1, 500)}); !errors.Is(err, ErrDiskFull) {
			t.Fatal(err)
		}
		if got := lookAt(t, s); !reflect.DeepEqual(got, want) {
			t.Fatalf("last entry %d, want %d", got.last, want.last)
		}
	}
	full = false
	commit(t, s, &protocol.Write{Entries: batches(6, 1, 1, 500)})
	want = lookAt(t, s)
	if got, err := openAgain(t, copyFolder(t, d.path)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("last entry %d of %d, %v", got.last, want.last, err)
	}
}

// What is in the journal is read from a stopped store, too, and is not lost when
// that is compacted.
func TestStoppedWithFrames(t *testing.T) {
	d, s := journaled(t)
	want := lookAt(t, s)
	folder := copyFolder(t, d.path)
	check := func(when string) {
		t.Helper()
		path := filepath.Join(folder, filepath.Base(s.Path()))
		if names, err := filepath.Glob(filepath.Join(folder, "store-*.db")); err == nil && len(names) == 1 {
			path = names[0]
		}
		entries, faults, _ := salvaged(t, path)
		if len(entries) != len(want.entries) || len(faults) > 0 {
			t.Fatalf("%s: %d entries, want %d; %q", when, len(entries), len(want.entries), faults)
		}
		for _, e := range want.entries {
			if err := sameEntry(entries[e.Index], e); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	check("stopped")
	if _, _, err := Compact(folder, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	check("compacted")
	if got, err := openAgain(t, folder); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("last entry %d of %d, %v", got.last, want.last, err)
	}
}

// Frames are found even where nothing leads to them any more.
func TestFramesWithoutTheTree(t *testing.T) {
	d, s := journaled(t)
	want := lookAt(t, s)
	path := filepath.Join(copyFolder(t, d.path), filepath.Base(s.Path()))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, 2*pageSize), 0) // both meta pages
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	entries, faults, _ := salvaged(t, path)
	if len(faults) == 0 {
		t.Error("nothing is said to be wrong")
	}
	for _, e := range want.entries {
		if err := sameEntry(entries[e.Index], e); err != nil {
			t.Error(err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	w := &protocol.Write{Entries: batches(3, 2, 1, 50), HardState: &protocol.HardState{Term: 1, Commit: 2, Release: 1}}
	body, _ := appendWrite(make([]byte, 0, 4096), w)
	f.Add(append(body, appendHead(nil, &head{last: 4, frames: 1})...), uint64(1))
	f.Fuzz(func(t *testing.T, body []byte, number uint64) {
		made := frame{number: number, version: frameVersion, body: body}
		if writes, h, err := made.writes(); err == nil {
			again := make([]byte, 0, 2*len(body)+4096)
			for _, w := range writes {
				again, _ = appendWrite(again, w)
			}
			made.body = append(again, appendHead(nil, &h)...)
			if twice, _, err := made.writes(); err != nil || !reflect.DeepEqual(twice, writes) {
				t.Errorf("written and read again: %v", err)
			}
		}
		area := make([]byte, 3*blockBytes)
		copy(area[blockBytes:], body)
		_, _ = pendingFrames(area, number)
	})
}
