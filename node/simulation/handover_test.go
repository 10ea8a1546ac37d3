package simulation

import "testing"

// A leader that stops while it is cut off from the others waits for what it has
// proposed. When it finds them again, one of them leads, whose log has other
// entries at the same places. What came of those is not the answer to those who
// wait here: the checkers see each acknowledgement.
func TestStrandedLeaderThatStopsAnswersOnlyForItsOwnEntries(t *testing.T) {
	w := calmWorld(t, 1, func(p *plan) { p.publishers, p.window = 1, 1 })
	defer reportViolation(t)
	w.runUntil(3*second, nil)
	stranded := 0
	for w.now < 60*second {
		if leader := w.leader(); leader != nil && leader.member.Serving() {
			w.strandStopping(nil)
			stranded++
		}
		w.runUntil(w.now+5*second, nil)
	}
	if stranded < 9 {
		t.Errorf("only %d leaders were stranded", stranded)
	}
}
