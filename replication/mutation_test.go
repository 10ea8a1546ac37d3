package replication

import "holdfast/protocol"

// mutation breaks one rule of the protocol from outside, so that the checks can
// be seen to fire. Production code knows nothing of it.
type mutation int

const (
	mutationNone mutation = iota
	// Promises leave before they are durable.
	mutationPromiseEarly
	// A restart forgets term and vote.
	mutationAmnesia
	// A voter forgets whom it voted for.
	mutationForgetVote
	// A voter takes every candidate's log for up to date.
	mutationBlindVote
	// A follower does not check where entries attach.
	mutationBlindAppend
	// A leader counts itself before its log is durable.
	mutationCountSelfEarly
	// A leader commits entries of earlier terms by counting (Raft, figure 8).
	mutationCommitOldTerm
	// A leader commits with the answer of a single follower.
	mutationSmallQuorum
	// A leader releases a batch that too few members store.
	mutationReleaseWithoutMembers
	// A leader answers reads without asking anybody.
	mutationReadUnconfirmed
	// A member counts by its name, whatever its store.
	mutationAnyStore
	// Membership changes replace a voter, or several, in one step.
	mutationLeap
	// A follower believes that it agrees up to the leader's commit index.
	mutationCommitUnmatched
)

var mutationNames = map[string]mutation{
	"promise-early": mutationPromiseEarly, "amnesia": mutationAmnesia, "forget-vote": mutationForgetVote,
	"blind-vote": mutationBlindVote, "blind-append": mutationBlindAppend, "count-self-early": mutationCountSelfEarly,
	"commit-old-term": mutationCommitOldTerm, "small-quorum": mutationSmallQuorum,
	"release-without-members": mutationReleaseWithoutMembers, "read-unconfirmed": mutationReadUnconfirmed,
	"any-store": mutationAnyStore, "leap": mutationLeap, "commit-unmatched": mutationCommitUnmatched,
}

// mutate is applied after every step of a core.
func (cl *cluster) mutate(n *node) {
	c := n.core
	if c == nil || c.failed != nil {
		return
	}
	switch cl.mutation {
	case mutationForgetVote:
		if c.role == Follower {
			c.state.Vote, c.leader = 0, protocol.Voter{}
		}
	case mutationCountSelfEarly:
		if c.role == Leader {
			c.log.durable = c.log.taken
		}
	case mutationCommitOldTerm:
		if c.role == Leader {
			commit := reached(c.stored(), c.newest().Configuration.Majority())
			c.raise(commit, min(commit, c.state.Release))
		}
	case mutationSmallQuorum:
		if c.role == Leader {
			commit := reached(c.stored(), max(1, c.newest().Configuration.Majority()-1))
			c.raise(commit, commit)
		}
	case mutationReadUnconfirmed:
		if c.role == Leader {
			for _, context := range c.lead.reads.waiting {
				c.out.Reads = append(c.out.Reads, Read{Context: context, Index: c.state.Commit})
			}
			c.lead.reads.waiting = nil
		}
	}
}

// mutateMessage is applied to a message before its delivery.
func (cl *cluster) mutateMessage(n *node, m *Message) {
	c := n.core
	switch cl.mutation {
	case mutationBlindVote:
		if m.Type == Vote || m.Type == PreVote {
			m.At = protocol.Mark{Index: 1 << 60, Term: 1 << 60, Lineage: cl.lineage}
		}
	case mutationBlindAppend:
		if m.Type == Append && m.At.Index <= c.log.last() {
			m.At, _ = c.log.position(m.At.Index)
		}
	case mutationAnyStore:
		m.To = c.self
		if store, ok := c.newest().Configuration.Store(m.From.Name); ok {
			m.From.Store = store
		}
	case mutationCommitUnmatched:
		if m.Type == Heartbeat && m.Term >= c.state.Term {
			m.Commit = max(m.Commit, min(m.At.Index, c.log.last()))
			m.Index = m.Commit
		}
	}
}
