package wal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdfast/protocol"
)

var (
	owner   = Owner{Cluster: "edge-1", Member: "n1"}
	lineage = protocol.Lineage{Epoch: 1, ID: 0xabc}
)

// small keeps the memory map and the journal small, so that tests meet the moving
// of the one and the end of the other.
var small = Options{MapBytes: 1 << 20, JournalBytes: 64 << 10, DropPieces: 1 << 20}

func openDir(t testing.TB, path string, opt Options) *Dir {
	t.Helper()
	d, err := OpenDir(path, owner, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.abandon() })
	return d
}

// abandon gives everything up as the end of the process would.
func (d *Dir) abandon() {
	if d.store != nil {
		d.store.Abandon()
	}
	if d.stage != nil && d.stage.load != nil {
		d.stage.load.file.Close()
		d.stage = nil
	}
	d.Close()
}

func openStoreIn(t testing.TB, d *Dir) *Store {
	t.Helper()
	s, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore returns a blank store in a folder of its own.
func newStore(t testing.TB) (*Dir, *Store) {
	t.Helper()
	d := openDir(t, t.TempDir(), small)
	return d, openStoreIn(t, d)
}

func commit(t testing.TB, s *Store, writes ...*protocol.Write) {
	t.Helper()
	if err := s.Commit(writes...); err != nil {
		t.Fatal(err)
	}
}

// batches returns n entries of one term from index on, with data of that size
// that tells them apart.
func batches(index uint64, n int, term uint64, size int) []protocol.Entry {
	entries := make([]protocol.Entry, n)
	for i := range entries {
		at := index + uint64(i)
		entries[i] = protocol.Entry{Index: at, Term: term, Lineage: lineage, Kind: protocol.KindBatch, Data: content(at, term, size)}
	}
	return entries
}

// content is what entry index of that term has as its data.
func content(index, term uint64, size int) []byte {
	source := rand.New(rand.NewPCG(index, term))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(source.Uint32())
	}
	return data
}

func sameEntry(a, b protocol.Entry) error {
	if a.Index != b.Index || a.Term != b.Term || a.Lineage != b.Lineage || a.Kind != b.Kind {
		return fmt.Errorf("entry %d of term %d, %v, kind %v; want %d of %d, %v, %v",
			a.Index, a.Term, a.Lineage, a.Kind, b.Index, b.Term, b.Lineage, b.Kind)
	}
	if string(a.Data) != string(b.Data) {
		return fmt.Errorf("entry %d: other data (%d bytes, want %d)", a.Index, len(a.Data), len(b.Data))
	}
	return nil
}

func pair(key, value string) protocol.Pair {
	return protocol.Pair{Key: []byte(key), Value: []byte(value)}
}

// checkpointAt is a checkpoint with the horizon at its index, and lets what is dead go.
func checkpointAt(index uint64, dead []uint64, puts ...protocol.Pair) *protocol.Write {
	return &protocol.Write{Drop: true, Checkpoint: &protocol.Checkpoint{
		Index: index, Horizon: index, Dead: dead, Puts: puts,
		Configuration: protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: 7}, protocol.Voter{Name: "n2", Store: 8}),
		Epoch:         1,
		Foundings:     []protocol.Founding{{Attempt: protocol.Attempt(lineage), Index: 1, Voter: protocol.Voter{Name: "n1", Store: 7}}},
		Stamp:         int64(index) * 1000,
	}}
}

// founded makes a store hold the lineage.
func founded() *protocol.Write {
	return &protocol.Write{
		Identity: &protocol.Identity{Store: 7, Lineage: lineage},
		Entries:  []protocol.Entry{{Index: 1, Term: 1, Lineage: lineage, Kind: protocol.KindFound}},
	}
}
