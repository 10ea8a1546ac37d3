package replication

import (
	"fmt"

	"holdfast/protocol"
)

// follow records that the sender leads the present term. There is never more
// than one; a second means that some store voted twice.
func (c *Core) follow(leader protocol.Voter) bool {
	if c.role == Leader || c.leader != (protocol.Voter{}) && c.leader != leader {
		c.fail(fmt.Errorf("%w: %s and %s both lead term %d", ErrDiverged, c.leader, leader, c.state.Term))
		return false
	}
	if c.role != Follower {
		c.becomeFollower(c.state.Term, leader)
	}
	c.leader = leader
	c.restTimer()
	return true
}

// stepAppend takes in entries that follow a position where the logs agree
// (Raft, section 5.3).
func (c *Core) stepAppend(m *Message) {
	if !c.follow(m.From) {
		return
	}
	last := m.At.Index + uint64(len(m.Entries))
	if last <= c.state.Commit {
		// Old news. A leader has every committed entry, so the logs agree that
		// far; if they did not even agree here, one of them would be no heir.
		end := m.At
		if len(m.Entries) > 0 {
			end = positionOf(&m.Entries[len(m.Entries)-1])
		}
		if agree, err := c.log.matches(end); !c.check(err) || !agree {
			c.diverge(end.Index)
			return
		}
		last = c.state.Commit
	} else {
		agree, err := c.log.matches(m.At)
		if !c.check(err) {
			return
		}
		if !agree {
			c.rejectAppend(m)
			return
		}
		if !c.extend(m.Entries) {
			return
		}
	}
	c.matched = max(c.matched, last)
	c.acknowledge(m, last)
	c.raise(min(m.Commit, last), min(m.Release, last))
}

// extend makes the log contain the entries, which follow an entry that it has.
// It removes what contradicts them, and nothing else: the message may be older
// than others of the same leader.
func (c *Core) extend(entries []protocol.Entry) bool {
	for len(entries) > 0 {
		agree, err := c.log.matches(positionOf(&entries[0]))
		if !c.check(err) {
			return false
		}
		if !agree {
			break
		}
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return true
	}
	first := entries[0].Index
	if first <= c.state.Commit {
		c.diverge(first)
		return false
	}
	return c.check(c.truncate(first)) && c.append(entries...)
}

// diverge stops the core: the leader has another entry at a committed index.
func (c *Core) diverge(index uint64) {
	c.fail(fmt.Errorf("%w: entry %d, commit index %d", ErrDiverged, index, c.state.Commit))
}

// acknowledge promises that everything up to index is durable, as soon as it is.
// Of several such promises to one leader the last says it all.
func (c *Core) acknowledge(m *Message, index uint64) {
	if n := len(c.out.AfterWrite); n > 0 {
		last := &c.out.AfterWrite[n-1]
		if last.Type == AppendReply && last.To == m.From && last.Term == c.state.Term {
			last.Index = max(last.Index, index)
			return
		}
	}
	c.promise(Message{Type: AppendReply, To: m.From, Index: index})
}

// rejectAppend tells the leader where to look for agreement next.
func (c *Core) rejectAppend(m *Message) {
	if m.At.Index <= c.state.Commit {
		c.diverge(m.At.Index)
		return
	}
	hint, err := c.log.agreement(m.At)
	if !c.check(err) {
		return
	}
	c.send(Message{Type: AppendReply, To: m.From, Reject: true, Index: m.At.Index, At: hint})
}

// stepHeartbeat answers at once, also while a write is slow. The answer vouches
// for nothing but the term, and that even if the term is not durable yet: what
// a confirmed read relies on is that no later leader was elected before it, and
// whoever voted for one had that vote durable and would not answer in this term.
func (c *Core) stepHeartbeat(m *Message) {
	if !c.follow(m.From) {
		return
	}
	last := c.log.last()
	if last < m.Index {
		c.fail(fmt.Errorf("%w: entry %d was acknowledged in term %d, the last is %d", ErrRegressed, m.Index, m.Term, last))
		return
	}
	// What was acknowledged in this term agrees with the leader's log.
	c.matched = max(c.matched, m.Index)
	c.raise(min(m.Commit, m.Index), min(m.Release, m.Index))
	c.send(Message{
		Type: HeartbeatReply, To: m.From, Round: m.Round, Index: c.matched,
		Reject: c.matched < m.At.Index, At: c.log.lastPosition(),
	})
}

// raise lifts the watermarks, which never fall. Both are bounded by the caller
// to what is known to agree with the leader's log.
func (c *Core) raise(commit, release uint64) {
	if commit > c.state.Commit {
		c.state.Commit = commit
		c.forgetOldConfigurations()
	}
	c.state.Release = max(c.state.Release, min(release, c.state.Commit))
}
