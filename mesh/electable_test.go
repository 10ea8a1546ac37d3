package mesh

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdfast/protocol"
)

// randomView draws statuses from few values, so that they often meet.
func randomView(random *rand.Rand, members int) []*Status {
	lineages := []protocol.Lineage{{}, {Epoch: 1, ID: 1}, {Epoch: 2, ID: 2}, {Epoch: 2, ID: 3}}
	var view []*Status
	for i := range members {
		s := &Status{Member: string(rune('a' + i)), Store: protocol.StoreID(10*i + 1 + random.IntN(2)), Lineage: lineages[random.IntN(4)]}
		s.Epoch, s.Promise.Epoch = s.Lineage.Epoch, uint64(random.IntN(4))
		if !s.Blank() {
			s.LastTerm, s.LastIndex = uint64(1+random.IntN(2)), uint64(1+random.IntN(2))
			var voters []protocol.Voter
			for j := range members {
				if random.IntN(4) > 0 {
					voters = append(voters, protocol.Voter{Name: string(rune('a' + j)), Store: protocol.StoreID(10*j + 1 + random.IntN(2))})
				}
			}
			s.Configuration = protocol.NewConfiguration(voters...)
		}
		view = append(view, s)
	}
	return view
}

// TestElectableAgainstItsTwin compares with a search over all sets of voters.
func TestElectableAgainstItsTwin(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	won, lost := 0, 0
	for range 30000 {
		view := randomView(random, 1+random.IntN(5))
		winner, twin := electable(view, switches{}), winnersByTrying(view)
		if (winner != nil) != (len(twin) > 0) {
			var lines string
			for _, s := range view {
				lines += fmt.Sprintf("%+v\n", *s)
			}
			t.Fatalf("electable says %v, its twin %v:\n%s", winner, twin, lines)
		}
		if winner != nil {
			won++
		} else {
			lost++
		}
	}
	if won < 1000 || lost < 1000 {
		t.Errorf("the views are one-sided: %d with a winner, %d without", won, lost)
	}
}

// TestElectable names the cases that the rule is about.
func TestElectable(t *testing.T) {
	l1, l2 := protocol.Lineage{Epoch: 1, ID: 1}, protocol.Lineage{Epoch: 2, ID: 2}
	voter := func(name string, store protocol.StoreID) protocol.Voter {
		return protocol.Voter{Name: name, Store: store}
	}
	three := protocol.NewConfiguration(voter("a", 1), voter("b", 1), voter("c", 1))
	two := protocol.NewConfiguration(voter("a", 1), voter("b", 2))
	holder := func(name string, store protocol.StoreID, l protocol.Lineage, index uint64, c protocol.Configuration) *Status {
		return &Status{Member: name, Store: store, Lineage: l, Epoch: l.Epoch, Term: 1, LastTerm: 1, LastIndex: index, Configuration: c}
	}
	blank := func(name string) *Status { return &Status{Member: name, Store: 9} }
	frozen := func(s *Status) *Status { s.Promise.Epoch = s.Lineage.Epoch + 1; return s }
	bumped := func(s *Status) *Status { s.Epoch = 7; return s }
	for _, test := range []struct {
		name   string
		view   []*Status
		winner string
	}{
		{"all blank", []*Status{blank("a"), blank("b"), blank("c")}, ""},
		{"two of three", []*Status{holder("a", 1, l1, 2, three), holder("b", 1, l1, 2, three), blank("c")}, "a"},
		{"the longer log", []*Status{holder("a", 1, l1, 2, three), holder("b", 1, l1, 3, three), blank("c")}, "b"},
		{"one of three", []*Status{holder("a", 1, l1, 2, three), blank("b"), blank("c")}, ""},
		{"a store with another ID has no vote", []*Status{holder("a", 1, l1, 2, three), holder("b", 2, l1, 2, three), blank("c")}, ""},
		{"and does not stand", []*Status{blank("a"), holder("b", 2, l1, 9, three), holder("c", 1, l1, 2, three)}, ""},
		{"a frozen voter", []*Status{holder("a", 1, l1, 2, three), frozen(holder("b", 1, l1, 2, three)), blank("c")}, ""},
		{"a bump does not thaw", []*Status{holder("a", 1, l1, 2, three), bumped(frozen(holder("b", 1, l1, 2, three))), blank("c")}, ""},
		{"a voter of another lineage", []*Status{holder("a", 1, l1, 2, three), holder("b", 1, l2, 2, three), blank("c")}, ""},
		{"each by its own configuration", []*Status{holder("a", 1, l1, 4, two), holder("b", 2, l1, 2, three), blank("c")}, "a"},
	} {
		name := ""
		if winner := electable(test.view, switches{}); winner != nil {
			name = winner.Member
		}
		if name != test.winner {
			t.Errorf("%s: %q can win, want %q", test.name, name, test.winner)
		}
	}
}

func TestRankOfSurvivors(t *testing.T) {
	status := func(name string, founded, epoch, term, index uint64) *Status {
		return &Status{Member: name, Lineage: protocol.Lineage{Epoch: founded, ID: 1}, Epoch: epoch, LastTerm: term, LastIndex: index}
	}
	for _, test := range []struct {
		name string
		view []*Status
		best string
	}{
		{"founding epoch first", []*Status{status("a", 1, 1, 9, 9), status("b", 2, 2, 1, 1)}, "b"},
		{"bumps do not rank", []*Status{status("a", 1, 9, 1, 3), status("b", 1, 1, 2, 3)}, "b"},
		{"then the last term", []*Status{status("a", 1, 1, 1, 9), status("b", 1, 1, 2, 3)}, "b"},
		{"then the last index", []*Status{status("a", 1, 1, 1, 3), status("b", 1, 1, 1, 4)}, "b"},
		{"then the name", []*Status{status("b", 1, 1, 1, 3), status("a", 1, 1, 1, 3)}, "a"},
	} {
		if got := best(test.view, switches{}).Member; got != test.best {
			t.Errorf("%s: %s, want %s", test.name, got, test.best)
		}
	}
}
