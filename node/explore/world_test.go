package explore

import (
	"math/rand/v2"
	"testing"
)

// A clone has to go on exactly as the original does, and leave it alone: else the
// search would explore worlds that do not exist.
func TestClonesGoTheSameWay(t *testing.T) {
	encoder := newEncoder()
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		w, s := wander(seed)
		r := &run{Search: &s}
		w.careful = s.Careful
		for range 150 {
			list := r.enabled(nil, w)
			if len(list) == 0 {
				break
			}
			action := list[random.IntN(len(list))]
			before := w.fingerprint(encoder)
			clone := w.Clone()
			for i := range clone.nodes {
				clone.own(i)
			}
			if clone.fingerprint(encoder) != before {
				t.Fatalf("seed %d: a clone differs", seed)
			}
			clone.Apply(action)
			after := clone.fingerprint(encoder)
			if w.fingerprint(encoder) != before {
				t.Fatalf("seed %d: %s on a clone changed the original", seed, action.Describe(w.names))
			}
			w.Apply(action)
			if w.fingerprint(encoder) != after {
				t.Fatalf("seed %d: %s does something else to a clone", seed, action.Describe(w.names))
			}
		}
	}
}

// Worlds that differ only in which IDs were drawn and in how often clocks ticked
// without effect are one; worlds that differ in what matters are not.
func TestFingerprints(t *testing.T) {
	encoder := newEncoder()
	w := Formed(nil, "a", "b", "c")
	first := w.fingerprint(encoder)
	drawn := w.Clone()
	for i := range drawn.nodes {
		drawn.own(i).draws.next += 100
	}
	drawn.Wipe(1)
	plain := w.Clone()
	plain.Wipe(1)
	if drawn.fingerprint(encoder) != plain.fingerprint(encoder) {
		t.Error("other IDs make another world")
	}
	if plain.fingerprint(encoder) == first {
		t.Error("a wiped member makes no difference")
	}
	beat := w.Clone()
	beat.Beat(0)
	beat.quiet()
	once := beat.fingerprint(encoder)
	beat.Beat(0)
	beat.quiet()
	if beat.fingerprint(encoder) != once {
		t.Error("a later tick makes another world")
	}
}

func TestRecoveryFromHere(t *testing.T) {
	for _, w := range []*World{Formed(nil, "a", "b", "c"), NewWorld(nil, "a", "b", "c")} {
		for seed := range uint64(10) {
			if why := w.Recover(seed, seed%2 == 0); why != "" {
				t.Fatalf("seed %d: %s", seed, why)
			}
		}
		w.Wipe(1)
		for seed := range uint64(10) {
			if why := w.Recover(seed, seed%2 == 0); why != "" {
				t.Fatalf("seed %d, b wiped: %s", seed, why)
			}
		}
	}
}
