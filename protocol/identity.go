package protocol

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// StoreID names one store: the memory of one node from the creation of its
// file until that memory is lost, damaged or replaced. It is drawn at random
// and never used again. Zero means "no store".
type StoreID uint64

// String prints the ID as it appears in logs, file names and commands.
func (id StoreID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseStoreID reads what String printed.
func ParseStoreID(text string) (StoreID, error) {
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 {
		return 0, fmt.Errorf("store %q: want the 16 hexadecimal digits that the status shows", text)
	}
	return StoreID(id), nil
}

// Voter is a member together with the store that it votes with. A node that
// lost its memory has a new store and is therefore another voter, which can
// neither vote nor acknowledge in the place of the old one (KIP-853 calls the
// same pair a replica key).
type Voter struct {
	Name  string
	Store StoreID
}

// String prints name/store.
func (v Voter) String() string { return v.Name + "/" + v.Store.String() }

// Configuration is the set of voters of a lineage, ordered by name; a name
// occurs at most once. It changes by one voter at a time (Ongaro's thesis,
// section 4.1).
type Configuration struct {
	Voters []Voter
}

// NewConfiguration returns the configuration of the given voters.
func NewConfiguration(voters ...Voter) Configuration {
	sorted := slices.Clone(voters)
	slices.SortFunc(sorted, func(a, b Voter) int { return strings.Compare(a.Name, b.Name) })
	return Configuration{Voters: sorted}
}

// Contains reports whether exactly this name with exactly this store votes.
func (c Configuration) Contains(v Voter) bool { return slices.Contains(c.Voters, v) }

// Store returns the store that votes for name, or false when name has no vote.
func (c Configuration) Store(name string) (StoreID, bool) {
	for _, v := range c.Voters {
		if v.Name == name {
			return v.Store, true
		}
	}
	return 0, false
}

// With returns a copy that has v, in the place of any other store of its name.
func (c Configuration) With(v Voter) Configuration {
	return NewConfiguration(append(c.Without(v.Name).Voters, v)...)
}

// Without returns a copy that has no voter of that name.
func (c Configuration) Without(name string) Configuration {
	kept := make([]Voter, 0, len(c.Voters)+1)
	for _, v := range c.Voters {
		if v.Name != name {
			kept = append(kept, v)
		}
	}
	return Configuration{Voters: kept}
}

// Equal reports whether both have the same voters.
func (c Configuration) Equal(other Configuration) bool { return slices.Equal(c.Voters, other.Voters) }

// Majority is the number of voters that decides: more than half.
func (c Configuration) Majority() int { return len(c.Voters)/2 + 1 }

// String prints {name/store name/store}.
func (c Configuration) String() string {
	words := make([]string, len(c.Voters))
	for i, v := range c.Voters {
		words[i] = v.String()
	}
	return "{" + strings.Join(words, " ") + "}"
}

// AttemptID names one attempt to found a lineage; drawn at random. The lineage
// that the attempt founds bears the same number.
type AttemptID uint64

// String prints the ID in hexadecimal.
func (id AttemptID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Attempt is what a promise names: the epoch that the attempt would found, and
// which attempt it is. The zero Attempt is "no promise".
type Attempt struct {
	Epoch uint64
	ID    AttemptID
}

// Lineage is one history of the cluster: the epoch at which it was founded and
// the attempt that founded it. The zero Lineage is that of a blank store.
type Lineage struct {
	Epoch uint64
	ID    AttemptID
}

// Blank reports whether this is no lineage at all.
func (l Lineage) Blank() bool { return l == Lineage{} }

// String prints epoch/id, or "blank".
func (l Lineage) String() string {
	if l.Blank() {
		return "blank"
	}
	return fmt.Sprintf("%d/%s", l.Epoch, l.ID)
}

// Founding records that a log contains a FOUND entry. A log lists every
// founding on its way, oldest first, because the right to leave a lineage
// depends on them (rule P4).
type Founding struct {
	Attempt Attempt
	Index   uint64 // log index of the FOUND entry
	Voter   Voter  // the founder, as the new lineage knows it
	Loss    Loss
}

// Loss is what a founding may have cost. It is for people; no rule looks at it.
// Each field has names of members, joined by commas.
type Loss struct {
	// Held: acknowledged writes that only these held are not in the lineage.
	Held string
	// SetAside: nobody had a memory, and the stores of these were set aside.
	SetAside string
	// Absent were named absent by an operator and not asked.
	Absent string
}
