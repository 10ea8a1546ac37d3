package machine

import (
	"fmt"
	"slices"
	"strings"
)

// compareLookups asks the machine and its twin the questions of lookup.go.
func (p *pair) compareLookups(s *Stream, twin *twinStream) {
	p.t.Helper()
	lower := strings.ToLower(s.Name())
	from := twin.first + uint64(p.random.IntN(30)) - min(twin.first, 5)
	filter := []string{"", ">", lower + ".x", lower + ".y.>", lower + ".*.2", "nothing"}[p.random.IntN(6)]
	pending := slices.DeleteFunc(twin.sequences(filter), func(seq uint64) bool { return seq < from })
	expect(p.t, fmt.Sprintf("pending of %q from %d", filter, from), s.Pending(from, filter), uint64(len(pending)))

	filters := [][]string{{lower + ".>"}, {lower + ".x", lower + ".y.>"}, {lower + ".*.1", lower + ".*.*"}}[p.random.IntN(3)]
	upTo := twin.first + uint64(p.random.IntN(40))
	lastOf := make(map[string]uint64)
	for _, filter := range filters {
		for _, seq := range twin.sequences(filter) {
			if subject := twin.messages[seq].subject; seq <= upTo {
				lastOf[subject] = max(lastOf[subject], seq)
			}
		}
	}
	want := []uint64{}
	for _, seq := range lastOf {
		want = append(want, seq)
	}
	slices.Sort(want)
	most := 1 + p.random.IntN(8)
	got, ok := s.LastOfEach(filters, upTo, most)
	expect(p.t, "last of each is complete", ok, len(want) <= most)
	if ok {
		expect(p.t, fmt.Sprintf("last of each of %v up to %d", filters, upTo), fmt.Sprint(got), fmt.Sprint(want))
	}

	stamp := p.now - int64(p.random.IntN(3_000_000_000))
	at := twin.last + 1
	for _, seq := range twin.sequences("") {
		if twin.messages[seq].stamp >= stamp {
			at = seq
			break
		}
	}
	expect(p.t, "sequence at a time", s.SequenceAt(stamp), at)
}
