package replication

import (
	"fmt"
	"math/rand/v2"

	"holdfast/protocol"
)

// Core is one store's part in the replication of one lineage. It is not safe
// for concurrent use. See the package comment for what its owner owes it.
type Core struct {
	options Options // the limits; durable state in it is as of New
	off     switches
	self    protocol.Voter
	lineage protocol.Lineage
	random  *rand.Rand

	log tail
	// state is the hard state as it is now, written as it was last handed to
	// the owner. Release <= Commit <= log.last, and neither falls.
	state, written protocol.HardState
	// configurations are those in force at state.Commit and later ones, oldest
	// first, never empty. The last one counts, committed or not (thesis,
	// section 4.1).
	configurations []ConfigurationAt

	role   Role
	leader protocol.Voter // of state.Term; zero when unknown or known to be gone
	frozen bool           // never lifted (rule P3)
	failed error          // never lifted

	// matched is the largest index at which this log is known to agree with
	// the leader's; volatile, and 0 at the start of each term.
	matched uint64
	// votes are the answers to the campaign of a candidate or pre-candidate.
	votes ballot
	// ownVote is the write that makes a candidate's vote for itself durable; 0
	// until it was handed to the owner.
	ownVote uint64
	// lead is what a leader knows; nil in every other role.
	lead *leadership

	// now counts ticks. It starts at ElectionTicks, so that 0 is long ago.
	now uint64
	// quiet counts ticks since a leader was heard, a vote was granted or a
	// campaign began; at timeout, a voter campaigns.
	quiet, timeout int

	// applied <= released <= state.Release and log.durable: what was handed
	// out to be applied, and what the owner says it has applied.
	released, applied uint64

	lastWrite uint64  // ID of the last write handed to the owner
	out       Effects // what the next Take hands out
	scratch   []uint64
}

// New returns a core as a follower. It fails when the durable state contradicts
// itself; the store is then damaged, and the error says how.
func New(o Options) (*Core, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("start replication: %w", err)
	}
	if o.TailBytes == 0 {
		o.TailBytes = 2 * o.MaxInflightBytes
	}
	log, err := newTail(o.Log, o.TailBytes)
	if err != nil {
		return nil, fmt.Errorf("start replication: %w", err)
	}
	c := &Core{
		options: o, self: o.Self, lineage: o.Lineage, random: o.Random,
		log: log, state: o.HardState, written: o.HardState,
		configurations: append([]ConfigurationAt(nil), o.Configurations...),
		frozen:         o.Frozen,
		now:            uint64(o.ElectionTicks),
		released:       o.Applied, applied: o.Applied,
	}
	// A copied log may be ahead of the fresh hard state it came with.
	if term := log.lastPosition().Term; term > c.state.Term {
		c.state.Term, c.state.Vote = term, 0
	}
	c.state.Commit = max(c.state.Commit, o.Applied)
	c.state.Release = max(c.state.Release, o.Applied)
	c.forgetOldConfigurations()
	c.restTimer()
	return c, nil
}

// Tick tells the core that one tick of time has passed.
func (c *Core) Tick() {
	if c.stopped() {
		return
	}
	c.now++
	if c.role == Leader {
		c.tickLeader()
		return
	}
	c.quiet++
	if c.quiet >= c.timeout && c.eligible() {
		c.campaignAsking()
	}
}

// Step takes in a message. Those of another lineage, or not meant for exactly
// this store, are ignored.
func (c *Core) Step(m Message) {
	if c.stopped() || m.Lineage != c.lineage || m.To != c.self || m.From == c.self {
		return
	}
	if m.Term < c.state.Term {
		c.stepOlderTerm(&m)
		return
	}
	if m.Term > c.state.Term && !c.enterTerm(&m) {
		return
	}
	switch m.Type {
	case PreVote:
		c.stepPreVote(&m)
	case Vote:
		c.stepVote(&m)
	case PreVoteReply, VoteReply:
		c.stepVoteReply(&m)
	case Append:
		c.stepAppend(&m)
	case Heartbeat:
		c.stepHeartbeat(&m)
	case AppendReply, HeartbeatReply:
		c.stepProgress(&m)
	case TimeoutNow:
		c.stepTimeoutNow(&m)
	}
}

// enterTerm moves on to the term of a message from a later one. It returns
// false when the message must not have any effect.
func (c *Core) enterTerm(m *Message) bool {
	switch m.Type {
	case PreVote:
		return true // only asks about a term
	case PreVoteReply:
		if !m.Reject {
			return true // the term asked about
		}
	case Vote:
		// Whoever hears a leader stays with it (thesis, section 4.2.3), or
		// else a store that was removed could disturb the cluster for ever.
		if c.sticky() && !m.Transfer {
			return false
		}
	case Append, Heartbeat:
		c.becomeFollower(m.Term, m.From)
		return true
	}
	c.becomeFollower(m.Term, protocol.Voter{})
	return true
}

// stepOlderTerm answers those who ask in a term that is over, so that they
// learn of the present one. A leader cut off in an older term would otherwise
// never accept this store again, which cannot follow it.
func (c *Core) stepOlderTerm(m *Message) {
	switch m.Type {
	case PreVote:
		c.send(Message{Type: PreVoteReply, To: m.From, Reject: true})
	case Vote:
		c.send(Message{Type: VoteReply, To: m.From, Reject: true})
	case Append, Heartbeat:
		c.send(Message{Type: HeartbeatReply, To: m.From, Reject: true})
	}
}

// becomeFollower gives up any other role. A zero leader means that none is
// known.
func (c *Core) becomeFollower(term uint64, leader protocol.Voter) {
	if c.lead != nil {
		c.dropReads()
		c.lead = nil
	}
	if term > c.state.Term {
		c.state.Term, c.state.Vote = term, 0
		c.matched = 0
	}
	c.role, c.leader = Follower, leader
	c.restTimer()
}

// StepDown gives up leadership or candidacy and persists nothing (rule P5,
// step 1). The core may campaign again after an election timeout.
func (c *Core) StepDown() {
	if c.role != Follower {
		c.becomeFollower(c.state.Term, protocol.Voter{})
	}
}

// Freeze makes the core inert for good, because the store has promised an epoch
// above this lineage's (rule P3): it neither votes nor campaigns nor accepts or
// acknowledges anything, and what was not yet handed to the owner is void.
// Only release of what is already committed goes on. The owner calls it before
// the promise becomes durable, and drops what it still holds of AfterWrite.
func (c *Core) Freeze() {
	if c.frozen {
		return
	}
	c.StepDown()
	c.frozen = true
	c.leader = protocol.Voter{}
	c.state.Term, c.state.Vote = c.written.Term, c.written.Vote
	clear(c.out.Messages)
	clear(c.out.AfterWrite)
	c.out.Messages, c.out.AfterWrite = c.out.Messages[:0], c.out.AfterWrite[:0]
	if c.check(c.truncate(c.log.taken + 1)) {
		c.state.Commit = min(c.state.Commit, c.log.last())
		c.state.Release = min(c.state.Release, c.log.last())
	}
}

// fail stops the core for good.
func (c *Core) fail(err error) {
	if c.failed != nil {
		return
	}
	c.StepDown()
	c.leader = protocol.Voter{}
	c.failed = err
	c.out.Failed = err
}

// check stops the core on an error of its own log.
func (c *Core) check(err error) bool {
	if err != nil {
		c.fail(err)
	}
	return err == nil
}

func (c *Core) stopped() bool { return c.frozen || c.failed != nil }

// send queues a message that binds nobody or that its receiver may rely on
// before anything is durable here.
func (c *Core) send(m Message) { c.out.Messages = append(c.out.Messages, c.stamped(m)) }

// promise queues a message that may leave only when everything so far is durable.
func (c *Core) promise(m Message) { c.out.AfterWrite = append(c.out.AfterWrite, c.stamped(m)) }

func (c *Core) stamped(m Message) Message {
	m.From, m.Lineage = c.self, c.lineage
	if m.Term == 0 {
		m.Term = c.state.Term
	}
	return m
}

// Status returns a view of the core.
func (c *Core) Status() Status {
	newest := c.newest()
	return Status{
		Role: c.role, Term: c.state.Term, Leader: c.leader,
		Commit: c.state.Commit, Release: c.state.Release, Applied: c.applied,
		Last: c.log.last(), Durable: c.log.durable, LastMark: c.log.lastPosition(),
		Configuration: newest.Configuration, ConfigurationIndex: newest.Index,
		ConfigurationCommitted: newest.Index <= c.state.Commit, InForce: c.configurations[0].Configuration,
		Ready: c.ready(), InContact: c.inContact(), Open: c.open(),
		Transferring: c.lead != nil && c.lead.transferTo != protocol.Voter{},
		Frozen:       c.frozen, Failed: c.failed,
	}
}
