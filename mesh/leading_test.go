package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/protocol"
)

// leader returns the core of n1, which leads {n1/1, n2/2, n3/3}, connected to
// both others, and what it is told.
func leader(t testing.TB) (*Core, Local) {
	t.Helper()
	c, local, _ := leaderOf(t, "n1", "n2", "n3")
	return c, local
}

func leaderOf(t testing.TB, members ...string) (*Core, Local, map[string]Status) {
	t.Helper()
	var voters []protocol.Voter
	for i, name := range []string{"n1", "n2", "n3"} {
		voters = append(voters, protocol.Voter{Name: name, Store: protocol.StoreID(i + 1)})
	}
	config := protocol.NewConfiguration(voters...)
	log := []record{{term: 1, lineage: lineage1, found: &protocol.Founding{Attempt: protocol.Attempt(lineage1), Index: 1, Voter: voters[0]}},
		{term: 1, lineage: lineage1, config: &config}}
	statuses := map[string]Status{}
	for i, name := range members {
		s := &store{id: protocol.StoreID(i + 1), lineage: lineage1, log: log, term: 1, counter: 1, boot: 1}
		statuses[name] = s.status(name)
	}
	s := &store{id: 1, lineage: lineage1, log: log, term: 1, counter: 1, boot: 1}
	local := Local{Status: s.status("n1"), Foundings: s.foundings(), Log: s, Leader: true, Ready: true, InContact: true, LeaderName: "n1",
		Followers: []Follower{{Voter: voters[1], CaughtUp: true}, {Voter: voters[2], CaughtUp: true}}}
	c := New(Options{Self: "n1", Members: members, RetryTicks: 4, ReportTicks: 50, Random: newRandom()}, local)
	for _, name := range members[1:] {
		c.Connected(name, statuses[name])
	}
	var e Effects
	c.Take(&e)
	return c, local, statuses
}

func TestReplacementNeedsAReplyToALaterRequest(t *testing.T) {
	c, local, statuses := leaderOf(t, "n1", "n2", "n3")
	now := statuses["n2"]
	now.Store = 22 // another store that holds the lineage
	var e Effects
	c.Step("n2", Message{Type: TypeStatus, Status: now})
	c.Take(&e)
	if e.Remove != nil || !slices.Equal(sent(&e, TypeAsk), []string{"n2"}) {
		t.Fatalf("on the status alone: %+v", e)
	}
	nonce := e.Messages[len(e.Messages)-1].Message.Nonce
	c.Step("n2", Message{Type: TypeAnswer, Status: now, Nonce: nonce + 1})
	if c.Take(&e); e.Remove != nil {
		t.Fatal("removed on a reply to another request")
	}
	c.Step("n2", Message{Type: TypeAnswer, Status: now, Nonce: nonce})
	if c.Take(&e); e.Remove == nil || *e.Remove != (protocol.Voter{Name: "n2", Store: 2}) || e.Add != nil || e.Relearn {
		t.Fatalf("on the reply: %+v", e)
	}
	// Until the removal is committed nothing else changes.
	local.Configuration, local.ChangePending = local.Configuration.Without("n2"), true
	c.SetLocal(local)
	if c.Take(&e); e.Add != nil || e.Remove != nil || !e.Relearn || e.Learners[0] != now.Voter() {
		t.Fatalf("removal pending: %+v", e)
	}
	local.ChangePending = false
	c.SetLocal(local)
	if c.Take(&e); e.Add != nil {
		t.Fatal("added before it caught up")
	}
	local.Followers = []Follower{{Voter: now.Voter(), CaughtUp: true}}
	c.SetLocal(local)
	if c.Take(&e); e.Add == nil || *e.Add != now.Voter() {
		t.Fatalf("caught up: %+v", e)
	}
	// The new store is listed now; a request from before says nothing of it.
	local.Configuration = local.Configuration.With(now.Voter())
	c.SetLocal(local)
	again := now
	again.Store = 222
	c.Step("n2", Message{Type: TypeStatus, Status: again})
	c.Step("n2", Message{Type: TypeAnswer, Status: again, Nonce: nonce})
	if c.Take(&e); e.Remove != nil || len(sent(&e, TypeAsk)) != 1 {
		t.Fatalf("on an old nonce: %+v", e)
	}
}

func TestLostQuestionsAndProposalsAreRepeated(t *testing.T) {
	c, _, statuses := leaderOf(t, "n1", "n2", "n3")
	now := statuses["n2"]
	now.Store = 22
	c.Step("n2", Message{Type: TypeStatus, Status: now})
	var e Effects
	asked, removed := 0, 0
	for range 20 {
		c.Tick()
		c.Take(&e)
		asked += len(sent(&e, TypeAsk))
	}
	c.Step("n2", Message{Type: TypeAnswer, Status: now, Nonce: c.peer("n2").question.nonce})
	for range 20 {
		c.Take(&e)
		if e.Remove != nil {
			removed++
		}
		c.Tick()
	}
	if asked != 6 || removed != 5 {
		t.Errorf("asked %d times, proposed %d times in 20 ticks each", asked, removed)
	}
}

func TestWhoIsOfferedACopy(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(l *Local, s *Status)
		offered bool
		catchUp bool
	}{
		{"a voter", func(l *Local, s *Status) {}, false, false},
		{"a blank store", func(l *Local, s *Status) { *s = Status{Member: "n2", Store: 22, Counter: 1} }, true, false},
		{"another lineage", func(l *Local, s *Status) { s.Lineage.ID = 9 }, true, false},
		{"a frozen store", func(l *Local, s *Status) { s.Promise = protocol.Attempt{Epoch: 2, ID: 2} }, true, false},
		{"a store that lags", func(l *Local, s *Status) { l.Followers[0].Lagging = true }, true, true},
		{"another store of the lineage", func(l *Local, s *Status) { s.Store = 22 }, false, false},
	} {
		c, local, statuses := leaderOf(t, "n1", "n2", "n3")
		s := statuses["n2"]
		s.Counter++
		test.change(&local, &s)
		c.Step("n2", Message{Type: TypeStatus, Status: s})
		c.SetLocal(local)
		var e Effects
		c.Take(&e)
		offers := sent(&e, TypeOffer)
		if (len(offers) == 1) != test.offered {
			t.Errorf("%s: offers %v", test.name, offers)
			continue
		}
		for _, m := range e.Messages {
			if m.Message.Type == TypeOffer && (m.Message.CatchUp != test.catchUp || !m.Message.Role.Leading || !m.Message.Pinned.Equal(&s)) {
				t.Errorf("%s: %+v", test.name, m.Message)
			}
		}
		local.InContact = false
		c.SetLocal(local)
		for range 10 {
			c.Tick()
			if c.Take(&e); len(sent(&e, TypeOffer)) > 0 {
				t.Errorf("%s: offered by a leader without a quorum", test.name)
			}
		}
	}
}

// The entry that makes a leader ready may wait for a voter that needs a copy.
func TestLaggingVoterIsServedByALeaderThatIsNotReady(t *testing.T) {
	c, local, statuses := leaderOf(t, "n1", "n2", "n3")
	local.Ready, local.Term = false, 2
	local.Followers[0].Lagging = true
	c.SetLocal(local)
	blank := Status{Member: "n3", Store: 33, Counter: 1}
	c.Step("n3", Message{Type: TypeStatus, Status: blank})
	var e Effects
	c.Take(&e)
	if offers := sent(&e, TypeOffer); !slices.Equal(offers, []string{"n2"}) {
		t.Fatalf("offers %v", offers)
	}
	offer := e.Messages[slices.IndexFunc(e.Messages, func(m Envelope) bool { return m.Message.Type == TypeOffer })].Message
	if offer.Role.Leading || !offer.CatchUp {
		t.Fatalf("%+v", offer)
	}

	s := &store{id: 2, lineage: lineage1, log: local.Log.(*store).log, term: 1, counter: 1, boot: 1}
	lagging := New(Options{Self: "n2", Members: []string{"n1", "n2", "n3"}, RetryTicks: 4, ReportTicks: 50, Random: newRandom()},
		Local{Status: s.status("n2"), Foundings: s.foundings(), Log: s})
	lagging.Connected("n1", statuses["n1"])
	lagging.Step("n1", offer)
	if lagging.Take(&e); e.Stage == nil || e.Stage.Purpose != PurposeCatchUp {
		t.Fatalf("stage %+v", e.Stage)
	}
}

func TestBump(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *Status)
		bump   uint64
		alarm  bool
	}{
		{"nothing foreign", func(s *Status) {}, 0, false},
		{"the promise that founded the lineage", func(s *Status) { s.Promise = protocol.Attempt(lineage1) }, 0, false},
		{"an equal promise of another attempt", func(s *Status) { s.Promise = protocol.Attempt{Epoch: 1, ID: 9} }, 2, false},
		{"a higher promise", func(s *Status) { s.Promise = protocol.Attempt{Epoch: 5, ID: 9} }, 6, false},
		{"a blank store's promise", func(s *Status) {
			*s = Status{Member: "n2", Store: 22, Counter: 1, Promise: protocol.Attempt{Epoch: 5, ID: 9}}
		}, 6, false},
		{"a dead lineage's epoch", func(s *Status) { s.Lineage, s.Epoch = lineage2, 4 }, 5, false},
		{"a live lineage", func(s *Status) {
			s.Lineage, s.Epoch = lineage2, 4
			s.Configuration = protocol.NewConfiguration(s.Voter())
		}, 0, true},
	} {
		c, local, statuses := leaderOf(t, "n1", "n2", "n3")
		s := statuses["n2"]
		s.Counter++
		test.change(&s)
		c.Step("n2", Message{Type: TypeStatus, Status: s})
		var e Effects
		if c.Take(&e); e.Bump != test.bump || (len(c.alarms) > 0) != test.alarm {
			t.Errorf("%s: bump %d, want %d; alarms %v", test.name, e.Bump, test.bump, c.alarms)
		}
		c.Tick()
		if c.Take(&e); e.Bump != 0 {
			t.Errorf("%s: asked for again at once", test.name)
		}
		local.Epoch = max(1, test.bump)
		c.SetLocal(local)
		for range 10 {
			c.Tick()
			if c.Take(&e); e.Bump != 0 {
				t.Errorf("%s: bumped again", test.name)
			}
		}
	}
}

func TestStrangerAmongTheVoters(t *testing.T) {
	c, _, _ := leaderOf(t, "n1", "n2") // n3 votes, but is not in M
	if len(c.alarms) != 1 || c.alarms[0].key != "stranger/n3" {
		t.Errorf("alarms %v", c.alarms)
	}
}

// A leader that just works pays nothing for membership.
func TestSetLocalAllocatesNothing(t *testing.T) {
	c, local := leader(t)
	var e Effects
	allocs := testing.AllocsPerRun(1000, func() {
		local.LastIndex++
		local.Counter++
		c.SetLocal(local)
		c.Take(&e)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkSetLocal(b *testing.B) {
	c, local := leader(b)
	var e Effects
	b.ReportAllocs()
	for b.Loop() {
		local.LastIndex++
		local.Counter++
		c.SetLocal(local)
		c.Take(&e)
	}
}

// The log tells who stood for election, and why it was not elected.
func TestElectionsAreTold(t *testing.T) {
	c, local, _ := leaderOf(t, "n1", "n2", "n3")
	var e Effects
	said := func() string {
		c.Take(&e)
		text := ""
		for _, event := range e.Events {
			text += fmt.Sprintln(event.Text, event.Fields)
		}
		return text
	}
	said()
	local.Leader, local.Ready, local.InContact, local.LeaderName = false, false, false, ""
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() { local.Standing, local.Term = true, local.Term+1 }, "stands for election [{term 2}"},
		{func() { local.Term++ }, "stands for election [{term 3}"},
		{func() { local.Standing, local.LeaderName = false, "n2" }, "not elected [{stood_in 3} {reason n2 leads}"},
		{func() { local.Standing, local.LeaderName, local.Term = true, "", local.Term+1 }, "stands for election [{term 4}"},
		{func() { local.Standing, local.Term = false, local.Term+1 }, "not elected [{stood_in 4} {reason another term has begun}"},
		{func() { local.Standing, local.Term = true, local.Term+1 }, "stands for election [{term 6}"},
		{func() { local.Standing = false }, "not elected [{stood_in 6} {reason no majority"},
	} {
		step.change()
		local.Counter++
		c.SetLocal(local)
		if got := said(); !strings.Contains(got, step.want) {
			t.Errorf("said %q, want %q", got, step.want)
		}
	}
	local.Standing = true
	c.SetLocal(local)
	said()
	local.Standing, local.Leader, local.LeaderName = false, true, "n1"
	c.SetLocal(local)
	if got := said(); strings.Contains(got, "not elected") || !strings.Contains(got, "elected leader") {
		t.Errorf("elected, and said %q", got)
	}
}
