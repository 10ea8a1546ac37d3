package machine

import "slices"

const (
	entryChunkBits = 12
	entryChunkSize = 1 << entryChunkBits
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
}

type entryChunk struct {
	live  [entryChunkSize]uint16 // at most MaxSlots each
	total int
}

func (t *entryTable) chunk(entry uint64) *entryChunk {
	n := entry >> entryChunkBits
	if n < t.base || n-t.base >= uint64(len(t.chunks)) {
		return nil
	}
	return t.chunks[n-t.base]
}

func (t *entryTable) live(entry uint64) int {
	if c := t.chunk(entry); c != nil {
		return int(c.live[entry&(entryChunkSize-1)])
	}
	return 0
}

// add counts a live message of the entry.
func (t *entryTable) add(entry uint64) {
	c := t.chunk(entry)
	if c == nil {
		c = t.makeChunk(entry >> entryChunkBits)
	}
	c.live[entry&(entryChunkSize-1)]++
	c.total++
}

func (t *entryTable) makeChunk(n uint64) *entryChunk {
	if len(t.chunks) == 0 {
		t.base = n
	}
	for n < t.base { // only while a checkpoint is read: streams come in any order
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

// remove uncounts a number of live messages of the entry.
func (t *entryTable) remove(entry uint64, count int) {
	c := t.chunk(entry)
	slot := &c.live[entry&(entryChunkSize-1)]
	*slot -= uint16(count)
	c.total -= count
	if *slot == 0 && entry <= t.reported {
		t.died = append(t.died, entry)
	}
	if c.total > 0 {
		return
	}
	t.chunks[entry>>entryChunkBits-t.base] = nil
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
	slices.Sort(dead)
	return dead
}
