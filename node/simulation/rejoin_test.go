package simulation

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// calmWorld is one in which nothing goes wrong by itself: three members and a
// stream that publishers fill as fast as they are answered.
func calmWorld(t *testing.T, seed uint64, change func(*plan)) *world {
	t.Helper()
	o := Options{Folder: folder(t, seed)}
	if testing.Verbose() {
		o.Out = os.Stdout
	}
	w := &world{options: o, random: rand.New(rand.NewPCG(seed, 1)), trace: newTrace(o.Out), cached: map[string][]byte{}}
	w.plan = plan{
		hosts: 3, latency: 2 * millisecond, delay: millisecond, kinds: []topicKind{plain}, publishers: 4, window: 2, largest: 100,
		checkpointBytes: 8_000, checkpointInterval: time.Second, tailBytes: 1,
	}
	if change != nil {
		change(&w.plan)
	}
	t.Cleanup(w.shutDown)
	w.build()
	return w
}

// reportViolation is deferred by a test that drives a world itself: what a
// checker saw fails the test.
func reportViolation(t *testing.T) {
	switch caught := recover().(type) {
	case nil:
	case violation:
		t.Error(caught.text)
	default:
		panic(caught)
	}
}

// follower is a member that does not lead.
func (w *world) follower() *host {
	leader := w.leader()
	for _, h := range w.hosts {
		if h.process != nil && leader != nil && h.process != leader {
			return h
		}
	}
	return nil
}

// voter tells whether the leader counts the host's present store.
func (w *world) voter(h *host) bool {
	leader := w.leader()
	return leader != nil && h.process != nil && leader.settledVoter(h)
}

func (p *process) settledVoter(h *host) bool {
	status, _ := p.member.Raft()
	for _, v := range status.Configuration.Voters {
		if v.Name == h.name && v.Store == h.process.member.Identity().Store {
			return status.ConfigurationCommitted
		}
	}
	return false
}

// A member that needs long to open the copy that it received, while the log goes
// on at full speed, joins with that one copy. Before the leader kept its log for
// such a member, the log had moved past it whenever it was ready, and it copied
// again without end.
func TestSlowJoinerTakesOneCopy(t *testing.T) {
	w := calmWorld(t, 1, nil)
	defer reportViolation(t)
	w.runUntil(20*second, func() bool { f := w.follower(); return w.now > 3*second && f != nil && w.voter(f) })
	joiner := w.follower()
	copies := 0
	w.listen = func(h *host, line string) {
		if h != joiner {
			return
		}
		switch {
		case strings.Contains(line, "copying the log of the leader"):
			copies++
		case strings.Contains(line, "going over to the copy"):
			joiner.pausedUntil = w.now + 4*second // it opens the file
		}
	}
	joiner.crash()
	joiner.wipe()
	joiner.restart(0)
	began := w.now
	w.runUntil(began+60*second, func() bool { return copies > 0 && w.voter(joiner) })
	if !w.voter(joiner) {
		t.Fatalf("%s does not join within a minute, with %d copies\n%s", joiner.name, copies, w.standing())
	}
	if copies != 1 {
		t.Errorf("%s joined with %d copies, after %d ms", joiner.name, copies, (w.now-began)/millisecond)
	}
}

// A member that is restarted finds its log where it left it.
func TestRestartNeedsNoCopy(t *testing.T) {
	w := calmWorld(t, 1, nil)
	defer reportViolation(t)
	w.runUntil(20*second, func() bool { f := w.follower(); return w.now > 3*second && f != nil && w.voter(f) })
	restarted := w.follower()
	w.listen = func(h *host, line string) {
		if h == restarted && strings.Contains(line, "copying the log of the leader") {
			t.Errorf("%s takes a copy: %s", h.name, line)
		}
	}
	last := restarted.process.member.Store().Last()
	restarted.crash()
	restarted.restart(2 * second)
	w.runUntil(w.now+6*second, nil)
	if p := restarted.process; p == nil || !w.voter(restarted) || p.member.Store().Last() < last+100 {
		t.Errorf("%s does not follow\n%s", restarted.name, w.standing())
	}
}

// A copy whose connection breaks again and again goes on where it stopped: each piece
// is stored once, and few are sent twice.
func TestBrokenConnectionsDoNotRestartACopy(t *testing.T) {
	w := calmWorld(t, 1, func(p *plan) { p.largest, p.window = 20_000, 32 })
	defer reportViolation(t)
	w.runUntil(30*second, func() bool { f := w.follower(); return w.now > 10*second && f != nil && w.voter(f) })
	joiner := w.follower()
	asked, rests := 0, 0
	w.listen = func(h *host, line string) {
		switch {
		case h == joiner && strings.Contains(line, "asking for a copy of the store"):
			asked++
		case h == joiner && strings.Contains(line, "asking for the rest of the copy of the store"):
			rests++
		}
	}
	joiner.crash()
	joiner.wipe()
	joiner.restart(0)
	w.plan.breaks = 0.05
	began := w.now
	w.runUntil(began+60*second, func() bool { return asked > 0 && w.voter(joiner) })
	if !w.voter(joiner) {
		t.Fatalf("%s does not join within a minute\n%s", joiner.name, w.standing())
	}
	if asked != 1 || rests == 0 {
		t.Errorf("%s began %d copies, and went on with one %d times", joiner.name, asked, rests)
	}
}
