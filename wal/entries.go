package wal

import (
	"errors"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// Entries reads the entries from lo up to but not including hi, as many as fit
// into maxBytes of data, but at least one. Their memory belongs to the caller.
// ErrCompacted: lo is below First. ErrNotPresent: hi is above Last+1.
func (s *Store) Entries(lo, hi uint64, maxBytes int) (entries []protocol.Entry, err error) {
	err = s.View(func(r *Reader) error {
		switch {
		case lo <= r.st.checkpoint.horizon:
			return fmt.Errorf("read entry %d: %w, which is %d", lo, ErrCompacted, r.st.checkpoint.horizon+1)
		case hi > r.st.head.last+1:
			return fmt.Errorf("read entry %d: %w: the last one is %d", hi-1, ErrNotPresent, r.st.head.last)
		}
		for index := lo; index < hi; index++ {
			limit := maxBytes
			if index == lo {
				limit = math.MaxInt
			}
			e, fits, err := r.entry(index, limit)
			if err != nil || !fits {
				return err
			}
			entries = append(entries, e)
			maxBytes -= len(e.Data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Indices calls fn for every entry from lo up to but not including hi that is
// there, in ascending order and without reading the file. fn's error ends it.
func (s *Store) Indices(lo, hi uint64, fn func(index uint64) error) error {
	st := s.states.Load().durable
	lo, hi = max(lo, 1), min(hi, st.head.last+1)
	if err := s.present.Load().each(lo, min(hi, st.checkpoint.horizon+1), fn); err != nil {
		return err
	}
	for index := max(lo, st.checkpoint.horizon+1); index < hi; index++ {
		if err := fn(index); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads every entry from lo up to but not including hi that is there and
// checks all of it, a few at a time. It returns the *DamageError of the first
// that is wrong.
func (s *Store) Verify(lo, hi uint64) error {
	return s.Indices(lo, hi, func(index uint64) error {
		err := s.View(func(r *Reader) error {
			_, _, err := r.entry(index, math.MaxInt)
			return err
		})
		if errors.Is(err, ErrNotPresent) { // deleted, or replaced by a shorter log, meanwhile
			return nil
		}
		return err
	})
}

// checkpointStep bounds the bytes of pairs that one read transaction copies.
const checkpointStep = 1 << 20

// LoadCheckpoint calls fn with every pair of the checkpoint, ordered by key. The
// slices are valid until fn returns. fn's error ends it. ErrCheckpointMoved: a
// checkpoint was committed meanwhile.
func (s *Store) LoadCheckpoint(fn func(key, value []byte) error) error {
	w := pairWalk{store: s, checkpoints: s.states.Load().durable.checkpoints}
	for {
		pairs, err := w.next(checkpointStep)
		if err != nil || len(pairs) == 0 {
			return err
		}
		for _, pair := range pairs {
			if err := fn(pair.Key, pair.Value); err != nil {
				return err
			}
		}
	}
}

// pairWalk reads the pairs of one checkpoint in short read transactions.
type pairWalk struct {
	store       *Store
	checkpoints uint64 // of the state that is being read
	after       []byte // the last key that was read
	seen        account
	loose       bool // checkpoints may be made meanwhile: pairs are only checked one by one
	summer
}

// next returns copies of the pairs that follow, about maxBytes of them but at
// least one; none at the end. All have been checked, and at the end also that
// none was missing.
func (w *pairWalk) next(maxBytes int) (pairs []protocol.Pair, err error) {
	db, tx, st, err := w.store.begin()
	if err != nil {
		return nil, err
	}
	defer db.end(tx)
	if st.checkpoints != w.checkpoints && !w.loose {
		return nil, fmt.Errorf("read the checkpoint of %s: %w", w.store.path, ErrCheckpointMoved)
	}
	if err := guard(func() error {
		pairs, err = w.copy(tx, maxBytes)
		return err
	}); err != nil {
		return nil, w.store.fail("checkpoint", err)
	}
	for _, pair := range pairs {
		sum, _ := pairSum(pair.Value)
		if sum != w.pair(pair.Key, pair.Value[pairSumBytes:]) {
			return nil, w.store.fail(fmt.Sprintf("checkpoint, key %x", pair.Key), errChecksum)
		}
		w.seen.add(hashPair(pair.Key, sum), len(pair.Key)+len(pair.Value))
	}
	for i := range pairs {
		pairs[i].Value = pairs[i].Value[pairSumBytes:]
	}
	if len(pairs) == 0 && !w.loose && w.seen != st.head.pairs {
		return nil, w.store.fail("checkpoint", fmt.Errorf("%d pairs of %d", w.seen.count, st.head.pairs.count))
	}
	return pairs, nil
}

// copy takes pairs out of the memory map, with their checksums.
func (w *pairWalk) copy(tx *bolt.Tx, maxBytes int) (pairs []protocol.Pair, err error) {
	cursor := tx.Bucket([]byte(pairsBucket)).Cursor()
	key, value := cursor.First()
	if w.after != nil {
		if key, value = cursor.Seek(w.after); slices.Equal(key, w.after) {
			key, value = cursor.Next()
		}
	}
	size := 0
	for ; key != nil; key, value = cursor.Next() {
		if len(key) > maxPairKeyBytes || len(value) < pairSumBytes || len(value) > pairSumBytes+maxPairValueBytes {
			return nil, errors.New("a pair of wrong length")
		}
		size += len(key) + len(value)
		if len(pairs) > 0 && size > maxBytes {
			break
		}
		pairs = append(pairs, protocol.Pair{Key: slices.Clone(key), Value: slices.Clone(value)})
	}
	if len(pairs) > 0 {
		w.after = pairs[len(pairs)-1].Key
	}
	return pairs, nil
}

// pieceWalk reads the keys and bytes of the log's pieces in short read
// transactions.
type pieceWalk struct {
	store       *Store
	checkpoints uint64 // of the state that is being read
	to          uint64 // index of the last entry to read
	index       uint64 // where to go on
	piece       uint32
	count       uint32 // pieces of the entry at index, once its first was read
}

// next calls emit with copies of the keys and bytes that follow, all checked,
// until it returns false: it has taken what it was given and wants no more for
// now. next reports whether the end was reached.
func (w *pieceWalk) next(emit func(key, data []byte) bool) (done bool, err error) {
	err = w.store.View(func(r *Reader) error {
		if r.st.checkpoints != w.checkpoints {
			return fmt.Errorf("read the log of %s: %w", w.store.path, ErrCheckpointMoved)
		}
		for {
			if w.piece == 0 && !w.advance() {
				done = true
				return nil
			}
			if err := r.load(w.index, w.piece); err != nil {
				return err
			}
			more := emit(r.found, r.data)
			if w.piece == 0 {
				k, _ := parsePieceKey(r.found)
				w.count = pieces(k.header.size)
			}
			if w.piece++; w.piece == w.count {
				w.index, w.piece = w.index+1, 0
			}
			if !more {
				return nil
			}
		}
	})
	return done, err
}

// errFound ends a search.
var errFound = errors.New("found")

// advance moves to the next entry that is there; false: there is none.
func (w *pieceWalk) advance() bool {
	return w.store.Indices(w.index, w.to+1, func(index uint64) error {
		w.index = index
		return errFound
	}) != nil
}
