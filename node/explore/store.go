package explore

import (
	"fmt"
	"slices"

	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

// store is what one member remembers durably: a store file reduced to what the
// protocols read and write. It is the replication.Log of the replica over it.
type store struct {
	identity protocol.Identity
	boot     uint64
	hard     protocol.HardState
	promise  protocol.Attempt
	granted  []protocol.Attempt
	replaced protocol.Lineage
	// entries are all that the log ever had, index 1 first. Those up to horizon are
	// gone: nobody can read them. What they said is in the checkpoint, which here is
	// the entries themselves, for the judge.
	entries []protocol.Entry
	// horizon <= checkpoint.Index <= hard.Release.
	horizon    uint64
	checkpoint *protocol.Checkpoint // the newest; nil: there is none
	discarded  bool                 // an operator gave it up
	rolled     bool                 // an older state of it was put back
}

var _ replication.Log = (*store)(nil)

func (s *store) First() uint64 { return s.horizon + 1 }
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
	if lo < s.First() {
		return nil, fmt.Errorf("entry %d is gone, the first is %d", lo, s.First())
	}
	return slices.Clone(s.entries[lo-1 : hi-1]), nil
}

// commit performs one write.
func (s *store) commit(w *protocol.Write) {
	if len(w.Entries) > 0 {
		if first := w.Entries[0].Index; first <= s.applied() {
			panic(fmt.Sprintf("entry %d takes the place of one that the checkpoint at %d contains", first, s.applied()))
		}
		s.entries = append(slices.Clone(s.entries[:w.Entries[0].Index-1]), w.Entries...)
	}
	if w.HardState != nil {
		s.hard = *w.HardState
	}
	if c := w.Checkpoint; c != nil {
		s.checkpoint, s.horizon = c, c.Horizon
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

// applied is the index of the checkpoint.
func (s *store) applied() uint64 {
	if s.checkpoint == nil {
		return 0
	}
	return s.checkpoint.Index
}

// state is what a replica is told of the store when it starts.
func (s *store) state() replica.State {
	state := replica.State{
		Identity: s.identity, Boot: s.boot, HardState: s.hard, Promise: s.promise, Granted: s.granted,
		Replaced: s.replaced, Landmarks: s.landmarks(),
	}
	if c := s.checkpoint; c != nil {
		state.Applied, state.Configuration, state.Epoch, state.Foundings = c.Index, c.Configuration, c.Epoch, c.Foundings
	}
	return state
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

// landmarks are the entries above the checkpoint of which a replica is told.
func (s *store) landmarks() (list []protocol.Entry) {
	for i := s.applied(); i < s.Last(); i++ {
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
