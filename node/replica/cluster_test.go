package replica_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

// memory is a store that survives the end of a replica but not a wipe.
type memory struct {
	identity protocol.Identity
	boot     uint64
	hard     protocol.HardState
	promise  protocol.Attempt
	granted  []protocol.Attempt
	entries  []protocol.Entry // index 1 first
	first    uint64           // entries below are not handed out any more; zero: none
}

func (m *memory) First() uint64 { return max(m.first, 1) }
func (m *memory) Last() uint64  { return uint64(len(m.entries)) }
func (m *memory) Mark(index uint64) (protocol.Mark, bool) {
	if index == 0 {
		return protocol.Mark{}, true
	}
	if index > m.Last() {
		return protocol.Mark{}, false
	}
	e := m.entries[index-1]
	return protocol.Mark{Index: index, Term: e.Term, Lineage: e.Lineage}, true
}
func (m *memory) Entries(lo, hi uint64, maxBytes int) ([]protocol.Entry, error) {
	size := 0
	for i := lo; i < hi; i++ {
		size += len(m.entries[i-1].Data)
		if i > lo && size > maxBytes {
			hi = i
		}
	}
	return slices.Clone(m.entries[lo-1 : hi-1]), nil
}

func (m *memory) commit(w *protocol.Write) {
	if len(w.Entries) > 0 {
		m.entries = append(slices.Clone(m.entries[:w.Entries[0].Index-1]), w.Entries...)
	}
	if w.HardState != nil {
		m.hard = *w.HardState
	}
	if w.Promise != nil {
		m.promise = *w.Promise
		m.granted = append(m.granted, *w.Promise)
	}
	if w.Identity != nil {
		m.identity = *w.Identity
		m.granted = nil
	}
}

// member is one node of the test cluster.
type member struct {
	name    string
	store   *memory
	replica *replica.Replica
	writes  []replica.Write
	applied []string // the batches, in order
	index   uint64
	stage   *mesh.StageRequest
	staged  *memory
	effects replica.Effects
}

type letter struct {
	from, to string
	frame    replica.Frame
	life     *replica.Replica // the sender, whose end ends the link
}

// cluster runs members in one goroutine: every choice comes from one seed.
type cluster struct {
	t       *testing.T
	random  *rand.Rand
	members []*member
	letters []letter
	loss    float64
	log     strings.Builder
}

func newCluster(t *testing.T, seed uint64, names ...string) *cluster {
	c := &cluster{t: t, random: rand.New(rand.NewPCG(seed, 1))}
	for _, name := range names {
		c.members = append(c.members, &member{name: name, store: c.blank()})
	}
	for _, m := range c.members {
		c.start(m)
	}
	return c
}

func (c *cluster) blank() *memory {
	return &memory{identity: protocol.Identity{Store: protocol.StoreID(c.random.Uint64())}}
}

func (c *cluster) names() (names []string) {
	for _, m := range c.members {
		names = append(names, m.name)
	}
	return names
}

func (c *cluster) start(m *member) {
	m.store.boot++
	state := replica.State{Identity: m.store.identity, Boot: m.store.boot, HardState: m.store.hard, Promise: m.store.promise, Granted: m.store.granted}
	for _, e := range m.store.entries {
		if e.Kind != protocol.KindBatch && e.Kind != protocol.KindNoop {
			state.Landmarks = append(state.Landmarks, e)
		}
	}
	var err error
	m.replica, err = replica.New(replica.Options{
		Member: m.name, Members: c.names(), Continue: true, State: state, Log: m.store,
		ElectionTicks: 20, HeartbeatTicks: 4, RetryTicks: 8, ReportTicks: 400,
		MaxAppendBytes: 4096, MaxInflightBytes: 1 << 16, MaxReleaseBytes: 4096, Random: c.random,
	})
	if err != nil {
		c.t.Fatalf("start %s: %v", m.name, err)
	}
	m.applied, m.index, m.writes, m.stage, m.staged = nil, 0, nil, nil, nil
	for _, other := range c.members {
		if other != m && other.replica != nil {
			other.replica.Linked(m.name, m.replica.Local().Status)
			m.replica.Linked(other.name, other.replica.Local().Status)
		}
	}
}

// stop ends a member's process; writes that were not performed are lost.
func (c *cluster) stop(m *member) {
	m.replica = nil
	c.letters = slices.DeleteFunc(c.letters, func(l letter) bool { return l.to == m.name || l.from == m.name })
	for _, other := range c.members {
		if other != m && other.replica != nil {
			other.replica.Unlinked(m.name)
		}
	}
}

func (c *cluster) wipe(m *member) {
	c.stop(m)
	m.store = c.blank()
	c.start(m)
}

func (c *cluster) member(name string) *member {
	for _, m := range c.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// step does one thing: a tick, a write or a delivery.
func (c *cluster) step() {
	m := c.members[c.random.IntN(len(c.members))]
	switch c.random.IntN(8) {
	case 0:
		if m.replica != nil {
			m.replica.Tick()
			c.take(m)
		}
	case 1, 2:
		if m.replica != nil && len(m.writes) > 0 {
			w := m.writes[0]
			m.writes = m.writes[1:]
			m.store.commit(w.Write)
			m.replica.Written(w.ID)
			c.take(m)
		}
	case 3:
		c.copyStep(m)
	default:
		c.deliver()
	}
}

func (c *cluster) deliver() {
	if len(c.letters) == 0 {
		return
	}
	i := c.random.IntN(min(len(c.letters), 4)) // a little reordering
	l := c.letters[i]
	c.letters = slices.Delete(c.letters, i, i+1)
	to := c.member(l.to)
	if to.replica == nil || c.random.Float64() < c.loss {
		return
	}
	var err error
	if l.frame.Channel == replica.Raft {
		err = to.replica.StepRaft(l.from, l.frame.Bytes())
	} else {
		err = to.replica.StepMembership(l.from, l.frame.Bytes())
	}
	if err != nil {
		c.t.Fatalf("%s got a bad frame of %s: %v", l.to, l.from, err)
	}
	c.take(to)
}

// copyStep carries out a wanted copy at once.
func (c *cluster) copyStep(m *member) {
	if m.replica == nil || m.stage == nil {
		return
	}
	from := c.member(m.stage.From)
	if from.replica == nil || from.store.identity.Lineage != m.stage.Lineage || from.index == 0 {
		m.stage = nil
		m.replica.StageFailed("it is gone")
		c.take(m)
		return
	}
	m.stage = nil
	m.staged = &memory{entries: slices.Clone(from.store.entries[:from.index])}
	last := m.staged.entries[from.index-1]
	copied := mesh.Copy{From: from.name, Lineage: from.store.identity.Lineage, LastIndex: last.Index, LastTerm: last.Term}
	for _, e := range m.staged.entries {
		switch e.Kind {
		case protocol.KindFound:
			f, _ := protocol.DecodeFounding(e.Data, e.Index)
			copied.Foundings = append(copied.Foundings, f)
			copied.Epoch = max(copied.Epoch, f.Attempt.Epoch)
		case protocol.KindBump:
			epoch, _ := protocol.DecodeEpoch(e.Data)
			copied.Epoch = max(copied.Epoch, epoch)
		}
	}
	own, _ := m.store.Mark(m.store.Last())
	theirs, ok := m.staged.Mark(m.store.Last())
	copied.OwnLogIsPrefix = ok && own == theirs
	m.replica.Staged(copied)
	c.take(m)
}

func (c *cluster) take(m *member) {
	for {
		e := &m.effects
		m.replica.Take(e)
		m.writes = append(m.writes, e.Writes...)
		for _, f := range e.Frames {
			c.letters = append(c.letters, letter{m.name, f.To, f, m.replica})
		}
		for _, event := range e.Events {
			fmt.Fprintf(&c.log, "%s %s %v\n", m.name, event.Text, event.Fields)
		}
		if e.DropStage {
			m.stage, m.staged = nil, nil
		}
		if e.Stage != nil {
			m.stage = e.Stage
		}
		for _, entry := range e.Released {
			if entry.Index != m.index+1 {
				c.t.Fatalf("%s applies %d after %d", m.name, entry.Index, m.index)
			}
			m.index = entry.Index
			if entry.Kind == protocol.KindBatch {
				m.applied = append(m.applied, string(entry.Data))
			}
			m.replica.Applied(entry.Index)
		}
		switch {
		case e.Failed != nil:
			c.t.Fatalf("%s failed: %v\n%s", m.name, e.Failed, c.log.String())
		case e.Reopen:
			c.stop(m)
			c.start(m)
			return
		case e.Activate != nil:
			c.activate(m, e.Activate)
			return
		}
		if len(e.Released) == 0 {
			return
		}
	}
}

func (c *cluster) activate(m *member, a *mesh.Activation) {
	c.stop(m)
	old := m.store
	m.store = m.staged
	m.store.identity = a.Identity
	last := m.store.entries[len(m.store.entries)-1]
	m.store.hard = protocol.HardState{Term: last.Term, Commit: last.Index, Release: last.Index}
	if a.Keep {
		m.store.hard.Term, m.store.hard.Vote = old.hard.Term, old.hard.Vote
		m.store.promise, m.store.granted, m.store.boot = old.promise, old.granted, old.boot
	}
	c.start(m)
}

func (c *cluster) leader() *member {
	for _, m := range c.members {
		if m.replica == nil {
			continue
		}
		if status, ok := m.replica.Raft(); ok && status.Role == replication.Leader && status.Ready && status.Open {
			return m
		}
	}
	return nil
}

// formed reports that one leader has every member as an up-to-date voter.
func (c *cluster) formed() bool {
	leader := c.leader()
	if leader == nil {
		return false
	}
	status, _ := leader.replica.Raft()
	if len(status.Configuration.Voters) != len(c.members) || !status.ConfigurationCommitted {
		return false
	}
	for _, m := range c.members {
		if m.replica == nil || !status.Configuration.Contains(m.replica.Self()) || m.index != leader.index || leader.index != status.Last {
			return false
		}
	}
	return true
}

func (c *cluster) until(what string, steps int, reached func() bool) {
	c.t.Helper()
	for range steps {
		if reached() {
			return
		}
		c.step()
	}
	for _, m := range c.members {
		if m.replica != nil {
			status, _ := m.replica.Raft()
			c.log.WriteString(fmt.Sprintf("%s: %+v\n   applied %d, view %+v\n", m.name, status, m.index, m.replica.View()))
		}
	}
	c.t.Fatalf("not reached in %d steps: %s\n%s", steps, what, c.log.String())
}

// publish proposes a batch and waits until the leader has applied it.
func (c *cluster) publish(text string) {
	c.t.Helper()
	done := false
	c.until("publish "+text, 200_000, func() bool {
		leader := c.leader()
		if leader == nil || done {
			return done
		}
		if slices.Contains(leader.applied, text) {
			done = true
			return true
		}
		status, _ := leader.replica.Raft()
		if status.Last == leader.index { // nothing in flight
			if _, err := leader.replica.Propose([]byte(text)); err == nil {
				c.take(leader)
			}
		}
		return false
	})
}

func (c *cluster) requireAll(texts ...string) {
	c.t.Helper()
	for _, m := range c.members {
		for _, text := range texts {
			if !slices.Contains(m.applied, text) {
				c.t.Fatalf("%s lacks %q: %q\n%s", m.name, text, m.applied, c.log.String())
			}
		}
	}
}

func TestBlankMembersFoundALineageAndAllJoin(t *testing.T) {
	for _, names := range [][]string{{"a"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e"}} {
		for seed := range uint64(20) {
			c := newCluster(t, seed, names...)
			c.until("formed", 200_000, c.formed)
		}
	}
}

func TestWipedMemberRejoinsWithEverything(t *testing.T) {
	for seed := range uint64(20) {
		c := newCluster(t, seed, "a", "b", "c")
		c.until("formed", 200_000, c.formed)
		c.publish("one")
		wiped := c.members[seed%3]
		c.wipe(wiped)
		c.publish("two")
		c.until("healed", 300_000, c.formed)
		c.requireAll("one", "two")
	}
}

func TestAllMembersRestartWithTheirStores(t *testing.T) {
	for seed := range uint64(20) {
		c := newCluster(t, seed, "a", "b", "c")
		c.until("formed", 200_000, c.formed)
		c.publish("one")
		for _, m := range c.members {
			c.stop(m)
		}
		for _, i := range c.random.Perm(3) {
			c.start(c.members[i])
		}
		c.until("formed again", 200_000, c.formed)
		c.publish("two")
		c.until("level", 200_000, c.formed)
		c.requireAll("one", "two")
	}
}

// Stops, starts and lost messages at random, then quiet: everything that was
// acknowledged is on every member.
func TestNothingAcknowledgedIsLostAcrossCrashesAndWipes(t *testing.T) {
	for seed := range uint64(30) {
		c := newCluster(t, seed, "a", "b", "c")
		c.until("formed", 200_000, c.formed)
		var texts []string
		for round := range 12 {
			text := fmt.Sprint("message ", round)
			c.publish(text)
			texts = append(texts, text)
			c.loss = 0.1
			m := c.members[c.random.IntN(3)]
			switch c.random.IntN(3) {
			case 0:
				c.wipe(m) // one at a time: a majority keeps its memory
			case 1:
				c.stop(m)
				for range c.random.IntN(2000) {
					c.step()
				}
				c.start(m)
			}
			for range c.random.IntN(3000) {
				c.step()
			}
			c.loss = 0
			c.until(fmt.Sprint("healed after round ", round), 400_000, c.formed)
		}
		c.requireAll(texts...)
	}
}
