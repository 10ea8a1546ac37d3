package simulation

import "testing"

// When a majority is lost and what is left differs, the lineage goes on from the
// store that has the most: a founding never leaves behind what another store that
// is left still holds (check_acknowledged.go).
func TestTheBestSurvivorFounds(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		w := calmWorld(t, seed, func(p *plan) { p.hosts, p.disaster, p.publishers, p.window = 5, true, 1, 1 })
		w.loseMostAgain(t, 6)
		w.shutDown()
	}
}

func (w *world) loseMostAgain(t *testing.T, times int) {
	defer reportViolation(t)
	for range times {
		whole := func() bool {
			for _, h := range w.hosts {
				if !w.voter(h) {
					return false
				}
			}
			return w.leader().member.Serving()
		}
		if !w.runUntil(w.now+30*second, whole) {
			t.Errorf("not whole again within 30 s\n%s", w.standing())
			return
		}
		w.runUntil(w.now+500*millisecond, nil) // something to lose
		w.loseMost(nil)
		w.runUntil(w.now+second, nil)
	}
	if w.checks.foundings < times { // the first one was no disaster's, the last one's may be to come
		t.Errorf("%d foundings after %d disasters", w.checks.foundings, times)
	}
}
