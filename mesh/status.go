package mesh

import (
	"cmp"
	"fmt"

	"holdfast/protocol"
)

// Status is what a member tells about its memory (rule P1): everything in it is
// durable. It is sent in every hello, on change, and in every message of this
// package, and an attempt to found a lineage pins one status of every member.
type Status struct {
	Member string
	Store  protocol.StoreID
	// Lineage that the store holds; zero when the store is blank.
	Lineage protocol.Lineage
	// Epoch is the highest of the lineage's founding epochs and the bumps in
	// the log, committed or not. Epoch >= Lineage.Epoch.
	Epoch uint64
	// Term is Raft's current term; LastTerm and LastIndex are those of the last
	// entry. LastTerm <= Term. All zero in a blank store that never voted.
	Term, LastTerm, LastIndex uint64
	// Configuration is the latest in the log, committed or not.
	Configuration protocol.Configuration
	// Promise is the highest attempt that this very store promised (rule P3).
	Promise protocol.Attempt
	// Replaced is the lineage that a blank store took the place of when a
	// damaged one was set aside; zero otherwise.
	Replaced protocol.Lineage
	// Counter rises at every persisted change of the fields above, so that no
	// status of one store ever repeats.
	Counter uint64
	// Boot rises at every start of a process on this store.
	Boot uint64
}

// Blank reports whether the store holds no lineage.
func (s *Status) Blank() bool { return s.Lineage.Blank() }

// Voter is the member with its present store.
func (s *Status) Voter() protocol.Voter { return protocol.Voter{Name: s.Member, Store: s.Store} }

// Frozen reports whether the store promised above the epoch at which its
// lineage was founded: it neither votes nor acknowledges there (rule P3). Bumps
// do not thaw it.
func (s *Status) Frozen() bool { return !s.Blank() && s.Promise.Epoch > s.Lineage.Epoch }

// Equal reports whether both are the same status in every field.
func (s *Status) Equal(o *Status) bool {
	return s.Promise == o.Promise && s.Counter == o.Counter && s.Boot == o.Boot && s.sameMemory(o)
}

// sameMemory compares everything but promise, counter and boot: what a promise
// or a restart leaves as it was.
func (s *Status) sameMemory(o *Status) bool {
	return s.Member == o.Member && s.Store == o.Store && s.Lineage == o.Lineage && s.Epoch == o.Epoch &&
		s.Term == o.Term && s.LastTerm == o.LastTerm && s.LastIndex == o.LastIndex &&
		s.Replaced == o.Replaced && s.Configuration.Equal(o.Configuration)
}

// compareLogs orders two logs of one lineage as Raft does: by the term of the
// last entry, then by its index (Raft section 5.4.1).
func (s *Status) compareLogs(o *Status) int {
	return cmp.Or(cmp.Compare(s.LastTerm, o.LastTerm), cmp.Compare(s.LastIndex, o.LastIndex))
}

// check returns an error for a status that no store can have.
func (s *Status) check() error {
	switch {
	case s.Member == "" || s.Store == 0:
		return fmt.Errorf("check status: member %q with store %s has no identity", s.Member, s.Store)
	case s.Epoch < s.Lineage.Epoch:
		return fmt.Errorf("check status of %s: epoch %d is below that of its lineage %s", s.Member, s.Epoch, s.Lineage)
	case s.LastTerm > s.Term:
		return fmt.Errorf("check status of %s: last entry has term %d above the current term %d", s.Member, s.LastTerm, s.Term)
	case s.Blank() != (s.LastIndex == 0):
		return fmt.Errorf("check status of %s: lineage %s with last index %d", s.Member, s.Lineage, s.LastIndex)
	}
	return nil
}

// Marks tells which (lineage, term) an index of a log has.
type Marks interface {
	// Mark returns the run that holds index. Index 0 is in every log with the
	// zero Mark; false above the last index.
	Mark(index uint64) (protocol.Mark, bool)
}

// contains reports whether the log behind marks begins with the whole log that
// s tells of. The last entry decides: an entry's (lineage, term, index) names
// it and all before it.
func contains(marks Marks, s *Status) bool {
	if s.LastIndex == 0 {
		return true
	}
	if marks == nil {
		return false
	}
	mark, ok := marks.Mark(s.LastIndex)
	return ok && mark.Term == s.LastTerm && mark.Lineage == s.Lineage
}
