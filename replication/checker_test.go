package replication

import (
	"bytes"
	"fmt"

	"holdfast/protocol"
)

// checker judges a cluster from outside, by what its nodes do, what is on their
// disks and what leaves them. It is told after every step.
type checker struct {
	cl  *cluster
	err error

	// disks are those of every store that ever was, also lost ones: what a
	// store once held and promised stays true of that identity.
	disks   map[protocol.StoreID]*disk
	leaders map[uint64]protocol.Voter
	votes   map[ballotPaper]protocol.StoreID
	// made are all entries by their position, with the position before.
	made map[protocol.Mark]madeEntry
	// committed and applied are the histories that every node must share; the
	// entry with index i is at i-1.
	committed []protocol.Mark
	applied   []protocol.Entry
}

type ballotPaper struct {
	store protocol.StoreID
	term  uint64
}

type madeEntry struct {
	before protocol.Mark
	entry  protocol.Entry
}

func newChecker(cl *cluster) *checker {
	return &checker{
		cl: cl, disks: map[protocol.StoreID]*disk{}, leaders: map[uint64]protocol.Voter{},
		votes: map[ballotPaper]protocol.StoreID{}, made: map[protocol.Mark]madeEntry{},
	}
}

func (k *checker) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("%w: %s", errViolation, fmt.Sprintf(format, args...))
		k.cl.notes = append(k.cl.notes, k.err.Error())
	}
}

// begin records the log that every member starts with.
func (k *checker) begin(log []protocol.Entry) {
	before := protocol.Mark{}
	for _, e := range log {
		k.matching(e, before)
		before = positionOf(&e)
		k.committed = append(k.committed, before)
		k.applied = append(k.applied, e)
	}
}

// matching: Log Matching. Entries with the same position are the same, and so
// are those before them.
func (k *checker) matching(e protocol.Entry, before protocol.Mark) {
	at := positionOf(&e)
	known, ok := k.made[at]
	if !ok {
		k.made[at] = madeEntry{before, e}
		return
	}
	if known.before != before || known.entry.Kind != e.Kind || !bytes.Equal(known.entry.Data, e.Data) {
		k.fail("log matching: two entries at %v", at)
	}
}

// effects checks what a node hands out.
func (k *checker) effects(n *node, e *Effects) {
	if e.Failed != nil {
		k.fail("%s failed: %v", n.name, e.Failed)
		return
	}
	for i := range e.Entries {
		before, err := n.core.log.position(e.Entries[i].Index - 1)
		if err != nil {
			k.fail("%s: %v", n.name, err)
		}
		k.matching(e.Entries[i], before)
	}
	if e.HardState != nil && e.HardState.Commit > n.core.log.last() {
		k.fail("%s writes commit index %d above its log", n.name, e.HardState.Commit)
	}
	k.released(n, e.Released)
	for _, r := range e.Reads {
		if floor, ok := n.reads[r.Context]; !ok || r.Index < floor {
			k.fail("%s serves read %d at %d, %d was acknowledged before", n.name, r.Context, r.Index, floor)
		}
		delete(n.reads, r.Context)
	}
	for _, context := range e.ReadsDropped {
		delete(n.reads, context)
	}
}

// released: State Machine Safety. Every node applies the same entries in the
// same order, and only ones that it could read again.
func (k *checker) released(n *node, entries []protocol.Entry) {
	for i := range entries {
		e := &entries[i]
		if want := n.core.released - uint64(len(entries)-1-i); e.Index != want {
			k.fail("%s applies %d instead of %d", n.name, e.Index, want)
			return
		}
		if n.disk.position(e.Index) != positionOf(e) {
			k.fail("%s applies %d before it is durable", n.name, e.Index)
		}
		if e.Index == uint64(len(k.applied))+1 {
			k.applied = append(k.applied, *e)
		}
		known := &k.applied[e.Index-1]
		if positionOf(known) != positionOf(e) || !bytes.Equal(known.Data, e.Data) {
			k.fail("state machine safety: %s applies %v, others %v", n.name, positionOf(e), positionOf(known))
		}
	}
}

// durable: nothing that the node knows as committed is ever overwritten.
func (k *checker) durable(n *node, entries []protocol.Entry) {
	for i := range entries {
		if index := entries[i].Index; index <= uint64(len(k.committed)) && index <= n.seenCommit &&
			k.committed[index-1] != positionOf(&entries[i]) {
			k.fail("%s overwrites committed entry %d", n.name, index)
		}
	}
}

// promise: every store votes once in a term, and a frozen one does nothing.
func (k *checker) promise(n *node, m *Message) {
	if n.disk.frozen {
		k.fail("%s is frozen and sends %s", n.name, m)
	}
	choice := m.To.Store
	switch {
	case m.Type == Vote:
		choice = m.From.Store
	case m.Type != VoteReply || m.Reject:
		return
	}
	paper := ballotPaper{m.From.Store, m.Term}
	if known, ok := k.votes[paper]; ok && known != choice {
		k.fail("%s votes twice in term %d", m.From, m.Term)
	}
	k.votes[paper] = choice
}

// node checks a running core.
func (k *checker) node(n *node) {
	c := n.core
	if k.err != nil || c == nil {
		return
	}
	if c.failed != nil {
		k.fail("%s failed: %v", n.name, c.failed)
		return
	}
	s := c.state
	if !(c.applied <= c.released && c.released <= s.Release && s.Release <= s.Commit && s.Commit <= c.log.last()) ||
		!(c.log.durable <= c.log.taken && c.log.taken <= c.log.last() && c.log.first <= c.log.durable+1) {
		k.fail("%s: watermarks out of order: %+v, %d applied, %d released, log %d %d %d %d", n.name, s,
			c.applied, c.released, c.log.first, c.log.durable, c.log.taken, c.log.last())
	}
	if !c.frozen && (s.Commit < n.seenCommit || s.Release < n.seenRelease) {
		k.fail("%s: a watermark fell", n.name)
	}
	k.commits(n)
	if c.role == Leader {
		k.leader(n)
	}
	n.seenCommit, n.seenRelease = s.Commit, s.Release
}

// commits checks what a node newly knows as committed.
func (k *checker) commits(n *node) {
	c := n.core
	for i := n.seenCommit + 1; i <= c.state.Commit; i++ {
		at, err := c.log.position(i)
		if err != nil {
			k.fail("%s: %v", n.name, err)
			return
		}
		if i == uint64(len(k.committed))+1 {
			k.committed = append(k.committed, at)
		}
		if k.committed[i-1] != at {
			k.fail("%s commits %v, others %v", n.name, at, k.committed[i-1])
			return
		}
	}
	if c.role != Leader {
		return
	}
	if c.state.Commit > n.seenCommit {
		if have := k.holders(c, c.state.Commit); have < c.newest().Configuration.Majority() {
			k.fail("%s commits %d, which %d of %s store", n.name, c.state.Commit, have, c.newest().Configuration)
		}
	}
	for i := n.seenRelease + 1; i <= c.state.Release; i++ {
		at, _ := c.log.position(i)
		if k.made[at].entry.Kind == protocol.KindBatch && k.holders(c, i) < majority(k.cl.members) {
			k.fail("%s releases batch %d, which %d of %d members store", n.name, i, k.holders(c, i), k.cl.members)
		}
	}
}

// holders counts the voters whose disks have the entry that the core has.
func (k *checker) holders(c *Core, index uint64) int {
	at, _ := c.log.position(index)
	have := 0
	for _, v := range c.newest().Configuration.Voters {
		if k.disks[v.Store].position(index) == at {
			have++
		}
	}
	return have
}

// leader: Election Safety and Leader Completeness.
func (k *checker) leader(n *node) {
	c := n.core
	if n.seenLeaderOf == c.state.Term {
		return
	}
	n.seenLeaderOf = c.state.Term
	if known, ok := k.leaders[c.state.Term]; ok {
		k.fail("election safety: %s and %s lead term %d", known, n.voter(), c.state.Term)
	}
	k.leaders[c.state.Term] = n.voter()
	for i, at := range k.committed {
		if own, err := c.log.position(uint64(i + 1)); uint64(i+1) > c.log.last() || err != nil || own != at {
			k.fail("leader completeness: %s leads term %d without %v", n.name, c.state.Term, at)
			return
		}
	}
}
