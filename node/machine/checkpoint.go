package machine

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"holdfast/protocol"
)

// maxRepacks bounds how many blocks one checkpoint packs anew: about four
// milliseconds.
const maxRepacks = 128

// Checkpoint returns what changed since the last call, as of the last applied
// entry: pairs to put and keys to delete, each in the order of keys, no key in
// both. A value is one page of state: the columns of a block of a stream's
// index (once the block is full it never changes again), a block's liveness, a
// page of subjects or of message IDs, a stream's or a consumer's configuration
// or state. The values must not be changed. They have to become durable, in
// one write with what Dead reports, before those of the next call do. BeginCheckpoint
// and Capture do the same in steps.
func (m *Machine) Checkpoint() (puts []protocol.Pair, deletes [][]byte) {
	m.BeginCheckpoint()
	return m.Capture(math.MaxInt).Pairs()
}

func put1(puts []protocol.Pair, key, body []byte) []protocol.Pair {
	return append(puts, protocol.Pair{Key: key, Value: appendTrailer(key, body)})
}

// checkpoint encodes what is not left to the steps of a capture.
func (s *Stream) checkpoint(puts []protocol.Pair) []protocol.Pair {
	if s.changed.config {
		body := binary.LittleEndian.AppendUint64(nil, uint64(s.created))
		body = appendText(body, s.account.name)
		puts = put1(puts, objectKey(keyStream, s.incarnation), append(body, s.encoded...))
		s.changed.config = false
	}
	puts = put1(puts, objectKey(keyStreamState, s.incarnation), s.appendState(nil))
	s.changed.saved = true

	puts = s.checkpointSchedules(puts)

	for i := len(s.dedup.pages) - 1; i >= 0 && s.dedup.pages[i].dirty; i-- {
		p := s.dedup.pages[i]
		puts = put1(puts, pageKey(keyDedup, s.incarnation, p.number), p.append(nil))
		p.dirty, p.saved = false, true
	}
	return puts
}

func (b *block) appendAlive(dst []byte) []byte {
	for _, word := range b.alive {
		dst = binary.LittleEndian.AppendUint64(dst, word)
	}
	return dst
}

// checkpointSegments hands out the sizes of entries, as far as they are new.
func (m *Machine) checkpointSegments(puts []protocol.Pair) []protocol.Pair {
	t := &m.entries
	for _, n := range t.emptied {
		m.changes.drop(objectKey(keyEntries, Incarnation(n)))
	}
	t.emptied = nil
	for i, c := range t.chunks {
		if c == nil || !c.changed {
			continue
		}
		var body []byte
		for _, g := range c.segments {
			body = binary.LittleEndian.AppendUint16(body, g.place)
			body = binary.LittleEndian.AppendUint32(body, g.size)
		}
		puts = put1(puts, objectKey(keyEntries, Incarnation(t.base+uint64(i))), body)
		c.changed, c.saved = false, true
	}
	return puts
}

func (s *Stream) appendState(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.first)
	dst = binary.AppendUvarint(dst, s.last)
	dst = binary.AppendUvarint(dst, uint64(s.lastStamp))
	dst = binary.AppendUvarint(dst, s.stored)
	dst = binary.AppendUvarint(dst, s.dedup.next)
	dst = binary.AppendUvarint(dst, s.review.next)
	dst = binary.AppendUvarint(dst, s.review.end)
	if s.review.unneeded {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	dst = s.appendRolled(dst)
	return s.appendFast(s.appendOrigins(appendText(dst, s.lastID)))
}

// appendNames writes of each subject of a page what it has in common with the one
// before, and the rest: in a stream of many subjects they are most of the index.
func (s *Stream) appendNames(dst []byte, page int) []byte {
	from, before := page*namesPerPage, ""
	for _, sub := range s.subjects.list[from:min(from+namesPerPage, len(s.subjects.list))] {
		common := 0
		for common < min(len(before), len(sub.name)) && before[common] == sub.name[common] {
			common++
		}
		dst = appendText(binary.AppendUvarint(dst, uint64(common)), sub.name[common:])
		before = sub.name
	}
	return dst
}

func (p *dedupPage) append(dst []byte) []byte {
	for i, id := range p.ids {
		dst = binary.AppendUvarint(dst, p.entries[i].seq)
		dst = binary.AppendUvarint(dst, uint64(p.entries[i].stamp))
		dst = appendText(dst, id)
	}
	return dst
}

func (c *Consumer) checkpoint(puts []protocol.Pair) []protocol.Pair {
	if c.changed.config {
		body := binary.LittleEndian.AppendUint64(nil, uint64(c.stream.incarnation))
		body = binary.LittleEndian.AppendUint64(body, uint64(c.created))
		puts = put1(puts, objectKey(keyConsumer, c.incarnation), append(body, c.encoded...))
	}
	if c.changed.state {
		puts = put1(puts, objectKey(keyConsumerState, c.incarnation), c.appendState(nil))
	}
	if c.changed.count {
		puts = put1(puts, objectKey(keyConsumerCount, c.incarnation), c.appendCount(nil))
	}
	c.changed = consumerChanges{saved: true}
	return puts
}

func (c *Consumer) appendCount(dst []byte) []byte {
	watches := byte(0)
	if c.watches {
		watches = 1
	}
	return binary.LittleEndian.AppendUint64(append(dst, watches), c.count)
}

func (c *Consumer) appendState(dst []byte) []byte {
	for _, n := range c.numbers() {
		dst = binary.AppendUvarint(dst, *n)
	}
	dst = binary.AppendUvarint(dst, uint64(c.lastDelivery))
	dst = binary.AppendUvarint(dst, uint64(c.lastAck))

	dst = binary.AppendUvarint(dst, uint64(len(c.skips)))
	previous := uint64(0)
	for _, seq := range c.skips {
		dst = binary.AppendUvarint(dst, seq-previous)
		previous = seq
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.exhausted)))
	previous = 0
	for _, seq := range slices.Sorted(maps.Keys(c.exhausted)) {
		dst = binary.AppendUvarint(dst, seq-previous)
		dst = binary.AppendUvarint(dst, uint64(c.exhausted[seq]))
		previous = seq
	}
	dst = binary.AppendUvarint(dst, uint64(c.pending.count))
	previous = 0
	c.pending.each(func(d *delivered) {
		dst = binary.AppendUvarint(dst, d.seq-previous)
		dst = binary.AppendUvarint(dst, d.first)
		dst = binary.AppendUvarint(dst, uint64(d.due))
		dst = binary.AppendUvarint(dst, d.order)
		dst = binary.AppendUvarint(dst, uint64(d.tries))
		previous = d.seq
	})
	return dst
}

// numbers lists the plain counters of the state, in the order of their encoding.
func (c *Consumer) numbers() [6]*uint64 {
	return [6]*uint64{&c.cursor, &c.nextSeq, &c.lastGiven, &c.floorConsumer, &c.floorStream, &c.nextOrder}
}

func appendText(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}
