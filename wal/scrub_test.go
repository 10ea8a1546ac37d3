package wal

import (
	"bytes"
	"os"
	"testing"

	"holdfast/protocol"
)

// scrub runs a whole round in steps of maxBytes.
func scrub(s *Store, maxBytes int, between func()) (total int, err error) {
	x := s.Scrub()
	for done := false; !done && err == nil; {
		var n int
		n, done, err = x.Next(maxBytes)
		total += n
		if between != nil {
			between()
		}
	}
	return total, err
}

// TestScrubReadsEverythingOnce also while the store changes.
func TestScrubReadsEverythingOnce(t *testing.T) {
	s := source(t)
	whole, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, e := range whole.entries {
		want += len(e.Data)
	}
	for _, p := range whole.pairs {
		want += len(p.Key) + len(p.Value)
	}
	for _, step := range []int{1, 5000, 1 << 20} {
		if got, err := scrub(s, step, nil); err != nil || got != want {
			t.Errorf("steps of %d: %d bytes of %d, %v", step, got, want, err)
		}
	}
	next, grows := s.Last()+1, 0
	if _, err := scrub(s, 3000, func() {
		if grows++; grows < 20 {
			commit(t, s, &protocol.Write{Entries: batches(next, 1, 4, 500)})
			commit(t, s, checkpointAt(next, []uint64{4, 5}, pair("moved", "on")))
			next++
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestScrubFindsAFlippedBit in an entry, and in the checkpoint, of an open store.
func TestScrubFindsAFlippedBit(t *testing.T) {
	for _, looked := range [][]byte{content(5, 1, 7000)[:40], content(39, 9, 39*300)[:40]} {
		s := source(t)
		whole, err := os.ReadFile(s.Path())
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(whole, looked)
		f, err := os.OpenFile(s.Path(), os.O_RDWR, 0)
		if err != nil || at < 0 {
			t.Fatal(at, err)
		}
		if _, err := f.WriteAt([]byte{whole[at] ^ 16}, int64(at)); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := scrub(s, 2000, nil); !isDamage(err) {
			t.Errorf("bit at %d: %v", at, err)
		}
	}
}
