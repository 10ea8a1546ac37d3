package wal

import (
	"errors"
	"math"
)

// Scrub reads a store from its beginning to its end to find what was damaged
// since it was written: every entry and every pair of the checkpoint, in small
// steps. It belongs to one goroutine; commits may go on beside it.
type Scrub struct {
	store *Store
	index uint64 // where to go on; above the log: the pairs are next
	pairs pairWalk
}

// Scrub begins at the first entry.
func (s *Store) Scrub() *Scrub {
	return &Scrub{store: s, index: 1, pairs: pairWalk{store: s, loose: true}}
}

// Next checks about maxBytes more, at least one entry, and returns how many bytes
// that were. done: everything has been checked. *DamageError: something is not
// what was written.
func (x *Scrub) Next(maxBytes int) (bytes int, done bool, err error) {
	err = x.store.Indices(x.index, math.MaxUint64, func(index uint64) error {
		err := x.store.View(func(r *Reader) error {
			e, _, err := r.entry(index, math.MaxInt)
			bytes += len(e.Data)
			return err
		})
		if err != nil && !errors.Is(err, ErrNotPresent) { // deleted meanwhile
			return err
		}
		if x.index = index + 1; bytes >= maxBytes {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return bytes, false, nil
	}
	if err != nil {
		return bytes, false, err
	}
	x.index = max(x.index, x.store.Last()+1)
	pairs, err := x.pairs.next(max(maxBytes-bytes, 1))
	for i := range pairs {
		bytes += len(pairs[i].Key) + len(pairs[i].Value)
	}
	return bytes, err == nil && len(pairs) == 0, err
}
