package mesh

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"holdfast/protocol"
)

// said reports whether a line of the story contains all of the parts.
func (c *cluster) said(parts ...string) bool {
	return slices.ContainsFunc(c.story, func(line string) bool {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				return false
			}
		}
		return true
	})
}

func TestFirstBoot(t *testing.T) {
	c := newCluster(t, 1, "n1", "n2", "n3")
	// Two of three wait for the third, and say so.
	c.link("n1", "n2")
	c.tick(3 * testReportTicks)
	c.must(len(c.judge.founds) == 0, "founded without n3")
	c.must(c.said("n1: ", "missing: n3 (not seen yet, 7 s)", "start n3"), "n1 waits silently")
	c.must(!c.said("found --without"), "the advice to go on without n3 comes too soon")
	c.tick(testAdviseTicks)
	c.must(c.said("n1: ", "only if the memory of n3 will not return", "found --without n3", "NEW, EMPTY"), "no advice")
	// With the third the first by name founds, and the others join it.
	c.link("n1", "n2", "n3")
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	c.must(c.said("n1: epoch 1 founded from n1 at index 1; every store was blank"), "no account")
	for _, name := range c.names {
		state, reason, _ := c.nodes[name].core.situation()
		c.must(state == StateVoter && reason == "", "%s is %s: %s", name, state, reason)
	}
	c.spotless()
}

func TestOneMemberFoundsAtOnce(t *testing.T) {
	c := newCluster(t, 1, "n1")
	c.must(c.nodes["n1"].store.lineage.Epoch == 1, "not founded")
	c.must(c.settleDown() == "", "not formed")
}

// A blank store that took the place of a damaged one makes it a lost majority,
// not a first boot.
func TestDamagedStoreIsNoFirstBoot(t *testing.T) {
	for _, proceed := range []bool{false, true} {
		c := newCluster(t, 1, "n1")
		c.proceed = proceed
		n := c.nodes["n1"]
		c.crash("n1")
		n.store = c.blank()
		n.store.replaced = lineage1
		c.start("n1")
		c.tick(2 * testReportTicks)
		if proceed {
			c.must(c.said("epoch 2 founded from n1 at index 1; nothing is kept: the stores of n1 were set aside"), "no account, or an epoch that was used")
			continue
		}
		c.must(n.store.lineage.Blank(), "it went on empty")
		c.must(c.said("memory of a majority is lost (n1)", "bring the lost stores back", "`holdfast found` on n1"), "it waits silently")
		// The operator gives the go-ahead.
		c.must(c.order("n1") == nil && !n.store.lineage.Blank(), "the operator's word is ignored")
	}
}

func TestLostMajority(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
	c.write("n1", "D0", "n2")
	c.wipe("n1")
	c.wipe("n2")
	c.only("n1", "n2", "n3")
	// when_majority_lost = "wait"
	c.tick(2 * testReportTicks)
	c.must(len(c.judge.founds) == 1, "founded")
	for _, name := range c.names {
		c.must(c.said(name+": ", "memory of a majority is lost (n1 and n2)", "run `holdfast found` on n3"), "%s waits silently", name)
	}
	// All are there: the operator names nobody.
	c.must(c.order("n3") == nil, "refused")
	c.judge.acked = nil // D0 was only on what is gone
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	c.must(c.said("epoch 2 founded from n3 at index 3; acknowledged writes that only n1 and n2 held are lost"), "no account")
	c.spotless()
}

// The leader has appended that a voter is removed, whose member has a fresh store, when
// it loses the lead: what the removed store held is lost as well, and both are named.
func TestLostMajorityDuringAChange(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
	c.write("n1", "D0", "n2", "n3")
	c.must(c.appendConfig("n1", c.nodes["n1"].store.config().Without("n3")), "not appended")
	c.wipe("n2")
	c.wipe("n3")
	c.only("n1", "n2", "n3")
	c.round("n1") // nobody whom it counts answers
	c.tick(2 * testReportTicks)
	c.must(c.said("n1: ", "memory of a majority is lost (n2 and n3)", "run `holdfast found` on n1"), "not both are named")
	c.must(c.order("n1") == nil, "refused")
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	c.must(c.said("epoch 2 founded from n1", "acknowledged writes that only n2 and n3 held are lost"), "no exact account")
	c.spotless()
}

// A majority of frozen voters is lost without a loss: every store is there.
func TestFoundingThatLosesNothing(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
	c.write("n1", "D0", "n2", "n3")
	c.cut("n3")
	c.nodes["n3"].stops = true
	c.must(c.order("n3", "n1", "n2") == nil, "order")
	c.start("n3")
	c.wipe("n2")
	c.proceed = true
	c.restart("n1")
	c.link("n1", "n2", "n3")
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	c.must(c.said("epoch 3 founded from n1 at index 4; no acknowledged write is lost"), "no account")
	c.spotless()
}

// One of the two voters that the survivor knows is gone. The other may have led
// on with a third, of which the survivor never heard.
func TestFoundingThatMayLoseWithoutKnowing(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "n1", "n2", "n3")
	c.wipe("n3")
	c.rejoin("n3", "n1")
	c.only("n1", "n2")
	config := c.nodes["n1"].store.config().Without("n3")
	c.must(c.appendConfig("n1", config) && c.replicate("n1", "n2"), "remove n3")
	c.only("n1", "n3")
	c.must(c.appendConfig("n1", config.With(c.nodes["n3"].voter())) && c.replicate("n1", "n3"), "add n3")
	c.write("n1", "D0", "n3")
	c.must(c.acked("D0"), "D0 is not acknowledged")
	c.wipe("n1")
	c.wipe("n3")
	c.judge.acked = nil // no store has it any more
	c.proceed = true
	c.restart("n2")
	c.link("n1", "n2", "n3")
	c.must(c.settleDown() == "", "not formed: %s", c.judge.formed())
	c.must(c.said("founded from n2", "acknowledged writes that only n1 held are lost"), "no account")
	c.spotless()
}

// founder returns a core that has asked all others to confirm, its other
// members' statuses, and its effects so far.
func founder(t *testing.T) (*Core, []Status, Effects) {
	t.Helper()
	c := New(Options{Self: "n1", Members: []string{"n1", "n2", "n3"}, RetryTicks: 4, ReportTicks: 50, Random: rand.New(rand.NewPCG(1, 1))},
		Local{Status: Status{Member: "n1", Store: 1, Counter: 1, Boot: 1}})
	others := []Status{{Member: "n2", Store: 2, Counter: 1, Boot: 1}, {Member: "n3", Store: 3, Counter: 1, Boot: 1}}
	for _, s := range others {
		c.Connected(s.Member, s)
	}
	var e Effects
	c.Take(&e)
	if got := sent(&e, TypeConfirm); !slices.Equal(got, []string{"n2", "n3"}) {
		t.Fatalf("asked %v to confirm", got)
	}
	return c, others, e
}

// sent lists the receivers of the messages of a type.
func sent(e *Effects, types Type) []string {
	var names []string
	for _, m := range slices.Concat(e.Messages, e.AfterWrite) {
		if m.Message.Type == types {
			names = append(names, m.To)
		}
	}
	return names
}

func answer(c *Core, types Type, s Status, attempt protocol.Attempt) {
	c.Step(s.Member, Message{Type: types, Status: s, Attempt: attempt})
}

func TestOwnPromiseIsDurableBeforeAnyoneIsAskedToGrant(t *testing.T) {
	c, others, e := founder(t)
	attempt := c.attempt.Attempt
	answer(c, TypeConfirmed, others[0], attempt)
	c.Take(&e)
	if e.WriteID != 0 {
		t.Fatal("promised before all confirmed")
	}
	answer(c, TypeConfirmed, others[1], attempt)
	c.Take(&e)
	if e.WriteID == 0 || *e.Promise != attempt || len(sent(&e, TypeGrant)) > 0 || e.Freeze || !e.StepDown {
		t.Fatalf("after all confirmed: %+v", e)
	}
	c.Tick()
	local := Local{Status: Status{Member: "n1", Store: 1, Counter: 2, Boot: 1, Promise: attempt}}
	c.SetLocal(local)
	c.Persisted(0)
	c.Take(&e)
	if len(sent(&e, TypeGrant)) > 0 {
		t.Fatal("asked for grants before the promise was durable")
	}
	c.Persisted(1)
	c.Take(&e)
	if got := sent(&e, TypeGrant); !slices.Equal(got, []string{"n2", "n3"}) {
		t.Fatalf("asked %v to grant", got)
	}
	answer(c, TypeGranted, others[0], attempt)
	answer(c, TypeGranted, others[0], attempt) // twice counts once
	c.Take(&e)
	if e.Install != nil {
		t.Fatal("installed without n3's grant")
	}
	answer(c, TypeGranted, others[1], attempt)
	c.Take(&e)
	if e.Install == nil || e.Install.Founding.Voter.Store == 1 || e.Install.Founding.Index != 1 || e.Install.Founding.Attempt != attempt {
		t.Fatalf("install %+v", e.Install)
	}
	w := e.Install.Write(protocol.HardState{Term: 7, Vote: 9, Commit: 3, Release: 2})
	if w.Identity.Store != e.Install.Founding.Voter.Store || w.HardState.Vote != 0 || w.HardState.Commit != 3 ||
		w.HardState.Release != 2 || (*w.Promise != protocol.Attempt{}) || w.Entries[0].Kind != protocol.KindFound {
		t.Fatalf("write %+v", w)
	}
	if f, err := protocol.DecodeFounding(w.Entries[0].Data, 1); err != nil || f != e.Install.Founding {
		t.Fatalf("entry %+v, %v", f, err)
	}
	// Nothing more comes from this core.
	c.Tick()
	c.Step("n2", Message{Type: TypeConfirm, Status: others[0], Attempt: protocol.Attempt{Epoch: 9, ID: 9}, Pinned: local.Status})
	if c.Take(&e); !e.Empty() {
		t.Fatalf("after the installation: %+v", e)
	}
}

func TestAttemptEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(c *Core, others []Status)
		why  string
	}{
		{"a refusal", func(c *Core, o []Status) {
			c.Step("n2", Message{Type: TypeRefused, Status: o[0], Attempt: c.attempt.Attempt, Refusal: RefusedBusy, Reason: "wait"})
		}, "n2 refuses (busy): wait"},
		{"a lost connection", func(c *Core, o []Status) { c.Disconnected("n3") }, "the connection to n3 is lost"},
		{"another status", func(c *Core, o []Status) {
			o[1].Counter++
			c.Step("n3", Message{Type: TypeStatus, Status: o[1]})
		}, "the status of n3 changed"},
		{"the own log grows", func(c *Core, o []Status) {
			c.SetLocal(Local{Status: Status{Member: "n1", Store: 1, Counter: 2, Boot: 1, Term: 1}})
		}, "the own store changed"},
		{"silence", func(c *Core, o []Status) {
			for range 4 * 4 {
				c.Tick()
			}
		}, "no answer from n2 and n3"},
		{"an own promise to another", func(c *Core, o []Status) {
			c.Step("n2", Message{Type: TypeGrant, Status: o[0], Attempt: protocol.Attempt{Epoch: 9, ID: 9}, Pinned: c.local.Status})
		}, "this store promised epoch 9 to another attempt"},
	} {
		c, others, _ := founder(t)
		first := c.attempt.Attempt
		test.do(c, others)
		if c.obstacle != test.why || c.attempt != nil && c.attempt.Attempt == first {
			t.Errorf("%s: %q, want %q", test.name, c.obstacle, test.why)
		}
	}
}

// member returns a core with one entry of lineage 1 and its status, and the
// grant request of a founder that is level with it.
func member(t *testing.T) (*Core, Local, Message) {
	t.Helper()
	voters := protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: 1}, protocol.Voter{Name: "n2", Store: 2})
	s := &store{id: 2, lineage: lineage1, term: 1, counter: 1, boot: 1,
		log: []record{{term: 1, lineage: lineage1, found: &protocol.Founding{Attempt: protocol.Attempt(lineage1), Index: 1, Voter: voters.Voters[0]}},
			{term: 1, lineage: lineage1, config: &voters}}}
	local := Local{Status: s.status("n2"), Foundings: s.foundings(), Log: s}
	c := New(Options{Self: "n2", Members: []string{"n1", "n2", "n3"}, RetryTicks: 4, ReportTicks: 50, Random: rand.New(rand.NewPCG(1, 1))}, local)
	from := s.status("n1")
	from.Store = 1
	c.Connected("n1", from)
	var e Effects
	c.Take(&e)
	return c, local, Message{Type: TypeGrant, Status: from, Attempt: protocol.Attempt{Epoch: 2, ID: 22}, Pinned: local.Status,
		Contained: true, Foundings: local.Foundings}
}

func TestGrant(t *testing.T) {
	c, local, grant := member(t)
	var e Effects
	c.Step("n1", grant)
	c.Take(&e)
	if e.WriteID == 0 || *e.Promise != grant.Attempt || !e.StepDown || !e.Freeze {
		t.Fatalf("effects %+v", e)
	}
	if len(e.AfterWrite) != 1 || e.AfterWrite[0].Message.Type != TypeGranted || len(sent(&e, TypeGranted)) != 1 {
		t.Fatalf("the grant does not wait for the promise: %+v", e)
	}
	// While the promise is not in local, the request is not answered again and
	// another is refused.
	c.Step("n1", grant)
	other := grant
	other.Attempt = protocol.Attempt{Epoch: 3, ID: 33}
	c.Step("n1", other)
	c.Take(&e)
	if len(sent(&e, TypeGranted)) != 0 || len(e.Messages) != 1 || e.Messages[0].Message.Refusal != RefusedBusy {
		t.Fatalf("while the promise is written: %+v", e)
	}
	// Afterwards the same request is answered again, without another promise.
	local.Promise, local.Counter = grant.Attempt, 2
	local.Granted = []protocol.Attempt{grant.Attempt}
	c.SetLocal(local)
	c.Take(&e)
	c.Step("n1", grant)
	c.Take(&e)
	if e.WriteID != 0 || len(sent(&e, TypeGranted)) != 1 {
		t.Fatalf("repeated: %+v", e)
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(c *Core, l *Local, m *Message)
		refusal Refusal
	}{
		{"none", func(c *Core, l *Local, m *Message) {}, 0},
		{"another counter", func(c *Core, l *Local, m *Message) { l.Counter++ }, RefusedChanged},
		{"another log", func(c *Core, l *Local, m *Message) { l.LastIndex++ }, RefusedChanged},
		{"another process", func(c *Core, l *Local, m *Message) { l.Boot++ }, RefusedChanged},
		{"an equal promise", func(c *Core, l *Local, m *Message) { l.Promise = protocol.Attempt{Epoch: 2, ID: 1} }, RefusedPromised},
		{"a higher promise", func(c *Core, l *Local, m *Message) { l.Promise = protocol.Attempt{Epoch: 3, ID: 1} }, RefusedPromised},
		{"leading", func(c *Core, l *Local, m *Message) { l.Leader, l.InContact = true, true }, RefusedLeading},
		{"leading nobody", func(c *Core, l *Local, m *Message) { l.Leader = true }, 0},
		{"a founder behind", func(c *Core, l *Local, m *Message) { m.Status.LastIndex, m.Contained = 1, false }, RefusedLeave},
		{"a founder level in another log", func(c *Core, l *Local, m *Message) { m.Contained = false }, 0},
		{"another lineage", func(c *Core, l *Local, m *Message) {
			m.Status.Lineage, m.Status.Epoch, m.Contained = protocol.Lineage{Epoch: 2, ID: 5}, 2, false
			m.Foundings = []protocol.Founding{{Attempt: protocol.Attempt{Epoch: 2, ID: 5}, Index: 2}}
		}, RefusedLeave},
		{"another lineage that contains all", func(c *Core, l *Local, m *Message) {
			m.Status.Lineage, m.Status.Epoch, m.Attempt.Epoch = protocol.Lineage{Epoch: 2, ID: 5}, 2, 3
		}, 0},
		{"another lineage that was granted, and another promise since", func(c *Core, l *Local, m *Message) {
			m.Status.Lineage, m.Status.Epoch, m.Contained, m.Attempt.Epoch = protocol.Lineage{Epoch: 2, ID: 5}, 2, false, 4
			m.Foundings = []protocol.Founding{{Attempt: protocol.Attempt{Epoch: 2, ID: 5}, Index: 2}}
			l.Granted = []protocol.Attempt{{Epoch: 2, ID: 5}, {Epoch: 3, ID: 6}}
			l.Promise = l.Granted[1]
			m.Pinned.Promise = l.Promise
		}, 0},
	} {
		for _, question := range []Type{TypeConfirm, TypeGrant} {
			c, local, m := member(t)
			m.Type = question
			test.change(c, &local, &m)
			c.SetLocal(local)
			var e Effects
			c.Take(&e)
			c.Step("n1", m)
			c.Take(&e)
			var refusal Refusal
			for _, m := range e.Messages {
				refusal = max(refusal, m.Message.Refusal)
			}
			agreed := len(sent(&e, TypeConfirmed)) + len(sent(&e, TypeGranted))
			if refusal != test.refusal || (agreed == 1) != (test.refusal == 0) {
				t.Errorf("%s of %s: refusal %s, want %s; agreed %d", question, test.name, refusal, test.refusal, agreed)
			}
			if promised := e.WriteID != 0; promised != (question == TypeGrant && test.refusal == 0) {
				t.Errorf("%s of %s: promised %v", question, test.name, promised)
			}
			if (test.refusal == RefusedLeave) != (len(c.alarms) > 0) {
				t.Errorf("%s of %s: alarms %v", question, test.name, c.alarms)
			}
		}
	}
}

func TestConfirmingLeaderStepsDown(t *testing.T) {
	c, local, m := member(t)
	local.Leader, local.Ready = true, true
	c.SetLocal(local)
	m.Type = TypeConfirm
	c.Step("n1", m)
	var e Effects
	c.Take(&e)
	if !e.StepDown || e.WriteID != 0 || e.Freeze || len(sent(&e, TypeConfirmed)) != 1 {
		t.Fatalf("effects %+v", e)
	}
}

// A member confirms what a founder pinned only once it sees the others as the
// founder does: it waits for a status that is on its way, and refuses when it
// knows a later one.
func TestConfirmingNeedsTheFoundersPicture(t *testing.T) {
	pin := Status{Member: "n3", Store: 3, Counter: 4, Boot: 2}
	ask := func(t *testing.T) (*Core, Message) {
		c, _, m := member(t)
		m.Type, m.Pins = TypeConfirm, []Status{m.Pinned, pin}
		return c, m
	}
	answers := func(c *Core) (confirmed int, refusal Refusal) {
		var e Effects
		c.Take(&e)
		for _, m := range e.Messages {
			refusal = max(refusal, m.Message.Refusal)
		}
		return len(sent(&e, TypeConfirmed)), refusal
	}
	for _, test := range []struct {
		name    string
		seen    *Status // of n3, before the question; nil: none
		learns  *Status // after it
		now     bool    // it confirms at once
		then    bool    // it confirms after learning
		refusal Refusal
	}{
		{"the same", &pin, nil, true, false, 0},
		{"nothing", nil, nil, false, false, 0},
		{"nothing, then the same", nil, &pin, false, true, 0},
		{"an earlier state, then the same", &Status{Member: "n3", Store: 3, Counter: 3, Boot: 2}, &pin, false, true, 0},
		{"an earlier process, then the same", &Status{Member: "n3", Store: 3, Counter: 9, Boot: 1}, &pin, false, true, 0},
		{"another store, then the same", &Status{Member: "n3", Store: 7, Counter: 9, Boot: 9}, &pin, false, true, 0},
		{"a later state", &Status{Member: "n3", Store: 3, Counter: 5, Boot: 2}, nil, false, false, RefusedStale},
		{"a later process", &Status{Member: "n3", Store: 3, Counter: 1, Boot: 3}, nil, false, false, RefusedStale},
		{"nothing, then a later state", nil, &Status{Member: "n3", Store: 3, Counter: 5, Boot: 2}, false, false, RefusedStale},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, m := ask(t)
			if test.seen != nil {
				c.Connected("n3", *test.seen)
				answers(c)
			}
			c.Step("n1", m)
			confirmed, refusal := answers(c)
			if test.learns != nil {
				if refusal != 0 || confirmed != 0 {
					t.Errorf("before: confirmed %d, refusal %s", confirmed, refusal)
				}
				c.Connected("n3", *test.learns)
				after, refused := answers(c)
				if (after == 1) != test.then || refused != test.refusal {
					t.Errorf("after: confirmed %d, refusal %s", after, refused)
				}
				return
			}
			if (confirmed == 1) != test.now || refusal != test.refusal {
				t.Errorf("confirmed %d, refusal %s", confirmed, refusal)
			}
		})
	}
	t.Run("the question lapses", func(t *testing.T) {
		c, m := ask(t)
		c.Step("n1", m)
		for range patience*testRetryTicks + 1 {
			c.Tick()
		}
		answers(c)
		c.Connected("n3", pin)
		if confirmed, _ := answers(c); confirmed != 0 {
			t.Error("an old question is answered")
		}
	})
	t.Run("the founder's connection is lost", func(t *testing.T) {
		c, m := ask(t)
		c.Step("n1", m)
		c.Disconnected("n1")
		answers(c)
		c.Connected("n3", pin)
		if confirmed, _ := answers(c); confirmed != 0 {
			t.Error("a question of a lost connection is answered")
		}
	})
}

// Each attempt that ends in silence lets the next one wait twice as long, up to
// a bound: so links and disks that are slow do not keep a cluster from forming.
func TestAttemptsWaitLongerAfterSilence(t *testing.T) {
	c, _, _ := founder(t)
	var lives []uint64
	for range 6 {
		began := c.now
		attempt := c.attempt
		for c.attempt == attempt {
			c.Tick()
		}
		lives = append(lives, c.now-began)
		for c.attempt == nil {
			c.Tick()
		}
	}
	first := uint64(patience * testRetryTicks)
	if want := []uint64{first, 2 * first, 4 * first, 8 * first, 16 * first, 16 * first}; !slices.Equal(lives, want) {
		t.Errorf("lives %d, want %d", lives, want)
	}
}

// Members whose messages take longer than the first life of an attempt found a
// lineage all the same.
func TestFoundingOverSlowLinks(t *testing.T) {
	const delay = 5 * testRetryTicks // one way
	c := newCluster(t, 1, "n1", "n2", "n3")
	due := map[int][]packet{} // by tick
	c.link("n1", "n2", "n3")
	for now := range 40 * delay {
		due[now+delay] = append(due[now+delay], c.net...)
		c.net = nil
		for _, p := range due[now] {
			if n := c.nodes[p.to]; n.up {
				n.core.Step(p.from, p.m)
				c.settle(n)
			}
		}
		delete(due, now)
		for _, name := range c.names {
			c.nodes[name].core.Tick()
			c.settle(c.nodes[name])
		}
		if len(c.judge.founds) > 0 {
			c.spotless()
			return
		}
	}
	c.must(false, "nothing is founded")
}
