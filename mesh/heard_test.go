package mesh

import (
	"math/rand/v2"
	"testing"

	"holdfast/protocol"
)

// What is remembered of a store does not depend on the order in which it is heard,
// never speaks against a store that only went forward, and always against one that
// began with less than it told before.
func TestTraces(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		told, began := history(random)
		h := &Heard{}
		for _, i := range random.Perm(len(told)) {
			h.hear(&told[i])
		}
		r := h.of(1)
		last := told[len(told)-1]
		if r.latest.Boot != last.Boot || r.latest.Counter != last.Counter {
			t.Fatalf("seed %d: remembers boot %d, counter %d of %d, %d", seed, r.latest.Boot, r.latest.Counter, last.Boot, last.Counter)
		}
		if first := began[last.Boot]; r.before.Exceeds(&first) {
			t.Fatalf("seed %d: %+v is held against %+v", seed, r.before, began[last.Boot])
		}
		// A process more, on the disk as it was at one of the moments before.
		old := told[random.IntN(len(told))]
		now := last.Trace()
		old.Boot, old.Counter = last.Boot+1, (last.Boot+1)<<40
		h.hear(&old)
		was, after := old.Trace(), h.of(1)
		if got, want := after.before.Exceeds(&was), now.Exceeds(&was); got != want {
			t.Fatalf("seed %d: %+v speaks against %+v: %v, want %v", seed, after.before, was, got, want)
		}
	}
}

// history is what the processes on one store tell, one after the other, and with
// what each began.
func history(random *rand.Rand) (told []Status, began map[uint64]Trace) {
	began = map[uint64]Trace{}
	s := Status{Member: "n2", Store: 1, Lineage: lineage1, Term: 1, LastTerm: 1, LastIndex: 2}
	for range 1 + random.IntN(4) {
		s.Boot++
		s.Counter = s.Boot << 40
		began[s.Boot] = s.Trace()
		for range 1 + random.IntN(5) {
			s.Counter++
			switch random.IntN(4) {
			case 0:
				s.Term++
			case 1:
				s.Promise.Epoch++
			case 2: // a leader takes back what was not committed, and sends its own
				if s.LastTerm < s.Term {
					s.LastTerm = min(s.Term, s.LastTerm+uint64(random.IntN(2)))
					s.LastIndex = max(2, s.LastIndex-uint64(random.IntN(3)))
				}
			default:
				s.LastIndex++
				s.LastTerm = s.Term
			}
			told = append(told, s)
		}
	}
	return told, began
}

func TestStoreThatWentBackIsNotHeeded(t *testing.T) {
	tests := map[string]struct {
		change func(s *Status) // what the next process has
		heeded bool
	}{
		"restarted as it was":     {func(*Status) {}, true},
		"restarted in a new term": {func(s *Status) { s.Term++; s.LastIndex -= 2; s.LastTerm-- }, true},
		"entries are gone":        {func(s *Status) { s.LastIndex-- }, false},
		"the term is gone":        {func(s *Status) { s.Term--; s.LastTerm--; s.LastIndex += 100 }, false},
		"a promise is gone":       {func(s *Status) { s.Promise = protocol.Attempt{} }, false},
		"it is another store":     {func(s *Status) { s.Store = 22; s.Term--; s.LastTerm-- }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _, statuses := leaderOf(t, "n1", "n2", "n3")
			var e Effects
			s := statuses["n2"]
			s.Term, s.LastTerm, s.LastIndex, s.Counter = 7, 7, 10, s.Counter+1
			s.Promise = protocol.Attempt{Epoch: lineage1.Epoch, ID: protocol.AttemptID(lineage1.ID)}
			c.Step("n2", Message{Type: TypeStatus, Status: s})
			c.Disconnected("n2")
			c.Take(&e)
			s.Boot++
			s.Counter = s.Boot << 40
			test.change(&s)
			c.Connected("n2", s)
			if c.Heeds("n2") != test.heeded || c.View().Members[1].Connected != test.heeded {
				t.Errorf("heeds it: %v, want %v", c.Heeds("n2"), test.heeded)
			}
			c.Take(&e)
			reminded := false
			for _, m := range e.Messages {
				reminded = reminded || m.To == "n2" && m.Message.Type == TypeStatus && (m.Message.Heard.Term == 7 || !test.heeded && m.Message.Heard.Index == 10)
			}
			if reminded != (s.Store == 2) {
				t.Errorf("it is reminded: %v", reminded)
			}
			// Its next store is heeded again.
			c.Disconnected("n2")
			s.Store, s.Boot = 23, 1
			if c.Connected("n2", s); !c.Heeds("n2") {
				t.Error("a fresh store is not heeded")
			}
		})
	}
}

func TestStoreThatWentBackGivesItselfUp(t *testing.T) {
	tests := map[string]struct {
		heard   Trace
		givenUp bool
	}{
		"nothing is remembered":               {Trace{}, false},
		"what it began with":                  {Trace{Store: 1, Boot: 4, Counter: 4 << 40, Term: 3, Index: 9}, false},
		"less":                                {Trace{Store: 1, Boot: 4, Counter: 4 << 40, Term: 2, Index: 30}, false},
		"more entries":                        {Trace{Store: 1, Boot: 4, Counter: 4 << 40, Term: 3, Index: 10}, true},
		"a later term":                        {Trace{Store: 1, Boot: 4, Counter: 4 << 40, Term: 4}, true},
		"a promise":                           {Trace{Store: 1, Boot: 4, Counter: 4 << 40, Promise: 8}, true},
		"more, of another store":              {Trace{Store: 2, Boot: 4, Counter: 4 << 40, Term: 4}, false},
		"what this process itself said":       {Trace{Store: 1, Boot: 5, Counter: 5<<40 + 2, Term: 4, Index: 11}, false},
		"what this process has not said yet":  {Trace{Store: 1, Boot: 5, Counter: 5<<40 + 3, Term: 3, Index: 9}, true},
		"more, of a process that comes later": {Trace{Store: 1, Boot: 6, Counter: 6 << 40, Term: 4, Index: 11}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: 1}, protocol.Voter{Name: "n2", Store: 2})
			local := Local{Status: Status{Member: "n1", Store: 1, Lineage: lineage1, Epoch: lineage1.Epoch, Term: 3, LastTerm: 3, LastIndex: 9,
				Configuration: config, Counter: 5 << 40, Boot: 5}}
			c := New(Options{Self: "n1", Members: []string{"n1", "n2"}, RetryTicks: 4, ReportTicks: 50, Random: newRandom()}, local)
			// It has gone on meanwhile.
			local.Term, local.LastTerm, local.LastIndex, local.Counter = 4, 4, 11, 5<<40+2
			c.SetLocal(local)
			other := Status{Member: "n2", Store: 2, Boot: 1, Counter: 1}
			c.Connected("n2", other)
			c.Step("n2", Message{Type: TypeStatus, Status: other, Heard: test.heard})
			var e Effects
			if c.Take(&e); (e.Regressed != "") != test.givenUp {
				t.Errorf("gives itself up: %q", e.Regressed)
			}
		})
	}
}
