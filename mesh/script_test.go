package mesh

import (
	"strings"
	"testing"

	"holdfast/protocol"
)

// What the schedules of schedules_*_test.go are written in. They are those that
// broke weaker versions of the protocol; each runs twice, with all clauses on,
// where no check may fire, and with the named clauses off, where the check that
// the schedule is about must fire.

// schedule runs a script with all clauses on and then with some off.
func schedule(t *testing.T, off switches, weak weaknesses, check string, script func(c *cluster, on bool)) {
	t.Helper()
	t.Run("on", func(t *testing.T) {
		c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
		script(c, true)
		c.spotless()
	})
	t.Run("off", func(t *testing.T) {
		c := formed(t, off, weak, "a", "b", "c")
		script(c, false)
		if !c.judge.fired(check) {
			c.must(false, "%s does not fire: %v", check, c.judge.faults)
		}
	})
}

// spotless fails unless no check fired.
func (c *cluster) spotless() {
	c.t.Helper()
	c.must(len(c.judge.faults) == 0, "faults: %v", c.judge.faults)
}

// must fails with the story so far.
func (c *cluster) must(ok bool, format string, args ...any) {
	c.t.Helper()
	if !ok {
		c.t.Fatalf(format+"\n%s", append(args, strings.Join(c.story, "\n"))...)
	}
}

var lineage1 = protocol.Lineage{Epoch: 1, ID: 0x11}

// formed is the state in which most schedules begin: the first three, a1, b1 and
// c1, are the voters of L1 with i1 FOUND, i2 the configuration; a leads and has
// committed i2. Other
// names are blank. Nothing is linked, and nobody founds from survivors by itself
// before starts.
func formed(t testing.TB, off switches, weak weaknesses, names ...string) *cluster {
	c := newCluster(t, 1, names...)
	c.off, c.weak = off, weak
	var voters []protocol.Voter
	for _, name := range names[:3] {
		voters = append(voters, c.nodes[name].voter())
	}
	config := protocol.NewConfiguration(voters...)
	found := protocol.Founding{Attempt: protocol.Attempt(lineage1), Index: 1, Voter: voters[0]}
	c.judge.founds = append(c.judge.founds, founded{lineage: lineage1})
	for _, name := range names[:3] {
		s := c.nodes[name].store
		s.lineage, s.term = lineage1, 1
		s.log = []record{{term: 1, lineage: lineage1, found: &found}, {term: 1, lineage: lineage1, config: &config}}
	}
	for _, name := range names {
		c.restart(name)
	}
	a := c.nodes[names[0]]
	a.leader, a.ready, a.contact, a.commit = true, true, true, 2
	a.match = map[protocol.Voter]uint64{}
	for _, v := range voters {
		a.match[v] = 2
		c.nodes[v.Name].following = names[0]
	}
	c.link(names[:3]...)
	for _, name := range names {
		c.changed(c.nodes[name])
	}
	c.quiet()
	return c
}

// write appends a client's write at a leader and stores it on the named.
func (c *cluster) write(leader, write string, on ...string) {
	c.t.Helper()
	c.must(c.append(leader, record{write: write}), "%s does not lead", leader)
	for _, name := range on {
		if name != leader {
			c.must(c.replicate(leader, name), "%s refuses %s from %s", name, write, leader)
		}
	}
}

func (c *cluster) acked(write string) bool {
	for _, a := range c.judge.acked {
		if a.write == write {
			return true
		}
	}
	return false
}

// only leaves the named linked with each other and cuts everybody else off.
func (c *cluster) only(names ...string) {
	for i, a := range c.names {
		for _, b := range c.names[i+1:] {
			if in(a, names) && in(b, names) {
				c.connect(a, b)
			} else {
				c.disconnect(a, b)
			}
		}
	}
	c.quiet()
}

func in(name string, names []string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// rejoin lets a node stage the log of a leader and switch to it.
func (c *cluster) rejoin(name, leader string) {
	c.t.Helper()
	before := c.nodes[name].store
	c.only(name, leader)
	for range 10 * testRetryTicks {
		c.tick(1)
		c.copyWhole(name)
		c.quiet()
		if c.nodes[name].store != before {
			return
		}
	}
	c.must(false, "%s does not join %s", name, leader)
}

// starts lets a node found from survivors by itself. Whether it does is up to it.
func (c *cluster) starts(name string) {
	n := c.nodes[name]
	n.core.options.Continue = true
	n.core.Tick()
	c.settle(n)
}

// attempting reports whether a node has an attempt on its way.
func (c *cluster) attempting(name string) bool { return c.nodes[name].core.attempt != nil }

// withhold keeps messages of a type to a member on their way.
func (c *cluster) withhold(to string, types ...Type) {
	before := c.hold
	c.hold = func(p packet) bool {
		for _, t := range types {
			if p.to == to && p.m.Type == t {
				return true
			}
		}
		return before != nil && before(p)
	}
}

// release delivers all that was withheld.
func (c *cluster) release() {
	c.hold = nil
	c.quiet()
}

// alarmed reports whether a node has an alarm that is about the given matter.
func (c *cluster) alarmed(name, about string) bool {
	for _, a := range c.nodes[name].core.alarms {
		if strings.HasPrefix(a.key, about) {
			return true
		}
	}
	return false
}

// losesContact is a leader that does not hear from its quorum any more.
func (c *cluster) losesContact(name string) {
	c.nodes[name].contact = false
	c.changed(c.nodes[name])
}

// returns restarts a node on an old store of its own.
func (c *cluster) returns(name string, old *store) {
	c.crash(name)
	c.nodes[name].store = old
	c.start(name)
}

// recovers tells whether one whole lineage forms; a wedge is check L1.
func (c *cluster) recovers() bool {
	why := c.recover()
	for round := 0; why != "" && round < len(c.names) && c.overridden(); round++ {
		c.discardRivals()
		why = c.settleDown()
	}
	if why != "" {
		c.judge.fault("L1", "no whole lineage forms: %s", why)
	}
	return why == ""
}

func (c *cluster) overridden() bool {
	for _, f := range c.judge.founds {
		if f.operator {
			return true
		}
	}
	return false
}
