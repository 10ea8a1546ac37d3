package machine

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"slices"

	"holdfast/protocol"
)

// A checkpoint is the state as of one entry, but writing the pages down that changed
// takes longer than a publish may wait. So it is made in steps, between which entries
// are applied: BeginCheckpoint fixes which pages it consists of, Capture encodes some
// of them at a time. A page that is about to change while it waits for its turn is
// encoded first (preserve), so every page is written as it was at the beginning, in
// whatever order. What is small is encoded at the beginning: configurations, the
// numbers of streams and consumers, and what only ever grows at its end.

// Work of a step, in units of about a microsecond.
const (
	aliveWork = 1  // liveness of a block
	pageWork  = 4  // the page of a sealed block
	packWork  = 48 // packing one
	namesWork = 16 // a page of subjects
)

// capture is a checkpoint that is being made.
type capture struct {
	puts    []protocol.Pair
	deletes [][]byte
	streams []*Stream // whose pages are not all encoded, by incarnation
	repacks int       // blocks that may still be packed anew
}

// pendingPages are those pages of a stream that the present capture has yet to encode.
type pendingPages struct {
	names  idSet // pages of subjects
	blocks []*block
}

// BeginCheckpoint begins a checkpoint as of the last applied entry. None may be under
// way: Capture has returned the one before.
func (m *Machine) BeginCheckpoint() {
	if m.capture != nil {
		panic("machine: a checkpoint is under way")
	}
	c := &capture{repacks: maxRepacks}
	m.capture = c
	m.round++
	slices.SortFunc(m.changes.streams, byIncarnation)
	slices.SortFunc(m.changes.consumers, func(a, b *Consumer) int { return cmp.Compare(a.incarnation, b.incarnation) })
	for _, s := range m.changes.streams {
		s.changed.listed = false
		if !s.deleted {
			c.puts = s.checkpoint(c.puts)
			s.pending = pendingPages{names: s.changed.names, blocks: s.changed.blocks}
			s.changed.names, s.changed.blocks = nil, nil
			c.streams = append(c.streams, s)
		}
	}
	for _, consumer := range m.changes.consumers {
		if !consumer.deleted {
			c.puts = consumer.checkpoint(c.puts)
		}
	}
	for _, a := range m.changes.accounts {
		c.puts = put1(c.puts, objectKey(keyLimits, a.limitedBy), a.appendLimits(nil))
	}
	c.puts = m.checkpointSegments(c.puts)
	c.deletes = m.changes.deletes
	m.changes = changes{}
}

// Captured is a whole checkpoint. It does not change any more, and nobody else uses it.
type Captured struct {
	puts    []protocol.Pair
	deletes [][]byte
}

// Capture goes on with a checkpoint for about so many microseconds. It returns nil as
// long as there is more to do.
func (m *Machine) Capture(work int) *Captured {
	c := m.capture
	for ; len(c.streams) > 0; c.streams = c.streams[1:] {
		if work = c.streams[0].capture(work); work <= 0 {
			return nil
		}
	}
	m.capture = nil
	return &Captured{c.puts, c.deletes}
}

// capture encodes pages of the stream that wait, and returns what is left of the work:
// 0 or less if pages may be left as well.
func (s *Stream) capture(work int) int {
	for w := range s.pending.names {
		for s.pending.names[w] != 0 {
			if work <= 0 {
				return work
			}
			s.captureNames(uint32(w<<6 + bits.TrailingZeros64(s.pending.names[w])))
			work -= namesWork
		}
	}
	for c := s.machine.capture; len(s.pending.blocks) > 0; s.pending.blocks = s.pending.blocks[1:] {
		if work <= 0 {
			return work
		}
		b := s.pending.blocks[0]
		if !s.waits(b) {
			continue
		}
		if c.repacks > 0 && b.live > 0 && b.sparse() {
			c.repacks--
			s.machine.scratch = b.repack(s.machine.scratch, func(int, *record) {})
			work -= packWork
		}
		work -= s.captureBlock(b)
	}
	s.pending = pendingPages{}
	return work
}

// waits reports whether the present capture has yet to encode the block.
func (s *Stream) waits(b *block) bool { return b.listed != 0 && b.listed < s.machine.round }

// captureBlock encodes a block that waits, and returns what work that was. A block that
// had nothing live any more at the beginning is no part of the checkpoint.
func (s *Stream) captureBlock(b *block) (work int) {
	b.listed = 0
	if b.live == 0 {
		return aliveWork
	}
	c := s.machine.capture
	if b.pageChanged {
		page := b.page
		if b.rows != nil {
			page = b.encodePage(b.rows, nil)
			work += packWork
		}
		c.puts = put1(c.puts, pageKey(keyBlock, s.incarnation, b.first), page)
		b.pageChanged, b.pageSaved = false, true
		work += pageWork
	}
	if b.live < b.count {
		c.puts = put1(c.puts, pageKey(keyAlive, s.incarnation, b.first), b.appendAlive(nil))
		b.aliveSaved = true
	}
	return work + aliveWork
}

func (s *Stream) captureNames(page uint32) {
	s.pending.names.set(page, false)
	c := s.machine.capture
	c.puts = put1(c.puts, pageKey(keyNames, s.incarnation, uint64(page)), s.appendNames(nil, int(page)))
	s.changed.namesSaved = max(s.changed.namesSaved, int(page)+1)
}

// preserveNames is to be called before the subject of that ID comes or goes.
func (s *Stream) preserveNames(id uint32) {
	if page := id / namesPerPage; s.pending.names.has(page) {
		s.captureNames(page)
	}
}

// preserveAll is to be called before all messages of the stream go at once.
func (s *Stream) preserveAll() {
	if c := s.machine.capture; c != nil {
		c.repacks = 0 // they would be work for nothing
		s.capture(math.MaxInt)
	}
}

// Pairs returns the pairs to put and the keys to delete, each in the order of keys, no
// key in both. It may be called beside the machine, once.
func (c *Captured) Pairs() (puts []protocol.Pair, deletes [][]byte) {
	slices.SortFunc(c.puts, func(a, b protocol.Pair) int { return bytes.Compare(a.Key, b.Key) })
	slices.SortFunc(c.deletes, bytes.Compare)
	deletes = slices.DeleteFunc(c.deletes, func(key []byte) bool { // what was made anew meanwhile
		_, again := slices.BinarySearchFunc(c.puts, key, func(p protocol.Pair, key []byte) int { return bytes.Compare(p.Key, key) })
		return again
	})
	return c.puts, deletes
}
