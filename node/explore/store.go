package explore

import (
	"slices"

	"holdfast/protocol"
	"holdfast/replication"
)

// store is what one member remembers durably: a store file reduced to what the
// protocols read and write. It is the replication.Log of the replica over it.
type store struct {
	identity  protocol.Identity
	boot      uint64
	hard      protocol.HardState
	promise   protocol.Attempt
	granted   []protocol.Attempt
	replaced  protocol.Lineage
	entries   []protocol.Entry // index 1 first; nothing is ever compacted
	discarded bool             // an operator gave it up
	rolled    bool             // an older state of it was put back
}

var _ replication.Log = (*store)(nil)

func (s *store) First() uint64 { return 1 }
func (s *store) Last() uint64  { return uint64(len(s.entries)) }

func (s *store) Mark(index uint64) (protocol.Mark, bool) {
	switch {
	case index == 0:
		return protocol.Mark{}, true
	case index > s.Last():
		return protocol.Mark{}, false
	}
	// A run of one entry: the core asks for terms, not for where runs begin.
	e := &s.entries[index-1]
	return protocol.Mark{Index: index, Term: e.Term, Lineage: e.Lineage}, true
}

func (s *store) Entries(lo, hi uint64, _ int) ([]protocol.Entry, error) {
	return slices.Clone(s.entries[lo-1 : hi-1]), nil
}

// commit performs one write.
func (s *store) commit(w *protocol.Write) {
	if len(w.Entries) > 0 {
		s.entries = append(slices.Clone(s.entries[:w.Entries[0].Index-1]), w.Entries...)
	}
	if w.HardState != nil {
		s.hard = *w.HardState
	}
	if w.Promise != nil {
		s.promise = *w.Promise
		s.granted = append(slices.Clip(s.granted), *w.Promise)
	}
	if w.Identity != nil {
		// A founder is a fresh store: it has granted nothing (rule P4).
		s.identity, s.granted, s.replaced, s.rolled = *w.Identity, nil, protocol.Lineage{}, false
	}
}

// holds reports whether the log has exactly this entry.
func (s *store) holds(e *protocol.Entry) bool {
	if e.Index > s.Last() {
		return false
	}
	own := &s.entries[e.Index-1]
	return own.Term == e.Term && own.Lineage == e.Lineage && own.Kind == e.Kind
}

func (s *store) frozen() bool {
	return !s.identity.Lineage.Blank() && s.promise.Epoch > s.identity.Lineage.Epoch
}

// configuration is the latest in the log.
func (s *store) configuration() protocol.Configuration {
	for i := len(s.entries) - 1; i >= 0; i-- {
		switch e := &s.entries[i]; e.Kind {
		case protocol.KindConfig:
			c, _ := protocol.DecodeConfiguration(e.Data)
			return c
		case protocol.KindFound:
			f, _ := protocol.DecodeFounding(e.Data, e.Index)
			return protocol.NewConfiguration(f.Voter)
		}
	}
	return protocol.Configuration{}
}

// foundings lists the FOUND entries, oldest first, and the epoch of the log.
func (s *store) foundings() (list []protocol.Founding, epoch uint64) {
	for i := range s.entries {
		switch e := &s.entries[i]; e.Kind {
		case protocol.KindFound:
			f, _ := protocol.DecodeFounding(e.Data, e.Index)
			list = append(list, f)
			epoch = max(epoch, f.Attempt.Epoch)
		case protocol.KindBump:
			bumped, _ := protocol.DecodeEpoch(e.Data)
			epoch = max(epoch, bumped)
		}
	}
	return list, epoch
}

// landmarks are the entries that a replica is told of when it starts.
func (s *store) landmarks() (list []protocol.Entry) {
	for i := range s.entries {
		if kind := s.entries[i].Kind; kind != protocol.KindBatch && kind != protocol.KindNoop {
			list = append(list, s.entries[i])
		}
	}
	return list
}

func (s *store) last() (index, term uint64) {
	if len(s.entries) == 0 {
		return 0, 0
	}
	e := &s.entries[len(s.entries)-1]
	return e.Index, e.Term
}
