package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"holdfast/protocol"
)

// disk is the durable memory of one store. It keeps every entry, so that
// checks can look at those that the store would have dropped.
type disk struct {
	voter      protocol.Voter
	first      uint64
	entries    []protocol.Entry // index 1 first
	hard       protocol.HardState
	checkpoint uint64 // what the state machine finds after a restart
	frozen     bool   // has promised a higher epoch
}

func (d *disk) First() uint64 { return d.first }
func (d *disk) Last() uint64  { return uint64(len(d.entries)) }

func (d *disk) position(index uint64) protocol.Mark {
	if index == 0 || index > d.Last() {
		return protocol.Mark{}
	}
	return positionOf(&d.entries[index-1])
}

func (d *disk) Mark(index uint64) (protocol.Mark, bool) {
	if index == 0 || index > d.Last() {
		return protocol.Mark{}, index == 0
	}
	run := d.position(index)
	for run.Index > 1 && compareAge(d.position(run.Index-1), run) == 0 {
		run.Index--
	}
	return run, true
}

func (d *disk) Entries(lo, hi uint64, maxBytes int) ([]protocol.Entry, error) {
	if lo < d.first || lo >= hi || hi > d.Last()+1 {
		return nil, fmt.Errorf("entries %d..%d of %d..%d", lo, hi, d.first, d.Last())
	}
	size := 0
	for i := lo; i < hi; i++ {
		if size += len(d.entries[i-1].Data); size > maxBytes && i > lo {
			return slices.Clone(d.entries[lo-1 : i-1]), nil
		}
	}
	return slices.Clone(d.entries[lo-1 : hi-1]), nil
}

func (d *disk) write(hard *protocol.HardState, entries []protocol.Entry) error {
	if len(entries) > 0 {
		if entries[0].Index > d.Last()+1 {
			return fmt.Errorf("write of entry %d after %d", entries[0].Index, d.Last())
		}
		d.entries = append(d.entries[:entries[0].Index-1], entries...)
	}
	if hard != nil {
		d.hard = *hard
	}
	return nil
}

// pendingWrite is a write on its way to the disk, with what waits for it.
type pendingWrite struct {
	id      uint64
	hard    *protocol.HardState
	entries []protocol.Entry
	after   []Message
}

// node is one member: its present disk, if it has one, and its running core,
// if it runs.
type node struct {
	name   string
	disk   *disk
	core   *Core
	writes []pendingWrite
	// What the checker has seen of the running core.
	seenCommit, seenRelease uint64
	seenLeaderOf            uint64
	reads                   map[uint64]uint64 // context -> smallest right answer
}

func (n *node) voter() protocol.Voter { return n.disk.voter }

// limits are the options that tests vary.
type limits struct {
	election, heartbeat                  int
	maxAppend, inflight, release, memory int
}

var smallLimits = limits{election: 10, heartbeat: 3, maxAppend: 100, inflight: 300, release: 150, memory: 250}

// cluster runs the cores of several nodes by hand. Nothing happens by itself.
type cluster struct {
	members  int
	lineage  protocol.Lineage
	limits   limits
	random   *rand.Rand // draws the seeds of the cores
	nodes    []*node
	network  []Message
	stores   uint64 // counts the stores made so far
	check    *checker
	mutation mutation
	// tracing makes notes of all that happens.
	tracing bool
	notes   []string
}

var testLineage = protocol.Lineage{Epoch: 1, ID: 0xf1}

// newCluster returns members that all hold a log of two entries: the founding by
// the first of them, and the configuration of the voters.
func newCluster(random *rand.Rand, lim limits, m mutation, names, voters []string) *cluster {
	cl := &cluster{
		members: len(names), lineage: testLineage, limits: lim, random: random, mutation: m,
	}
	cl.check = newChecker(cl)
	for _, name := range names {
		cl.nodes = append(cl.nodes, &node{name: name, disk: cl.newDisk(name), reads: map[uint64]uint64{}})
	}
	var configuration protocol.Configuration
	for _, name := range voters {
		configuration = configuration.With(cl.node(name).voter())
	}
	founding := protocol.Founding{Attempt: protocol.Attempt{Epoch: 1, ID: 0xf1}, Voter: cl.nodes[0].voter()}
	log := []protocol.Entry{
		{Index: 1, Term: 1, Lineage: testLineage, Kind: protocol.KindFound, Data: protocol.AppendFounding(nil, founding)},
		{Index: 2, Term: 1, Lineage: testLineage, Kind: protocol.KindConfig, Data: protocol.AppendConfiguration(nil, configuration)},
	}
	cl.check.begin(log)
	for _, n := range cl.nodes {
		n.disk.entries = slices.Clone(log)
		n.disk.hard = protocol.HardState{Term: 1, Commit: 2, Release: 2}
		n.disk.checkpoint = 2
		cl.start(n)
	}
	return cl
}

func (cl *cluster) newDisk(name string) *disk {
	cl.stores++
	d := &disk{voter: protocol.Voter{Name: name, Store: protocol.StoreID(cl.stores)}, first: 1}
	cl.check.disks[d.voter.Store] = d
	return d
}

func (cl *cluster) node(name string) *node {
	for _, n := range cl.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// start runs the core of a node from its disk.
func (cl *cluster) start(n *node) {
	d := n.disk
	if cl.mutation == mutationAmnesia {
		d.hard.Term, d.hard.Vote = 0, 0
	}
	var configurations []ConfigurationAt
	for i := range d.entries {
		if configuration, ok, _ := configurationOf(&d.entries[i]); ok {
			configurations = append(configurations, ConfigurationAt{uint64(i + 1), configuration})
		}
	}
	members := cl.members
	if cl.mutation == mutationReleaseWithoutMembers {
		members = 1
	}
	core, err := New(Options{
		Self: d.voter, Lineage: cl.lineage, Members: members, Log: d, HardState: d.hard,
		Configurations: configurations, Applied: d.checkpoint, Frozen: d.frozen,
		ElectionTicks: cl.limits.election, HeartbeatTicks: cl.limits.heartbeat,
		MaxAppendBytes: cl.limits.maxAppend, MaxInflightBytes: cl.limits.inflight,
		MaxReleaseBytes: cl.limits.release, TailBytes: cl.limits.memory,
		Random: rand.New(rand.NewPCG(cl.random.Uint64(), cl.stores)),
	})
	if err != nil {
		cl.check.fail("%s does not start: %v", n.name, err)
		return
	}
	n.core, n.writes = core, nil
	n.seenCommit, n.seenRelease, n.seenLeaderOf = d.checkpoint, d.checkpoint, 0
	clear(n.reads)
}

// crash stops a node. Of the writes on their way, the first kept reach the disk;
// nobody is told.
func (cl *cluster) crash(n *node, kept int) {
	for _, w := range n.writes[:kept] {
		if err := n.disk.write(w.hard, w.entries); err != nil {
			cl.check.fail("%s: %v", n.name, err)
		}
	}
	n.core, n.writes = nil, nil
}

// take performs the effects of one Take, and reports whether there were any.
func (cl *cluster) take(n *node) (Effects, bool) {
	var e Effects
	if n.core == nil {
		return e, false
	}
	n.core.Take(&e)
	cl.mutate(n)
	if cl.tracing {
		cl.traceEffects(n, &e)
	}
	cl.check.effects(n, &e)
	if e.WriteID != 0 {
		n.writes = append(n.writes, pendingWrite{id: e.WriteID, hard: e.HardState, entries: e.Entries})
	}
	cl.network = append(cl.network, e.Messages...)
	switch {
	case len(n.writes) == 0 || cl.mutation == mutationPromiseEarly:
		cl.sendPromises(n, e.AfterWrite)
	default:
		last := &n.writes[len(n.writes)-1]
		last.after = append(last.after, e.AfterWrite...)
	}
	if len(e.Released) > 0 {
		n.core.Applied(e.Released[len(e.Released)-1].Index)
	}
	cl.check.node(n)
	return e, !e.Empty()
}

// drain takes until there is nothing more to do.
func (cl *cluster) drain(n *node) {
	for range 10_000 {
		if _, more := cl.take(n); !more || cl.check.err != nil {
			return
		}
	}
	cl.check.fail("%s never comes to rest", n.name)
}

// freeze does what a promise does to a store: the core is inert, and what it
// promised but has not sent yet is void.
func (cl *cluster) freeze(n *node) {
	n.core.Freeze()
	n.disk.frozen = true
	for i := range n.writes {
		n.writes[i].after = nil
	}
}

// persist completes the oldest write of a node.
func (cl *cluster) persist(n *node) {
	w := n.writes[0]
	n.writes = n.writes[1:]
	cl.note("%s persists write %d", n.name, w.id)
	if err := n.disk.write(w.hard, w.entries); err != nil {
		cl.check.fail("%s: %v", n.name, err)
		return
	}
	cl.check.durable(n, w.entries)
	n.core.Persisted(w.id)
	cl.mutate(n)
	cl.check.node(n)
	cl.sendPromises(n, w.after)
}

func (cl *cluster) sendPromises(n *node, messages []Message) {
	for i := range messages {
		cl.check.promise(n, &messages[i])
	}
	cl.network = append(cl.network, messages...)
}

// deliver hands a message to the node with the receiver's name.
func (cl *cluster) deliver(m Message) {
	n := cl.node(m.To.Name)
	if n == nil || n.core == nil {
		return
	}
	if cl.tracing {
		cl.note("deliver %s", &m)
	}
	cl.mutateMessage(n, &m)
	n.core.Step(m)
	cl.mutate(n)
	cl.check.node(n)
}

func (cl *cluster) tick(n *node) {
	n.core.Tick()
	cl.mutate(n)
	cl.check.node(n)
}

// settle delivers and persists everything, in order, until nothing happens.
func (cl *cluster) settle() {
	for range 10_000 {
		busy := false
		for _, n := range cl.nodes {
			cl.drain(n)
			for n.core != nil && len(n.writes) > 0 && cl.check.err == nil {
				cl.persist(n)
				busy = true
			}
		}
		sent := cl.network
		cl.network = nil
		for _, m := range sent {
			cl.deliver(m)
			busy = true
		}
		if !busy || cl.check.err != nil {
			return
		}
	}
	cl.check.fail("the cluster never comes to rest")
}

// leader returns the node that leads in the highest term, or nil.
func (cl *cluster) leader() *node {
	var leader *node
	for _, n := range cl.nodes {
		if n.core != nil && n.core.role == Leader && (leader == nil || n.core.state.Term > leader.core.state.Term) {
			leader = n
		}
	}
	return leader
}

// copyTo makes the disk of n hold what the source has applied: the way in which
// a new store joins, and one that lags too far catches up.
func (cl *cluster) copyTo(d *disk, source *node) {
	last := source.core.applied
	d.entries = slices.Clone(source.disk.entries[:last])
	d.first = min(source.disk.first, last+1)
	d.hard.Commit, d.hard.Release = last, last
	d.checkpoint = last
	d.first = last + 1
}

// wipe makes a node lose its memory.
func (cl *cluster) wipe(n *node) {
	if n.core != nil {
		cl.crash(n, 0)
	}
	n.disk = nil
}

// join gives a node without a disk a fresh store with a copy from the source.
func (cl *cluster) join(n, source *node) {
	n.disk = cl.newDisk(n.name)
	cl.copyTo(n.disk, source)
	cl.start(n)
}

// catchUp replaces the log of a store that lags by a copy, unless that copy is
// less up to date.
func (cl *cluster) catchUp(n, source *node) bool {
	last := source.core.applied
	if compareLogs(source.disk.position(last), n.disk.position(n.disk.Last())) < 0 || last < n.disk.hard.Commit {
		return false
	}
	cl.crash(n, 0)
	cl.copyTo(n.disk, source)
	cl.start(n)
	return true
}

// note adds a line to the notes of what happened.
func (cl *cluster) note(format string, args ...any) {
	if cl.tracing {
		cl.notes = append(cl.notes, fmt.Sprintf(format, args...))
	}
}

// traceEffects notes what a core hands out.
func (cl *cluster) traceEffects(n *node, e *Effects) {
	if e.WriteID != 0 {
		var parts []string
		if e.HardState != nil {
			vote := ""
			if e.HardState.Vote != 0 {
				vote = fmt.Sprintf(" vote=%s", cl.check.disks[e.HardState.Vote].voter.Name)
			}
			parts = append(parts, fmt.Sprintf("term=%d%s commit=%d release=%d", e.HardState.Term, vote, e.HardState.Commit, e.HardState.Release))
		}
		parts = append(parts, describeEntries(e.Entries)...)
		cl.note("%s writes %d: %s", n.name, e.WriteID, strings.Join(parts, ", "))
	}
	for i := range e.Messages {
		cl.note("%s sends %s", n.name, &e.Messages[i])
	}
	for i := range e.AfterWrite {
		cl.note("%s sends after the write %s", n.name, &e.AfterWrite[i])
	}
	if len(e.Released) > 0 {
		cl.note("%s applies %s", n.name, strings.Join(describeEntries(e.Released), ", "))
	}
	for _, r := range e.Reads {
		cl.note("%s may read %d at %d", n.name, r.Context, r.Index)
	}
	for _, context := range e.ReadsDropped {
		cl.note("%s drops read %d", n.name, context)
	}
	if e.Failed != nil {
		cl.note("%s fails: %v", n.name, e.Failed)
	}
}

// describeEntries prints term/index kind and content of each entry.
func describeEntries(entries []protocol.Entry) []string {
	var words []string
	for i := range entries {
		e := &entries[i]
		word := fmt.Sprintf("%d/%d %s", e.Term, e.Index, e.Kind)
		if configuration, ok, _ := configurationOf(e); ok {
			word += " " + describeVoters(configuration)
		} else if e.Kind == protocol.KindBatch {
			word += fmt.Sprintf(" %.12q", e.Data)
		}
		words = append(words, word)
	}
	return words
}

// describeVoters prints names with the number of their store.
func describeVoters(c protocol.Configuration) string {
	var words []string
	for _, v := range c.Voters {
		words = append(words, fmt.Sprintf("%s%d", v.Name, v.Store))
	}
	return "{" + strings.Join(words, " ") + "}"
}

func (cl *cluster) describe() string {
	var b strings.Builder
	for _, n := range cl.nodes {
		if n.core == nil {
			fmt.Fprintf(&b, "%s: down\n", n.name)
			continue
		}
		s := n.core.Status()
		fmt.Fprintf(&b, "%s: %s term %d leader %s commit %d release %d applied %d last %d/%d durable %d %s failed %v\n",
			s.Configuration, n.voter(), s.Term, s.Leader, s.Commit, s.Release, s.Applied, s.LastMark.Term, s.Last, s.Durable, s.Role, s.Failed)
		for _, p := range n.core.Progress() {
			fmt.Fprintf(&b, "    %+v\n", p)
		}
	}
	fmt.Fprintf(&b, "%d messages on their way\n", len(cl.network))
	return b.String()
}

var errViolation = errors.New("invariant violated")
