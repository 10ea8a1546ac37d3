package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// look is what an order is to find, by a look at every subject.
func look(t *subjectTable, filter string) (names []string) {
	for id := range t.list {
		if sub := &t.list[id]; sub.count > 0 && covers(filter, sub.name) {
			names = append(names, sub.name)
		}
	}
	slices.Sort(names)
	return names
}

// A stream finds the same subjects with an order of them, while it is being made and
// while subjects come and go, as without.
func TestOrderFindsWhatALookFinds(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t)
		s := w.stream("S", func(c *server.StreamConfig) { c.Subjects, c.NoAck, c.MaxMsgsPer = []string{">"}, true, 1 })
		tokens := []string{"a", "b", "aa", "a-b", "a/b", "A", "zz"} // "-" is below the dot, "/" above
		subject := func(wild bool) string {
			parts := make([]string, 1+r.IntN(3))
			for i := range parts {
				if parts[i] = tokens[r.IntN(len(tokens))]; wild && r.IntN(3) == 0 {
					parts[i] = anyToken
				}
			}
			if seed%2 == 0 {
				parts = append([]string{"in", "common"}, parts...)
			}
			if wild && r.IntN(3) == 0 {
				parts = append(parts, anyTail)
			}
			return strings.Join(parts, ".")
		}
		for round := range 400 {
			for range r.IntN(12) {
				if stored := s.msgs; r.IntN(5) < 2 && stored > 0 {
					seq, _ := s.index.next(s.first + r.Uint64N(s.last-s.first+1))
					w.batch.DeleteMessage(s.incarnation, seq, false)
				} else {
					w.batch.Publish(s.incarnation, []byte(subject(false)), nil, nil)
				}
			}
			if r.IntN(100) == 0 {
				w.batch.PurgeStream(s.incarnation, server.JSApiStreamPurgeRequest{})
			}
			w.apply()
			if round%40 == 10 && s.subjects.order == nil {
				s.subjects.order = &subjectOrder{}
				w.machine.ordered = []*Stream{s}
			}
			w.machine.OrderSubjects(r.IntN(5))
			filter := subject(true)
			want := look(&s.subjects, filter)
			var got []string
			for id := range s.matching([]string{filter}).each() {
				got = append(got, s.subjects.list[id].name)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, round %d: %s matches %q, want %q", seed, round, filter, got, want)
			}
			got = nil
			for _, c := range s.Subjects(filter) {
				got = append(got, c.Subject)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, round %d: subjects of %s: %q, want %q", seed, round, filter, got, want)
			}
			offset, most := r.IntN(len(want)+2), r.IntN(4)
			page, total := s.SubjectPage(filter, offset, most)
			got = nil
			for _, c := range page {
				got = append(got, c.Subject)
			}
			if part := want[min(offset, len(want)):min(offset+most, len(want))]; total != len(want) || !slices.Equal(got, part) {
				t.Fatalf("seed %d, round %d: %d subjects of %s from %d on: %q of %d, want %q of %d", seed, round, most, filter, offset, got, total, part, len(want))
			}
		}
		if o := s.subjects.order; o != nil && o.ready(&s.subjects) {
			sizes := 0
			for i, b := range o.blocks {
				sizes += len(b)
				if len(b) == 0 || len(b) > orderBlock || i > 0 && b[0].name <= o.blocks[i-1][len(o.blocks[i-1])-1].name {
					t.Fatalf("seed %d: block %d is %v", seed, i, b)
				}
			}
			if sizes != s.subjects.live {
				t.Fatalf("seed %d: %d subjects in order, there are %d", seed, sizes, s.subjects.live)
			}
		}
	}
}

// A large stream gets an order when it is asked for a filter with wildcards, in bounded
// steps, and then looks at what lies together, not at everything.
func TestLargeStreamsPutTheirSubjectsInOrder(t *testing.T) {
	const subjects = 2*scannedSubjects + 77
	w := newWorld(t)
	s := w.stream("S", func(c *server.StreamConfig) { c.Subjects = []string{"s.>"} })
	for i := range subjects {
		w.batch.Publish(s.incarnation, fmt.Appendf(nil, "s.%d.%d", i%1000, i), nil, nil)
		if i%1000 == 999 {
			w.apply()
		}
	}
	w.apply()
	s.Last("s.>")
	s.Last("s.7.7")
	if s.subjects.order != nil {
		t.Fatal("an order for filters that need none")
	}
	want := look(&s.subjects, "s.7.*")
	steps := 0
	for ; !s.subjects.order.ready(&s.subjects); steps++ {
		s.Last("s.7.*")
		w.machine.OrderSubjects(1000)
	}
	expect(t, "steps", steps, subjects/1000+1)
	looked := 0
	s.subjects.order.each("s.7.*", "s.7.", func(name string, _ uint32) bool {
		if name != want[looked] {
			t.Errorf("found %s, want %s", name, want[looked])
		}
		looked++
		return true
	})
	expect(t, "subjects found", looked, len(want))
	for range orderIdle {
		w.machine.OrderSubjects(1000)
	}
	if s.Last("s.7.*"); s.subjects.order == nil {
		t.Fatal("the order is gone")
	}
	for range orderIdle + 1 {
		w.machine.OrderSubjects(1000)
	}
	if s.subjects.order != nil || len(w.machine.ordered) != 0 {
		t.Fatal("the order stays although nobody asks")
	}
}
