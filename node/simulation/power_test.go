package simulation

import (
	"errors"
	"testing"
)

// A process that is killed between two changes of its store folder leaves names
// that no sync has made durable. The next process goes on with what it finds, and
// others rely on what it tells them; so a loss of power that comes then must not
// take any of it back. Each change of a folder is such a moment.
//
//  1. A member starts for the first time; or it is formed with two others and sets
//     its store aside as damaged.
//  2. It is killed before the change of that number, and starts again.
//  3. It has started, and its machine loses its power.
//  4. It starts and finds what it had (check_memory.go), and all become voters.
func TestPowerFailsAfterEachChangeOfTheFolder(t *testing.T) {
	for _, scene := range []struct {
		name   string
		rounds uint64 // a loss of power takes what it likes
		begin  func(w *world) *host
	}{
		{"first start", 6, func(w *world) *host { return w.hosts[0] }},
		{"set aside", 1, (*world).setAside},
	} {
		change := 0
		for more := true; more && !t.Failed(); change++ {
			for round := range scene.rounds {
				w := calmWorld(t, 1+round, func(p *plan) { p.publishers, p.window = 1, 1 })
				more = w.powerFailsAfter(t, scene.begin, change+1) && more
				w.shutDown()
			}
		}
		if change < 4 && !t.Failed() {
			t.Errorf("%s: there were only %d changes", scene.name, change)
		}
	}
}

// powerFailsAfter is one run; it reports false when there is no such change.
func (w *world) powerFailsAfter(t *testing.T, begin func(w *world) *host, change int) bool {
	defer reportViolation(t)
	h := begin(w)
	h.cutAt = h.changes + change
	up := func() bool { return h.changes >= h.cutAt && h.process != nil && h.process.era != nil && !h.process.cut }
	if !w.runUntil(w.now+4*second, up) {
		return false
	}
	w.runUntil(w.now+w.often(millisecond, 200*millisecond), nil)
	w.plan.power = 1
	h.crash()
	h.restart(0)
	w.plan.power = 0
	if !w.runUntil(w.now+20*second, func() bool { return w.voter(h) }) {
		t.Errorf("killed before change %d: %s is not a voter\n%s", change, h.name, w.standing())
	}
	return true
}

// setAside has a formed member find its store damaged.
func (w *world) setAside() *host {
	w.runUntil(20*second, func() bool { f := w.follower(); return w.now > 2*second && f != nil && w.voter(f) })
	h := w.follower()
	p := h.process
	p.put(mailCall, func() { p.member.SetAside(errors.New("a scrub found damage")) })
	return h
}
