package wal

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"holdfast/protocol"
)

// source is a store with something of everything: dead entries, a checkpoint,
// entries above it, several terms.
func source(t testing.TB) *Store {
	t.Helper()
	_, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 8, 1, 7000)})
	commit(t, s, &protocol.Write{Entries: batches(10, 10, 3, 900)})
	puts := []protocol.Pair{pair("empty", "")}
	for i := range 40 {
		puts = append(puts, protocol.Pair{Key: []byte{byte(i)}, Value: content(uint64(i), 9, i*300)})
	}
	w := checkpointAt(16, []uint64{2, 3, 7}, puts...)
	w.Checkpoint.Horizon = 12
	commit(t, s, w)
	commit(t, s, &protocol.Write{Entries: batches(20, 3, 4, 100)})
	return s
}

// transfer copies a store into a stage; between is called after every chunk.
func transfer(t testing.TB, s *Store, g *Stage, maxBytes int, between func()) Manifest {
	t.Helper()
	x, err := s.Export(toCheckpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for done := false; !done; {
		var chunk []byte
		if chunk, done, err = x.Next(maxBytes); err != nil {
			t.Fatal(err)
		}
		if sent, total := x.Progress(); sent > total {
			t.Errorf("%d bytes of %d", sent, total)
		}
		if err := g.Write(chunk); err != nil {
			t.Fatal(err)
		}
		between()
	}
	m, err := g.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func stageIn(t testing.TB, d *Dir) *Stage {
	t.Helper()
	g, err := d.NewStage()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// sameUpTo compares a copy with its source as it is.
func sameUpTo(t *testing.T, copied, from *Store, last uint64) {
	t.Helper()
	if copied.Last() != last || copied.First() != from.First() {
		t.Errorf("log from %d to %d, want %d to %d", copied.First(), copied.Last(), from.First(), last)
	}
	var indices [2][]uint64
	var pairs [2][]protocol.Pair
	for i, s := range []*Store{copied, from} {
		err := errors.Join(
			s.Indices(0, last+1, func(index uint64) error { indices[i] = append(indices[i], index); return nil }),
			s.LoadCheckpoint(func(key, value []byte) error {
				pairs[i] = append(pairs[i], protocol.Pair{Key: slices.Clone(key), Value: slices.Clone(value)})
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(indices[0], indices[1]) || !reflect.DeepEqual(pairs[0], pairs[1]) {
		t.Errorf("entries %v, want %v; %d and %d pairs", indices[0], indices[1], len(pairs[0]), len(pairs[1]))
	}
	for _, index := range indices[1] {
		var entries [2]protocol.Entry
		for i, s := range []*Store{copied, from} {
			err := s.View(func(r *Reader) (err error) {
				entries[i], _, err = r.entry(index, math.MaxInt)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := sameEntry(entries[0], entries[1]); err != nil {
			t.Error(err)
		}
	}
	for index := range last + 1 {
		a, okA := copied.Mark(index)
		if b, okB := from.Mark(index); a != b || okA != okB {
			t.Errorf("mark of %d: %v, want %v", index, a, b)
		}
	}
}

func TestCopyIsTheCheckpointWhileEntriesAreCommitted(t *testing.T) {
	for _, maxBytes := range []int{0, 20_000, 1 << 20} {
		s := source(t)
		d := openDir(t, t.TempDir(), small)
		g := stageIn(t, d)
		next := s.Last() + 1
		m := transfer(t, s, g, maxBytes, func() {
			if n := s.db.bolt.Stats().OpenTxN; n > 0 {
				t.Errorf("%d transactions pin the pages between two chunks", n)
			}
			// Above the checkpoint the log may do anything meanwhile.
			commit(t, s, &protocol.Write{Entries: batches(next, 2, next, 5000)})
			commit(t, s, &protocol.Write{Entries: batches(17+next%3, 5, next+1, 300)})
			next = s.Last() + 1
		})
		if m.Lineage != lineage || m.Last != 16 || m.Horizon != 12 || len(m.Marks) != 2 || m.Stamp != 16000 || m.Epoch != 1 ||
			len(m.Foundings) != 1 || len(m.Configuration.Voters) != 2 {
			t.Errorf("%+v", m)
		}
		if mark, ok := g.Mark(13); g.Last() != 16 || !ok || mark.Term != 3 {
			t.Errorf("last %d, mark %v", g.Last(), mark)
		}
		a := Activation{
			Identity: protocol.Identity{Store: 99, Lineage: lineage}, HardState: protocol.HardState{Term: 5, Vote: 8},
			Promise: protocol.Attempt{Epoch: 4, ID: 4}, Boot: 6, Counter: 70, Reason: "joined",
		}
		copied, err := d.Activate(g, a)
		if err != nil {
			t.Fatal(err)
		}
		sameUpTo(t, copied, s, 16)
		got := copied.Meta()
		if got.Identity != a.Identity || got.HardState != (protocol.HardState{Term: 5, Vote: 8, Commit: 16, Release: 16}) ||
			got.Promise != a.Promise || got.Boot != 6 || got.Counter <= 70 || got.CheckpointIndex != 16 || got.Owner != owner {
			t.Errorf("%+v", got)
		}
		commit(t, copied, &protocol.Write{Entries: batches(17, 5, 5, 100)})
		copied.Close()
		copied = openStoreIn(t, d)
		if got := copied.Meta(); got.Boot != 7 || copied.Last() != 21 {
			t.Errorf("opened again: %+v", got)
		}
	}
}

func TestCheckpointMeanwhileEndsTheExport(t *testing.T) {
	s := source(t)
	x, err := s.Export(toCheckpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Next(0); err != nil {
		t.Fatal(err)
	}
	commit(t, s, checkpointAt(17, []uint64{12}))
	if _, _, err := x.Next(0); !errors.Is(err, ErrCheckpointMoved) {
		t.Fatal(err)
	}
}

// toCheckpoint is the extent of a copy that ends at the checkpoint.
func toCheckpoint(s *Store) Extent {
	m := s.Meta()
	return Extent{Last: m.CheckpointIndex, Configuration: m.Configuration, Epoch: m.Epoch, Foundings: m.Foundings}
}

func TestExportNeedsTheFoundingOfTheLineage(t *testing.T) {
	_, s := newStore(t)
	if _, err := s.Export(Extent{}); !errors.Is(err, ErrNoFounding) {
		t.Fatal(err)
	}
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 2, 1, 10)}, checkpointAt(2, nil))
	if _, err := s.Export(toCheckpoint(s)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Export(Extent{Last: 4}); !errors.Is(err, ErrNotPresent) {
		t.Fatal(err)
	}
	later := protocol.Lineage{Epoch: 2, ID: 5}
	commit(t, s, &protocol.Write{
		Identity: &protocol.Identity{Store: 8, Lineage: later},
		Entries:  []protocol.Entry{{Index: 4, Term: 2, Lineage: later, Kind: protocol.KindFound}},
	})
	if _, err := s.Export(toCheckpoint(s)); !errors.Is(err, ErrNoFounding) {
		t.Fatal(err)
	}
	if _, err := s.Export(Extent{Last: 4}); err != nil {
		t.Fatal(err)
	}
}

// A founder's batches may wait for a majority of the members, so that its
// checkpoint lies before its FOUND entry. The copy has to go beyond.
func TestCopyGoesBeyondTheCheckpoint(t *testing.T) {
	s := source(t)
	end := toCheckpoint(s)
	end.Last, end.Epoch = 21, 9
	x, err := s.Export(end)
	if err != nil {
		t.Fatal(err)
	}
	d := openDir(t, t.TempDir(), Options{})
	g, err := d.NewStage()
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		var chunk []byte
		if chunk, done, err = x.Next(0); err != nil {
			t.Fatal(err)
		}
		if err := g.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	m, err := g.Finish()
	if err != nil || m.Last != 21 || m.Applied != 16 || m.Epoch != 9 {
		t.Fatalf("%+v, %v", m, err)
	}
	copied, err := d.Activate(g, Activation{Identity: protocol.Identity{Store: 77, Lineage: m.Lineage}, Boot: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	meta := copied.Meta()
	if copied.Last() != 21 || meta.CheckpointIndex != 16 || meta.HardState.Commit != 21 || meta.HardState.Release != 16 {
		t.Fatalf("last %d, %+v", copied.Last(), meta)
	}
	want, err := s.Entries(13, 22, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	got, err := copied.Entries(13, 22, 1<<20)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("entries differ: %v", err)
	}
}

func TestStoreRemembersEveryAttemptItPromisedUntilItIsAnother(t *testing.T) {
	d := openDir(t, t.TempDir(), Options{})
	s := openStoreIn(t, d)
	first, second := protocol.Attempt{Epoch: 3, ID: 30}, protocol.Attempt{Epoch: 5, ID: 50}
	commit(t, s, &protocol.Write{Promise: &first}, &protocol.Write{Promise: &second})
	commit(t, s, &protocol.Write{Promise: &second})
	s.Close()
	s = openStoreIn(t, d)
	if got := s.Meta().Granted; !slices.Equal(got, []protocol.Attempt{first, second}) {
		t.Fatalf("granted %v", got)
	}
	w := founded()
	w.Promise = &protocol.Attempt{}
	commit(t, s, w)
	if m := s.Meta(); len(m.Granted) != 0 || m.Promise != (protocol.Attempt{}) {
		t.Fatalf("a fresh store has granted nothing: %+v", m)
	}
	s.Close()
}

// chunksOf is a whole export.
func chunksOf(t testing.TB, s *Store, maxBytes int) [][]byte {
	t.Helper()
	x, err := s.Export(toCheckpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	var chunks [][]byte
	for {
		chunk, done, err := x.Next(maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, chunk)
		if done {
			return chunks
		}
	}
}

func TestWrongChunksVoidTheCopy(t *testing.T) {
	chunks := chunksOf(t, source(t), 0)
	if len(chunks) < 5 {
		t.Fatalf("only %d chunks", len(chunks))
	}
	reseal := func(chunk []byte, sequence uint32) []byte {
		chunk = slices.Clone(chunk)
		sealChunk(chunk, sequence)
		return chunk
	}
	flip := slices.Clone(chunks[2])
	flip[len(flip)/2] ^= 4
	cases := map[string][][]byte{
		"missing end":           chunks[:len(chunks)-1],
		"missing start":         chunks[1:],
		"missing middle":        append(slices.Clone(chunks[:2]), chunks[3:]...),
		"renumbered around gap": append(slices.Clone(chunks[:2]), reseal(chunks[3], 2)),
		"repeated":              append(slices.Clone(chunks[:2]), chunks[1]),
		"repeated, renumbered":  append(slices.Clone(chunks[:2]), reseal(chunks[1], 2)),
		"flipped bit":           append(slices.Clone(chunks[:2]), flip),
		"flipped and resealed":  append(slices.Clone(chunks[:2]), reseal(flip, 2)),
		"cut":                   append(slices.Clone(chunks[:2]), chunks[2][:100]),
		"after the end":         append(slices.Clone(chunks), reseal(chunks[len(chunks)-1], uint32(len(chunks)))),
	}
	d := openDir(t, t.TempDir(), small)
	for name, chunks := range cases {
		g := stageIn(t, d)
		var refused error
		for _, chunk := range chunks {
			if refused = g.Write(chunk); refused != nil {
				break
			}
		}
		if name == "after the end" && refused == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, finished := g.Finish(); finished == nil {
			t.Errorf("%s: finished", name)
		}
		if _, err := d.Activate(g, Activation{Identity: protocol.Identity{Store: 1, Lineage: lineage}}); err == nil {
			t.Errorf("%s: activated", name)
		}
		if err := g.Discard(); err != nil {
			t.Error(err)
		}
	}
	openStoreIn(t, d)
}

func TestNewStageReplacesAnUnfinishedOne(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	chunks := chunksOf(t, source(t), 0)
	g := stageIn(t, d)
	if err := g.Write(chunks[0]); err != nil {
		t.Fatal(err)
	}
	again := stageIn(t, d)
	if err := g.Write(chunks[1]); !errors.Is(err, ErrClosed) {
		t.Errorf("the old stage: %v", err)
	}
	for _, chunk := range chunks {
		if err := again.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := again.Finish(); err != nil {
		t.Fatal(err)
	}
	d.Close()
	openDir(t, path, small)
	if _, err := os.Stat(again.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stage is left: %v", err)
	}
}

func TestStageWithoutRoomSaysSo(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 4, 1, 1<<20)})
	commit(t, s, checkpointAt(5, nil))
	d := openDir(t, t.TempDir(), Options{MapBytes: 1 << 20, MaxBytes: 3 << 20})
	old := openStoreIn(t, d)
	g := stageIn(t, d)
	var err error
	for _, chunk := range chunksOf(t, s, 1<<20) {
		if err = g.Write(chunk); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if err := g.Discard(); err != nil {
		t.Fatal(err)
	}
	commit(t, old, founded())
}

// activationFixture is a store to copy, its copy, and who that becomes.
func activationFixture(t *testing.T) (from *Store, chunks [][]byte, identity protocol.Identity) {
	from = source(t)
	return from, chunksOf(t, from, 1<<20), protocol.Identity{Store: 99, Lineage: lineage}
}

// switched opens a folder, stages a whole copy and goes over to it.
func switched(d *Dir, chunks [][]byte, a Activation) (*Store, error) {
	s, err := d.Open()
	if err != nil {
		return nil, err
	}
	s.Close()
	g, err := d.NewStage()
	if err != nil {
		return nil, err
	}
	for _, chunk := range chunks {
		if err := g.Write(chunk); err != nil {
			return nil, err
		}
	}
	if _, err := g.Finish(); err != nil {
		return nil, err
	}
	return d.Activate(g, a)
}

func TestActivationCanStopAnywhere(t *testing.T) {
	from, chunks, identity := activationFixture(t)
	everyStop(t,
		func(path string) {
			d := openDir(t, path, small)
			s := openStoreIn(t, d)
			commit(t, s, founded(), &protocol.Write{Entries: batches(2, 3, 1, 3000)})
			d.abandon()
		},
		func(d *Dir) error {
			s, err := switched(d, chunks, Activation{Identity: identity, Reason: "joined"})
			if err == nil {
				sameUpTo(t, s, from, 16)
			}
			return err
		},
		func(d *Dir, done []string, finished bool) {
			s := openStoreIn(t, d)
			aside, err := d.Quarantined()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(done, "rename current") {
				if s.Meta().Identity.Store != 7 || len(aside) != 0 || s.Last() != 4 {
					t.Errorf("after %q: %+v, quarantined %+v", done, s.Meta(), aside)
				}
				return
			}
			if s.Meta().Identity != identity || len(aside) != 1 || aside[0].Store != 7 || aside[0].Reason != "joined" {
				t.Errorf("after %q: %+v, quarantined %+v", done, s.Meta(), aside)
			}
			sameUpTo(t, s, from, 16)
			if found, err := surveyFile(aside[0].Path); err != nil || found.head.last != 4 {
				t.Errorf("after %q: the old store: %v", done, err)
			}
		})
}

// A voter that catches up keeps its identity; its old file is set aside like any
// other, although the copy contains it.
func TestContainedStoreIsSetAside(t *testing.T) {
	_, chunks, identity := activationFixture(t)
	d := openDir(t, t.TempDir(), small)
	old := openStoreIn(t, d)
	commit(t, old, founded(), &protocol.Write{Entries: batches(2, 3, 1, 3000)})
	identity.Store = old.Meta().Identity.Store
	old.Close()
	s, err := switched(d, chunks, Activation{Identity: identity, Reason: "caught up"})
	if err != nil {
		t.Fatal(err)
	}
	aside, err := d.Quarantined()
	if err != nil || len(aside) != 1 || aside[0].Store != identity.Store || aside[0].Lineage != lineage || aside[0].Reason != "caught up" {
		t.Fatalf("%+v, %v", aside, err)
	}
	if found, err := surveyFile(aside[0].Path); err != nil || found.head.last != 4 {
		t.Errorf("it cannot be read: %+v, %v", found, err)
	}
	if s.Last() != 16 {
		t.Errorf("the copy ends at %d", s.Last())
	}
}

// A blank store has nothing in it: its copy takes its place without a trace, or,
// when it was stopped on the way, with the empty file set aside.
func TestBlankStoreIsNotSetAside(t *testing.T) {
	from, chunks, identity := activationFixture(t)
	everyStop(t,
		func(path string) {
			d := openDir(t, path, small)
			openStoreIn(t, d)
			d.abandon()
		},
		func(d *Dir) error {
			_, err := switched(d, chunks, Activation{Identity: identity, Reason: "joined"})
			return err
		},
		func(d *Dir, done []string, finished bool) {
			s := openStoreIn(t, d)
			aside, err := d.Quarantined()
			if err != nil {
				t.Fatal(err)
			}
			switched := slices.Contains(done, "rename current")
			if switched {
				sameUpTo(t, s, from, 16)
			}
			removed := slices.Contains(done, "remove store-000001.db")
			if finished != removed || len(aside) > 1 || (len(aside) == 1) != (switched && !removed) {
				t.Errorf("after %q: finished %v, quarantined %+v", done, finished, aside)
			}
		})
}

func TestActivationOnlyOfTheSameLineage(t *testing.T) {
	d := openDir(t, t.TempDir(), small)
	g := stageIn(t, d)
	transfer(t, source(t), g, 1<<20, func() {})
	_, err := d.Activate(g, Activation{Identity: protocol.Identity{Store: 5, Lineage: protocol.Lineage{Epoch: 8, ID: 8}}})
	if err == nil || !strings.Contains(err.Error(), "8/") {
		t.Fatal(err)
	}
}

// discardSink takes everything and keeps nothing.
type discardSink struct{ bytes int }

func (d *discardSink) mark(key, value []byte) error { return d.take(key, value) }
func (d *discardSink) pair(key, value []byte) error { return d.take(key, value) }
func (d *discardSink) piece(key, data []byte) error { return d.take(key, data) }

func (d *discardSink) take(key, value []byte) error {
	d.bytes += len(key) + len(value)
	return nil
}

// Whatever comes over the network: no panic, and nothing is made that is not in
// the input. The seed is a whole copy in one chunk; checksums are put right, so
// that the rest is reached.
func FuzzIntake(f *testing.F) {
	_, s := newStore(f)
	commit(f, s, founded(), &protocol.Write{Entries: batches(2, 3, 2, 20)}, checkpointAt(4, []uint64{2}, pair("a", "1"), pair("b", "")))
	whole := chunksOf(f, s, 1<<20)[0]
	f.Add(whole, uint16(0), byte(0))
	for at := chunkHeaderBytes; at < len(whole); at += 7 {
		f.Add(whole, uint16(at), byte(1))
	}
	f.Fuzz(func(t *testing.T, chunk []byte, at uint16, xor byte) {
		var in intake
		var to discardSink
		_ = in.chunk(chunk, &to)
		if len(chunk) < chunkHeaderBytes {
			return
		}
		chunk = slices.Clone(chunk)
		chunk[int(at)%len(chunk)] ^= xor
		sealChunk(chunk, 0)
		in, to = intake{}, discardSink{}
		err := in.chunk(chunk, &to)
		if to.bytes > len(chunk) || len(in.marks)*8 > len(chunk) {
			t.Errorf("%d bytes were made of %d", to.bytes, len(chunk))
		}
		if err == nil && in.done() && (in.whole != in.manifest.checkpoint.index || !in.described()) {
			t.Error("accepted as whole, but it is not")
		}
	})
}

// Random damage to a copy on its way, with the checksums of chunks put right
// again, everywhere but in the manifest, which has no other: the copy is refused.
func TestDamagedCopyIsRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	chunks := chunksOf(t, source(t), 20_000)
	r := protocol.Reader{Rest: chunks[0][chunkHeaderBytes+1:]}
	r.Bytes(r.Uvarint())
	manifestEnd := len(chunks[0]) - len(r.Rest)
	for range 1000 {
		which := random.IntN(len(chunks))
		from := chunkHeaderBytes
		if which == 0 {
			from = manifestEnd
		}
		bad := slices.Clone(chunks[which])
		bad[from+random.IntN(len(bad)-from)] ^= 1 << random.IntN(8)
		sealChunk(bad, uint32(which))
		var in intake
		var err error
		for i := 0; i < len(chunks) && err == nil; i++ {
			chunk := chunks[i]
			if i == which {
				chunk = bad
			}
			err = in.chunk(chunk, &discardSink{})
		}
		if err == nil && in.done() {
			t.Fatalf("chunk %d: accepted with a flipped bit", which)
		}
	}
}
