package wal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"holdfast/protocol"
)

// laid is what a loss of power can leave of a commit: the file before and after, and
// the sectors that differ.
type laid struct {
	folder, path string
	old, whole   []byte
	changed      []int
	meta         int // the one with the meta page
	locks        map[bool][]byte
	before, then picture
}

// unfinished is a commit that only adds to the log, too large for a frame, after others
// that are in the journal.
func unfinished(t *testing.T) *laid {
	t.Helper()
	d, s := journaled(t)
	if err := s.Fold(); err != nil {
		t.Fatal(err)
	}
	commit(t, s, &protocol.Write{Entries: batches(s.Last()+1, 3, 9, 500)})
	if s.db.mixed || s.db.open == nil {
		t.Fatal("the transaction is not one that waits for the disk once")
	}
	l := &laid{folder: copyFolder(t, d.path), before: lookAt(t, s), locks: map[bool][]byte{}}
	l.path = filepath.Join(l.folder, filepath.Base(s.Path()))
	l.locks[false] = contentOf(t, filepath.Join(d.path, lockName))
	l.old = contentOf(t, l.path)
	commit(t, s, &protocol.Write{Entries: batches(s.Last()+1, 5, 9, 20_000)})
	if s.db.open != nil {
		t.Fatal("the commit is in the journal")
	}
	l.then, l.whole = lookAt(t, s), contentOf(t, s.Path())
	l.locks[true] = contentOf(t, filepath.Join(d.path, lockName))
	l.old = append(l.old, make([]byte, max(0, len(l.whole)-len(l.old)))...) // it may have grown
	for at := 0; at < len(l.whole); at += 512 {
		if !bytes.Equal(sector(l.old, at), sector(l.whole, at)) {
			l.changed = append(l.changed, at)
		}
	}
	l.meta = int(s.states.Load().durable.txid%2) * pageSize
	return l
}

func sector(content []byte, at int) []byte { return content[at:min(at+512, len(content))] }

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// open opens what is left if only some of the sectors were written.
func (l *laid) open(t *testing.T, synced bool, written func(at int) bool) (picture, error) {
	t.Helper()
	left := bytes.Clone(l.old)
	for _, at := range l.changed {
		if written(at) {
			copy(sector(left, at), l.whole[at:])
		}
	}
	for name, content := range map[string][]byte{l.path: left, filepath.Join(l.folder, lockName): l.locks[synced]} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return openAgain(t, l.folder)
}

// A loss of power during a commit that waits for the disk once leaves any of its
// sectors. What it leaves is the state before, with the frames of the journal, or after.
func TestUnfinishedCommit(t *testing.T) {
	l := unfinished(t)
	random := rand.New(rand.NewPCG(1, 2))
	back := 0
	check := func(written func(at int) bool) {
		t.Helper()
		got, err := l.open(t, false, written)
		switch {
		case err == nil && reflect.DeepEqual(got, l.then):
		case err == nil && reflect.DeepEqual(got, l.before):
			back++
		default:
			t.Fatalf("last entry %d, want %d or %d: %v", got.last, l.before.last, l.then.last, err)
		}
	}
	for _, at := range l.changed[:min(len(l.changed), 150)] {
		check(func(other int) bool { return other != at })
	}
	for range 40 {
		share := []float64{0.1, 0.5, 0.95}[random.IntN(3)]
		check(func(at int) bool { return at == l.meta || random.Float64() < share })
	}
	if back < 100 {
		t.Errorf("only %d of the commits were unfinished", back)
	}
}

// What the mark says was synced is damaged where it is not whole, and the store never
// goes back from it.
func TestNoWayBackFromWhatWasSynced(t *testing.T) {
	l := unfinished(t)
	random := rand.New(rand.NewPCG(3, 4))
	named := 0
	for range 60 {
		missing := l.changed[random.IntN(len(l.changed))]
		got, err := l.open(t, true, func(at int) bool { return at != missing })
		switch {
		case isDamage(err):
			named++
		case err != nil || !reflect.DeepEqual(got, l.then): // else nobody's data was there
			t.Fatalf("without the sector at %d: last entry %d, want %d: %v", missing, got.last, l.then.last, err)
		}
	}
	if named < 40 {
		t.Errorf("only %d of 60 were named", named)
	}
}
