//go:build explore

package explore

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/protocol"
)

// script is what the schedules are written in: a world in which nothing happens
// by itself. Clocks stand still and packets wait until a step says otherwise.
type script struct {
	*World
	t      *testing.T
	on     bool
	story  strings.Builder
	parked map[string]bool // members whose copies wait
}

// schedule runs a script with all clauses on and then with some off. The script
// asserts what happens in between; here the checks are asserted: with all
// clauses on none but the excepted ones fires, otherwise the named one does.
func schedule(t *testing.T, off []string, check string, run func(s *script), except ...string) {
	t.Helper()
	t.Run("on", func(t *testing.T) {
		s := newScript(t, Formed(nil, "a", "b", "c"), true)
		run(s)
		s.spotless(except...)
	})
	t.Run("off", func(t *testing.T) {
		s := newScript(t, Formed(off, "a", "b", "c"), false)
		run(s)
		s.must(s.Fired(check), "%s does not fire", check)
	})
}

func newScript(t *testing.T, w *World, on bool) *script {
	s := &script{World: w, t: t, on: on, parked: map[string]bool{}}
	w.tell = func(format string, args ...any) { fmt.Fprintf(&s.story, format+"\n", args...) }
	return s
}

// spotless fails unless no check but the excepted fired.
func (s *script) spotless(except ...string) {
	s.t.Helper()
	for _, f := range s.judge.faults {
		s.must(strings.Contains(strings.Join(except, " "), f.Check), "%s: %s", f.Check, f.What)
	}
}

// must fails with the story so far.
func (s *script) must(ok bool, format string, args ...any) {
	s.t.Helper()
	if !ok {
		s.t.Fatalf(format+"\n%s", append(args, s.story.String())...)
	}
}

func (s *script) node(name string) *node { return s.nodes[s.index(name)] }

// talk lets the named members exchange everything, copies included, until they
// fall silent. What they have to say to others waits.
func (s *script) talk(names ...string) {
	for range 1000 {
		acted := false
		for _, from := range names {
			for _, to := range names {
				acted = from != to && s.Deliver(s.index(from), s.index(to)) || acted
			}
			acted = s.copies(from) || acted
		}
		if !acted {
			return
		}
	}
	s.must(false, "%v do not fall silent", names)
}

// copies lets a member stage and switch, unless it is parked.
func (s *script) copies(name string) bool {
	i, n := s.index(name), s.node(name)
	switch {
	case s.parked[name] || !n.up:
		return false
	case n.stage != nil:
		s.copyFrom(i)
	case n.staged != nil:
		s.tellStaged(i)
	default:
		return false
	}
	return true
}

// from delivers one direction.
func (s *script) from(from, to string) { s.Deliver(s.index(from), s.index(to)) }

// greet lets every two of the named see how the other is now.
func (s *script) greet(names ...string) {
	for _, from := range names {
		for _, to := range names {
			if from != to {
				s.from(from, to)
			}
		}
	}
}

func (s *script) beat(name string)    { s.Beat(s.index(name)) }
func (s *script) timeout(name string) { s.Timeout(s.index(name)) }

// elect lets a candidate win with exactly the named voters. They have not heard
// of the leader before for an election timeout.
func (s *script) elect(candidate string, voters ...string) {
	s.t.Helper()
	for _, voter := range voters {
		s.timeout(voter)
		s.from(voter, candidate)
		s.from(candidate, voter)
	}
	s.timeout(candidate)
	s.talk(append([]string{candidate}, voters...)...)
	s.must(s.node(candidate).leads(), "%s is not elected", candidate)
}

// write lets a client write at a leader, who stores it on the named.
func (s *script) write(leader string, on ...string) protocol.Entry {
	s.t.Helper()
	s.must(s.Propose(s.index(leader)), "%s takes no write", leader)
	s.talk(append([]string{leader}, on...)...)
	entries := s.node(leader).store.entries
	e := entries[len(entries)-1]
	s.must(e.Kind == protocol.KindBatch, "%s has no write at the end of its log", leader)
	return e
}

// acked reports whether the write is acknowledged.
func (s *script) acked(e protocol.Entry) bool {
	for _, a := range s.judge.acked {
		if sameEntry(&a.entry, &e) {
			return true
		}
	}
	return false
}

func (s *script) wipe(names ...string) {
	for _, name := range names {
		s.Wipe(s.index(name))
	}
}

func (s *script) restart(name string) {
	s.kill(s.index(name))
	s.start(s.index(name))
}

// isolate cuts the links between the named members and all others.
func (s *script) isolate(names ...string) {
	in := func(name string) bool { return strings.Contains(strings.Join(names, " "), name) }
	for i, a := range s.names {
		for j, b := range s.names {
			if in(a) && !in(b) {
				s.applyFault(Action{Op: Cut, A: int8(i), B: int8(j)})
			}
		}
	}
}

// heal mends the links between the named members.
func (s *script) heal(names ...string) {
	for _, a := range names {
		for _, b := range names {
			if a != b {
				s.applyFault(Action{Op: Heal, A: int8(s.index(a)), B: int8(s.index(b))})
			}
		}
	}
}

// rejoin lets a member stage the log of a leader and switch to it. It does not
// yet follow.
func (s *script) rejoin(name, leader string) {
	s.t.Helper()
	before := s.node(name).store
	for range 20 {
		s.from(name, leader)
		s.from(leader, name)
		for s.node(name).store == before && s.copies(name) {
		}
		if s.node(name).store != before {
			return
		}
	}
	s.must(false, "%s does not join %s", name, leader)
}

// order is an operator's `found --without`.
func (s *script) order(at string, without ...string) {
	s.t.Helper()
	bits := uint32(0)
	for _, name := range without {
		bits |= 1 << s.index(name)
	}
	err := s.Found(s.index(at), bits)
	s.must(err == nil, "found at %s without %v: %v", at, without, err)
}

// orderStops is an operator's command to a member that persists its promise and
// then stops, before it founds.
func (s *script) orderStops(at string, without ...string) {
	s.t.Helper()
	i := s.index(at)
	s.own(i).stalled = true
	s.order(at, without...)
	s.must(len(s.node(at).writes) == 1 && s.node(at).writes[0].Write.Promise != nil, "%s writes no promise", at)
	s.Apply(Action{Op: Perform, A: int8(i)})
	s.restart(at)
	s.must(s.node(at).store.promise.Epoch > 0, "%s has not promised", at)
}

// take removes the packets of one direction for which the test holds, and
// returns them: they are late.
func (s *script) take(from, to string, late func(p *packet) bool) (taken []*packet) {
	i, j := s.index(from), s.index(to)
	var kept []*packet
	for _, p := range s.mail[i][j] {
		if late(p) {
			taken = append(taken, p)
		} else {
			kept = append(kept, p)
		}
	}
	s.mail[i][j] = kept
	return taken
}

// lose drops all packets between two replication cores, in one direction.
func (s *script) lose(from, to string) {
	s.take(from, to, func(p *packet) bool { return p.kind == packetRaft })
}

// arrive hands over a late packet, whatever waits.
func (s *script) arrive(from, to string, p *packet) {
	i, j := s.index(from), s.index(to)
	s.mail[i][j] = append([]*packet{p}, s.mail[i][j]...)
	s.deliver(i, j, 0, false)
}

func (s *script) alarmed(name, about string) bool {
	for _, text := range s.node(name).replica.View().Alarms {
		if strings.Contains(text, about) {
			return true
		}
	}
	return false
}

func (s *script) foundings() int { return len(s.judge.founds) - 1 }

// recovers reports whether fair schedules end in one whole lineage, with and
// without restarts. A wedge is check L1.
func (s *script) recovers() bool {
	for seed := range uint64(6) {
		if why := s.Recover(seed, seed%2 == 0); why != "" {
			s.judge.fault(s.World, "L1", "no whole lineage forms: %s", why)
			return false
		}
	}
	return true
}
