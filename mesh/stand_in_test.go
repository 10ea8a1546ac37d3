package mesh

import (
	"slices"

	"holdfast/protocol"
)

// The stand-in for the replication core: Raft with one exchange between two
// stores as one atomic step.

// elect lets a candidate ask the voters that it can reach, or only those named,
// and reports whether it won.
func (c *cluster) elect(candidate string, voters ...string) bool {
	n := c.nodes[candidate]
	if len(voters) == 0 {
		voters = c.names
	}
	if !n.up || n.store.lineage.Blank() || c.stuck(n.store) || !n.store.config().Contains(n.voter()) {
		return false
	}
	own := n.store.status(candidate)
	term := n.store.term + 1
	var willing []*node
	config := n.store.config()
	count := 0
	for _, name := range c.names {
		v := c.nodes[name]
		if name != candidate && !slices.Contains(voters, name) || !c.reach(candidate, name) {
			continue
		}
		s := v.store.status(name)
		if s.Lineage != own.Lineage || c.stuck(v.store) || own.compareLogs(&s) < 0 {
			continue
		}
		term = max(term, s.Term+1)
		willing = append(willing, v)
		if config.Contains(v.voter()) {
			count++
		}
	}
	if count < config.Majority() {
		return false
	}
	for _, v := range willing {
		v.leader, v.ready, v.contact, v.following = false, false, false, ""
		v.store.term = term
		v.store.counter++
	}
	n.leader, n.contact, n.following = true, true, candidate
	n.match = map[protocol.Voter]uint64{n.voter(): uint64(len(n.store.log))}
	c.tell("%s leads lineage %s in term %d", candidate, n.store.lineage, term)
	c.judge.elected(n)
	for _, v := range willing {
		c.changed(v)
	}
	return c.append(candidate, record{}) && c.commit(n)
}

// stuck is the promise's effect on a log: the store neither votes nor accepts.
func (c *cluster) stuck(s *store) bool { return s.frozen() && !c.weak.bumpThaws }

// append puts an entry into a leader's own log.
func (c *cluster) append(leader string, r record) bool {
	n := c.nodes[leader]
	if !n.up || !n.leader {
		return false
	}
	r.term, r.lineage = n.store.term, n.store.lineage
	n.store.log = append(slices.Clip(n.store.log), r)
	n.store.counter++
	n.match[n.voter()] = uint64(len(n.store.log))
	c.changed(n)
	return true
}

func (c *cluster) appendConfig(leader string, config protocol.Configuration) bool {
	return c.append(leader, record{config: &config})
}

// replicate brings one store up to the leader's log and reports whether it
// acknowledged.
func (c *cluster) replicate(leader, to string) bool {
	n, v := c.nodes[leader], c.nodes[to]
	if !n.up || !n.leader || n == v || !c.reach(leader, to) || v.store.lineage != n.store.lineage || v.store.term > n.store.term {
		return false
	}
	if v.store.frozen() && !(c.weak.bumpThaws && n.store.epoch() > v.store.promise.Epoch) {
		return false
	}
	if !slices.EqualFunc(v.store.log, n.store.log, record.same) || v.store.term != n.store.term {
		v.store.log = slices.Clone(n.store.log)
		v.store.term = n.store.term
		v.store.counter++
	}
	v.leader, v.ready, v.contact, v.following = false, false, false, leader
	n.match[v.voter()] = uint64(len(n.store.log))
	c.changed(v)
	c.commit(n)
	return true
}

// commit moves the leader's commit index and acknowledges what it may. It
// returns true, for the convenience of its callers.
func (c *cluster) commit(n *node) bool {
	config := n.store.config()
	for index := uint64(len(n.store.log)); index > n.commit; index-- {
		stored := 0
		for _, v := range config.Voters {
			if n.match[v] >= index {
				stored++
			}
		}
		if stored < config.Majority() || n.store.log[index-1].term != n.store.term {
			continue
		}
		n.commit, n.ready = index, true
		c.judge.committed(n)
		break
	}
	for index := uint64(1); index <= n.commit; index++ {
		stored := 0
		for _, v := range config.Voters {
			if n.match[v] >= index {
				stored++
			}
		}
		if write := n.store.log[index-1].write; write != "" && (stored > len(c.names)/2 || c.weak.acknowledgeWithoutMembers) {
			c.judge.acknowledged(n, write)
		}
	}
	c.changed(n)
	return true
}

func (c *cluster) changePending(n *node) bool {
	for index := uint64(len(n.store.log)); index > n.commit; index-- {
		if r := n.store.log[index-1]; r.config != nil || r.found != nil {
			return true
		}
	}
	return false
}

// serve carries out what the core of a leader asks for, at most one change.
func (c *cluster) serve(name string) bool {
	n := c.nodes[name]
	remove, add, bump := n.remove, n.add, n.bump
	n.remove, n.add, n.bump = nil, nil, 0
	switch {
	case !n.up || !n.leader || !n.ready:
		return false
	case bump != 0:
		return c.append(name, record{epoch: bump})
	case c.changePending(n):
		return false
	case remove != nil && n.store.config().Contains(*remove):
		return c.appendConfig(name, n.store.config().Without(remove.Name))
	case add != nil:
		return c.appendConfig(name, n.store.config().With(*add))
	}
	return false
}

// round is one step of a leader towards everyone it can reach.
func (c *cluster) round(name string) {
	n := c.nodes[name]
	c.serve(name)
	if !n.leader {
		return
	}
	heard := 0
	for _, other := range c.names {
		member := other == name && n.store.config().Contains(n.voter())
		if other != name && n.leader && c.follows(n, other) && c.replicate(name, other) {
			member = n.store.config().Contains(c.nodes[other].voter())
		}
		if member {
			heard++
		}
	}
	if !n.leader {
		return
	}
	n.contact = heard >= n.store.config().Majority()
	if !n.contact { // check-quorum
		n.leader, n.ready, n.following = false, false, ""
	}
	c.commit(n)
}

// follows reports whether a leader replicates to the member's present store.
func (c *cluster) follows(n *node, name string) bool {
	v := c.nodes[name].voter()
	return n.store.config().Contains(v) || slices.Contains(n.learners, v)
}

// orphans forgets leaders that are not heard any more.
func (c *cluster) orphans() {
	for _, name := range c.names {
		n := c.nodes[name]
		if !n.up || n.leader || n.following == "" {
			continue
		}
		l := c.nodes[n.following]
		if !c.reach(name, n.following) || !l.leader || l.store.lineage != n.store.lineage || c.stuck(n.store) || !c.follows(l, name) {
			n.following = ""
			c.changed(n)
		}
	}
}
