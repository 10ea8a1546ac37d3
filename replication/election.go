package replication

import (
	"cmp"
	"slices"

	"holdfast/protocol"
)

// hurryTicks bounds the random pause before a campaign when the leader's
// connection broke: long enough to keep followers that notice together apart.
const hurryTicks = 3

// restTimer starts a fresh, random election timeout. A sole voter has nobody
// to wait for.
func (c *Core) restTimer() {
	c.quiet = 0
	c.timeout = c.options.ElectionTicks + c.random.IntN(c.options.ElectionTicks)
	if c.eligible() && len(c.newest().Configuration.Voters) == 1 {
		c.timeout = 1
	}
}

// eligible reports whether this store may stand for election.
func (c *Core) eligible() bool {
	return !c.stopped() && c.newest().Configuration.Contains(c.self)
}

// sticky reports whether a leader was heard so lately that no other is wanted.
// A leader that loses its quorum finds out by itself (check-quorum).
func (c *Core) sticky() bool {
	return c.leader != protocol.Voter{} && (c.role == Leader || c.quiet < c.options.ElectionTicks)
}

// PeerDown tells that the connection to a store broke. When it is the leader,
// its process is probably dead, and the core campaigns within hurryTicks
// instead of waiting out the timeout; pre-vote keeps a false alarm harmless.
func (c *Core) PeerDown(v protocol.Voter) {
	switch {
	case c.stopped():
	case c.role == Leader:
		if p := c.peer(v); p != nil {
			p.down = true
			p.probe(p.match + 1)
		}
	case c.leader == v:
		c.leader = protocol.Voter{}
		if !c.eligible() {
			return
		}
		c.quiet, c.timeout = 0, c.random.IntN(hurryTicks+1)
		if c.timeout == 0 {
			c.campaignAsking()
		}
	}
}

// campaignAsking starts a campaign with a pre-vote: the term is raised only
// when a majority says that it would vote for this store.
func (c *Core) campaignAsking() {
	c.becomeFollower(c.state.Term, protocol.Voter{})
	c.role = PreCandidate
	c.votes.reset()
	c.votes.record(c.self, true)
	if c.votes.won(c.newest().Configuration) {
		c.campaign(false)
		return
	}
	for _, v := range c.newest().Configuration.Voters {
		if v != c.self {
			c.send(Message{Type: PreVote, To: v, Term: c.state.Term + 1, At: c.log.lastPosition()})
		}
	}
}

// campaign stands for election in a new term.
//
// The requests leave only when term, vote and log are durable. A candidate that
// asked earlier and forgot could ask again in the same term with a shorter log,
// and count grants that were given for the longer one.
func (c *Core) campaign(transfer bool) {
	c.becomeFollower(c.state.Term+1, protocol.Voter{})
	c.role = Candidate
	c.state.Vote = c.self.Store
	c.votes.reset()
	c.ownVote = 0 // counted by Persisted
	for _, v := range c.newest().Configuration.Voters {
		if v != c.self {
			c.promise(Message{Type: Vote, To: v, At: c.log.lastPosition(), Transfer: transfer})
		}
	}
}

// stepPreVote says whether the sender could have this store's vote.
func (c *Core) stepPreVote(m *Message) {
	free := m.Term > c.state.Term || c.state.Vote == 0 || c.state.Vote == m.From.Store
	grant := free && !c.sticky() && compareLogs(m.At, c.log.lastPosition()) >= 0 && !c.outranks(m)
	reply := Message{Type: PreVoteReply, To: m.From, Reject: !grant}
	if grant {
		reply.Term = m.Term
	}
	c.send(reply)
}

// outranks reports whether this store is asking for the same pre-votes and has
// precedence, by log and then by name. Were both to grant, both would go on to
// a real election in the same term and split the vote. Whoever has refused this
// store already does not clash with it.
func (c *Core) outranks(m *Message) bool {
	return c.role == PreCandidate && !slices.Contains(c.votes.refused, m.From) &&
		cmp.Or(compareLogs(c.log.lastPosition(), m.At), cmp.Compare(m.From.Name, c.self.Name)) > 0
}

// stepVote grants the vote of the term to the first candidate whose log is at
// least as up to date (Raft, sections 5.2 and 5.4.1).
func (c *Core) stepVote(m *Message) {
	free := c.state.Vote == m.From.Store || c.state.Vote == 0 && c.leader == protocol.Voter{}
	if !free || compareLogs(m.At, c.log.lastPosition()) < 0 {
		c.send(Message{Type: VoteReply, To: m.From, Reject: true})
		return
	}
	c.state.Vote = m.From.Store
	c.restTimer()
	c.promise(Message{Type: VoteReply, To: m.From})
}

// stepVoteReply counts an answer to the present campaign.
func (c *Core) stepVoteReply(m *Message) {
	switch {
	case m.Type == VoteReply && c.role == Candidate:
		c.votes.record(m.From, !m.Reject)
	case m.Type == PreVoteReply && c.role == PreCandidate && (m.Reject || m.Term == c.state.Term+1):
		c.votes.record(m.From, !m.Reject)
	default:
		return
	}
	c.decideCampaign()
}

// decideCampaign acts once the answers decide the campaign.
func (c *Core) decideCampaign() {
	configuration := c.newest().Configuration
	switch {
	case c.votes.won(configuration) && c.role == PreCandidate:
		c.campaign(false)
	case c.votes.won(configuration):
		c.becomeLeader()
	case c.votes.lost(configuration):
		c.becomeFollower(c.state.Term, protocol.Voter{})
	}
}

// countOwnVote counts a candidate's vote for itself once it is durable.
func (c *Core) countOwnVote(persisted uint64) {
	if c.role == Candidate && c.ownVote != 0 && c.ownVote <= persisted {
		c.votes.record(c.self, true)
		c.decideCampaign()
	}
}

// stepTimeoutNow stands for election at once, without a pre-vote, because the
// leader asks for it.
func (c *Core) stepTimeoutNow(m *Message) {
	if c.eligible() && c.role == Follower && c.leader == m.From {
		c.campaign(true)
	}
}
