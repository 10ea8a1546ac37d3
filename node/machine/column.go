package machine

import (
	"encoding/binary"
	"math/bits"
)

// columnPadding follows the last column of a page, so that any number can be
// read with one eight-byte load.
const columnPadding = 8

// column describes numbers that lie in a page: each is kept as its distance
// from the smallest of them, in as many bytes as the largest distance needs.
// Equal numbers take no room at all.
type column struct {
	base  uint64 // the smallest number
	mask  uint64 // the low 8*width bits
	start uint32 // where in the page the distances begin
	width uint8  // bytes per distance, 0 to 8
}

func (c *column) get(page []byte, i int) uint64 {
	at := int(c.start) + i*int(c.width)
	return c.base + binary.LittleEndian.Uint64(page[at:])&c.mask
}

// end is where the column's bytes end when it holds n numbers.
func (c *column) end(n int) int { return int(c.start) + n*int(c.width) }

func newColumn(base uint64, width uint8, start int) column {
	return column{base: base, mask: widthMask(width), start: uint32(start), width: width}
}

func widthMask(width uint8) uint64 {
	if width >= 8 {
		return ^uint64(0)
	}
	return 1<<(8*width) - 1
}

// measure returns the column for numbers that will be written at start.
func measure[T uint16 | uint32 | uint64 | int64](numbers []T, start int) column {
	if len(numbers) == 0 {
		return newColumn(0, 0, start)
	}
	low, high := numbers[0], numbers[0]
	for _, n := range numbers {
		low, high = min(low, n), max(high, n)
	}
	width := uint8((bits.Len64(uint64(high)-uint64(low)) + 7) / 8)
	return newColumn(uint64(low), width, start)
}

// put writes the distances of numbers into the page at the column's place.
func put[T uint16 | uint32 | uint64 | int64](c *column, page []byte, numbers []T) {
	at := int(c.start)
	for _, n := range numbers {
		distance := uint64(n) - c.base
		for range c.width {
			page[at] = byte(distance)
			distance >>= 8
			at++
		}
	}
}
