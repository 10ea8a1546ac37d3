package wal

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"holdfast/protocol"
)

// salvaged reads all that can be read of a file, and how many entries cannot.
func salvaged(t *testing.T, path string) (entries map[uint64]protocol.Entry, faults []string, pairs int) {
	t.Helper()
	s, err := SalvageFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	entries = map[uint64]protocol.Entry{}
	s.Indices(func(index uint64) error {
		e, err := s.Entry(index)
		if err != nil {
			s.fault("%v", err)
			return nil
		}
		entries[index] = e
		return nil
	})
	s.Pairs(func(_, _ []byte) error {
		pairs++
		return nil
	})
	return entries, s.Faults(), pairs
}

// TestSalvageGivesWhatIsRight flips bits all over a file. What is given is what
// was written, and everything is given that does not share a page with the bit.
func TestSalvageGivesWhatIsRight(t *testing.T) {
	from := source(t)
	whole, err := look(from)
	if err != nil {
		t.Fatal(err)
	}
	path, used := from.Path(), from.db.used.Load()
	from.Close()
	if entries, faults, pairs := salvaged(t, path); len(entries) != len(whole.entries) || len(faults) > 0 || pairs != len(whole.pairs) {
		t.Fatalf("of an undamaged store: %d entries of %d, %d pairs, %q", len(entries), len(whole.entries), pairs, faults)
	}
	noticed := 0
	flips(t, path, used, 300, func(offset int64) {
		entries, faults, _ := salvaged(t, path)
		lost := 0
		for _, want := range whole.entries {
			got, there := entries[want.Index]
			if !there {
				lost++
			} else if err := sameEntry(got, want); err != nil {
				t.Fatalf("bit at %d: %v", offset, err)
			}
		}
		// A page has at most two pieces of large entries, or the small ones between.
		if lost > 13 || lost > 0 && len(faults) == 0 {
			t.Fatalf("bit at %d: %d entries lost, %q", offset, lost, faults)
		}
		if len(faults) > 0 {
			noticed++
		}
	})
	if noticed < 100 {
		t.Errorf("only %d of 300 bits were noticed", noticed)
	}
}

// TestSalvageWithoutTheTree: when the tree of the log cannot be followed at all,
// its entries are found page by page.
func TestSalvageWithoutTheTree(t *testing.T) {
	from := source(t)
	whole, err := look(from)
	if err != nil {
		t.Fatal(err)
	}
	path := from.Path()
	from.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 2*pageSize), 0); err != nil { // both meta pages
		t.Fatal(err)
	}
	f.Close()
	entries, faults, _ := salvaged(t, path)
	for _, want := range whole.entries {
		if err := sameEntry(entries[want.Index], want); err != nil {
			t.Error(err)
		}
	}
	if len(faults) == 0 {
		t.Error("nothing is said to be wrong")
	}
}

func TestCompactCanStopAnywhere(t *testing.T) {
	var before picture
	everyStop(t,
		func(path string) {
			d := openDir(t, path, small)
			s := openStoreIn(t, d)
			commit(t, s, founded(), &protocol.Write{Entries: batches(2, 60, 1, 50_000)})
			var dead []uint64
			for index := uint64(2); index < 60; index++ {
				dead = append(dead, index)
			}
			commit(t, s, checkpointAt(61, dead, pair("a", "1"), pair("b", "2")))
			var err error
			if before, err = look(s); err != nil {
				t.Fatal(err)
			}
			d.abandon()
		},
		func(d *Dir) error {
			was, is, err := d.compact(nil)
			if err == nil && is > was/2 {
				return fmt.Errorf("%d bytes became %d", was, is)
			}
			return err
		},
		func(d *Dir, done []string, _ bool) {
			s := openStoreIn(t, d)
			after, err := look(s)
			if err != nil {
				t.Fatalf("after %q: %v", done, err)
			}
			if problem := differs(before, after); problem != "" {
				t.Errorf("after %q: %s", done, problem)
			}
			commit(t, s, &protocol.Write{Entries: batches(62, 1, 1, 100)})
		})
}

// differs names what of two pictures is not the same.
func differs(a, b picture) string {
	switch {
	case fmt.Sprint(a.meta) != fmt.Sprint(b.meta):
		return fmt.Sprintf("%+v became %+v", a.meta, b.meta)
	case a.first != b.first || a.last != b.last || fmt.Sprint(a.marks) != fmt.Sprint(b.marks):
		return "the log has other bounds"
	case fmt.Sprint(a.pairs) != fmt.Sprint(b.pairs):
		return "the checkpoint is another"
	case fmt.Sprint(a.entries) != fmt.Sprint(b.entries):
		return "the entries are others"
	}
	return ""
}

func TestCompactRefusesADamagedStore(t *testing.T) {
	d, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 10, 1, 20_000)})
	path := s.Path()
	d.abandon()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{40, pageSize + 40, bytes.Index(whole, content(5, 1, 20_000)[:50]) + 20} {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Compact(d.path, nil); err == nil {
			t.Fatalf("bit at %d: not noticed", at)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, damaged) {
			t.Fatalf("bit at %d: the damaged file was changed: %v", at, err)
		}
	}
}

func FuzzSalvage(f *testing.F) {
	_, s := newStore(f)
	commit(f, s, founded(), &protocol.Write{Entries: batches(2, 2, 1, 5000)})
	path, used := s.Path(), s.db.used.Load()
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:used])
	f.Add(whole[:3*pageSize])
	f.Fuzz(func(t *testing.T, content []byte) {
		path := t.TempDir() + "/store"
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := SalvageFile(path)
		if err != nil {
			return
		}
		defer s.Close()
		s.Indices(func(index uint64) error {
			if e, err := s.Entry(index); err == nil && e.Index != index {
				t.Fatalf("entry %d as %d", e.Index, index)
			}
			return nil
		})
	})
}
