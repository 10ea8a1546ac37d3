package simulation

import (
	"hash/crc32"

	"holdfast/protocol"
)

type entryKey struct {
	lineage protocol.Lineage
	index   uint64
}

type entryRecord struct {
	term  uint64
	kind  protocol.Kind
	sum   uint32
	first string // who applied it first
}

// sameEntry: whatever is applied at one index of a lineage's log is the same
// entry, on every member and in every life.
func (c *checks) sameEntry(p *process, e *protocol.Entry) {
	k := entryKey{e.Lineage, e.Index}
	is := entryRecord{e.Term, e.Kind, crc32.Checksum(e.Data, castagnoli), p.host.name}
	was, known := c.entries[k]
	if !known {
		c.entries[k] = is
		return
	}
	if was.term != is.term || was.kind != is.kind || was.sum != is.sum {
		c.world.fail("entries differ: %s applied entry %d of lineage %s with term %d, and %s another one with term %d",
			was.first, e.Index, e.Lineage, was.term, p.host.name, e.Term)
	}
}

// forgetEntries is for foundings of disasters: what only lost stores had applied,
// as a sole voter its no-op, may be another entry in the founder's log.
func (c *checks) forgetEntries(founder *memory, kept map[*host]*memory) {
	for k, is := range c.entries { // the order does not show
		if founder.has(k, is) {
			continue
		}
		left := false
		for _, other := range kept {
			left = left || other.has(k, is)
		}
		if !left {
			delete(c.entries, k)
		}
	}
}

// has tells whether a log has an entry.
func (m *memory) has(k entryKey, is entryRecord) bool {
	mark, ok := m.mark(k.index)
	return ok && mark.Term == is.term && mark.Lineage == k.lineage
}
