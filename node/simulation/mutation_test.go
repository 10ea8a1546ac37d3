package simulation

import (
	"strings"
	"testing"
)

// A check that cannot fail proves nothing: each mutation breaks one promise, and
// a run has to end with the words of the checker that watches over it.
func TestCheckersSeeWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		name     string
		mutation Mutation
		sees     []string // any of them
	}{
		{"a write is reported before it is made", EarlyWritten, []string{"told too early", "lost", "forgotten", "entries differ", "two leaders", "contradicts"}},
		{"entries change places", EntriesSwapped, []string{"entries differ"}},
		{"a message is replaced", EntryChanged, []string{"entries differ"}},
		{"every vote is granted", VotesForAll, []string{"two leaders"}},
		{"a message is acknowledged unseen", AckInvented, []string{"skipped"}},
		{"an acknowledgement names another sequence", SequenceShifted, []string{"never stored", "sequence used twice", "out of order"}},
		{"an old info is given again", ReadCached, []string{"not linearizable"}},
		{"membership messages get lost", FramesLost, []string{"not live"}},
		{"monotonic clocks stand still", ClocksStop, []string{"time in the log"}},
		{"messages lose their IDs", IDsRemoved, []string{"stored twice"}},
		{"messages lose their batch", BatchesRemoved, []string{"torn batch", "batch not stored"}},
		{"increments are others", StepsChanged, []string{"miscounted"}},
		{"schedules are due long ago", TimesChanged, []string{"fired early"}},
		{"times to live are shorter", LifetimesCut, []string{"for no reason"}},
		{"acknowledgements are forgotten", AcksForgotten, []string{"delivered again"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(4); seed < 4*30; seed += 4 {
				r := Run(Options{Seed: seed, Folder: folder(t, seed), Mutation: c.mutation})
				if r.Err == nil {
					continue
				}
				text, _, _ := strings.Cut(r.Err.Error(), "\n")
				for _, words := range c.sees {
					if strings.Contains(text, words) {
						t.Logf("seed %d: %s", seed, text)
						return
					}
				}
				t.Logf("seed %d, another checker: %s", seed, text)
			}
			t.Error("no checker saw it")
		})
	}
}

// A run depends on nothing but its seed.
func TestRunIsAFunctionOfItsSeed(t *testing.T) {
	for seed := uint64(100); seed < 104; seed++ {
		a := Run(Options{Seed: seed, Folder: folder(t, seed)})
		b := Run(Options{Seed: seed, Folder: folder(t, seed)})
		if a.Hash != b.Hash || a.Virtual != b.Virtual {
			t.Errorf("seed %d: two runs differ: %x after %s, %x after %s", seed, a.Hash, a.Virtual, b.Hash, b.Virtual)
		}
	}
}
