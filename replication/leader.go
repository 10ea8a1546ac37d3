package replication

import "holdfast/protocol"

// leadership is what a leader knows during its term.
type leadership struct {
	// peers are the other voters and the learners, by name and store.
	peers []*peer
	// since is the tick at which the term began, start the index of its first
	// entry: the leader is ready once that is committed.
	since, start uint64
	// pulse counts ticks since the last heartbeat.
	pulse int
	// blocked is the first batch above the release index that too few members
	// store; 0 for none known.
	blocked uint64

	// transferTo is the target of a transfer that began at tick transferSince;
	// asked when it was told to stand for election.
	transferTo    protocol.Voter
	transferSince uint64
	transferAsked bool

	reads reads
}

// becomeLeader starts the term with an entry of its own, because entries of
// earlier terms are committed only together with one (Raft, section 5.4.2).
func (c *Core) becomeLeader() {
	c.role, c.leader = Leader, c.self
	c.lead = &leadership{since: c.now, start: c.log.last() + 1}
	c.matched = 0
	c.updatePeers()
	for _, v := range c.votes.granted {
		if p := c.peer(v); p != nil {
			p.heard = c.now
		}
	}
	c.propose(protocol.KindNoop, nil)
}

// Propose appends a batch of commands to the log and returns its index. The
// data is kept by reference and must not be changed. It is released here once
// it is committed, unless leadership is lost before.
func (c *Core) Propose(data []byte) (index uint64, err error) {
	if err := c.mayPropose(); err != nil {
		return 0, err
	}
	if !c.open() {
		return 0, ErrClosed
	}
	return c.propose(protocol.KindBatch, data), nil
}

// ProposeBump appends an entry that raises the epoch of the lineage (rule P6).
func (c *Core) ProposeBump(epoch uint64) error {
	if err := c.mayPropose(); err != nil {
		return err
	}
	c.propose(protocol.KindBump, protocol.AppendEpoch(nil, epoch))
	return nil
}

func (c *Core) mayPropose() error {
	switch {
	case c.role != Leader:
		return ErrNotLeader
	case c.lead.transferTo != protocol.Voter{}:
		return ErrTransferring
	}
	return nil
}

// propose appends an entry. It goes out with the next Take.
func (c *Core) propose(kind protocol.Kind, data []byte) uint64 {
	index := c.log.last() + 1
	c.append(protocol.Entry{Index: index, Term: c.state.Term, Lineage: c.lineage, Kind: kind, Data: data})
	return index
}

// open reports whether a batch can be released at all.
func (c *Core) open() bool {
	return len(c.newest().Configuration.Voters) >= majority(c.options.Members) || c.off.releaseByMembers
}

// ready reports whether the leader has committed an entry of its own term.
func (c *Core) ready() bool { return c.role == Leader && c.state.Commit >= c.lead.start }

// inContact reports whether the leader has heard from a quorum within an
// election timeout.
func (c *Core) inContact() bool {
	return c.role == Leader && c.quorum(c.active)
}

// quorum reports whether a majority of the configuration, this store included
// when it is a voter, passes the test.
func (c *Core) quorum(test func(*peer) bool) bool {
	configuration := c.newest().Configuration
	n := 0
	if configuration.Contains(c.self) {
		n++
	}
	for _, p := range c.lead.peers {
		if !p.learner && test(p) {
			n++
		}
	}
	return n >= configuration.Majority()
}

// active reports whether the peer was heard from within an election timeout.
func (c *Core) active(p *peer) bool { return p.heard+uint64(c.options.ElectionTicks) > c.now }

// tickLeader gives up a term without contact (check-quorum; thesis, section
// 6.2) and a transfer that takes too long, and spreads heartbeats and news of
// the watermarks.
func (c *Core) tickLeader() {
	patience := uint64(c.options.ElectionTicks)
	if c.now-c.lead.since >= patience && !c.inContact() {
		c.becomeFollower(c.state.Term, protocol.Voter{})
		return
	}
	if c.now-c.lead.transferSince >= patience {
		c.lead.transferTo = protocol.Voter{}
	}
	c.lead.pulse++
	beat := c.lead.pulse >= c.options.HeartbeatTicks
	if beat {
		c.lead.pulse = 0
	}
	for _, p := range c.lead.peers {
		// Appends carry the watermarks as well. Only in a pause between two
		// appends does a follower wait for the tick.
		if beat || p.toldCommit < min(c.state.Commit, p.match) || p.toldRelease < min(c.state.Release, p.match) {
			c.heartbeat(p)
		}
	}
}

func (c *Core) heartbeat(p *peer) {
	commit, release := min(c.state.Commit, p.match), min(c.state.Release, p.match)
	p.toldCommit, p.toldRelease = max(p.toldCommit, commit), max(p.toldRelease, release)
	c.send(Message{
		Type: Heartbeat, To: p.voter, Index: p.match, At: protocol.Mark{Index: p.sentTo()},
		Commit: commit, Release: release, Round: c.lead.reads.round,
	})
}

// stepProgress takes in what a follower or learner says about its log.
func (c *Core) stepProgress(m *Message) {
	if c.role != Leader {
		return
	}
	p := c.peer(m.From)
	if p == nil {
		return // not listed, or not with this store: it counts nowhere
	}
	p.heard, p.down = c.now, false
	switch {
	case m.Type == HeartbeatReply:
		c.stepHeartbeatReply(p, m)
	case m.Reject:
		c.stepReject(p, m)
	case m.Index <= c.log.last():
		if p.acknowledge(m.Index) {
			c.advance()
			c.continueTransfer()
		}
	}
}

// stepHeartbeatReply notices lost appends and finished copies.
func (c *Core) stepHeartbeatReply(p *peer, m *Message) {
	switch p.mode {
	case modeProbe:
		p.paused = false // the one append, or its answer, may be lost
	case modeReplicate:
		switch {
		case p.match == p.next-1: // all is acknowledged
		case m.Reject:
			p.probe(max(p.match, m.Index) + 1)
		case p.match == p.beaten:
			c.nudge(p)
		}
		p.beaten = p.match
	case modeCopy:
		if next := min(m.At.Index, c.log.last()) + 1; c.log.available(next) {
			p.probe(next)
		}
	}
	p.round = max(p.round, min(m.Round, c.lead.reads.round))
	c.confirmReads()
}

// nudge asks a peer that has received everything, but acknowledged nothing since
// the heartbeat before, to acknowledge again: its answer may be lost.
func (c *Core) nudge(p *peer) {
	if at, err := c.log.position(p.next - 1); c.check(err) {
		c.send(Message{Type: Append, To: p.voter, At: at, Commit: c.state.Commit, Release: c.state.Release})
	}
}

// stepReject backs off. The answer's position is the last one at which the
// follower may agree; the last position here that may agree with that one is
// the next to try. Each step skips a whole term of one log or the other.
func (c *Core) stepReject(p *peer, m *Message) {
	stale := m.Index <= p.match || p.mode == modeProbe && m.Index != p.next-1
	if stale || p.mode == modeCopy {
		return
	}
	agree, err := c.log.agreement(m.At)
	if c.check(err) {
		p.probe(agree.Index + 1)
	}
}

// advance raises the watermarks of a leader.
//
// Commit is what a majority of the configuration stores, and only from the
// leader's own term on (Raft, section 5.4.2). Release is the largest index up
// to which every batch is also stored by a majority of the members (rule P2):
// a sole founder commits its founding, but a batch that only it stores may
// live on in nobody else's lineage and must not be acknowledged.
func (c *Core) advance() {
	stored := c.stored()
	commit := reached(stored, c.newest().Configuration.Majority())
	if commit < c.lead.start {
		return
	}
	members := reached(stored, majority(c.options.Members))
	commit = max(commit, c.state.Commit)
	release, err := c.releasable(commit, members)
	if !c.check(err) {
		return
	}
	c.raise(commit, release)
	c.leaveIfRemoved()
}

// stored returns for each voter the index up to which it durably stores the
// log of this leader, in memory that is reused.
func (c *Core) stored() []uint64 {
	c.scratch = c.scratch[:0]
	if c.newest().Configuration.Contains(c.self) {
		c.scratch = append(c.scratch, c.log.durable)
	}
	for _, p := range c.lead.peers {
		if !p.learner {
			c.scratch = append(c.scratch, p.match)
		}
	}
	return c.scratch
}

// releasable returns the release index for the given commit index, when a
// majority of the members stores everything up to members.
func (c *Core) releasable(commit, members uint64) (uint64, error) {
	release := max(c.state.Release, min(commit, members))
	if release >= commit || c.off.releaseByMembers {
		return commit, nil
	}
	if c.lead.blocked <= release {
		batch, err := c.log.firstBatch(release+1, commit+1)
		if err != nil {
			return 0, err
		}
		if batch == 0 {
			return commit, nil
		}
		c.lead.blocked = batch
	}
	return c.lead.blocked - 1, nil
}

// feedPeers sends every peer what it may have now. It runs once per Take, so
// that proposals made together leave together.
func (c *Core) feedPeers() {
	for _, p := range c.lead.peers {
		for c.failed == nil && c.feed(p) {
		}
		if c.failed != nil {
			return
		}
	}
}

// feed sends one append, if there is one to send, and reports whether to try
// for another.
func (c *Core) feed(p *peer) bool {
	last := c.log.last()
	probing := p.mode == modeProbe
	switch {
	case p.down || p.mode == modeCopy || p.paused:
		return false
	case !probing && (p.next > last || p.inflightBytes >= c.options.MaxInflightBytes):
		return false
	}
	m := Message{Type: Append, To: p.voter, Commit: c.state.Commit, Release: c.state.Release}
	var err error
	if m.At, err = c.log.position(p.next - 1); !c.check(err) {
		return false
	}
	bytes := 0
	if p.next <= last {
		if !c.log.available(p.next) {
			p.mode = modeCopy
			return false
		}
		from := len(c.out.sent)
		sent, err := c.log.read(c.out.sent, p.next, last+1, c.options.MaxAppendBytes)
		if err != nil && !c.log.available(p.next) {
			return true // it went between the two calls
		}
		if !c.check(err) {
			return false
		}
		c.out.sent = sent
		m.Entries = sent[from:len(sent):len(sent)]
		for i := range m.Entries {
			bytes += entryBytes(&m.Entries[i])
		}
	}
	c.send(m)
	end := m.At.Index + uint64(len(m.Entries))
	p.toldCommit, p.toldRelease = max(p.toldCommit, min(m.Commit, end)), max(p.toldRelease, min(m.Release, end))
	if probing {
		p.paused = true
		return false
	}
	p.launched(end, bytes)
	return true
}
