package simulation

import (
	"slices"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/wal"
)

// memory is what a store has of its past, as the disk would show it.
type memory struct {
	meta  wal.Meta
	last  uint64
	marks []protocol.Mark // descending
}

// memoryOf reads the memory of a store, which may be closed.
func memoryOf(s *wal.Store) *memory {
	m := &memory{meta: s.Meta(), last: s.Last()}
	for index := m.last; index > 0; {
		mark, ok := s.Mark(index)
		if !ok {
			break
		}
		m.marks = append(m.marks, mark)
		index = mark.Index - 1
	}
	return m
}

// mark is the run of entries that holds an index.
func (m *memory) mark(index uint64) (protocol.Mark, bool) {
	if index > m.last {
		return protocol.Mark{}, false
	}
	for _, mark := range m.marks {
		if mark.Index <= index {
			return mark, true
		}
	}
	return protocol.Mark{}, false
}

// holds tells whether a log has the entry of a message.
func (m *memory) holds(stored *message) bool {
	mark, ok := m.mark(stored.index)
	return ok && mark.Term == stored.term && mark.Lineage == stored.lineage
}

// equal tells whether two memories are of the same store at the same moment; what
// each start changes is left out.
func (m *memory) equal(other *memory) bool {
	a, b := m.meta, other.meta
	return a.Identity == b.Identity && a.HardState == b.HardState && a.Promise == b.Promise &&
		a.Horizon == b.Horizon && a.CheckpointIndex == b.CheckpointIndex && m.last == other.last && slices.Equal(m.marks, other.marks)
}

// trace is what others could have heard of the memory.
func (m *memory) trace() mesh.Trace {
	s := mesh.Status{Store: m.meta.Identity.Store, Boot: m.meta.Boot, Promise: m.meta.Promise, Term: m.meta.HardState.Term, LastIndex: m.last}
	if mark, ok := m.mark(m.last); ok {
		s.LastTerm = mark.Term
	}
	return s.Trace()
}

// store is the ID of the store; zero without one.
func (m *memory) store() protocol.StoreID {
	if m == nil {
		return 0
	}
	return m.meta.Identity.Store
}
