package machine

import (
	"math"
	"slices"
	"sort"
)

// The entry table also knows how much of the log is in use, by segments: rows of
// consecutive entries. A segment of a few small entries is looked at as a whole,
// because the room of a small entry that died, between others in one page of the
// file, is of no use to anybody.
const (
	// segmentBytes closes a segment; a larger entry is one of its own.
	segmentBytes = 16 << 10
	// entryOverhead is about what an entry takes in the store besides its data, and
	// one in pieceShare bytes what each of its pieces takes.
	entryOverhead = 66
	pieceShare    = 100
	// sixteenths: how much of a segment is in use is told in these.
	sixteenths = 16
)

// segment is a row of entries of one chunk, up to the next one.
type segment struct {
	place uint16 // of its first entry
	size  uint32 // bytes in the store of its entries, those that died included
	live  uint32 // what its live messages count; 0 only if there are none
}

// fraction tells how much of the segment is in use.
func (g *segment) fraction() int {
	return int(min(uint64(g.live)*sixteenths/uint64(g.size), sixteenths))
}

// usage sums up segments.
type usage struct{ stored, live int64 }

// storedSize is what an entry of so many bytes takes in the store.
func storedSize(data int) uint32 {
	return uint32(min(data+data/pieceShare+entryOverhead, math.MaxUint32/2))
}

// messageSize is what a message counts as live data: what JetStream counts for it
// in a file (Stream.size).
func messageSize(subject int, content uint32) int { return subject + int(content>>1) + 30 }

// segmentOf returns the place of an entry's segment, -1 for none.
func (c *entryChunk) segmentOf(place uint16) int {
	if n := len(c.segments); c.hint < n && c.segments[c.hint].place <= place && (c.hint+1 == n || c.segments[c.hint+1].place > place) {
		return c.hint
	}
	c.hint = sort.Search(len(c.segments), func(i int) bool { return c.segments[i].place > place }) - 1
	at := c.hint
	c.hint = max(at, 0)
	return at
}

// extend takes a new entry with live messages in. Entries come in the order of the log.
func (t *entryTable) extend(c *entryChunk, entry uint64, size uint32) {
	n := len(c.segments)
	if n > 0 && c.segments[n-1].size+size <= segmentBytes && entry&^(entryChunkSize-1)|uint64(c.segments[n-1].place) >= t.settled {
		c.segments[n-1].size += size
	} else {
		c.segments = append(c.segments, segment{place: placeOf(entry), size: size})
		c.hint = n
	}
	c.changed = true
	t.newest, t.counted = entry, entry
}

// shrink takes what messages of an entry counted out of its segment. A segment in
// which nothing lives any more is forgotten.
func (t *entryTable) shrink(c *entryChunk, entry uint64, live int) {
	at := c.segmentOf(placeOf(entry))
	g := &c.segments[at]
	settled := entry < t.settled
	if settled {
		t.tally(g, -1)
	}
	g.live -= uint32(live)
	if g.live == 0 && at == len(c.segments)-1 && c == t.chunk(t.counted) {
		t.counted = 0 // it was in this segment, whichever entry's messages went last
	}
	switch {
	case g.live == 0 && at == 0:
		c.segments = c.segments[1:]
	case g.live == 0:
		c.segments = slices.Delete(c.segments, at, at+1)
	case settled:
		t.tally(g, 1)
	}
}

func (t *entryTable) tally(g *segment, sign int64) {
	u := &t.usage[g.fraction()]
	u.stored += sign * int64(g.size)
	u.live += sign * int64(g.live)
}

// settle sums up the segments whose entries are all at or below the reported bound.
// Only they can give room back.
func (t *entryTable) settle() {
	for t.settled <= t.reported {
		first := t.settled &^ (entryChunkSize - 1)
		end := first + entryChunkSize - 1
		if c := t.chunk(t.settled); c != nil {
			place := placeOf(t.settled)
			at := sort.Search(len(c.segments), func(i int) bool { return c.segments[i].place >= place })
			if at+1 < len(c.segments) {
				end = first + uint64(c.segments[at+1].place) - 1
			} else if t.newest <= t.reported { // nothing will be added to the last one
				end = min(end, t.reported)
			}
			if end > t.reported {
				return
			}
			if at < len(c.segments) {
				t.tally(&c.segments[at], 1)
			}
		}
		t.settled = min(end, t.reported) + 1
	}
}

// sparse reports whether less than so many sixteenths of the entry's segment are
// in use, so that it is worth while to write what lives in it again.
func (t *entryTable) sparse(entry uint64, below int) bool {
	if entry >= t.settled {
		return false
	}
	c := t.chunk(entry)
	return c.segments[c.segmentOf(placeOf(entry))].fraction() < below
}

// restoreChunk takes back the segments of a chunk that a checkpoint kept.
func (t *entryTable) restoreChunk(n uint64, segments []segment) {
	c := t.chunk(n << entryChunkBits)
	if c == nil {
		c = t.makeChunk(n)
	}
	c.segments, c.saved = segments, true
}

// restore counts a message in a segment that is known; false: there is none.
func (t *entryTable) restore(entry uint64, live int) bool {
	c := t.chunk(entry)
	if c == nil {
		return false
	}
	at := c.segmentOf(placeOf(entry))
	if at < 0 || uint64(c.segments[at].live)+uint64(live) > math.MaxUint32 {
		return false
	}
	c.add(placeOf(entry))
	c.segments[at].live += uint32(live)
	t.newest = max(t.newest, entry)
	return true
}

// finishRestore forgets what died since its segments were kept, and calls gone with
// the numbers of chunks in which nothing lives.
func (t *entryTable) finishRestore(gone func(chunk uint64)) {
	for i, c := range t.chunks {
		if c == nil {
			continue
		}
		c.segments = slices.DeleteFunc(c.segments, func(g segment) bool { return g.live == 0 })
		c.hint = 0
		if len(c.segments) == 0 {
			gone(t.base + uint64(i))
			t.chunks[i] = nil
		}
	}
	t.trim()
	t.settle()
}
