package machine

import (
	"cmp"
	"slices"
)

const (
	entryChunkBits = 12
	entryChunkSize = 1 << entryChunkBits
	// A chunk counts in an array while more than minDense of its entries live,
	// and in a list while at most maxSparse do: an old entry that lives on
	// costs little, however many dead ones are around it.
	minDense, maxSparse = 64, 256
)

// entryTable counts the live messages of every log entry, so that an entry can
// leave the log when nothing in it lives. It is not part of the durable state:
// it follows from the index.
type entryTable struct {
	chunks []*entryChunk // of consecutive entries; nil when nothing in one lives
	base   uint64        // number of chunks[0]
	// reported: every entry at or below it was reported dead by Dead, except
	// those that still live and those in died.
	reported uint64
	died     []uint64 // entries at or below reported that died since Dead was asked

	// See segments.go.
	newest  uint64                // entry that got a message last
	counted uint64                // entry whose size is that of the last segment's last one; 0: it is forgotten
	settled uint64                // segments that begin below it are summed up in usage
	usage   [sixteenths + 1]usage // by the fraction that is in use
	emptied []uint64              // chunks that were saved and have nothing live any more
}

// entryChunk counts for entryChunkSize consecutive entries; at least one lives.
type entryChunk struct {
	dense  *[entryChunkSize]uint16 // nil: sparse has the counts
	sparse []liveEntry             // ascending, none zero
	living int                     // entries with live messages, while dense

	segments []segment // ascending
	hint     int       // segment of the last lookup
	changed  bool      // the durable state lacks a segment
	saved    bool      // segments were handed out
}

type liveEntry struct {
	place uint16 // of the entry in the chunk
	live  uint16 // messages, at most MaxSlots
}

func (c *entryChunk) search(place uint16) (int, bool) {
	if n := len(c.sparse); n == 0 || c.sparse[n-1].place < place {
		return n, false
	}
	return slices.BinarySearchFunc(c.sparse, place, func(e liveEntry, place uint16) int { return cmp.Compare(e.place, place) })
}

func (c *entryChunk) get(place uint16) uint16 {
	if c.dense != nil {
		return c.dense[place]
	}
	if at, ok := c.search(place); ok {
		return c.sparse[at].live
	}
	return 0
}

// add reports whether it is the entry's first message.
func (c *entryChunk) add(place uint16) (first bool) {
	if c.dense != nil {
		if c.dense[place]++; c.dense[place] == 1 {
			c.living++
			return true
		}
		return false
	}
	n := len(c.sparse)
	if n > 0 && c.sparse[n-1].place == place { // the entry being applied
		c.sparse[n-1].live++
		return false
	}
	at, ok := c.search(place)
	if ok {
		c.sparse[at].live++
		return false
	}
	c.sparse = slices.Insert(c.sparse, at, liveEntry{place: place, live: 1})
	if len(c.sparse) > maxSparse {
		c.dense, c.living = new([entryChunkSize]uint16), len(c.sparse)
		for _, e := range c.sparse {
			c.dense[e.place] = e.live
		}
		c.sparse = nil
	}
	return true
}

// remove returns what is left of the entry, and whether nothing lives in the
// whole chunk.
func (c *entryChunk) remove(place uint16, count int) (left uint16, empty bool) {
	if c.dense == nil {
		at, _ := c.search(place)
		e := &c.sparse[at]
		if e.live -= uint16(count); e.live > 0 {
			return e.live, false
		}
		c.sparse = slices.Delete(c.sparse, at, at+1)
		return 0, len(c.sparse) == 0
	}
	c.dense[place] -= uint16(count)
	if c.dense[place] > 0 {
		return c.dense[place], false
	}
	if c.living--; c.living < minDense {
		for place, live := range c.dense {
			if live > 0 {
				c.sparse = append(c.sparse, liveEntry{uint16(place), live})
			}
		}
		c.dense = nil
	}
	return 0, false
}

func (t *entryTable) chunk(entry uint64) *entryChunk {
	n := entry >> entryChunkBits
	if n < t.base || n-t.base >= uint64(len(t.chunks)) {
		return nil
	}
	return t.chunks[n-t.base]
}

func placeOf(entry uint64) uint16 { return uint16(entry & (entryChunkSize - 1)) }

func (t *entryTable) live(entry uint64) int {
	if c := t.chunk(entry); c != nil {
		return int(c.get(placeOf(entry)))
	}
	return 0
}

// add counts a live message of the newest entry, whose data has so many bytes.
func (t *entryTable) add(entry uint64, data, live int) {
	c := t.chunk(entry)
	if c == nil {
		c = t.makeChunk(entry >> entryChunkBits)
	}
	if c.add(placeOf(entry)) && entry != t.counted {
		t.extend(c, entry, storedSize(data))
	}
	c.segments[len(c.segments)-1].live += uint32(live)
}

func (t *entryTable) makeChunk(n uint64) *entryChunk {
	if len(t.chunks) == 0 {
		t.base = n
	}
	if n < t.base { // only while a checkpoint is read: streams come in any order
		t.chunks = slices.Insert(t.chunks, 0, make([]*entryChunk, t.base-n)...)
		t.base = n
	}
	for n-t.base >= uint64(len(t.chunks)) {
		t.chunks = append(t.chunks, nil)
	}
	c := &entryChunk{}
	t.chunks[n-t.base] = c
	return c
}

// remove uncounts a number of live messages of the entry, with what they counted.
func (t *entryTable) remove(entry uint64, count, live int) {
	c := t.chunk(entry)
	t.shrink(c, entry, live)
	left, empty := c.remove(placeOf(entry), count)
	if left == 0 && entry <= t.reported {
		t.died = append(t.died, entry)
	}
	if empty {
		n := entry >> entryChunkBits
		if c.saved {
			t.emptied = append(t.emptied, n)
		}
		t.chunks[n-t.base] = nil
		t.trim()
	}
}

// trim lets chunks at the front go in which nothing lives.
func (t *entryTable) trim() {
	front := 0
	for front < len(t.chunks) && t.chunks[front] == nil {
		front++
	}
	t.chunks = t.chunks[front:]
	t.base += uint64(front)
}

// dead moves the reported bound up to horizon and returns, in order, the dead
// entries that were not reported before.
func (t *entryTable) dead(horizon uint64) []uint64 {
	dead := t.died
	t.died = nil
	for entry := t.reported + 1; entry <= horizon; entry++ {
		if t.live(entry) == 0 {
			dead = append(dead, entry)
		}
	}
	t.reported = max(t.reported, horizon)
	t.settle()
	slices.Sort(dead)
	return dead
}
