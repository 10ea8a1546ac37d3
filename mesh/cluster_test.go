package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/protocol"
)

// The tests of this package run real cores over a stand-in for everything else:
// stores are values, an exchange of the replication protocol is one atomic step
// (stand_in_test.go), and only the messages of this package travel one by one.
// What is judged is in judge_test.go.

// record is one entry of a stand-in's log.
type record struct {
	term    uint64
	lineage protocol.Lineage
	config  *protocol.Configuration
	found   *protocol.Founding
	epoch   uint64 // a bump, or zero
	write   string // a client's write, or ""
}

func (r record) same(o record) bool {
	return r.term == o.term && r.lineage == o.lineage && r.epoch == o.epoch && r.write == o.write &&
		(r.config == nil) == (o.config == nil) && (r.found == nil) == (o.found == nil)
}

// store is one node's durable memory.
type store struct {
	id       protocol.StoreID
	lineage  protocol.Lineage
	log      []record // index 1 is log[0]
	term     uint64
	promise  protocol.Attempt
	granted  []protocol.Attempt
	replaced protocol.Lineage
	counter  uint64
	boot     uint64
}

// Mark implements Marks.
func (s *store) Mark(index uint64) (protocol.Mark, bool) {
	if index == 0 {
		return protocol.Mark{}, true
	}
	if index > uint64(len(s.log)) {
		return protocol.Mark{}, false
	}
	r := s.log[index-1]
	return protocol.Mark{Index: index, Term: r.term, Lineage: r.lineage}, true
}

func (s *store) config() protocol.Configuration { return s.configAt(uint64(len(s.log))) }

// configAt is the newest configuration up to an index.
func (s *store) configAt(index uint64) protocol.Configuration {
	for _, r := range slices.Backward(s.log[:min(index, uint64(len(s.log)))]) {
		if r.config != nil {
			return *r.config
		}
		if r.found != nil {
			return protocol.NewConfiguration(r.found.Voter)
		}
	}
	return protocol.Configuration{}
}

func (s *store) foundings() []protocol.Founding {
	var list []protocol.Founding
	for _, r := range s.log {
		if r.found != nil {
			list = append(list, *r.found)
		}
	}
	return list
}

func (s *store) epoch() uint64 {
	epoch := uint64(0)
	for _, r := range s.log {
		epoch = max(epoch, r.epoch)
		if r.found != nil {
			epoch = max(epoch, r.found.Attempt.Epoch)
		}
	}
	return epoch
}

func (s *store) lastTerm() uint64 {
	if len(s.log) == 0 {
		return 0
	}
	return s.log[len(s.log)-1].term
}

func (s *store) frozen() bool { return !s.lineage.Blank() && s.promise.Epoch > s.lineage.Epoch }

func (s *store) holds(write string) bool {
	return slices.ContainsFunc(s.log, func(r record) bool { return r.write == write })
}

func (s *store) status(member string) Status {
	return Status{
		Member: member, Store: s.id, Lineage: s.lineage, Epoch: s.epoch(), Term: s.term, LastTerm: s.lastTerm(),
		LastIndex: uint64(len(s.log)), Configuration: s.config(), Promise: s.promise, Replaced: s.replaced,
		Counter: s.counter, Boot: s.boot,
	}
}

// copying is a staged copy on its way.
type copying struct {
	StageRequest
	log   []record
	whole bool
}

// node is one member's process and its memory.
type node struct {
	name    string
	store   *store
	core    *Core
	up      bool
	stage   *copying
	held    bool // scripts: a whole copy is not reported yet
	stops   bool // scripts: the process stops once its own promise is durable
	ordered bool // an operator ordered the founding that is on its way
	without []string
	gaveUp  bool // an operator discarded this store

	// What the stand-in for the replication core knows; volatile.
	leader, ready, contact bool
	following              string
	match                  map[protocol.Voter]uint64
	commit                 uint64
	learners               []protocol.Voter
	remove, add            *protocol.Voter // wanted by the core
	bump                   uint64
}

func (n *node) voter() protocol.Voter { return protocol.Voter{Name: n.name, Store: n.store.id} }

// packet is a message on its way.
type packet struct {
	from, to string
	m        Message
}

// cluster is a set of nodes and the network between them.
type cluster struct {
	t       testing.TB
	names   []string
	nodes   map[string]*node
	random  *rand.Rand
	off     switches
	weak    weaknesses
	proceed bool // when_majority_lost = continue
	net     []packet
	linked  map[[2]string]bool
	hold    func(packet) bool // scripts: packets that stay on their way
	nextID  uint64
	judge   judge
	story   []string
}

// weaknesses are clauses that the stand-in keeps, not the core.
type weaknesses struct {
	acknowledgeWithoutMembers bool // P2: an acknowledgement needs a majority of M as well
	bumpThaws                 bool // P3: a promise is never lifted in place
	inheritBySwitch           bool // P4: a fresh store has granted nothing
	inheritByFounding         bool
}

const (
	testRetryTicks  = 4
	testReportTicks = 50
	testSecondTicks = 20
	testAdviseTicks = 30 * testSecondTicks
)

func newCluster(t testing.TB, seed uint64, names ...string) *cluster {
	c := &cluster{t: t, names: names, nodes: map[string]*node{}, random: rand.New(rand.NewPCG(seed, 7)),
		linked: map[[2]string]bool{}, nextID: 0xa000}
	c.judge.c = c
	for _, name := range names {
		c.nodes[name] = &node{name: name, store: c.blank()}
	}
	for _, name := range names {
		c.start(name)
	}
	return c
}

func (c *cluster) blank() *store {
	c.nextID++
	return &store{id: protocol.StoreID(c.nextID), counter: 1}
}

func (c *cluster) tell(format string, args ...any) {
	c.story = append(c.story, fmt.Sprintf(format, args...))
}

// boot starts a process on the node's store.
func (c *cluster) boot(n *node) {
	n.store.boot++
	n.store.counter++
	n.up, n.leader, n.ready, n.contact, n.following = true, false, false, false, ""
	n.match, n.learners, n.remove, n.add, n.bump, n.stage = nil, nil, nil, nil, 0, nil
	n.ordered, n.without, n.gaveUp, n.commit = false, nil, false, 0
	n.core = New(Options{Self: n.name, Members: c.names, Continue: c.proceed, RetryTicks: testRetryTicks,
		ReportTicks: testReportTicks, AdviseTicks: testAdviseTicks, SecondTicks: testSecondTicks, Random: rand.New(rand.NewPCG(c.random.Uint64(), 1))}, c.local(n))
	n.core.off = c.off
	c.settle(n)
}

// crash ends the process; what is on the store stays.
func (c *cluster) crash(name string) {
	n := c.nodes[name]
	n.up, n.leader = false, false
	for _, other := range c.names {
		c.disconnect(name, other)
	}
}

func (c *cluster) start(name string) { c.boot(c.nodes[name]) }

func (c *cluster) restart(name string) {
	c.crash(name)
	c.start(name)
}

// wipe restarts the process on a blank store and returns the store that is gone.
func (c *cluster) wipe(name string) *store {
	c.crash(name)
	old := c.nodes[name].store
	c.nodes[name].store = c.blank()
	c.tell("%s is wiped: %s after %s", name, c.nodes[name].store.id, old.id)
	c.start(name)
	return old
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// link connects every two of the named.
func (c *cluster) link(names ...string) {
	for i, a := range names {
		for _, b := range names[i+1:] {
			c.connect(a, b)
		}
	}
}

func (c *cluster) connect(a, b string) {
	na, nb := c.nodes[a], c.nodes[b]
	if !na.up || !nb.up || c.linked[pair(a, b)] {
		return
	}
	c.linked[pair(a, b)] = true
	for _, side := range [][2]*node{{na, nb}, {nb, na}} {
		side[0].core.Connected(side[1].name, side[1].store.status(side[1].name))
		c.settle(side[0])
	}
}

func (c *cluster) disconnect(a, b string) {
	if a == b || !c.linked[pair(a, b)] {
		return
	}
	delete(c.linked, pair(a, b))
	for _, side := range [][2]string{{a, b}, {b, a}} {
		if n := c.nodes[side[0]]; n.up {
			if n.following == side[1] {
				n.following = ""
				n.core.SetLocal(c.local(n))
			}
			n.core.Disconnected(side[1])
			c.settle(n)
		}
	}
}

// cut disconnects a node from all others.
func (c *cluster) cut(name string) {
	for _, other := range c.names {
		c.disconnect(name, other)
	}
}

func (c *cluster) reach(a, b string) bool {
	return c.nodes[a].up && c.nodes[b].up && (a == b || c.linked[pair(a, b)])
}

// local is what a node tells its core.
func (c *cluster) local(n *node) Local {
	l := Local{Status: n.store.status(n.name), Granted: n.store.granted, Foundings: n.store.foundings(), Log: n.store,
		Leader: n.leader, Ready: n.ready, InContact: n.contact, LeaderName: n.following,
		InForce: n.store.configAt(n.commit)}
	if n.leader {
		l.ChangePending = c.changePending(n)
		for _, v := range slices.Concat(n.store.config().Voters, n.learners) {
			if match, ok := n.match[v]; ok {
				l.Followers = append(l.Followers, Follower{Voter: v, CaughtUp: match+1 >= uint64(len(n.store.log))})
			}
		}
	}
	return l
}

// changed tells the core after something in its local state changed.
func (c *cluster) changed(n *node) {
	if n.up {
		n.core.SetLocal(c.local(n))
		c.settle(n)
	}
}

// settle carries out the effects of a core until there are none.
func (c *cluster) settle(n *node) {
	var e Effects
	for range 50 {
		n.core.Take(&e)
		if e.Empty() {
			c.judge.attempts()
			return
		}
		c.perform(n, &e)
		if !n.up {
			return
		}
	}
	c.t.Fatalf("%s does not settle: %+v", n.name, e)
}

// perform carries out one batch in the order of the package's contract.
func (c *cluster) perform(n *node, e *Effects) {
	for _, event := range e.Events {
		c.tell("%s: %s %v", n.name, event.Text, event.Fields)
	}
	if e.StepDown {
		n.leader, n.ready, n.contact = false, false, false
		if n.following == n.name {
			n.following = ""
		}
	}
	if e.DropStage {
		n.stage = nil
	}
	for _, envelope := range e.Messages {
		c.post(n, envelope)
	}
	if e.WriteID != 0 {
		c.judge.promises(n, *e.Promise, func() {
			n.store.promise = *e.Promise
			n.store.granted = append(n.store.granted, *e.Promise)
			n.store.counter++
		})
		if n.stops {
			n.stops = false
			c.crash(n.name)
			return
		}
		n.core.SetLocal(c.local(n))
		n.core.Persisted(e.WriteID)
	}
	for _, envelope := range e.AfterWrite {
		c.post(n, envelope)
	}
	if e.Relearn {
		n.learners = slices.Clone(e.Learners)
	}
	if e.Remove != nil || e.Add != nil || e.Bump != 0 {
		n.remove, n.add, n.bump = e.Remove, e.Add, max(n.bump, e.Bump)
	}
	if e.Stage != nil && !(e.Stage.Resume && n.stage != nil) {
		n.stage = &copying{StageRequest: *e.Stage}
	}
	switch {
	case e.Install != nil:
		c.install(n, e.Install)
	case e.Activate != nil:
		c.activate(n, e.Activate)
	}
}

// post puts a message on its way, through its encoding.
func (c *cluster) post(n *node, e Envelope) {
	m, err := DecodeMessage(AppendMessage(nil, &e.Message))
	if err != nil {
		c.t.Fatalf("message %+v does not survive its encoding: %v", e.Message, err)
	}
	c.net = append(c.net, packet{n.name, e.To, m})
}

func (c *cluster) install(n *node, install *Install) {
	f := install.Founding
	c.judge.installs(n, f)
	if f.Voter.Store == n.store.id {
		c.judge.fault("identity", "%s founds under the store ID that an older lineage lists", n.voter())
	}
	next := &store{id: f.Voter.Store, lineage: install.Lineage(), term: install.Term, counter: n.store.counter + 1, boot: n.store.boot}
	next.log = append(slices.Clone(n.store.log), record{term: install.Term, lineage: install.Lineage(), found: &f})
	if c.weak.inheritByFounding || c.off.ownPromise {
		next.promise, next.granted = n.store.promise, n.store.granted
	}
	c.reborn(n, next)
}

func (c *cluster) activate(n *node, a *Activation) {
	next := &store{id: a.Identity.Store, lineage: a.Identity.Lineage, log: n.stage.log, counter: n.store.counter + 1, boot: n.store.boot}
	next.term = next.lastTerm()
	if a.Keep {
		next.term, next.promise, next.granted = n.store.term, n.store.promise, n.store.granted
	}
	if c.weak.inheritBySwitch {
		next.granted = n.store.granted
	}
	c.judge.switches(n, next)
	c.reborn(n, next)
}

// reborn goes on with another store in the same process: links stay.
func (c *cluster) reborn(n *node, next *store) {
	c.judge.stores = append(c.judge.stores, n.store)
	n.store = next
	c.boot(n)
	for _, other := range c.names {
		if c.linked[pair(n.name, other)] {
			delete(c.linked, pair(n.name, other))
			c.connect(n.name, other)
		}
	}
}

// deliver hands over the i-th packet on its way.
func (c *cluster) deliver(i int) {
	p := c.net[i]
	c.net = slices.Delete(c.net, i, i+1)
	if n := c.nodes[p.to]; n.up {
		n.core.Step(p.from, p.m)
		c.settle(n)
	}
}

// quiet delivers everything that is not held, in order, until nothing is left.
func (c *cluster) quiet() {
	for range 10000 {
		i := slices.IndexFunc(c.net, func(p packet) bool { return c.hold == nil || !c.hold(p) })
		if i < 0 {
			return
		}
		c.deliver(i)
	}
	c.t.Fatalf("the network does not come to rest")
}

// tick lets every process live through n ticks, with messages delivered.
func (c *cluster) tick(n int) {
	for range n {
		for _, name := range c.names {
			if n := c.nodes[name]; n.up {
				n.core.Tick()
				c.settle(n)
			}
		}
		c.quiet()
	}
}

// copyWhole lets the copy that a node asked for arrive, if its sender can be
// reached and leads; it reports whether the node was told of a whole copy.
func (c *cluster) copyWhole(name string) bool {
	n := c.nodes[name]
	s := n.stage
	if s == nil || s.whole && n.held {
		return false
	}
	if !s.whole {
		from := c.nodes[s.From]
		if !c.reach(name, s.From) || !from.leader || from.store.lineage != s.Lineage {
			n.core.StageFailed("the sender does not lead")
			c.settle(n)
			return false
		}
		s.log, s.whole = slices.Clone(from.store.log[:from.commit]), true
	}
	if n.held {
		return false
	}
	staged := &store{log: s.log}
	own := n.store.status(name)
	f := staged.foundings()
	n.core.Staged(Copy{From: s.From, Lineage: s.Lineage, Epoch: staged.epoch(), Foundings: f,
		LastIndex: uint64(len(s.log)), LastTerm: staged.lastTerm(), OwnLogIsPrefix: contains(staged, &own)})
	c.settle(n)
	return true
}
