package simulation

import "holdfast/protocol"

type digestKey struct {
	lineage protocol.Lineage
	index   uint64
}

type digest struct {
	sum  uint64
	host string
}

// sampled is at which of the log's indices states are compared.
const sampled = 8

// sameState: members that applied the log of one lineage up to the same index
// have the same state.
func (c *checks) sameState(p *process) {
	m := p.member.Machine()
	if index := m.Applied(); index > 0 && index%sampled == 0 {
		c.compare(p, digestKey{p.member.Identity().Lineage, index})
	}
}

func (c *checks) compare(p *process, k digestKey) {
	name := p.host.name
	known, ok := c.digests[k]
	if ok && known.host == name {
		return
	}
	sum := p.member.Machine().Digest()
	if ok && known.sum != sum {
		c.world.fail("states differ: %s and %s applied lineage %s up to %d", known.host, name, k.lineage, k.index)
	}
	if !ok {
		c.world.trace.count(c.world.now, k.index, sum)
		c.digests[k] = digest{sum, name}
	}
}
