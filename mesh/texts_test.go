package mesh

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"holdfast/protocol"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

// golden compares a text with a file of testdata. Identifiers are renamed in the
// order of their appearance.
func golden(t *testing.T, name, got string) {
	t.Helper()
	numbers := map[string]string{}
	got = regexp.MustCompile(`\b[0-9a-f]{16}\b`).ReplaceAllStringFunc(got, func(id string) string {
		if numbers[id] == "" {
			numbers[id] = fmt.Sprintf("#%d", len(numbers)+1)
		}
		return numbers[id]
	})
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	theirs, ours := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range min(len(theirs), len(ours)) {
		if theirs[i] != ours[i] {
			t.Fatalf("%s, line %d (-update rewrites it):\nwant %s\nhave %s", path, i+1, theirs[i], ours[i])
		}
	}
	t.Fatalf("%s has %d lines, now there are %d (-update rewrites it)", path, len(theirs), len(ours))
}

// waits are the states in which a node can be stuck for a while, each by the way
// into it.
var waits = []struct {
	name string
	into func(c *cluster)
}{
	{"first start, n3 is not there yet", func(c *cluster) {
		c.wipe("n1")
		c.wipe("n2")
		c.crash("n3")
		c.connect("n1", "n2")
	}},
	{"first start, n3 has been missing for long", func(c *cluster) {
		c.wipe("n1")
		c.wipe("n2")
		c.crash("n3")
		c.connect("n1", "n2")
		c.tick(testAdviseTicks)
	}},
	{"a voter alone", func(c *cluster) { c.cut("n3") }},
	{"a voter alone for long", func(c *cluster) {
		c.cut("n3")
		c.tick(testAdviseTicks)
	}},
	{"a voter with one that lost its memory, without the third", func(c *cluster) {
		c.crash("n3")
		c.wipe("n2")
		c.link("n1", "n2")
		c.losesContact("n1")
		c.nodes["n1"].leader = false
		c.changed(c.nodes["n1"])
	}},
	{"no leader yet", func(c *cluster) {
		c.losesContact("n1")
		c.nodes["n1"].leader = false
		for _, name := range c.names {
			c.nodes[name].following = ""
			c.changed(c.nodes[name])
		}
	}},
	{"the leader is not ready", func(c *cluster) {
		c.crash("n3")
		c.wipe("n2")
		c.link("n1", "n2")
		c.nodes["n1"].ready = false
		c.changed(c.nodes["n1"])
	}},
	{"the leader is not ready, a follower waits with it", func(c *cluster) {
		n := c.nodes["n1"]
		n.ready = false
		local := c.local(n)
		local.Followers[1].Lagging = true
		n.core.SetLocal(local)
		c.settle(n)
	}},
	{"a copy on its way", func(c *cluster) {
		c.wipe("n3")
		c.nodes["n3"].held = true
		c.link("n1", "n2", "n3")
		c.tick(testRetryTicks)
		c.nodes["n3"].core.StageProgress(3_000_000, 12_000_000)
		c.tick(testRetryTicks)
	}},
	{"holds the lineage, is not a voter yet", func(c *cluster) {
		c.wipe("n3")
		c.rejoin("n3", "n1")
		c.link("n1", "n2", "n3")
		for _, name := range []string{"n2", "n3"} {
			c.nodes[name].following = "n1"
			c.changed(c.nodes[name])
		}
	}},
	{"the lineage is closed to writes", func(c *cluster) {
		c.crash("n1")
		c.crash("n2")
		c.must(c.order("n3", "n1", "n2") == nil && c.elect("n3"), "order")
		c.tick(testAdviseTicks)
	}},
	{"a majority lost, the operator decides", func(c *cluster) {
		c.wipe("n1")
		c.wipe("n2")
		c.link("n1", "n2", "n3")
	}},
	{"a damaged store was set aside, alone", func(c *cluster) {
		c.wipe("n3")
		c.crash("n3")
		c.nodes["n3"].store.replaced = lineage1
		c.start("n3")
		c.tick(testAdviseTicks)
	}},
	{"a founding on its way", func(c *cluster) {
		c.hold = func(p packet) bool { return p.to == "n3" && p.m.Type == TypeConfirm }
		for _, name := range c.names {
			c.wipe(name)
		}
		c.link("n1", "n2", "n3")
	}},
	{"a promise that waits for the leader's bump", func(c *cluster) {
		c.nodes["n3"].stops = true
		c.cut("n3")
		c.must(c.order("n3", "n1", "n2") == nil, "order")
		c.start("n3")
		c.hold = func(p packet) bool { return p.to == "n1" }
		c.link("n1", "n3")
	}},
	{"a founder whose log lacks what another holds", refusedFounder},
	{"an override that was wrong: two lineages live", twoLineages},
	{"an old store that came back", func(c *cluster) {
		a1 := c.wipe("n1")
		a1.log = append(a1.log, record{term: 1, lineage: lineage1, write: "D0"})
		c.link("n1", "n2", "n3")
		c.proceed = true
		c.wipe("n2")
		c.restart("n3")
		c.link("n1", "n2", "n3")
		c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
		c.returns("n1", a1)
		c.link("n1", "n2", "n3")
		c.tick(2 * testRetryTicks)
	}},
	{"the disk is full", func(c *cluster) {
		c.tick(testRetryTicks)
		n := c.nodes["n2"]
		local := c.local(n)
		local.Hindrance = "a write has waited 12 s for the disk, which is full: make room in /var/lib/holdfast"
		n.core.SetLocal(local)
		for range testRetryTicks + 1 {
			n.core.Tick()
			c.settle(n)
		}
		c.quiet()
	}},
}

// refusedFounder is O5 of the schedules: n1 is the best survivor, and n2 may not
// leave for its log.
func refusedFounder(c *cluster) {
	c.write("n1", "D0", "n2")
	c.wipe("n1")
	c.only("n1")
	c.must(c.order("n3", "n1", "n2") == nil && c.elect("n3"), "order")
	c.rejoin("n1", "n3")
	c.wipe("n3")
	c.only("n1", "n2", "n3")
	c.starts("n1")
	c.quiet()
}

// twoLineages is O2 of the schedules: n3 was founded without n1 and n2, which
// live.
func twoLineages(c *cluster) {
	c.write("n1", "D0", "n2")
	c.only("n1", "n2")
	c.must(c.order("n3", "n1", "n2") == nil && c.elect("n3"), "order")
	c.only("n1", "n2", "n3")
	c.tick(testRetryTicks)
}

// Every state in which a node waits has words that say for what, and what would
// let it go on, as each of the members shows them.
func TestTextsOfWaiting(t *testing.T) {
	var out strings.Builder
	for _, w := range waits {
		c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
		w.into(c)
		if w.name != "the disk is full" {
			c.tick(testRetryTicks) // everybody has said how it is
		}
		fmt.Fprintf(&out, "# %s\n", w.name)
		for _, name := range c.names {
			if c.nodes[name].up {
				c.describe(&out, name)
			}
		}
	}
	golden(t, "waiting.txt", out.String())
}

// describe writes what a member says of all.
func (c *cluster) describe(out *strings.Builder, name string) {
	view := c.nodes[name].core.View()
	fmt.Fprintf(out, "\n%s says:\n", name)
	for _, m := range view.Members {
		fmt.Fprintf(out, "    %s %s", m.Name, m.State)
		for _, text := range []string{m.Reason, m.Remedy} {
			if text != "" {
				fmt.Fprintf(out, "\n        %s", text)
			}
		}
		out.WriteString("\n")
	}
	for _, text := range view.Alarms {
		fmt.Fprintf(out, "    ALARM %s\n", text)
	}
	out.WriteString("\n")
}

// The log tells each transition in one line.
func TestTextsOfTheLog(t *testing.T) {
	var out strings.Builder
	for _, story := range []struct {
		name string
		tell func(c *cluster)
	}{
		{"first start", func(c *cluster) {
			for _, name := range c.names {
				c.wipe(name)
			}
			c.story = nil
			c.link("n1", "n2", "n3")
			c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
		}},
		{"a voter loses its memory and joins again", func(c *cluster) {
			c.wipe("n2")
			c.link("n1", "n2", "n3")
			c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
		}},
		{"the leader dies", func(c *cluster) {
			c.crash("n1")
			c.must(c.elect("n2") && c.replicate("n2", "n3"), "2")
		}},
		{"a majority loses its memory", func(c *cluster) {
			c.wipe("n1")
			c.wipe("n2")
			c.proceed = true
			c.restart("n3")
			c.link("n1", "n2", "n3")
			c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
		}},
		{"a founder is refused", refusedFounder},
		{"an override, and its end", func(c *cluster) {
			twoLineages(c)
			n := c.nodes["n3"]
			c.must(n.core.Discard(n.store.id) == nil, "discard")
			n.gaveUp = true
			c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
			c.tick(2 * patience * testRetryTicks)
		}},
	} {
		c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
		c.story = nil
		story.tell(c)
		fmt.Fprintf(&out, "# %s\n%s\n\n", story.name, strings.Join(c.story, "\n"))
	}
	golden(t, "log.txt", out.String())
}

// command is a piece of advice: what to run, and where.
type command struct {
	verb, what, node string
}

var advised = regexp.MustCompile("`holdfast (discard|found)(?: --without)? ?([^`]*)` on ([a-z0-9]+)")

// advice lists the commands in a text.
func advice(text string) []command {
	var all []command
	for _, m := range advised.FindAllStringSubmatch(text, -1) {
		all = append(all, command{m[1], m[2], m[3]})
	}
	return all
}

// follow gives a command on the node that it names.
func (c *cluster) follow(o command) {
	c.t.Helper()
	n := c.nodes[o.node]
	if o.verb == "found" {
		var without []string
		if o.what != "" {
			without = strings.Split(o.what, ",")
		}
		err := c.order(o.node, without...)
		c.must(err == nil, "%+v: %v", o, err)
		return
	}
	store, err := protocol.ParseStoreID(o.what)
	c.must(err == nil, "%+v: %v", o, err)
	_, err = n.core.PlanDiscard(store)
	c.must(err == nil, "%+v: %v", o, err)
	c.must(n.core.Discard(store) == nil, "%+v", o)
	n.gaveUp = true
	c.settle(n)
}

// alarmText is the alarm of a member about a matter.
func (c *cluster) alarmText(name, about string) string {
	c.t.Helper()
	for _, a := range c.nodes[name].core.alarms {
		if strings.HasPrefix(a.key, about) {
			return a.remedy
		}
	}
	c.must(false, "%s has no alarm about %s", name, about)
	return ""
}

// Whichever side a person takes, the alarms name the commands that end in one
// whole lineage, on the nodes that accept them.
func TestAdviceHelps(t *testing.T) {
	t.Run("a refused founder, its log is kept", func(t *testing.T) {
		for _, teller := range []struct{ name, about string }{{"n1", "refused/n2"}, {"n2", "leave/n1"}} {
			c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
			refusedFounder(c)
			commands := advice(c.alarmText(teller.name, teller.about))
			c.must(len(commands) == 3, "advice %v", commands)
			c.follow(commands[0])
			c.judge.acked = nil // D0 was given up
			c.proceed, c.nodes["n1"].core.options.Continue = true, true
			c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
			c.must(c.nodes["n1"].store.lineage.Epoch == 3 && !c.nodes["n1"].store.holds("D0"), "another lineage")
			c.spotless()
		}
	})
	t.Run("a refused founder, the other's log is kept", func(t *testing.T) {
		c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
		refusedFounder(c)
		commands := advice(c.alarmText("n1", "refused/n2"))
		c.follow(commands[1])
		c.tick(4 * testRetryTicks)
		c.must(c.elect("n2"), "n2 does not lead")
		for range 10 {
			c.tick(testRetryTicks)
			c.copyWhole("n3")
			c.round("n2")
		}
		c.must(c.alarmed("n1", "stay/n2"), "n1 raises no alarm: %v", c.nodes["n1"].core.alarms)
		c.follow(commands[2])
		c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
		c.must(c.nodes["n1"].store.holds("D0"), "D0 is lost")
		c.spotless()
	})
	t.Run("two lineages", func(t *testing.T) {
		for _, teller := range []struct{ name, about string }{{"n1", "rival/"}, {"n3", "rival/"}, {"n2", "stay/n3"}} {
			for _, keep := range []uint64{1, 2} {
				c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
				twoLineages(c)
				commands := advice(c.alarmText(teller.name, teller.about))
				c.must(len(commands) == 3, "advice %v", commands)
				for _, o := range commands {
					if c.nodes[o.node].store.lineage.Epoch != keep {
						c.follow(o)
						c.tick(1)
					}
				}
				if keep == 2 {
					c.judge.acked = nil // D0 was given up
				}
				c.must(c.settleDown() == "", "keep %d by %s: not formed: %s", keep, teller.name, c.judge.formed())
				c.must(c.nodes["n2"].store.lineage.Epoch == keep, "lineage %s", c.nodes["n2"].store.lineage)
				c.spotless()
			}
		}
	})
	t.Run("an old store", func(t *testing.T) {
		c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
		for _, w := range waits {
			if w.name == "an old store that came back" {
				w.into(c)
			}
		}
		commands := advice(c.alarmText("n1", "stay/"))
		c.must(len(commands) == 1, "advice %v", commands)
		c.follow(commands[0])
		c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	})
}

// A discard on the wrong node is refused, and says where it belongs.
func TestDiscardElsewhere(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
	refusedFounder(c)
	_, err := c.nodes["n1"].core.PlanDiscard(c.nodes["n2"].store.id)
	c.must(err != nil && strings.Contains(err.Error(), "it is that of n2, run the command there"), "%v", err)
	_, err = c.nodes["n1"].core.PlanDiscard(c.nodes["n1"].store.id)
	c.must(err != nil && strings.Contains(err.Error(), "no alarm of this node asks for it"), "%v", err)
}
