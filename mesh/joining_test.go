package mesh

import (
	"slices"
	"strings"
	"testing"

	"holdfast/protocol"
)

// TestWipedMemberComesBack: staged, removed, learned, added, one step at a time.
func TestWipedMemberComesBack(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.write("a", "D0", "b", "c")
	old := c.wipe("b")
	c.only("a", "b", "c")
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	b := c.nodes["b"].store
	c.must(b.id != old.id && b.holds("D0") && len(b.granted) == 0, "b is %+v", b)
	var configs []string
	for _, r := range c.nodes["a"].store.log {
		if r.config != nil {
			configs = append(configs, r.config.String())
		}
	}
	want := protocol.NewConfiguration(c.nodes["a"].voter(), c.nodes["c"].voter())
	c.must(len(configs) == 3 && configs[1] == want.String(), "configurations %v", configs)
	c.must(len(c.judge.founds) == 1, "a founding for nothing")
	c.spotless()
}

// TestFrozenVoterRestages: an attempt that came to nothing froze c1; the others
// bump above it, c takes a fresh copy, and is added under a new store.
func TestFrozenVoterRestages(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	c.cut("c")
	c.nodes["c"].stops = true
	c.must(c.order("c", "a", "b") == nil, "order")
	frozen := c.nodes["c"].store
	c.must(frozen.frozen(), "not frozen")
	c.must(c.recovers(), "no recovery")
	c.must(c.nodes["c"].store != frozen && c.nodes["c"].store.promise.Epoch == 0, "c1 was thawed in place")
	c.must(c.nodes["a"].store.lineage == lineage1 && c.nodes["a"].store.epoch() == 3, "not a bump but %s", c.nodes["a"].store.lineage)
	c.must(c.said("c: copying the log of the leader", "purpose restage"), "no restaging")
	c.spotless()
}

// offered returns a core like that of member, and an offer of the leader n1.
func offered(t *testing.T, change func(l *Local, m *Message)) (*Core, Local, Effects) {
	t.Helper()
	c, local, grant := member(t)
	m := Message{Type: TypeOffer, Status: grant.Status, Role: Role{Leading: true, Leader: "n1"}, Pinned: local.Status,
		Contained: true, Foundings: local.Foundings}
	change(&local, &m)
	c.SetLocal(local)
	m.Pinned.Promise, m.Pinned.Counter = local.Promise, local.Counter
	var e Effects
	c.Take(&e)
	c.Step("n1", m)
	c.Take(&e)
	return c, local, e
}

var lineage2 = protocol.Lineage{Epoch: 2, ID: 5}

// newer makes the offer one of lineage 2, which does not contain the own log.
func newer(l *Local, m *Message) {
	m.Status.Lineage, m.Status.Epoch, m.Contained = lineage2, 2, false
	m.Foundings = append(slices.Clone(m.Foundings), protocol.Founding{Attempt: protocol.Attempt(lineage2), Index: 3})
}

func blank(l *Local, m *Message) {
	*l = Local{Status: Status{Member: "n2", Store: 2, Counter: 1, Boot: 1, Promise: l.Promise}, Granted: l.Granted}
	m.Pinned = l.Status
}

func TestWhichOffersAreTaken(t *testing.T) {
	granted := protocol.Attempt(lineage2)
	for _, test := range []struct {
		name    string
		change  func(l *Local, m *Message)
		purpose Purpose
		alarm   bool
	}{
		{"of the own lineage", func(l *Local, m *Message) {}, 0, false},
		{"to a blank store", blank, PurposeJoin, false},
		{"to a blank store, of who does not lead", func(l *Local, m *Message) { blank(l, m); m.Role.Leading = false }, 0, false},
		{"to a blank store that promised as much", func(l *Local, m *Message) {
			l.Promise = protocol.Attempt{Epoch: 1, ID: 9}
			blank(l, m)
		}, 0, false},
		{"to a blank store that promised more", func(l *Local, m *Message) {
			l.Promise = protocol.Attempt{Epoch: 5, ID: 9}
			blank(l, m)
		}, 0, false},
		{"to a blank store, bumped above its promise", func(l *Local, m *Message) {
			l.Promise = protocol.Attempt{Epoch: 5, ID: 9}
			blank(l, m)
			m.Status.Epoch = 6
		}, PurposeJoin, false},
		{"to a blank store that granted it", func(l *Local, m *Message) {
			l.Promise, l.Granted = granted, []protocol.Attempt{granted}
			newer(l, m)
			blank(l, m)
		}, PurposeJoin, false},
		{"of another lineage", newer, 0, true},
		{"of another lineage with the own log in it", func(l *Local, m *Message) { newer(l, m); m.Contained = true }, PurposeJoin, false},
		{"of another lineage with an older own log in it", func(l *Local, m *Message) {
			newer(l, m)
			m.Contained = true
			l.LastIndex++ // the leader has not seen that yet
		}, 0, false},
		{"of another lineage that was granted", func(l *Local, m *Message) {
			newer(l, m)
			l.Promise, l.Granted = granted, []protocol.Attempt{granted}
		}, PurposeJoin, false},
		{"of another lineage that was granted, by number only", func(l *Local, m *Message) {
			newer(l, m)
			l.Promise = protocol.Attempt{Epoch: 2, ID: 6}
		}, 0, true},
		{"of another lineage that was granted before another promise", func(l *Local, m *Message) {
			newer(l, m)
			l.Granted = []protocol.Attempt{granted, {Epoch: 3, ID: 7}}
			l.Promise = l.Granted[1]
		}, 0, false},
		{"the same, bumped above that promise", func(l *Local, m *Message) {
			newer(l, m)
			m.Status.Epoch = 4
			l.Granted = []protocol.Attempt{granted, {Epoch: 3, ID: 7}}
			l.Promise = l.Granted[1]
		}, PurposeJoin, false},
		{"to a frozen store", func(l *Local, m *Message) { l.Promise = protocol.Attempt{Epoch: 2, ID: 8} }, 0, false},
		{"to a frozen store, bumped", func(l *Local, m *Message) {
			l.Promise = protocol.Attempt{Epoch: 2, ID: 8}
			m.Status.Epoch = 3
		}, PurposeRestage, false},
		{"to catch up", func(l *Local, m *Message) { m.CatchUp = true }, PurposeCatchUp, false},
		{"to catch up, to the process before, which has caught up", func(l *Local, m *Message) {
			m.CatchUp = true
			l.Boot++
		}, 0, false},
		{"to catch up, to a frozen store", func(l *Local, m *Message) {
			m.CatchUp = true
			l.Promise = protocol.Attempt{Epoch: 2, ID: 8}
		}, 0, false},
		{"to catch up, of another lineage", func(l *Local, m *Message) { newer(l, m); m.CatchUp = true }, 0, false},
	} {
		c, _, e := offered(t, test.change)
		var purpose Purpose
		if e.Stage != nil {
			purpose = e.Stage.Purpose
		}
		if purpose != test.purpose || (len(c.alarms) > 0) != test.alarm {
			t.Errorf("%s: purpose %d, want %d; alarms %v", test.name, purpose, test.purpose, c.alarms)
		}
		if state, reason, _ := c.situation(); state != StateJoining && reason == "" {
			t.Errorf("%s: %s without a word", test.name, state)
		}
	}
}

func TestWhichCopiesAreActivated(t *testing.T) {
	join := blank
	restage := func(l *Local, m *Message) { l.Promise = protocol.Attempt{Epoch: 2, ID: 8}; m.Status.Epoch = 3 }
	catchUp := func(l *Local, m *Message) { m.CatchUp = true }
	for _, test := range []struct {
		name   string
		offer  func(l *Local, m *Message)
		change func(l *Local, w *Copy)
		ok     bool
	}{
		{"whole", join, func(l *Local, w *Copy) {}, true},
		{"of another lineage", join, func(l *Local, w *Copy) { w.Lineage = lineage2 }, false},
		{"without its beginning", join, func(l *Local, w *Copy) { w.Foundings = nil }, false},
		{"shorter than its beginning", join, func(l *Local, w *Copy) { w.LastIndex = 0 }, false},
		{"below the promise after all", restage, func(l *Local, w *Copy) { w.Epoch = 2 }, false},
		{"restaged, level", restage, func(l *Local, w *Copy) {}, true},
		{"restaged, behind", restage, func(l *Local, w *Copy) { w.LastIndex = 1 }, false},
		{"restaged, a later term", restage, func(l *Local, w *Copy) { w.LastIndex, w.LastTerm = 1, 2 }, true},
		{"caught up, level", catchUp, func(l *Local, w *Copy) {}, true},
		{"caught up, behind", catchUp, func(l *Local, w *Copy) { l.LastIndex++ }, false},
		{"caught up, frozen meanwhile", catchUp, func(l *Local, w *Copy) { l.Promise.Epoch = 2 }, false},
	} {
		c, local, e := offered(t, test.offer)
		if e.Stage == nil {
			t.Fatalf("%s: not staged", test.name)
		}
		purpose := e.Stage.Purpose
		w := Copy{From: "n1", Lineage: lineage1, Epoch: 3, Foundings: []protocol.Founding{{Attempt: protocol.Attempt(lineage1), Index: 1}},
			LastIndex: 2, LastTerm: 1, OwnLogIsPrefix: true}
		test.change(&local, &w)
		c.SetLocal(local)
		c.Staged(w)
		c.Take(&e)
		if (e.Activate != nil) != test.ok || e.DropStage == test.ok {
			t.Errorf("%s: %+v", test.name, e)
			continue
		}
		if !test.ok {
			if c.stage != nil || c.stageAt <= c.now {
				t.Errorf("%s: no pause", test.name)
			}
			continue
		}
		keep := purpose == PurposeCatchUp
		if a := e.Activate; a.Keep != keep || (a.Identity.Store == 2) != keep || a.Identity.Lineage != lineage1 ||
			strings.Contains(a.Reason, "contains all of its log") != w.OwnLogIsPrefix {
			t.Errorf("%s: %+v", test.name, a)
		}
	}
}

func TestCopyLosesItsClaimWhenTheOwnLogMoves(t *testing.T) {
	c, local, e := offered(t, func(l *Local, m *Message) { newer(l, m); m.Contained = true })
	if e.Stage == nil {
		t.Fatal("not staged")
	}
	local.LastIndex++ // a late append of the old leader
	c.SetLocal(local)
	c.Staged(Copy{From: "n1", Lineage: lineage2, Epoch: 2, Foundings: []protocol.Founding{{Attempt: protocol.Attempt(lineage2), Index: 3}},
		LastIndex: 5, LastTerm: 2, OwnLogIsPrefix: false})
	if c.Take(&e); e.Activate != nil || !e.DropStage {
		t.Fatalf("effects %+v", e)
	}
}

func TestPromiseDropsTheStage(t *testing.T) {
	c, local, e := offered(t, blank)
	if e.Stage == nil {
		t.Fatal("not staged")
	}
	founder := Status{Member: "n1", Store: 7, Counter: 1, Boot: 9}
	c.Step("n1", Message{Type: TypeGrant, Status: founder, Attempt: protocol.Attempt{Epoch: 2, ID: 2}, Pinned: local.Status})
	if c.Take(&e); e.WriteID == 0 || !e.DropStage || c.stage != nil {
		t.Fatalf("effects %+v", e)
	}
	// The copy arrives all the same.
	c.Staged(Copy{From: "n1", Lineage: lineage1})
	if c.Take(&e); e.Activate != nil || !e.DropStage {
		t.Fatalf("effects %+v", e)
	}
}

func TestStageIsAskedForAgain(t *testing.T) {
	for _, fail := range []func(c *Core){
		func(c *Core) { c.StageFailed("the disk is full") },
		func(c *Core) { // the process that sent it is gone
			c.Disconnected("n1")
			next := c.peer("n1").status
			next.Boot++
			c.Connected("n1", next)
		},
	} {
		c, _, e := offered(t, blank)
		m := Message{Type: TypeOffer, Status: c.peer("n1").status, Role: Role{Leading: true, Leader: "n1"}, Pinned: c.local.Status,
			Contained: true, Foundings: []protocol.Founding{{Attempt: protocol.Attempt(lineage1), Index: 1}}}
		fail(c)
		if c.Take(&e); !e.DropStage || c.stage != nil {
			t.Fatalf("effects %+v", e)
		}
		again := 0
		for range 8 * maxCopyBackOff {
			c.Step("n1", m)
			c.Tick()
			if c.Take(&e); e.Stage != nil {
				again++
			}
		}
		if again != 1 {
			t.Errorf("asked again %d times", again)
		}
	}
}

// A copy whose link broke waits for its sender, and goes on when that is linked
// again, also if it does not lead any more.
func TestInterruptedCopyGoesOn(t *testing.T) {
	c, _, e := offered(t, blank)
	if e.Stage == nil || e.Stage.Resume {
		t.Fatalf("effects %+v", e)
	}
	asked := *e.Stage
	c.Disconnected("n1")
	c.Tick()
	if c.Take(&e); e.DropStage || e.Stage != nil {
		t.Fatalf("effects %+v", e)
	}
	c.Connected("n1", c.peer("n1").status)
	asked.Resume = true
	if c.Take(&e); e.DropStage || e.Stage == nil || *e.Stage != asked {
		t.Fatalf("effects %+v, want the request %+v", e, asked)
	}
	c.Tick()
	if c.Take(&e); e.Stage != nil || e.DropStage {
		t.Fatalf("effects %+v", e)
	}
}

// It does not wait for ever, nor while another leader offers a copy.
func TestInterruptedCopyIsGivenUp(t *testing.T) {
	c, _, e := offered(t, blank)
	c.Disconnected("n1")
	for tick := 0; ; tick++ {
		if c.Take(&e); e.DropStage {
			if tick <= resumePatience*c.options.RetryTicks {
				t.Errorf("given up after %d ticks", tick)
			}
			break
		}
		if tick > 2*resumePatience*c.options.RetryTicks {
			t.Fatal("it waits for ever")
		}
		c.Tick()
	}
	c, local, e := offered(t, blank)
	c.Disconnected("n1")
	leader := Status{Member: "n3", Store: 3, Counter: 1, Boot: 1, Lineage: lineage1, Epoch: 1, Term: 9, LastTerm: 9, LastIndex: 9}
	c.Connected("n3", leader)
	if c.Take(&e); e.DropStage {
		t.Fatal("given up although nobody else offers a copy")
	}
	c.Step("n3", Message{Type: TypeOffer, Status: leader, Role: Role{Leading: true, Leader: "n3"}, Pinned: local.Status,
		Foundings: []protocol.Founding{{Attempt: protocol.Attempt(lineage1), Index: 1}}})
	if c.Take(&e); !e.DropStage || c.stage != nil {
		t.Fatalf("effects %+v", e)
	}
}

// A store that was about to lag behind can have caught up by other means while it
// copied: the copy is given up, and no other is taken because of the same offer.
func TestCopyGivenUpIsNotTakenAgainUnasked(t *testing.T) {
	c, _, e := offered(t, func(_ *Local, m *Message) { m.CatchUp = true })
	if e.Stage == nil {
		t.Fatalf("effects %+v", e)
	}
	local := c.local
	local.LastIndex++
	local.Counter++
	c.SetLocal(local)
	c.Staged(Copy{From: "n1", Lineage: lineage1, Epoch: 1, Foundings: []protocol.Founding{{Attempt: protocol.Attempt(lineage1), Index: 1}}, LastIndex: 2, LastTerm: 1})
	if c.Take(&e); !e.DropStage || e.Activate != nil {
		t.Fatalf("effects %+v", e)
	}
	for range 8 * maxCopyBackOff {
		c.Tick()
		if c.Take(&e); e.Stage != nil {
			t.Fatal("copied again, although it does not lag")
		}
	}
}

// A copy that could not be activated leaves a core that goes on.
func TestFailedActivation(t *testing.T) {
	c, _, e := offered(t, blank)
	c.StageProgress(10, 100)
	if v := c.View().Members[1]; v.State != StateJoining || v.Copied != 10 || v.Total != 100 {
		t.Errorf("view %+v", v)
	}
	c.Staged(Copy{From: "n1", Lineage: lineage1, Epoch: 1, Foundings: []protocol.Founding{{Attempt: protocol.Attempt(lineage1), Index: 1}}, LastIndex: 2, LastTerm: 1})
	if c.Take(&e); e.Activate == nil {
		t.Fatal("not activated")
	}
	c.StageFailed("no room on the disk")
	c.Tick()
	if c.Take(&e); !e.DropStage || c.finished {
		t.Fatalf("effects %+v", e)
	}
}

// Of two live lineages a blank store joins the one with more voters.
func TestPreferredLineage(t *testing.T) {
	small := &offer{leader: Status{Lineage: lineage2}, voters: 1}
	large := &offer{leader: Status{Lineage: lineage1}, voters: 2}
	if preferred(small, large) || !preferred(large, small) {
		t.Error("the lineage with fewer voters is preferred")
	}
	large.voters = 1
	if !preferred(small, large) {
		t.Error("of equals the older is preferred")
	}
}
