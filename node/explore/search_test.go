package explore

import (
	"testing"
	"time"
)

func explore(t *testing.T, start *World, s Search) Report {
	t.Helper()
	r := s.Run(start)
	t.Logf("%s", &r)
	if r.Finding != nil {
		t.Fatalf("%s: %s\n%s", r.Finding.Check, r.Finding.What, s.Story(start, r.Finding.Path))
	}
	return r
}

func TestSearchFormed(t *testing.T) {
	explore(t, Formed(nil, "a", "b", "c"), Search{
		Limits: map[Op]int{Timeout: 3, Beat: 2, Propose: 1, Crash: 1, Wipe: 2, Found: 1},
		Time:   20 * time.Second, Recover: 500,
	})
}

func TestRecoverAtOnce(t *testing.T) {
	for _, w := range []*World{Formed(nil, "a", "b", "c"), NewWorld(nil, "a", "b", "c")} {
		for seed := range uint64(20) {
			if why := w.Recover(seed, seed%2 == 0); why != "" {
				t.Fatal(seed, why)
			}
		}
		w.Wipe(1)
		start := time.Now()
		for seed := range uint64(20) {
			if why := w.Recover(seed, seed%2 == 0); why != "" {
				t.Fatal(seed, why)
			}
		}
		t.Log(time.Since(start) / 20)
	}
}
