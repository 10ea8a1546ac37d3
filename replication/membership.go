package replication

import (
	"cmp"
	"fmt"
	"slices"

	"holdfast/protocol"
)

// newest returns the configuration that counts: the last in the log.
func (c *Core) newest() *ConfigurationAt { return &c.configurations[len(c.configurations)-1] }

// append adds entries to the log. A configuration among them counts from now on.
func (c *Core) append(entries ...protocol.Entry) bool {
	c.log.append(entries...)
	for i := range entries {
		configuration, ok, err := configurationOf(&entries[i])
		if !c.check(err) {
			return false
		}
		if ok {
			c.configurations = append(c.configurations, ConfigurationAt{entries[i].Index, configuration})
		}
	}
	return true
}

// configurationOf returns the configuration that an entry sets, if any. The
// first voter of a lineage is its founder.
func configurationOf(e *protocol.Entry) (protocol.Configuration, bool, error) {
	switch e.Kind {
	case protocol.KindConfig:
		configuration, err := protocol.DecodeConfiguration(e.Data)
		if err == nil && len(configuration.Voters) == 0 {
			err = fmt.Errorf("no voter: %w", protocol.ErrMalformed)
		}
		if err != nil {
			return protocol.Configuration{}, false, fmt.Errorf("read entry %d: %w", e.Index, err)
		}
		return configuration, true, nil
	case protocol.KindFound:
		founding, err := protocol.DecodeFounding(e.Data, e.Index)
		if err != nil {
			return protocol.Configuration{}, false, fmt.Errorf("read entry %d: %w", e.Index, err)
		}
		return protocol.NewConfiguration(founding.Voter), true, nil
	}
	return protocol.Configuration{}, false, nil
}

// truncate removes every entry from index on, and with them configurations
// that never were committed.
func (c *Core) truncate(index uint64) error {
	keep := len(c.configurations)
	for keep > 1 && c.configurations[keep-1].Index >= index {
		keep--
	}
	c.configurations = c.configurations[:keep]
	return c.log.truncate(index)
}

// forgetOldConfigurations lets go of those before the one in force at commit.
func (c *Core) forgetOldConfigurations() {
	old := 0
	for old+1 < len(c.configurations) && c.configurations[old+1].Index <= c.state.Commit {
		old++
	}
	c.configurations = slices.Delete(c.configurations, 0, old)
}

// ProposeConfiguration appends a membership change, which counts from then on.
// It adds or removes exactly one voter; a store that lost its memory is
// replaced in two changes, the removal first (rule P2). Changes come one at a
// time, and the first only after the leader has committed an entry of its own
// term: before, majorities of the old and the new configuration need not meet.
func (c *Core) ProposeConfiguration(proposed protocol.Configuration) error {
	if err := c.mayPropose(); err != nil {
		return err
	}
	proposed = protocol.NewConfiguration(proposed.Voters...)
	switch {
	case !c.ready():
		return ErrNotReady
	case c.newest().Index > c.state.Commit:
		return ErrPending
	case !c.off.singleChange && !singleChange(c.newest().Configuration, proposed):
		return fmt.Errorf("%w: from %s to %s", ErrNotSingle, c.newest().Configuration, proposed)
	}
	c.propose(protocol.KindConfig, protocol.AppendConfiguration(nil, proposed))
	c.updatePeers()
	c.advance()
	return nil
}

// singleChange reports whether to is from with one voter more or one less, and
// neither is empty nor names a member twice.
func singleChange(from, to protocol.Configuration) bool {
	for i := 1; i < len(to.Voters); i++ {
		if to.Voters[i-1].Name == to.Voters[i].Name {
			return false
		}
	}
	larger, smaller := to, from
	if len(from.Voters) > len(to.Voters) {
		larger, smaller = from, to
	}
	return len(to.Voters) > 0 && len(larger.Voters) == len(smaller.Voters)+1 &&
		count(larger, smaller.Voters) == len(smaller.Voters)
}

// updatePeers makes the peers those of the newest configuration. A learner that
// became a voter keeps its progress.
func (c *Core) updatePeers() {
	configuration := c.newest().Configuration
	c.lead.peers = slices.DeleteFunc(c.lead.peers, func(p *peer) bool {
		return !p.learner && !configuration.Contains(p.voter)
	})
	for _, v := range configuration.Voters {
		if v != c.self {
			c.addPeer(v).learner = false
		}
	}
}

// addPeer returns the peer of v, a new one if need be, to be probed from the
// end of the log.
func (c *Core) addPeer(v protocol.Voter) *peer {
	at, found := slices.BinarySearchFunc(c.lead.peers, v, func(p *peer, v protocol.Voter) int {
		return cmp.Or(cmp.Compare(p.voter.Name, v.Name), cmp.Compare(p.voter.Store, v.Store))
	})
	if !found {
		p := &peer{voter: v, learner: true}
		p.probe(c.log.last() + 1)
		c.lead.peers = slices.Insert(c.lead.peers, at, p)
	}
	return c.lead.peers[at]
}

// peer returns the peer with exactly this name and store, or nil.
func (c *Core) peer(v protocol.Voter) *peer {
	for _, p := range c.lead.peers {
		if p.voter == v {
			return p
		}
	}
	return nil
}

// AddLearner makes a leader feed a store that is not a voter, until leadership
// is lost or the learner is removed. It counts nowhere. A voter stays a voter.
func (c *Core) AddLearner(v protocol.Voter) {
	if c.role == Leader && v != c.self {
		c.addPeer(v)
	}
}

// RemoveLearner undoes AddLearner. It does nothing to a voter.
func (c *Core) RemoveLearner(v protocol.Voter) {
	if c.role == Leader {
		c.lead.peers = slices.DeleteFunc(c.lead.peers, func(p *peer) bool { return p.learner && p.voter == v })
	}
}

// PeerUp tells a leader that a store is connected, perhaps anew: whatever was
// on its way is lost.
func (c *Core) PeerUp(v protocol.Voter) {
	if c.role != Leader {
		return
	}
	if p := c.peer(v); p != nil {
		next := p.match + 1
		if p.match == 0 || p.mode == modeCopy || !c.log.available(next) {
			next = c.log.last() + 1 // the answer tells where its log ends: it may have got a copy since
		}
		p.down = false
		p.probe(next)
	}
}

// leaveIfRemoved gives up leadership once the configuration that lacks this
// store is committed. The others hear of that first, so that they need not find
// out in an election.
func (c *Core) leaveIfRemoved() {
	newest := c.newest()
	if newest.Index > c.state.Commit || newest.Configuration.Contains(c.self) {
		return
	}
	for _, p := range c.lead.peers {
		c.heartbeat(p)
	}
	c.becomeFollower(c.state.Term, protocol.Voter{})
}

// Progress returns what a leader knows of the others, by name and store; nil
// from any other role.
func (c *Core) Progress() []Progress {
	if c.role != Leader {
		return nil
	}
	all := make([]Progress, len(c.lead.peers))
	for i, p := range c.lead.peers {
		all[i] = Progress{
			Voter: p.voter, Learner: p.learner, Match: p.match, Next: p.next,
			Active: c.active(p), Silent: c.now - max(p.heard, c.lead.since), NeedsCopy: p.mode == modeCopy, Replicating: p.mode == modeReplicate,
		}
	}
	return all
}
