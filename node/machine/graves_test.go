package machine

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// What a purge leaves to be counted later shows nowhere: another machine that counts
// at once, or was restored in between, tells the same entries as dead.
func TestBuryingLaterShowsNowhere(t *testing.T) {
	fill := func(w *world, s *Stream) {
		for i := range 200 {
			w.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "%s.%d", s.Config().Subjects[0][:1], i%5), nil, nil)
			if i%3 == 0 {
				w.apply()
			}
		}
		w.apply()
	}
	var machines []*world
	for _, blocks := range []int{0, 1, 7, 1000} {
		w := newWorld(t)
		a, b := w.stream("A"), w.stream("B")
		fill(w, a)
		fill(w, b)
		w.batch.DeleteMessage(a.Incarnation(), 50, false)
		w.batch.Publish(a.Incarnation(), []byte("a.last"), nil, nil)
		w.batch.Publish(b.Incarnation(), []byte("b.last"), nil, nil)
		w.apply()
		w.batch.PurgeStream(a.Incarnation(), server.JSApiStreamPurgeRequest{})
		expect(t, "purged", w.one().Seq, 200)
		w.batch.DeleteStream(b.Incarnation())
		w.apply()
		expect(t, "left to bury", w.machine.Bury(blocks), blocks == 1000)
		fill(w, a)
		machines = append(machines, w)
	}
	first := machines[0].machine
	dead := fmt.Sprint(first.Dead(first.Applied()))
	for i, w := range machines[1:] {
		m := w.machine
		expect(t, fmt.Sprint("digest of ", i+1), m.Digest(), first.Digest())
		expect(t, fmt.Sprint("dead entries of ", i+1), fmt.Sprint(m.Dead(m.Applied())), dead)
		expect(t, fmt.Sprint("all buried in ", i+1), m.Bury(0), true)
		for index := range m.Applied() {
			expect(t, "live", m.Live(index), first.Live(index))
		}
	}
}
