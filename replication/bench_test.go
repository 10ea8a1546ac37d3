package replication

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// ring runs three cores whose writes are durable at once and whose messages
// arrive at once: what remains is the cost of the cores themselves.
type ring struct {
	cores []*solo
	e     [3]Effects
}

func newRing(b testing.TB) *ring {
	r := &ring{}
	for i, name := range []string{"a", "b", "c"} {
		d := &disk{voter: voter(name), first: 1, entries: logOf(1)}
		d.hard.Term = 1
		o := optionsOf(d, voters("a", "b", "c"), 3)
		o.MaxAppendBytes, o.MaxInflightBytes, o.MaxReleaseBytes = 1<<20, 8<<20, 4<<20
		o.Random = rand.New(rand.NewPCG(uint64(i), 1))
		core, err := New(o)
		if err != nil {
			b.Fatal(err)
		}
		r.cores = append(r.cores, &solo{core, nil, d})
	}
	r.cores[0].campaign(false)
	r.settle()
	if r.cores[0].role != Leader {
		b.Fatal("no leader")
	}
	return r
}

// settle passes messages until nothing happens. Entries are not kept on a disk:
// what the cores hold in memory is enough for each other.
func (r *ring) settle() {
	for busy := true; busy; {
		busy = false
		for i, s := range r.cores {
			e := &r.e[i]
			if s.Take(e); e.Empty() {
				continue
			}
			busy = true
			s.Persisted(e.WriteID)
			if n := len(e.Released); n > 0 {
				s.Applied(e.Released[n-1].Index)
			}
			for _, messages := range [2][]Message{e.Messages, e.AfterWrite} {
				for j := range messages {
					r.cores[messages[j].To.Store-1].Step(messages[j])
				}
			}
		}
	}
}

// BenchmarkPropose is the way of one batch through three cores: proposed, sent
// to two, acknowledged, committed and released.
func BenchmarkPropose(b *testing.B) {
	for _, size := range []int{128, 64 << 10, 512 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRing(b)
			data := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.cores[0].Propose(data); err != nil {
					b.Fatal(err)
				}
				r.settle()
			}
		})
	}
}

// BenchmarkTick is the cost of time passing on a leader with two followers.
func BenchmarkTick(b *testing.B) {
	r := newRing(b)
	b.ReportAllocs()
	for b.Loop() {
		r.cores[0].Tick()
		r.settle()
	}
}

// BenchmarkMessage encodes and decodes an append of one batch.
func BenchmarkMessage(b *testing.B) {
	entries := logOf(1, 1)[1:]
	entries[0].Data = make([]byte, 64<<10)
	m := Message{Type: Append, From: voter("a"), To: voter("b"), Lineage: testLineage, Term: 1, At: at(1, 1), Entries: entries}
	var wire []byte
	b.ReportAllocs()
	b.SetBytes(64 << 10)
	for b.Loop() {
		wire = AppendMessage(wire[:0], &m)
		if _, err := DecodeMessage(wire); err != nil {
			b.Fatal(err)
		}
	}
}

// TestProposeAllocates: the steady state reuses memory; only the buffers that
// grow with the log in memory may be allocated now and then.
func TestProposeAllocates(t *testing.T) {
	r := newRing(t)
	data := make([]byte, 128)
	perBatch := testing.AllocsPerRun(2000, func() {
		if _, err := r.cores[0].Propose(data); err != nil {
			t.Fatal(err)
		}
		r.settle()
	})
	if perBatch > 1 {
		t.Errorf("%.2f allocations for one batch through three cores", perBatch)
	}
}
