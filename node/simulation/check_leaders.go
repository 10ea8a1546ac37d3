package simulation

import (
	"holdfast/protocol"
	"holdfast/replication"
)

type leaderKey struct {
	lineage protocol.Lineage
	term    uint64
}

// oneLeader: a lineage has at most one leader in a term.
func (c *checks) oneLeader(p *process) {
	status, holding := p.member.Raft()
	if !holding || status.Role != replication.Leader {
		return
	}
	identity := p.member.Identity()
	k := leaderKey{identity.Lineage, status.Term}
	if store, known := c.leaders[k]; known && store != identity.Store {
		c.world.fail("two leaders: %s and %s lead lineage %s in term %d", store, identity.Store, k.lineage, k.term)
	}
	if _, known := c.leaders[k]; !known {
		c.leaders[k] = identity.Store
		c.world.spring(uponLeading, p.host)
	}
}
