package machine

import (
	"encoding/binary"
	"math/bits"
)

// A sealed block whose messages have died for the most part is packed anew, with
// rows for those that live: a stream of many subjects of which only the last
// messages are kept would otherwise carry the rows of thousands of blocks for a few
// messages in each.

// keptRows says which positions of a block have a row.
type keptRows struct {
	bits   [blockWords]uint64
	before [blockWords]uint16 // rows of the words before
}

func newKept(positions [blockWords]uint64) *keptRows {
	k := &keptRows{bits: positions}
	rows := 0
	for w, word := range k.bits {
		k.before[w] = uint16(rows)
		rows += bits.OnesCount64(word)
	}
	return k
}

// loadKept reads what encodePage wrote for a block of count positions; nil: it is
// malformed.
func loadKept(page []byte, count int) *keptRows {
	if len(page) < keptBytes {
		return nil
	}
	var positions [blockWords]uint64
	for w := range positions {
		positions[w] = binary.LittleEndian.Uint64(page[8*w:])
		if used := min(max(count-64*w, 0), 64); used < 64 && positions[w]>>used != 0 {
			return nil
		}
	}
	return newKept(positions)
}

func (k *keptRows) rows() int {
	return int(k.before[blockWords-1]) + bits.OnesCount64(k.bits[blockWords-1])
}

// row returns the row of position i, or of the one before that has a row, or of the
// first one.
func (b *block) row(i int) int {
	k := b.kept
	if k == nil {
		return i
	}
	word, bit := k.bits[i>>6], uint64(1)<<(i&63)
	n := int(k.before[i>>6]) + bits.OnesCount64(word&(bit-1))
	if word&bit == 0 && n > 0 {
		n--
	}
	return n
}

// rowCount is how many positions of a sealed block have a row.
func (b *block) rowCount() int {
	if b.kept == nil {
		return b.count
	}
	return b.kept.rows()
}

// sparse reports whether the block is worth being packed anew.
func (b *block) sparse() bool { return b.rows == nil && 2*b.live <= b.rowCount() }

// repack writes the block's rows anew, with change applied to those that live. Rows
// of a sealed block that do not live are left out. Scratch is memory for rows; what
// is returned can be used for that next.
func (b *block) repack(scratch *openRows, change func(i int, r *record)) *openRows {
	open, ttls := b.rows != nil, b.hasTTLs()
	scratch.reset()
	for i := range b.count {
		alive := b.isAlive(i)
		if !open && !alive {
			continue
		}
		r := b.at(i)
		if alive {
			change(i, &r)
		}
		scratch.add(&r)
		if ttls {
			scratch.ttl = append(scratch.ttl, b.ttlAt(i))
		}
	}
	b.pageChanged = true
	if open {
		b.rows, scratch = scratch, b.rows
		return scratch
	}
	var kept *keptRows
	if b.live < b.count {
		kept = newKept(b.alive)
	}
	b.reload(b.encodePage(scratch, kept))
	return scratch
}
