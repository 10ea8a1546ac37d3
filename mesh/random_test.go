package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// weather is how a random run goes: each seed has its own.
type weather struct {
	faults    int // crashes, wipes and cuts in 1000 steps
	disorder  int // packets that are late, lost or repeated, in 100
	operators bool
}

// step is one random step of a cluster.
func (c *cluster) step(w weather) {
	switch roll := c.random.IntN(1000); {
	case roll < w.faults:
		c.accident(w)
	case roll < 500:
		c.traffic(w)
	default:
		c.work()
	}
}

func (c *cluster) anyone() string { return c.names[c.random.IntN(len(c.names))] }

// traffic delivers one packet: the oldest, or any.
func (c *cluster) traffic(w weather) {
	if len(c.net) == 0 {
		return
	}
	i := 0
	if c.random.IntN(100) < w.disorder {
		i = c.random.IntN(len(c.net))
		switch c.random.IntN(3) {
		case 0:
			c.net = slices.Delete(c.net, i, i+1)
			return
		case 1:
			c.net = append(c.net, c.net[i])
		}
	}
	c.deliver(i)
}

// work is something that happens without any fault.
func (c *cluster) work() {
	name, other := c.anyone(), c.anyone()
	n := c.nodes[name]
	switch roll := c.random.IntN(100); {
	case roll < 30:
		if n.up {
			n.core.Tick()
			c.settle(n)
		}
	case roll < 45:
		c.orphans()
		c.campaign(name)
	case roll < 65:
		c.round(name)
	case roll < 80:
		c.copyWhole(name)
	case roll < 90:
		if n.leader {
			c.nextID++
			c.append(name, record{write: fmt.Sprintf("w%x", c.nextID)})
			c.replicate(name, other)
		}
	case roll < 95:
		c.serve(name)
	case !n.up:
		c.start(name)
	default:
		c.connect(name, other)
	}
}

// accident is a fault.
func (c *cluster) accident(w weather) {
	name, other := c.anyone(), c.anyone()
	n := c.nodes[name]
	switch roll := c.random.IntN(20); {
	case roll < 6:
		c.disconnect(name, other)
	case roll < 8:
		c.elect(name, other) // with no regard for a leader that lives
	case roll < 12:
		c.crash(name)
	case roll < 14:
		c.restart(name)
	case roll < 18:
		c.wipe(name)
	case w.operators && n.up:
		var without []string
		for _, absent := range c.names {
			if absent != name && c.random.IntN(2) == 0 {
				without = append(without, absent)
			}
		}
		c.order(name, without...)
	}
}

// order gives the command `found --without` at a node.
func (c *cluster) order(name string, without ...string) error {
	n := c.nodes[name]
	err := n.core.Found(without)
	if err == nil {
		n.ordered, n.without = true, without
	}
	c.settle(n)
	return err
}

// randomRun returns what broke, with the story that led to it, or "".
func randomRun(t *testing.T, seed uint64, members, steps int, operators bool, off switches) string {
	names := []string{"a", "b", "c", "d", "e"}[:members]
	c := newCluster(t, seed, names...)
	c.proceed, c.off = true, off
	for _, name := range names {
		c.restart(name)
	}
	w := weather{faults: 2 << c.random.IntN(7), disorder: 1 << c.random.IntN(7), operators: operators}
	c.link(names...)
	for range steps {
		c.step(w)
		if len(c.net) > 300 {
			c.net = c.net[100:]
		}
		if c.random.IntN(25) == 0 {
			c.judge.silence()
		}
		if len(c.judge.faults) > 0 {
			return c.failure(seed, fmt.Sprint(c.judge.faults))
		}
	}
	why := c.recover()
	for round := 0; operators && why != "" && round < members; round++ {
		c.discardRivals()
		why = c.settleDown()
	}
	switch {
	case why != "":
		return c.failure(seed, "does not recover: "+why)
	case len(c.judge.faults) > 0:
		return c.failure(seed, fmt.Sprint(c.judge.faults))
	}
	return ""
}

func (c *cluster) failure(seed uint64, what string) string {
	story := c.story[max(0, len(c.story)-120):]
	return fmt.Sprintf("%d members, seed %d: %s\n%s", len(c.names), seed, what, strings.Join(story, "\n"))
}

// discardRivals is an operator who keeps the lineage with the most voters and
// discards every alarmed store of another.
func (c *cluster) discardRivals() {
	var keep *node
	for _, name := range c.names {
		if n := c.nodes[name]; n.leader && (keep == nil || len(n.store.config().Voters) > len(keep.store.config().Voters)) {
			keep = n
		}
	}
	for _, name := range c.names {
		n := c.nodes[name]
		if keep != nil && n.store.lineage == keep.store.lineage {
			continue
		}
		if err := n.core.Discard(n.store.id); err == nil {
			n.gaveUp = true
		}
		c.settle(n)
	}
}

// randomRuns reports the first seed that breaks something.
func randomRuns(t *testing.T, first, count uint64, members, steps int, operators bool) {
	t.Helper()
	for seed := first; seed < first+count; seed++ {
		if broken := randomRun(t, seed, members, steps, operators, switches{}); broken != "" {
			t.Fatal(broken)
		}
	}
}

// TestRandomSchedules runs clusters through loss, duplication, reordering,
// crashes, restarts, partitions and wipes, and judges every step; then faults
// stop, and one lineage with every member must form in recoveryTicks.
func TestRandomSchedules(t *testing.T) {
	randomRuns(t, 0, 300, 3, 1500, false)
	randomRuns(t, 1000, 60, 5, 2000, false)
	randomRuns(t, 2000, 20, 1, 600, false)
	randomRuns(t, 2100, 20, 2, 600, false)
}

// TestRandomOverrides adds operators who name members absent at random, rightly
// and wrongly, and who discard in the end.
func TestRandomOverrides(t *testing.T) {
	randomRuns(t, 3000, 150, 3, 1500, true)
}

// TestRandomSchedulesCanFail: without these clauses they do. The others need
// schedules that chance does not find so soon.
func TestRandomSchedulesCanFail(t *testing.T) {
	for _, test := range []struct {
		name      string
		off       switches
		operators bool
	}{
		{"every member", switches{everyMember: true}, false},
		{"holders stay", switches{holderStays: true}, false},
		{"leave rule", switches{leaveRule: true}, true},
	} {
		broken := false
		for seed := uint64(0); seed < 200 && !broken; seed++ {
			broken = randomRun(t, seed, 3, 1500, test.operators, test.off) != ""
		}
		if !broken {
			t.Errorf("%s: nothing breaks", test.name)
		}
	}
}
