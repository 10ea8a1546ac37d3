package wal

import (
	"math/bits"
	"sync"
)

// presence remembers which of the entries at or below the horizon are still
// there. It answers Indices without reading the file, and it tells an entry that
// was deleted from one that the file lost.
type presence struct {
	mu     sync.RWMutex
	chunks map[uint64]*chunk // by index / chunkEntries; no chunk is empty
}

const chunkEntries = 4096

type chunk struct {
	count int // bits that are set
	bits  [chunkEntries / 64]uint64
}

func newPresence() *presence { return &presence{chunks: make(map[uint64]*chunk)} }

// set says that all entries from lo to hi, both included, are there.
func (p *presence) set(lo, hi uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for index := lo; index <= hi; index++ {
		c := p.chunks[index/chunkEntries]
		if c == nil {
			c = &chunk{}
			p.chunks[index/chunkEntries] = c
		}
		word, bit := index%chunkEntries/64, uint64(1)<<(index%64)
		if c.bits[word]&bit == 0 {
			c.bits[word] |= bit
			c.count++
		}
	}
}

// clear says that an entry is gone.
func (p *presence) clear(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.chunks[index/chunkEntries]
	word, bit := index%chunkEntries/64, uint64(1)<<(index%64)
	if c == nil || c.bits[word]&bit == 0 {
		return
	}
	c.bits[word] &^= bit
	c.count--
	if c.count == 0 {
		delete(p.chunks, index/chunkEntries)
	}
}

// has reports whether an entry is there.
func (p *presence) has(index uint64) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c := p.chunks[index/chunkEntries]
	return c != nil && c.bits[index%chunkEntries/64]&(1<<(index%64)) != 0
}

// each calls fn, without a lock held, for every entry from lo up to but not
// including hi that is there, in ascending order.
func (p *presence) each(lo, hi uint64, fn func(index uint64) error) error {
	for at := lo / chunkEntries; lo < hi && at <= (hi-1)/chunkEntries; at++ {
		p.mu.RLock()
		c := p.chunks[at]
		var copied chunk
		if c != nil {
			copied = *c
		}
		p.mu.RUnlock()
		if c == nil {
			continue
		}
		for word, set := range copied.bits {
			for ; set != 0; set &= set - 1 {
				index := at*chunkEntries + uint64(word*64+bits.TrailingZeros64(set))
				if index < lo || index >= hi {
					continue
				}
				if err := fn(index); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
