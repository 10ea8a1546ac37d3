package mesh

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }

func TestFoundIsRefused(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	for _, test := range []struct {
		node    string
		without []string
		err     error
		says    string
	}{
		{"a", []string{"x"}, ErrNotMember, "the others are b and c"},
		{"a", []string{"a"}, ErrNotMember, "the others are b and c"},
		{"a", nil, ErrCannotFound, "a can be elected in lineage 1/0000000000000011; there is nothing to be founded"},
		{"b", []string{"c"}, ErrCannotFound, "a can be elected"},
	} {
		_, planned := c.nodes[test.node].core.PlanFound(test.without)
		err := c.order(test.node, test.without...)
		if !errors.Is(err, test.err) || !errors.Is(planned, test.err) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("found --without %v on %s: %v", test.without, test.node, err)
		}
	}
	c.wipe("b")
	c.only("a", "c")
	if err := c.order("c"); !errors.Is(err, ErrCannotFound) || !strings.Contains(err.Error(), "no status from b; start b or, only if the memory of b will not return, run `holdfast found --without b` on a") {
		t.Errorf("with b off: %v", err)
	}
	c.wipe("a")
	c.only("a", "b", "c")
	if err := c.order("a"); !errors.Is(err, ErrCannotFound) || !strings.Contains(err.Error(), "c is the better survivor") || !strings.HasSuffix(err.Error(), "run `holdfast found` on c") {
		t.Errorf("on a blank store: %v", err)
	}
}

func TestPlanFoundTellsTheRisk(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.cut("c")
	risk, err := c.nodes["c"].core.PlanFound([]string{"a", "b"})
	text := strings.Join(risk.Lines, "\n")
	for _, part := range []string{"epoch 2, from its own log: lineage 1/0000000000000011 up to index 2", "LOST to the cluster: acknowledged writes that only a and b held",
		"a and b will count as gone", "Make sure first that they are off", "Only 1 of 3 members take part: the new lineage takes no writes until 2 have joined it"} {
		if err != nil || !strings.Contains(text, part) {
			t.Errorf("%q is missing in %q, %v", part, text, err)
		}
	}
	if c.attempting("c") || c.nodes["c"].store.promise.Epoch != 0 {
		t.Error("a plan acts")
	}
	fresh := newCluster(t, 1, "a", "b", "c")
	risk, err = fresh.nodes["a"].core.PlanFound([]string{"b", "c"})
	if err != nil || !strings.Contains(risk.Lines[0], "a founds a NEW, EMPTY cluster") {
		t.Errorf("%v, %v", risk, err)
	}
}

// TestOverrideClosesToWrites: the founder alone is not enough, and says so.
func TestOverrideClosesToWrites(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.crash("a")
	c.crash("b")
	c.must(c.order("c", "a", "b") == nil && c.elect("c"), "order")
	c.tick(2 * testReportTicks)
	state, reason, remedy := c.nodes["c"].core.situation()
	c.must(state == StateVoter && strings.Contains(reason, "closed to writes: 1 of 3 members vote in it, 2 are needed") && strings.Contains(remedy, "start a and b"), "%s %q %q", state, reason, remedy)
	c.must(c.said("c: ", "closed to writes"), "it waits silently")
	view := c.nodes["c"].core.View()
	c.must(view.Waiting != "" && view.Leader == "c" && view.Members[0].State == StateUnknown && view.Members[2].State == StateVoter, "%+v", view)
}

func TestOverrideEnds(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.wipe("b")
	c.hold = func(p packet) bool { return p.m.Type == TypeConfirm }
	c.only("b", "c")
	c.nodes["c"].following = ""
	c.must(c.order("c", "a") == nil, "order")
	c.tick(2 * overridePatience * testRetryTicks)
	c.must(c.nodes["c"].core.override == nil && c.said("c: the operator's founding is given up", "no answer from b"), "it goes on for ever")
}

func TestDiscard(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.write("a", "D0", "b")
	a := c.nodes["a"]
	if err := a.core.Discard(99); !errors.Is(err, ErrNotThisStore) {
		t.Errorf("another store: %v", err)
	}
	if err := a.core.Discard(a.store.id); !errors.Is(err, ErrNotAlarmed) {
		t.Errorf("a store in use: %v", err)
	}
	// A wrong override makes two live lineages; the operator keeps the older.
	c.only("a", "b")
	c.must(c.order("c", "a", "b") == nil && c.elect("c"), "order")
	c.only("a", "b", "c")
	c.tick(testRetryTicks)
	n := c.nodes["c"]
	risk, err := n.core.PlanDiscard(n.store.id)
	c.must(err == nil && strings.Contains(risk.Lines[1], "LOST to the cluster: acknowledged writes that only this store holds"), "%v, %v", risk, err)
	c.must(n.core.Discard(n.store.id) == nil, "discard")
	n.gaveUp = true
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	c.must(n.store.lineage == lineage1 && n.store.holds("D0"), "c holds %s", n.store.lineage)
	c.must(len(c.nodes["a"].core.alarms) == 0 || c.alarmed("a", "rival"), "alarms")
	c.tick(2 * patience * testRetryTicks)
	c.must(len(c.nodes["a"].core.View().Alarms) == 0 && c.said("a: alarm over"), "the alarm stays: %v", c.nodes["a"].core.alarms)
	c.spotless()
}

// A discard that nothing came of does not lie in wait.
func TestDiscardIsForgotten(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.nodes["b"].core.mayLeave = true
	c.tick(1)
	c.must(!c.nodes["b"].core.mayLeave && c.said("b: the operator's discard is forgotten"), "it lies in wait")
}

// A message that cannot be true changes nothing.
func TestImpossibleMessages(t *testing.T) {
	c, _, statuses := leaderOf(t, "n1", "n2", "n3")
	before := c.peer("n2").status
	for _, m := range []Message{
		{Type: TypeStatus, Status: statuses["n3"]},       // of another member
		{Type: TypeStatus, Status: Status{Member: "n2"}}, // without a store
		{Type: TypeStatus, Status: Status{Member: "n2", Store: 5, LastIndex: 3}},
		{Type: TypeStatus, Status: Status{Member: "n2", Store: 5, Term: 1, LastTerm: 2}},
		{Type: TypeStatus, Status: Status{Member: "n2", Store: 5, Lineage: lineage2, LastIndex: 1}},
	} {
		c.Step("n2", m)
		if !c.peer("n2").status.Equal(&before) {
			t.Errorf("%+v is believed", m.Status)
		}
	}
	c.Step("n9", Message{Type: TypeStatus, Status: Status{Member: "n9", Store: 9}})
	c.Connected("n9", Status{Member: "n9", Store: 9})
	c.Disconnected("n9")
	c.Connected("n2", Status{Member: "n2"})
	var e Effects
	c.Take(&e)
	if len(e.Events) != 1 || e.Events[0].Level != Warning {
		t.Errorf("events %v", e.Events)
	}
	older := before
	older.Counter, older.Term = 0, 1
	c.Step("n2", Message{Type: TypeStatus, Status: older})
	if c.peer("n2").status.Counter != before.Counter {
		t.Error("an older status is believed")
	}
}
