package wal

import (
	"encoding/binary"
	"fmt"
	"os"
)

const (
	// loadStep is about how many bytes of pages are written with one system call.
	loadStep = 1 << 20
	// noFreelist in a meta page: the free pages are found by a scan (NoFreelistSync).
	noFreelist = ^uint64(0)
)

// loader writes a store file whose keys come in order, page after page from the front to
// the back: bbolt's transactions would build each page from its keys, split it and write it
// by a system call of its own. The layout is that which pages.go reads; memory is a page
// for each level of the tree. Nothing is synced before sync, and before finish the file is
// no store.
type loader struct {
	path string
	opt  databaseOptions
	file *os.File

	written uint64 // pages in the file, the two for meta among them
	buffer  []byte // whole pages behind those
	levels  []loadedNode
	bucket  string // that levels belong to; empty: none
	roots   []loadedBucket
}

// loadedNode is a page of the tree that is being filled; level 0 is the leaf.
type loadedNode struct {
	elements []loadedElement
	data     []byte // keys and values, one after the other
}

type loadedElement struct {
	key, value int    // bytes
	child      uint64 // of a branch
}

type loadedBucket struct {
	name string
	root uint64
}

// newLoader creates the file at path, where there is none.
func newLoader(path string, opt databaseOptions) (*loader, error) {
	l := &loader{path: path, opt: opt, written: 2, buffer: make([]byte, 0, loadStep+2*pageSize)}
	return l, opt.disk.step("create", path, func() (err error) {
		l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
}

// mark, pair and piece put what an intake has checked into their buckets as it is.
func (l *loader) mark(key, value []byte) error { return l.put(marksBucket, key, value) }
func (l *loader) pair(key, value []byte) error { return l.put(pairsBucket, key, value) }
func (l *loader) piece(key, data []byte) error { return l.put(piecesBucket, key, data) }

// put adds a key behind all others of its bucket. A bucket that another one
// follows is closed.
func (l *loader) put(bucket string, key, value []byte) error {
	if bucket != l.bucket {
		l.close()
		l.bucket, l.levels = bucket, append(l.levels, loadedNode{})
	}
	l.add(0, key, value, 0)
	if len(l.buffer) < loadStep {
		return nil
	}
	return l.flush()
}

// add appends an element to the page of a level, after writing the page if it is
// full. Of a branch the last element stays behind for the next page, as bbolt has no
// branch with a single child.
func (l *loader) add(level int, key, value []byte, child uint64) {
	if level == len(l.levels) {
		l.levels = append(l.levels, loadedNode{})
	}
	n := &l.levels[level]
	count := len(n.elements)
	if size := pageHeaderBytes + (count+1)*elementBytes + len(n.data) + len(key) + len(value); size > pageSize {
		switch {
		case level == 0 && count > 0:
			l.pass(level, count)
		case level > 0 && count > 2:
			l.pass(level, count-1)
		}
		n = &l.levels[level] // the row of levels may have grown
	}
	n.elements = append(n.elements, loadedElement{len(key), len(value), child})
	n.data = append(append(n.data, key...), value...)
}

// pass writes the first elements of a level as a page, and names it to the level above.
func (l *loader) pass(level, count int) {
	n := &l.levels[level]
	bytes := 0
	for _, e := range n.elements[:count] {
		bytes += e.key + e.value
	}
	page := loadedNode{n.elements[:count], n.data[:bytes]}
	l.add(level+1, page.data[:page.elements[0].key], nil, l.emit(&page, level, 0))
	n = &l.levels[level]
	n.elements = append(n.elements[:0], n.elements[count:]...)
	n.data = append(n.data[:0], n.data[bytes:]...)
}

// close writes what is open of a bucket's tree.
func (l *loader) close() {
	if l.bucket == "" {
		return
	}
	for level := 0; level < len(l.levels)-1; level++ {
		l.pass(level, len(l.levels[level].elements))
	}
	top := len(l.levels) - 1
	l.roots = append(l.roots, loadedBucket{l.bucket, l.emit(&l.levels[top], top, 0)})
	l.bucket, l.levels = "", l.levels[:0]
}

// emit appends a node to the buffer as a page, with as many overflow pages as it
// takes, and returns the page's number. flags are those of leaf elements.
func (l *loader) emit(n *loadedNode, level int, flags uint32) uint64 {
	id := l.written + uint64(len(l.buffer)/pageSize)
	count := len(n.elements)
	size := pageHeaderBytes + count*elementBytes + len(n.data)
	kind := uint16(pageLeaf)
	if level > 0 {
		kind = pageBranch
	}
	b := binary.LittleEndian.AppendUint64(l.buffer, id)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	b = binary.LittleEndian.AppendUint32(b, uint32((size-1)/pageSize))
	at := 0 // of the element's key in data
	for i, e := range n.elements {
		position := uint32((count-i)*elementBytes + at)
		if level > 0 {
			b = binary.LittleEndian.AppendUint32(b, position)
			b = binary.LittleEndian.AppendUint32(b, uint32(e.key))
			b = binary.LittleEndian.AppendUint64(b, e.child)
		} else {
			b = binary.LittleEndian.AppendUint32(b, flags)
			b = binary.LittleEndian.AppendUint32(b, position)
			b = binary.LittleEndian.AppendUint32(b, uint32(e.key))
			b = binary.LittleEndian.AppendUint32(b, uint32(e.value))
		}
		at += e.key + e.value
	}
	b = append(b, n.data...)
	l.buffer = append(b, zeroPage[:(pageSize-size%pageSize)%pageSize]...)
	return id
}

var zeroPage [pageSize]byte

// flush writes the pages that are in memory.
func (l *loader) flush() error {
	end := int64(l.written)*pageSize + int64(len(l.buffer))
	if l.opt.maxBytes > 0 && end > l.opt.maxBytes {
		return fmt.Errorf("%w: the size limit of %d bytes is reached", ErrDiskFull, l.opt.maxBytes)
	}
	if _, err := l.file.WriteAt(l.buffer, int64(l.written)*pageSize); err != nil {
		return asDiskFull(err)
	}
	l.written += uint64(len(l.buffer) / pageSize)
	l.buffer = l.buffer[:0]
	return nil
}

// sync makes durable what was put.
func (l *loader) sync() error {
	l.close()
	if err := l.flush(); err != nil {
		return err
	}
	return l.opt.disk.step("sync", l.path, l.file.Sync)
}

// finish makes the file a store with these records, durably. Nothing is put any more.
func (l *loader) finish(h *head, c *checkpointRecord) error {
	for _, record := range []struct {
		bucket, key string
		value       []byte
	}{
		{headBucket, headKey, appendHead(nil, h)},
		{checkpointBucket, checkpointKey, appendCheckpointRecord(nil, c)},
	} {
		if err := l.put(record.bucket, []byte(record.key), record.value); err != nil {
			return err
		}
	}
	l.close()
	root := l.root()
	if err := l.flush(); err != nil {
		return err
	}
	for slot := range uint64(2) {
		// The transactions 0 and 1 both made what is there.
		meta := appendMeta(nil, pageMetas{root: root, highWater: l.written, txid: slot})
		if _, err := l.file.WriteAt(meta, int64(slot)*pageSize); err != nil {
			return asDiskFull(err)
		}
	}
	return l.opt.disk.step("sync", l.path, l.file.Sync)
}

// root writes the page that names the buckets, in the order of their names.
func (l *loader) root() uint64 {
	var n loadedNode
	for _, name := range bucketNames {
		root := uint64(0)
		for _, b := range l.roots {
			if b.name == name {
				root = b.root
			}
		}
		if root == 0 { // nothing was put into it
			root = l.emit(&loadedNode{}, 0, 0)
		}
		n.elements = append(n.elements, loadedElement{key: len(name), value: bucketBytes})
		n.data = append(n.data, name...)
		n.data = binary.LittleEndian.AppendUint64(n.data, root)
		n.data = binary.LittleEndian.AppendUint64(n.data, 0) // sequence
	}
	return l.emit(&n, 0, 1)
}

// appendMeta appends a meta page, which belongs into the slot that its transaction's
// number says, even or odd.
func appendMeta(dst []byte, m pageMetas) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, m.txid%2)
	dst = binary.LittleEndian.AppendUint16(dst, pageMeta)
	dst = append(dst, make([]byte, pageHeaderBytes-10)...)
	dst = binary.LittleEndian.AppendUint32(dst, bboltMagic)
	dst = binary.LittleEndian.AppendUint32(dst, bboltVersion)
	dst = binary.LittleEndian.AppendUint32(dst, pageSize)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // flags
	for _, n := range [...]uint64{m.root, 0, noFreelist, m.highWater, m.txid} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	dst = binary.LittleEndian.AppendUint64(dst, fnv1a(dst[start+pageHeaderBytes:]))
	return append(dst, zeroPage[len(dst)-start:]...)
}
