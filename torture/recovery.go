package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// durations are measured times.
type durations []time.Duration

// quantile is the least value that a part q (0 to 1) of all values does not exceed;
// 0 of none.
func (d durations) quantile(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// String gives the median, nine tenths, and the longest.
func (d durations) String() string {
	if len(d) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f / %.2f / %.2f s", d.quantile(0.5).Seconds(), d.quantile(0.9).Seconds(), d.quantile(1).Seconds())
}

// answered are the publishes of the ledger that were acknowledged, in the order in
// which they were sent. Only those of publishers that do not wait for answers come
// at all times: the others may all wait for one that never comes.
func (h *history) answered() (all []span) {
	for _, p := range h.publishers {
		for _, s := range p.all() {
			if s.seq > 0 {
				all = append(all, span{s.began, s.ended})
			}
		}
	}
	slices.SortFunc(all, func(a, b span) int { return int(a.from - b.from) })
	return all
}

// recovery is how long after each fault, or after the end of one that left no
// majority, the first publish was acknowledged that was sent after it.
func recovery(answered []span, records []*record) map[kind]durations {
	// earliest[i] is when the first answer came to any publish from the i-th on.
	earliest := make([]time.Duration, len(answered))
	for i := len(answered) - 1; i >= 0; i-- {
		earliest[i] = answered[i].to
		if i+1 < len(answered) {
			earliest[i] = min(earliest[i], earliest[i+1])
		}
	}
	found := map[kind]durations{}
	for _, r := range records {
		i, _ := slices.BinarySearchFunc(answered, r.from, func(s span, from time.Duration) int { return int(s.from - from) })
		if i < len(answered) {
			found[r.kind] = append(found[r.kind], earliest[i]-r.from)
		}
	}
	return found
}

// wholeAgain is how long after the end of each fault the cluster was whole.
func wholeAgain(records []*record) map[kind]durations {
	found := map[kind]durations{}
	for _, r := range records {
		if r.whole > 0 {
			found[r.kind] = append(found[r.kind], r.whole-r.ended)
		}
	}
	return found
}

// longestSilence is the longest time without an acknowledgement to anybody, less
// what the faults themselves made unavoidable.
func longestSilence(answered []span, outages []span) (longest time.Duration, at time.Duration) {
	ends := make([]time.Duration, 0, len(answered))
	for _, s := range answered {
		ends = append(ends, s.to)
	}
	slices.Sort(ends)
	for i := 1; i < len(ends); i++ {
		if silence := (span{ends[i-1], ends[i]}).without(outages); silence > longest {
			longest, at = silence, ends[i-1]
		}
	}
	return longest, at
}
