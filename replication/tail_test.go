package replication

import (
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/protocol"
)

// TestTailAgainstTwin does the same at random to a tail and to a plain slice.
func TestTailAgainstTwin(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 3))
		twin := newTailTwin(t, random)
		for range 300 {
			twin.step()
			twin.compare()
		}
	}
}

// tailTwin is a tail with a slice that should be the same log, and writes that
// reach the disk one by one.
type tailTwin struct {
	t      *testing.T
	random *rand.Rand
	tail   tail
	log    []protocol.Entry
	disk   *disk
	term   uint64
	id     uint64
	writes []pendingWrite
}

func newTailTwin(t *testing.T, random *rand.Rand) *tailTwin {
	w := &tailTwin{t: t, random: random, disk: &disk{first: 1, entries: logOf(1, 1, 2)}, term: 2}
	w.log = slices.Clone(w.disk.entries)
	var err error
	if w.tail, err = newTail(w.disk, 200); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *tailTwin) step() {
	switch w.random.IntN(5) {
	case 0:
		w.term += w.random.Uint64N(2)
		e := protocol.Entry{
			Index: uint64(len(w.log)) + 1, Term: w.term, Lineage: testLineage,
			Kind: protocol.KindNoop + protocol.Kind(w.random.IntN(2))*4, Data: make([]byte, w.random.IntN(60)),
		}
		w.log = append(w.log, e)
		w.tail.append(e)
	case 1:
		from := max(w.random.IntN(len(w.log)), len(w.log)-5, 1)
		if err := w.tail.truncate(uint64(from + 1)); err != nil {
			w.t.Fatal(err)
		}
		w.log = w.log[:from]
		w.term++
	case 2, 3:
		if entries := w.tail.take(nil); len(entries) > 0 {
			w.id++
			w.tail.handed(w.id)
			w.writes = append(w.writes, pendingWrite{id: w.id, entries: entries})
		}
	case 4:
		if len(w.writes) > 0 {
			if err := w.disk.write(nil, w.writes[0].entries); err != nil {
				w.t.Fatal(err)
			}
			w.tail.persisted(w.writes[0].id)
			w.writes = w.writes[1:]
		}
	}
}

func (w *tailTwin) compare() {
	w.t.Helper()
	last := uint64(len(w.log))
	if w.tail.last() != last || w.tail.lastPosition() != positionOf(&w.log[last-1]) {
		w.t.Fatalf("last %d instead of %d", w.tail.last(), last)
	}
	bytes := 0
	for i := range w.tail.entries.len() {
		bytes += entryBytes(w.tail.entries.at(i))
	}
	if bytes != w.tail.bytes || w.tail.first > w.tail.durable+1 || w.tail.durable > w.tail.taken {
		w.t.Fatalf("%d bytes counted as %d, first %d, durable %d, taken %d", bytes, w.tail.bytes, w.tail.first, w.tail.durable, w.tail.taken)
	}
	for i := range w.log {
		if own, err := w.tail.position(uint64(i + 1)); err != nil || own != positionOf(&w.log[i]) {
			w.t.Fatalf("position of %d: %v, %v", i+1, own, err)
		}
	}
	for i := uint64(1); i <= w.tail.durable; i++ {
		if w.disk.position(i) != positionOf(&w.log[i-1]) {
			w.t.Fatalf("entry %d counts as durable, and is not", i)
		}
	}
	lo := 1 + w.random.Uint64N(last)
	hi := lo + 1 + w.random.Uint64N(last+1-lo)
	w.compareRead(lo, hi)
	w.compareSearch(protocol.Mark{Index: 1 + w.random.Uint64N(last+3), Term: 1 + w.random.Uint64N(w.term), Lineage: testLineage})
}

func (w *tailTwin) compareRead(lo, hi uint64) {
	w.t.Helper()
	got, err := w.tail.read(nil, lo, hi, 150)
	if err != nil || len(got) == 0 || uint64(len(got)) > hi-lo {
		w.t.Fatalf("read %d..%d: %d entries, %v", lo, hi, len(got), err)
	}
	for i := range got {
		if positionOf(&got[i]) != positionOf(&w.log[lo-1+uint64(i)]) {
			w.t.Fatalf("read %d..%d: %v", lo, hi, positionOf(&got[i]))
		}
	}
	batch, err := w.tail.firstBatch(lo, hi)
	want := uint64(slices.IndexFunc(w.log[lo-1:hi-1], func(e protocol.Entry) bool { return e.Kind == protocol.KindBatch }) + 1)
	if want > 0 {
		want += lo - 1
	}
	if err != nil || batch != want {
		w.t.Fatalf("first batch of %d..%d: %d instead of %d, %v", lo, hi, batch, want, err)
	}
}

func (w *tailTwin) compareSearch(at protocol.Mark) {
	w.t.Helper()
	want := protocol.Mark{}
	for i := range w.log {
		if own := positionOf(&w.log[i]); own.Index <= at.Index && own.Term <= at.Term {
			want = own
		}
	}
	if got, err := w.tail.agreement(at); err != nil || got != want {
		w.t.Fatalf("agreement with %v: %v instead of %v, %v", at, got, want, err)
	}
}

// TestTailForgets: memory is bounded by the limit once entries are durable.
func TestTailForgets(t *testing.T) {
	d := &disk{first: 1, entries: logOf(1)}
	log, err := newTail(d, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for id := uint64(1); id <= 1000; id++ {
		log.append(protocol.Entry{Index: id + 1, Term: 1, Lineage: testLineage, Kind: protocol.KindBatch, Data: make([]byte, 100)})
		if err := d.write(nil, log.take(nil)); err != nil {
			t.Fatal(err)
		}
		log.handed(id)
		log.persisted(id)
		if log.bytes > 1000 || cap(log.entries.items) > 64 {
			t.Fatalf("%d bytes, room for %d entries", log.bytes, cap(log.entries.items))
		}
	}
}
