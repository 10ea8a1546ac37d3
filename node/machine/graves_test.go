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

// A purge in steps comes to what it would have come to at once, and leaves out what
// was stored in between.
func TestPurgeInSteps(t *testing.T) {
	for _, request := range []server.JSApiStreamPurgeRequest{
		{Subject: "a.1"}, {Subject: "a.*", Keep: 7}, {Keep: 10}, {Sequence: 40}, {Sequence: 40, Subject: "a.2"}, {Sequence: 1}, {Sequence: 1000}, {Subject: ">"}, {Keep: 1000},
	} {
		var states []string
		for _, limit := range []uint64{0, 4} {
			w := newWorld(t)
			s := w.stream("A")
			for i := range 60 {
				w.publish(s, fmt.Sprint("a.", i%3))
			}
			removed := uint64(0)
			for step, one := 0, request; ; step++ {
				if limit == 0 {
					w.batch.PurgeStream(s.Incarnation(), one)
				} else {
					w.batch.PurgeStep(s.Incarnation(), limit, one)
				}
				r := w.one()
				expect(t, "refused", r.Err, nil)
				removed += r.Seq
				if step == 0 && request.Keep == 0 {
					w.publish(s, "a.1")
				}
				if limit == 0 || r.Seq != limit {
					break
				}
				if one.Sequence == 0 {
					one.Sequence = r.Last + 1
				}
			}
			states = append(states, fmt.Sprint(removed, s.State().Msgs, s.State().FirstSeq, s.State().LastSeq, s.Deleted()))
		}
		expect(t, fmt.Sprintf("%+v", request), states[1], states[0])
	}
}
