package explore

import (
	"math/rand/v2"
	"slices"
)

// walkPace is of how many steps of a random walk one is anything that is
// possible, faults and operators included; the others let the cluster go on.
const walkPace = 8

// Walk takes random steps from a world, within the limits, and then checks
// liveness. It reaches states that are far beyond a breadth-first search. The
// same seed takes the same way.
func (s *Search) Walk(start *World, seed uint64, steps int) *Finding {
	random := rand.New(rand.NewPCG(seed, 1))
	r := &run{Search: s}
	w := start.Clone()
	s.prepare(w)
	var path []Action
	for range steps {
		r.actions = r.enabled(r.actions[:0], w)
		if random.IntN(walkPace) > 0 {
			if usual := slices.DeleteFunc(slices.Clone(r.actions), func(a Action) bool { return unusual[a.Op] }); len(usual) > 0 {
				r.actions = usual
			}
		}
		if len(r.actions) == 0 {
			break
		}
		action := r.actions[random.IntN(len(r.actions))]
		before := w.Clone()
		if !r.apply(w, action) {
			continue
		}
		path = append(path, action)
		if fault := r.fault(before, w); fault != nil {
			return &Finding{*fault, path}
		}
		w.judge.faults = nil // of those that are ignored
	}
	if why := w.Recover(seed, seed%2 == 0); why != "" {
		return &Finding{Fault{"L1", why}, path}
	}
	return nil
}

// unusual are the operations that are no part of a cluster's going on.
var unusual = [opCount]bool{
	Duplicate: true, Lose: true, Timeout: true, Crash: true, Wipe: true, Return: true, Stall: true, Cut: true, Hold: true, Park: true,
	Found: true, Discard: true, Compact: true, Image: true, Rollback: true,
}

// Shorten leaves out what a path does not need to come to its fault.
func (s *Search) Shorten(start *World, f *Finding) *Finding {
	path := slices.Clone(f.Path)
	for size := max(len(path)/2, 1); size > 0; size /= 2 {
		for at := 0; at+size <= len(path); {
			without := slices.Delete(slices.Clone(path), at, at+size)
			if end := s.replay(start, without, f.Check); end >= 0 {
				path = without[:end]
				continue
			}
			at += size
		}
	}
	return &Finding{f.Fault, path}
}

// replay takes a path and returns after how many actions the check fires, or -1.
// Actions that are not possible are left out.
func (s *Search) replay(start *World, path []Action, check string) int {
	r := &run{Search: s}
	w := start.Clone()
	s.prepare(w)
	for i, action := range path {
		r.apply(w, action)
		if w.Fired(check) {
			return i + 1
		}
		w.judge.faults = nil
	}
	if check == "L1" {
		for seed := range uint64(4) {
			if w.Recover(seed, seed%2 == 0) != "" {
				return len(path)
			}
		}
	}
	return -1
}
