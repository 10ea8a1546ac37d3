package simulation

import "holdfast/protocol"

type digestKey struct {
	lineage protocol.Lineage
	index   uint64
}

type digest struct {
	sum   uint64
	first string
	hosts map[string]bool // that have it
}

// sampled tells at which of the log's indices states are compared: often in a
// short log, and more seldom in a long one, which costs more to compare.
func sampled(index uint64) bool {
	if index < 256 {
		return index%8 == 0
	}
	return index%64 == 0
}

// sameState: members that applied the log of one lineage up to the same index
// have the same state.
func (c *checks) sameState(p *process) {
	if index := p.member.Machine().Applied(); index > 0 && sampled(index) {
		c.compare(p, digestKey{p.member.Identity().Lineage, index})
	}
}

func (c *checks) compare(p *process, k digestKey) {
	name := p.host.name
	known, ok := c.digests[k]
	if ok && known.hosts[name] {
		return
	}
	sum := p.member.Machine().Digest()
	if ok && known.sum != sum {
		c.world.fail("states differ: %s and %s applied lineage %s up to %d", known.first, name, k.lineage, k.index)
	}
	if !ok {
		c.world.trace.count(c.world.now, k.index, sum)
		known = digest{sum, name, map[string]bool{}}
		c.digests[k] = known
	}
	known.hosts[name] = true
}
