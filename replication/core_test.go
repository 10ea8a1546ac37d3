package replication

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/protocol"
)

// voter returns the first store of a name.
func voter(name string) protocol.Voter {
	return protocol.Voter{Name: name, Store: protocol.StoreID(name[0]-'a') + 1}
}

func voters(names ...string) protocol.Configuration {
	var c protocol.Configuration
	for _, name := range names {
		c = c.With(voter(name))
	}
	return c
}

// logOf returns a log whose entries have the given terms. The first entry is the
// founding, the others are batches.
func logOf(terms ...uint64) []protocol.Entry {
	entries := make([]protocol.Entry, len(terms))
	for i, term := range terms {
		entries[i] = protocol.Entry{Index: uint64(i + 1), Term: term, Lineage: testLineage, Kind: protocol.KindBatch}
	}
	entries[0].Kind = protocol.KindFound
	entries[0].Data = protocol.AppendFounding(nil, protocol.Founding{Attempt: protocol.Attempt(testLineage), Voter: voter("a")})
	return entries
}

func at(term, index uint64) protocol.Mark {
	return protocol.Mark{Index: index, Term: term, Lineage: testLineage}
}

// solo is one core without a cluster. Its writes are durable at once.
type solo struct {
	*Core
	t    *testing.T
	disk *disk
}

func optionsOf(d *disk, configuration protocol.Configuration, members int) Options {
	return Options{
		Self: d.voter, Lineage: testLineage, Members: members, Log: d, HardState: d.hard,
		Configurations: []ConfigurationAt{{Index: 1, Configuration: configuration}},
		ElectionTicks:  smallLimits.election, HeartbeatTicks: smallLimits.heartbeat,
		MaxAppendBytes: 1000, MaxInflightBytes: 3000, MaxReleaseBytes: 1000,
		Random: rand.New(rand.NewPCG(1, 2)),
	}
}

// newSolo returns the core of a, with a log of the given terms.
func newSolo(t *testing.T, configuration protocol.Configuration, members int, terms ...uint64) *solo {
	t.Helper()
	d := &disk{voter: voter("a"), first: 1, entries: logOf(terms...)}
	d.hard.Term = terms[len(terms)-1]
	core, err := New(optionsOf(d, configuration, members))
	if err != nil {
		t.Fatal(err)
	}
	return &solo{core, t, d}
}

// step delivers a message and returns everything that is sent because of it.
func (s *solo) step(m Message) []Message {
	m.To, m.Lineage = s.self, testLineage
	s.Step(m)
	return s.flush()
}

// flush performs all effects and returns the messages.
func (s *solo) flush() []Message {
	s.t.Helper()
	var all []Message
	for {
		var e Effects
		s.Take(&e)
		if e.Empty() {
			return all
		}
		if err := s.disk.write(e.HardState, e.Entries); err != nil {
			s.t.Fatal(err)
		}
		s.Persisted(e.WriteID)
		all = append(append(all, e.Messages...), e.AfterWrite...)
		if n := len(e.Released); n > 0 {
			s.Applied(e.Released[n-1].Index)
		}
	}
}

// elected makes the core the leader of the next term, with every vote.
func (s *solo) elected() *solo {
	s.t.Helper()
	s.campaign(false)
	s.flush()
	for _, v := range s.newest().Configuration.Voters {
		s.step(Message{Type: VoteReply, From: v, Term: s.state.Term})
	}
	if s.role != Leader {
		s.t.Fatalf("%s is not elected", s.self)
	}
	return s
}

func only(t *testing.T, messages []Message) Message {
	t.Helper()
	if len(messages) != 1 {
		t.Fatalf("%d messages: %v", len(messages), messages)
	}
	return messages[0]
}

func TestNewRefuses(t *testing.T) {
	good := func() (*disk, Options) {
		d := &disk{voter: voter("a"), first: 1, entries: logOf(1, 1, 2)}
		d.hard = protocol.HardState{Term: 2, Commit: 3, Release: 3}
		return d, optionsOf(d, voters("a", "b", "c"), 3)
	}
	if _, o := good(); o.Self.Name != "a" {
		t.Fatal("bad set-up")
	} else if _, err := New(o); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(d *disk, o *Options){
		"no name":                     func(_ *disk, o *Options) { o.Self.Name = "" },
		"no store":                    func(_ *disk, o *Options) { o.Self.Store = 0 },
		"blank":                       func(_ *disk, o *Options) { o.Lineage = protocol.Lineage{} },
		"no members":                  func(_ *disk, o *Options) { o.Members = 0 },
		"no log":                      func(_ *disk, o *Options) { o.Log = nil },
		"no randomness":               func(_ *disk, o *Options) { o.Random = nil },
		"empty log":                   func(d *disk, _ *Options) { d.entries = nil },
		"commit above the log":        func(_ *disk, o *Options) { o.HardState.Commit = 4 },
		"release above commit":        func(_ *disk, o *Options) { o.HardState.Commit = 2 },
		"applied above the log":       func(_ *disk, o *Options) { o.Applied = 4 },
		"election before heartbeat":   func(_ *disk, o *Options) { o.ElectionTicks = o.HeartbeatTicks },
		"no append limit":             func(_ *disk, o *Options) { o.MaxAppendBytes = 0 },
		"no configuration":            func(_ *disk, o *Options) { o.Configurations = nil },
		"empty configuration":         func(_ *disk, o *Options) { o.Configurations[0].Configuration.Voters = nil },
		"configuration above the log": func(_ *disk, o *Options) { o.Configurations[0].Index = 4 },
		"configurations out of order": func(_ *disk, o *Options) { o.Configurations = append(o.Configurations, o.Configurations[0]) },
	} {
		d, o := good()
		spoil(d, &o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestIgnoresForeign: messages of another lineage, or for another store of this
// name, do not even raise the term.
func TestIgnoresForeign(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1)
	for _, m := range []Message{
		{Type: Append, From: voter("b"), To: voter("a"), Term: 9, Lineage: protocol.Lineage{Epoch: 1, ID: 0xf2}},
		{Type: Append, From: voter("b"), To: protocol.Voter{Name: "a", Store: 77}, Term: 9, Lineage: testLineage},
		{Type: Append, From: voter("a"), To: voter("a"), Term: 9, Lineage: testLineage},
	} {
		s.Step(m)
		if sent := s.flush(); s.state.Term != 1 || len(sent) > 0 {
			t.Errorf("%v: term %d, sent %v", &m, s.state.Term, sent)
		}
	}
}

// TestOlderTerm: who asks in a term that is over learns of the present one
// (Raft, section 5.1).
func TestOlderTerm(t *testing.T) {
	for _, kind := range []MessageType{PreVote, Vote, Append, Heartbeat} {
		s := newSolo(t, voters("a", "b", "c"), 3, 5)
		m := only(t, s.step(Message{Type: kind, From: voter("b"), Term: 4, At: at(5, 9)}))
		if m.Term != 5 || !m.Reject {
			t.Errorf("%s is answered with %v", kind, &m)
		}
		if s.role = Follower; s.leader != (protocol.Voter{}) || s.state.Vote != 0 {
			t.Errorf("%s of an older term has an effect", kind)
		}
	}
}

// TestNewerTerm: any role falls back when it hears of a later term (Raft,
// section 5.1).
func TestNewerTerm(t *testing.T) {
	for _, m := range []Message{
		{Type: Append, From: voter("b"), At: at(1, 1)}, {Type: Heartbeat, From: voter("b")},
		{Type: AppendReply, From: voter("b"), Reject: true}, {Type: HeartbeatReply, From: voter("b"), Reject: true},
		{Type: VoteReply, From: voter("b"), Reject: true}, {Type: PreVoteReply, From: voter("b"), Reject: true},
	} {
		s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
		m.Term = s.state.Term + 3
		s.step(m)
		if s.role != Follower || s.state.Term != m.Term {
			t.Errorf("%v: %s of term %d", &m, s.role, s.state.Term)
		}
	}
}

// TestFailures: what cannot be while every store keeps its word stops the core.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		step  func(s *solo)
	}{
		"a leader knows an acknowledgement that is gone": {ErrRegressed, func(s *solo) {
			s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2, Index: 9})
		}},
		"a committed entry is contradicted where logs should meet": {ErrDiverged, func(s *solo) {
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(1, 2), Commit: 2, Entries: logOf(1, 1, 1)[2:]})
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(2, 2), Entries: logOf(1, 1, 2)[2:]})
		}},
		"a committed entry is contradicted by a later one": {ErrDiverged, func(s *solo) {
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(1, 2), Commit: 2})
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(1, 1), Entries: logOf(1, 2, 2)[1:]})
		}},
		"a committed entry is contradicted by an old message": {ErrDiverged, func(s *solo) {
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(1, 2), Commit: 2})
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(1, 1), Entries: logOf(1, 2)[1:]})
		}},
		"a second leader": {ErrDiverged, func(s *solo) {
			s.step(Message{Type: Heartbeat, From: voter("b"), Term: 2})
			s.step(Message{Type: Heartbeat, From: voter("c"), Term: 2})
		}},
		"a leader beside this one": {ErrDiverged, func(s *solo) {
			s.elected()
			s.step(Message{Type: Heartbeat, From: voter("c"), Term: s.state.Term})
		}},
		"entries that cannot be read": {ErrUnreadable, func(s *solo) {
			s.elected()
			s.disk.entries[1].Index = 99
			s.step(Message{Type: AppendReply, From: voter("b"), Term: s.state.Term, Index: 1})
		}},
		"a configuration that cannot be read": {protocol.ErrMalformed, func(s *solo) {
			bad := protocol.Entry{Index: 3, Term: 2, Lineage: testLineage, Kind: protocol.KindConfig, Data: []byte{9}}
			s.step(Message{Type: Append, From: voter("b"), Term: 2, At: at(1, 2), Entries: []protocol.Entry{bad}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, voters("a", "b", "c"), 3, 1, 1)
			c.step(s)
			if failed := s.Status().Failed; !errors.Is(failed, c.cause) {
				t.Fatalf("failed with %v", failed)
			}
			term := s.state.Term
			if sent := s.step(Message{Type: Append, From: voter("b"), Term: term + 1, At: at(1, 2)}); len(sent) > 0 || s.state.Term != term {
				t.Error("goes on after a failure")
			}
			for range 100 {
				s.Tick()
			}
			if sent := s.flush(); len(sent) > 0 {
				t.Errorf("sends %v after a failure", sent)
			}
		})
	}
}

// TestFailedOnce: the owner is told of a failure once, and the status keeps it.
func TestFailedOnce(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1, 1)
	s.Step(Message{Type: Heartbeat, From: voter("b"), To: voter("a"), Lineage: testLineage, Term: 2, Index: 9})
	var e Effects
	if s.Take(&e); !errors.Is(e.Failed, ErrRegressed) || len(e.Messages) > 0 {
		t.Fatalf("%+v", e)
	}
	if s.Take(&e); !e.Empty() {
		t.Fatalf("%+v", e)
	}
}

// TestFrozen: a frozen store answers nothing, and stays so after a restart.
func TestFrozen(t *testing.T) {
	d := &disk{voter: voter("a"), first: 1, entries: logOf(1, 1)}
	d.hard.Term = 1
	o := optionsOf(d, voters("a", "b", "c"), 3)
	o.Frozen = true
	core, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &solo{core, t, d}
	for kind := PreVote; kind <= TimeoutNow; kind++ {
		if sent := s.step(Message{Type: kind, From: voter("b"), Term: 7, At: at(9, 9)}); len(sent) > 0 || s.state.Term != 1 {
			t.Errorf("a frozen store answers %s with %v", kind, sent)
		}
	}
	for range 100 {
		s.Tick()
	}
	if sent := s.flush(); len(sent) > 0 || s.role != Follower {
		t.Errorf("a frozen store campaigns: %v", sent)
	}
}

// TestFreezeVoids: what was not handed out before a freeze never happened.
func TestFreezeVoids(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1, 1)
	s.Step(Message{Type: Vote, From: voter("b"), To: voter("a"), Lineage: testLineage, Term: 2, At: at(1, 2)})
	s.Step(Message{Type: Append, From: voter("b"), To: voter("a"), Lineage: testLineage, Term: 2, At: at(1, 2), Entries: logOf(1, 1, 2)[2:]})
	s.Freeze()
	if sent := s.flush(); len(sent) > 0 {
		t.Errorf("sends %v", sent)
	}
	if status := s.Status(); status.Term != 1 || status.Last != 2 || !status.Frozen || len(s.disk.entries) != 2 {
		t.Errorf("%+v", status)
	}
}

// TestStepDown: leadership and candidacy end, and nothing is written.
func TestStepDown(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1).elected()
	s.ReadIndex(7)
	before := s.state
	s.StepDown()
	var e Effects
	s.Take(&e)
	if s.role != Follower || s.state != before || e.WriteID != 0 || !slices.Equal(e.ReadsDropped, []uint64{7}) {
		t.Errorf("%s, %+v, %+v", s.role, s.state, e)
	}
	if _, err := s.Propose(nil); !errors.Is(err, ErrNotLeader) {
		t.Error(err)
	}
	s.campaign(false)
	s.flush()
	s.StepDown()
	if s.step(Message{Type: VoteReply, From: voter("b"), Term: s.state.Term}); s.role != Follower {
		t.Error("a candidate that stepped down is elected")
	}
}
