package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// bbolt trusts the pages of its file: a wrong one makes it panic, on opening
// even in a goroutine of its own, which would end the process at every start.
// So every tree of the file is walked here before bbolt sees it, with all that
// bbolt relies on checked: page numbers and kinds, bounds, order of keys, no
// page used twice. The layout is that of go.etcd.io/bbolt/internal/common
// (page.go, meta.go, bucket.go), file format version 2, in the byte order of
// the machines we run on.
const (
	pageSize        = 8192
	pageHeaderBytes = 16 // id 8, kind 2, count 2, overflow 4
	elementBytes    = 16 // leaf: flags, position, key size, value size; branch: position, key size, child 8
	bucketBytes     = 16 // root page 8, sequence 8
	metaBytes       = pageHeaderBytes + 64

	pageBranch = 0x01
	pageLeaf   = 0x02
	pageMeta   = 0x04

	bboltMagic   = 0xED0CDAED
	bboltVersion = 2

	// bbolt searches recursively; a tree of this depth would hold 2^40 pages.
	maxDepth = 40
)

// visitor is called for each key of each bucket, in the order of bucket and key.
// The slices are in the memory map.
type visitor func(bucket string, key, value []byte) error

// pageMetas is what the two meta pages say.
type pageMetas struct {
	root      uint64
	highWater uint64 // first page number that is not used
	txid      uint64
}

// readMeta reads one meta page's content, from the beginning of the page.
func readMeta(page []byte, slot uint64) (pageMetas, error) {
	if len(page) < metaBytes {
		return pageMetas{}, errors.New("the file is too short")
	}
	meta := page[pageHeaderBytes:]
	switch {
	case binary.LittleEndian.Uint32(meta) != bboltMagic || binary.LittleEndian.Uint32(meta[4:]) != bboltVersion:
		return pageMetas{}, fmt.Errorf("meta page %d: not a store file", slot)
	case binary.LittleEndian.Uint64(meta[56:]) != fnv1a(meta[:56]):
		return pageMetas{}, fmt.Errorf("meta page %d: checksum mismatch", slot)
	case binary.LittleEndian.Uint32(meta[8:]) != pageSize:
		return pageMetas{}, fmt.Errorf("meta page %d: page size %d", slot, binary.LittleEndian.Uint32(meta[8:]))
	case binary.LittleEndian.Uint64(page) != slot || binary.LittleEndian.Uint16(page[8:]) != pageMeta:
		return pageMetas{}, fmt.Errorf("meta page %d: wrong page header", slot)
	}
	return pageMetas{
		root:      binary.LittleEndian.Uint64(meta[16:]),
		highWater: binary.LittleEndian.Uint64(meta[40:]),
		txid:      binary.LittleEndian.Uint64(meta[48:]),
	}, nil
}

// readMetas returns both meta pages, the newer first. Both have to be right and one
// transaction apart. bbolt itself would fall back to the older one where the newer is
// wrong, but the pages of that state may be reused already, and going back would forget
// what was acknowledged. A meta page lies in one disk sector, so no crash tears it.
func readMetas(data []byte) (newer, older pageMetas, err error) {
	if len(data) < 2*pageSize {
		return newer, older, errors.New("the file is too short")
	}
	even, err := readMeta(data, 0)
	if err != nil {
		return newer, older, err
	}
	odd, err := readMeta(data[pageSize:], 1)
	if err != nil {
		return newer, older, err
	}
	if even.txid%2 != 0 || (odd.txid != even.txid+1 && even.txid != odd.txid+1) {
		return newer, older, fmt.Errorf("meta pages: transactions %d and %d do not follow each other", even.txid, odd.txid)
	}
	newer, older = even, odd
	if odd.txid > even.txid {
		newer, older = odd, even
	}
	return newer, older, nil
}

// pageWalk visits everything that is reachable from one of the meta pages.
type pageWalk struct {
	data      []byte
	highWater uint64
	used      []uint64 // a bit for every page
	visit     visitor
	// skip, when set, is told of what is wrong with a page and everything below
	// it; true: the walk goes on behind that.
	skip func(err error) bool
	// seen is how many pages were walked; told, when set, is told now and then of
	// their bytes and of those that there are at most.
	seen uint64
	told func(done, total int64)
}

// toldPages is how many pages are walked between two reports: 64 MiB.
const toldPages = 8192

// walkPages checks the structure of a store file that is mapped as data, as the newer
// meta page has it, and visits every key.
func walkPages(data []byte, visit visitor) error {
	newer, _, err := readMetas(data)
	if err != nil {
		return err
	}
	w, err := newPageWalk(data, newer)
	if err != nil {
		return err
	}
	w.visit = visit
	return w.all(newer.root)
}

// newPageWalk is a walk over what a meta page leads to.
func newPageWalk(data []byte, metas pageMetas) (*pageWalk, error) {
	if metas.highWater < 4 || metas.highWater > uint64(len(data)/pageSize) {
		return nil, fmt.Errorf("the file is too short: it has %d pages of %d", len(data)/pageSize, metas.highWater)
	}
	return &pageWalk{data: data, highWater: metas.highWater, used: make([]uint64, metas.highWater/64+1)}, nil
}

// all walks every bucket of the file.
func (w *pageWalk) all(root uint64) error {
	return w.tree(root, func(key, value []byte, isBucket bool) error {
		if !isBucket || len(value) < bucketBytes {
			return fmt.Errorf("key %q outside of a bucket", key)
		}
		if err := w.bucket(string(key), value); err != nil && (w.skip == nil || !w.skip(err)) {
			return err
		}
		return nil
	})
}

// bucket walks the tree of one bucket.
func (w *pageWalk) bucket(name string, value []byte) error {
	emit := func(key, value []byte, isBucket bool) error {
		if isBucket {
			return fmt.Errorf("bucket %s: bucket inside", name)
		}
		return w.visit(name, key, value)
	}
	root := binary.LittleEndian.Uint64(value)
	if root != 0 {
		return w.tree(root, emit)
	}
	page := value[bucketBytes:]
	if len(page) < pageHeaderBytes || binary.LittleEndian.Uint64(page) != 0 ||
		binary.LittleEndian.Uint16(page[8:]) != pageLeaf || binary.LittleEndian.Uint32(page[12:]) != 0 {
		return fmt.Errorf("bucket %s: wrong inline page", name)
	}
	return w.leaf(page, nil, nil, emit)
}

type emitter func(key, value []byte, isBucket bool) error

func (w *pageWalk) tree(root uint64, emit emitter) error {
	return w.node(root, nil, nil, 0, emit)
}

// node walks the page and everything below. Its keys are at least low and less
// than high, where they are given.
func (w *pageWalk) node(id uint64, low, high []byte, depth int, emit emitter) error {
	page, err := w.page(id)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("page %d: the tree is too deep", id)
	}
	if binary.LittleEndian.Uint16(page[8:]) == pageLeaf {
		if err := w.leaf(page, low, high, emit); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		return nil
	}
	count := int(binary.LittleEndian.Uint16(page[10:]))
	if count == 0 {
		return fmt.Errorf("page %d: empty branch", id)
	}
	key, err := elementKey(page, 0, count)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if low != nil && bytes.Compare(key, low) < 0 {
		return fmt.Errorf("page %d: keys out of order", id)
	}
	for i := range count {
		next := high
		if i+1 < count {
			if next, err = elementKey(page, i+1, count); err != nil {
				return fmt.Errorf("page %d: %w", id, err)
			}
		}
		if next != nil && bytes.Compare(key, next) >= 0 {
			return fmt.Errorf("page %d: keys out of order", id)
		}
		if err := w.node(branchChild(page, i), key, next, depth+1, emit); err != nil && (w.skip == nil || !w.skip(err)) {
			return err
		}
		key = next
	}
	return nil
}

// pageAt returns a page of a file of so many pages, with its overflow, after checking its
// number, kind and place.
func pageAt(data []byte, id, pages uint64) ([]byte, error) {
	if id < 2 || id >= pages {
		return nil, fmt.Errorf("page %d: outside of the file's %d pages", id, pages)
	}
	page := data[id*pageSize : (id+1)*pageSize]
	kind := binary.LittleEndian.Uint16(page[8:])
	end := id + 1 + uint64(binary.LittleEndian.Uint32(page[12:]))
	switch {
	case binary.LittleEndian.Uint64(page) != id:
		return nil, fmt.Errorf("page %d: says that it is page %d", id, binary.LittleEndian.Uint64(page))
	case kind != pageLeaf && kind != pageBranch:
		return nil, fmt.Errorf("page %d: wrong kind %#x", id, kind)
	case end > pages:
		return nil, fmt.Errorf("page %d: ends outside of the file's %d pages", id, pages)
	}
	return data[id*pageSize : end*pageSize], nil
}

// branchChild is the page below the i-th element of a branch.
func branchChild(page []byte, i int) uint64 {
	return binary.LittleEndian.Uint64(page[pageHeaderBytes+i*elementBytes+8:])
}

// page is pageAt after checking that nothing else uses the page.
func (w *pageWalk) page(id uint64) ([]byte, error) {
	page, err := pageAt(w.data, id, w.highWater)
	if err != nil {
		return nil, err
	}
	if w.seen++; w.told != nil && w.seen%toldPages == 0 {
		w.told(int64(w.seen)*pageSize, int64(w.highWater)*pageSize)
	}
	for at := id; at < id+uint64(len(page)/pageSize); at++ {
		if w.used[at/64]&(1<<(at%64)) != 0 {
			return nil, fmt.Errorf("page %d: used twice", at)
		}
		w.used[at/64] |= 1 << (at % 64)
	}
	return page, nil
}

func (w *pageWalk) leaf(page, low, high []byte, emit emitter) error {
	count := int(binary.LittleEndian.Uint16(page[10:]))
	previous := low
	for i := range count {
		key, err := elementKey(page, i, count)
		if err != nil {
			return err
		}
		if order := bytes.Compare(previous, key); order > 0 || (order == 0 && i > 0) || (high != nil && bytes.Compare(key, high) >= 0) {
			return errors.New("keys out of order")
		}
		previous = key
		element := page[pageHeaderBytes+i*elementBytes:]
		flags := binary.LittleEndian.Uint32(element)
		start := uint64(pageHeaderBytes+i*elementBytes) + uint64(binary.LittleEndian.Uint32(element[4:])) + uint64(len(key))
		end := start + uint64(binary.LittleEndian.Uint32(element[12:]))
		if flags > 1 || end > uint64(len(page)) {
			return fmt.Errorf("element %d: outside of the page", i)
		}
		if err := emit(key, page[start:end:end], flags == 1); err != nil {
			return err
		}
	}
	return nil
}

// elementKey returns the key of the i-th of count elements of a page.
func elementKey(page []byte, i, count int) ([]byte, error) {
	at := uint64(pageHeaderBytes + i*elementBytes)
	elementsEnd := uint64(pageHeaderBytes + count*elementBytes)
	if elementsEnd > uint64(len(page)) {
		return nil, errors.New("more elements than fit")
	}
	position, size := binary.LittleEndian.Uint32(page[at:]), binary.LittleEndian.Uint32(page[at+4:])
	if binary.LittleEndian.Uint16(page[8:]) == pageLeaf {
		position, size = binary.LittleEndian.Uint32(page[at+4:]), binary.LittleEndian.Uint32(page[at+8:])
	}
	start := at + uint64(position)
	end := start + uint64(size)
	if size == 0 || start < elementsEnd || end > uint64(len(page)) {
		return nil, fmt.Errorf("element %d: outside of the page", i)
	}
	return page[start:end:end], nil
}
