package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"unsafe"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// outlay is about how many bytes of pages a commit takes, free ones or new ones: those
// that it frees itself are free only for the next.
//
// The log takes them by its bytes (plan). What a checkpoint takes is looked up: pairs
// that change share pages with each other, and with pairs that do not change but are
// written with them, so that sizes alone tell too much by up to twelve times, or, of
// values larger than a page, too little. The tree is therefore walked to
// the leaves in which the keys of the checkpoint are, or will be, and each is built and
// split as bbolt does it, in numbers (go.etcd.io/bbolt node.go: split, splitIndex,
// rebalance). That reads those pages which the commit will read as well.
//
//  1. A leaf that changes is written whole: exactly counted, unless it is merged.
//  2. A leaf that lost a key and is less than half full may be merged with one of its
//     neighbours, which is written then too. Merged leaves lie side by side, and each
//     but those at the two ends was itself one of them; so with both neighbours of each
//     everything is counted. The neighbours are looked for below the same branch. Where a
//     branch is merged they may be others, which mergedBytes is for.
//  3. Branches above are written, with what leaves that are split add.
//  4. Everything else is in overhead: the root's way, the records.
type outlay struct {
	bytes int64
	// runs are those of them that are in runs of pages, for values larger than a page:
	// free pages that do not lie side by side are no use for them.
	runs int64
}

// mergedBytes is what the merge of a branch with another one may add.
const mergedBytes = 4 * pageSize

// pairChange is a pair of a checkpoint; size is what it takes in a leaf, 0: it goes.
type pairChange struct {
	key    []byte
	size   int
	shrink int // a stored value larger than this is deleted first (change.checkpoint)
}

func pairChanges(c *protocol.Checkpoint) []pairChange {
	changes := make([]pairChange, 0, len(c.Puts)+len(c.Deletes))
	for _, p := range c.Puts {
		changes = append(changes, pairChange{p.Key, elementBytes + len(p.Key) + pairSumBytes + len(p.Value), 2 * len(p.Value)})
	}
	for _, key := range c.Deletes {
		changes = append(changes, pairChange{key: key})
	}
	slices.SortStableFunc(changes, func(a, b pairChange) int { return bytes.Compare(a.key, b.key) })
	return changes
}

// outlay adds what checkpoints among the writes take. The pairs in the database are
// those of the last commit: no transaction is kept open that changes them.
func (s *Store) outlay(o *outlay, writes []*protocol.Write) error {
	for _, w := range writes {
		if w.Checkpoint == nil || len(w.Checkpoint.Puts)+len(w.Checkpoint.Deletes) == 0 {
			continue
		}
		db, tx, err := s.beginAny()
		if err != nil {
			return err
		}
		survey := outlaySurvey{outlay: o, tx: tx}
		err = guard(func() error { return survey.pairs(pairChanges(w.Checkpoint)) })
		db.end(tx)
		if err != nil {
			return s.fail("look for the pages that a checkpoint changes", err)
		}
	}
	return nil
}

// outlaySurvey goes through the pages that the pairs of one checkpoint change.
type outlaySurvey struct {
	*outlay
	tx   *bolt.Tx
	data []byte // the memory map
	// elements are those of a leaf as it will be; used again and again.
	elements []element
}

// element is one of a leaf, in bytes: all of it, and its key.
type element struct{ size, key int }

// dirtied is what a page that changes means for the branch above.
type dirtied struct {
	added int  // bytes of elements at most, for the pages that it is split into
	small bool // it may be merged with a page beside it
}

func (s *outlaySurvey) pairs(changes []pairChange) error {
	bucket := s.tx.Bucket([]byte(pairsBucket))
	root := uint64(bucket.Root())
	key, _ := bucket.Cursor().First()
	if root == 0 || key == nil { // in the page of the buckets, for there is so little
		s.elements = append(s.elements[:0], element{size: pageSize / 4})
		s.put(changes)
		s.leaf(false)
		return nil
	}
	at := unsafe.Pointer(unsafe.SliceData(key))
	base := unsafe.Add(at, -int(uintptr(at)-s.tx.DB().Info().Data))
	s.data = unsafe.Slice((*byte)(base), s.tx.Size())
	_, err := s.page(root, changes, 0)
	return err
}

// find returns a page with its overflow.
func (s *outlaySurvey) find(id uint64) ([]byte, error) {
	return pageAt(s.data, id, uint64(len(s.data)/pageSize))
}

// take counts a node that is written, of so many bytes.
func (s *outlaySurvey) take(size int) {
	whole := int64(size+pageSize-1) / pageSize * pageSize
	s.bytes += whole
	if whole > pageSize {
		s.runs += whole
	}
}

// page counts what the changes, at least one, make of the page and all below.
func (s *outlaySurvey) page(id uint64, changes []pairChange, depth int) (dirtied, error) {
	page, err := s.find(id)
	if err != nil {
		return dirtied{}, err
	}
	if depth > maxDepth {
		return dirtied{}, fmt.Errorf("page %d: the tree is too deep", id)
	}
	if binary.LittleEndian.Uint16(page[8:]) == pageLeaf {
		return s.knownLeaf(page, changes)
	}
	return s.branch(page, changes, depth)
}

// branch hands each change to the page below that it belongs to.
func (s *outlaySurvey) branch(page []byte, changes []pairChange, depth int) (dirtied, error) {
	count := int(binary.LittleEndian.Uint16(page[10:]))
	d := dirtied{}
	counted := -1 // the last page below that is counted as a neighbour
	for i := 0; i < count && len(changes) > 0; i++ {
		own := len(changes)
		if i+1 < count {
			next, err := elementKey(page, i+1, count)
			if err != nil {
				return d, err
			}
			own = sort.Search(len(changes), func(n int) bool { return bytes.Compare(changes[n].key, next) >= 0 })
		}
		if own == 0 {
			continue
		}
		below, err := s.page(branchChild(page, i), changes[:own], depth+1)
		if err != nil {
			return d, err
		}
		// Its first key may be another one now.
		d.added += below.added + len(changes[0].key)
		if below.small {
			d.small = true
			for n := max(i-1, counted+1); n <= min(i+1, count-1); n++ {
				if n != i {
					neighbour, err := s.find(branchChild(page, n))
					if err != nil {
						return d, err
					}
					s.take(len(neighbour))
				}
				counted = n
			}
		}
		changes = changes[own:]
	}
	if d.small {
		s.bytes += mergedBytes
	}
	last, err := elementKey(page, count-1, count)
	if err != nil {
		return d, err
	}
	// Elements lie in their order, the last one at the end.
	size := pageHeaderBytes + (count-1)*elementBytes + int(binary.LittleEndian.Uint32(page[pageHeaderBytes+(count-1)*elementBytes:])) + len(last) + d.added
	if size < pageSize {
		s.take(size)
		return dirtied{small: d.small}, nil
	}
	// Of two pages that follow each other one is nearly half full, so with what they
	// are rounded up by they take less than thrice the size. Their keys are some of
	// those that are here.
	s.bytes += int64(3*size/pageSize+1) * pageSize
	return dirtied{added: size, small: d.small}, nil
}

// knownLeaf merges the changes with the elements of a leaf.
func (s *outlaySurvey) knownLeaf(page []byte, changes []pairChange) (dirtied, error) {
	count := int(binary.LittleEndian.Uint16(page[10:]))
	s.elements = s.elements[:0]
	lost := false
	for i := range count {
		key, err := elementKey(page, i, count)
		if err != nil {
			return dirtied{}, err
		}
		value := int(binary.LittleEndian.Uint32(page[pageHeaderBytes+i*elementBytes+12:]))
		own := 0
		for own < len(changes) && bytes.Compare(changes[own].key, key) < 0 {
			own++
		}
		s.put(changes[:own])
		changes = changes[own:]
		if len(changes) == 0 || !bytes.Equal(changes[0].key, key) {
			s.elements = append(s.elements, element{elementBytes + len(key) + value, len(key)})
			continue
		}
		lost = lost || changes[0].size == 0 || value > changes[0].shrink
	}
	s.put(changes)
	return s.leaf(lost), nil
}

// put adds the pairs that are put.
func (s *outlaySurvey) put(changes []pairChange) {
	for _, c := range changes {
		if c.size > 0 {
			s.elements = append(s.elements, element{c.size, len(c.key)})
		}
	}
}

// leaf counts the pages that a leaf with these elements becomes. lost: one was deleted.
func (s *outlaySurvey) leaf(lost bool) (d dirtied) {
	fill := pairsFill
	threshold := int(pageSize * fill)
	total := pageHeaderBytes
	for _, e := range s.elements {
		total += e.size
	}
	d.small = lost && (total <= threshold/2 || len(s.elements) < 2)
	rest := s.elements
	for len(rest) > 4 && total >= pageSize {
		at, size := 0, pageHeaderBytes
		for ; at < len(rest)-3 && (at < 2 || size+rest[at].size <= threshold); at++ {
			size += rest[at].size
		}
		s.take(size)
		rest, total = rest[at:], total-size+pageHeaderBytes
		d.added += elementBytes + rest[0].key
	}
	s.take(total)
	return d
}
