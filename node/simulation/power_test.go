package simulation

import (
	"errors"
	"testing"
)

// A process that is killed between two changes of its store folder leaves names
// that no sync has made durable. The next process goes on with what it finds, and
// others rely on what it tells them; so a loss of power that comes then must not
// take any of it back. Each change of a folder in which a damaged store is set
// aside, and a copy takes its place, is such a moment.
//
//  1. Three members are formed. One of them finds its store damaged.
//  2. It is killed before the change of that number, and starts again.
//  3. It has started, and its machine loses its power.
//  4. It starts and finds what it had (check_memory.go), and all become voters.
func TestPowerFailsAfterEachChangeOfTheFolder(t *testing.T) {
	for change := 1; ; change++ {
		w := calmWorld(t, func(p *plan) { p.publishers, p.window = 1, 1 })
		if !w.powerFailsAfter(t, change) || t.Failed() {
			if change < 10 {
				t.Errorf("there were only %d changes", change-1)
			}
			return
		}
		w.shutDown()
	}
}

// powerFailsAfter is one run; it reports false when there is no such change.
func (w *world) powerFailsAfter(t *testing.T, change int) bool {
	defer reportViolation(t)
	w.runUntil(20*second, func() bool { f := w.follower(); return w.now > 2*second && f != nil && w.voter(f) })
	h := w.follower()
	h.cutAt = h.changes + change
	damaged := h.process
	damaged.put(mailCall, func() { damaged.member.SetAside(errors.New("a scrub found damage")) })
	if !w.runUntil(w.now+4*second, func() bool {
		return h.changes >= h.cutAt && h.process != damaged && h.process != nil && h.process.era != nil
	}) {
		return false
	}
	w.runUntil(w.now+200*millisecond, nil)
	w.plan.power = 1
	h.crash()
	h.restart(0)
	if !w.runUntil(w.now+20*second, func() bool { return w.voter(h) }) {
		t.Errorf("killed before change %d: %s is not a voter\n%s", change, h.name, w.standing())
	}
	return true
}
