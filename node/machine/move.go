package machine

import (
	"encoding/binary"
	"fmt"

	"holdfast/protocol"
)

// An entry of the log stays as long as one message in it lives. So that one
// message does not keep a whole entry, what lives in such entries is written
// again: a move carries messages once more, as they are, and when it is applied the
// index finds them there. The entries that they were in are dead then, and leave the
// log as all dead ones do. Nothing else changes: a message keeps its sequence, its
// time, its time to live, and everything that refers to it.
//
// Who leads proposes moves (Rewrite tells which), from the state that it had applied.
// Until the move is applied a message may have gone, and its stream with it, or may
// have been moved by somebody else: every message says from which entry it is moved,
// and one that is not there any more is passed over, on every node alike.
//
// A move is an entry of its own. It takes no time: nothing ages out by it, and the
// stamp of the next entry may be what it would have been without.

// Moved is a message that is to be moved.
type Moved struct {
	Stream Incarnation
	Stored
}

// BeginMove empties the batch and makes it a move.
func (b *Batch) BeginMove() {
	b.Reset(0)
	b.move = movePlace{}
	b.data = append(b.data, byte(opMove), 0, 0, 0, 0)
	b.slots = 1
}

// Move adds a message; raw are the bytes at its Location. Messages come in the order
// of streams and sequences. A move holds at most MaxSlots.
func (b *Batch) Move(m *Moved, raw []byte) {
	p := movePlace{seq: m.Seq, entry: m.Index, stamp: m.Stamp}
	b.data = binary.AppendVarint(b.data, int64(p.seq-b.move.seq))
	b.data = binary.AppendVarint(b.data, int64(p.entry-b.move.entry))
	b.data = binary.AppendVarint(b.data, p.stamp-b.move.stamp)
	b.data = append(b.data, raw...)
	b.move = p
	binary.LittleEndian.PutUint32(b.data[batchHeaderSize+1:], binary.LittleEndian.Uint32(b.data[batchHeaderSize+1:])+1)
}

// movePlace is what a move says of a message. Each is encoded as the difference
// from the one before.
type movePlace struct {
	seq   uint64
	entry uint64 // that it is moved from
	stamp int64  // its time
}

func (p *movePlace) read(r *protocol.Reader) {
	p.seq += uint64(readVarint(r))
	p.entry += uint64(readVarint(r))
	p.stamp += readVarint(r)
}

func readVarint(r *protocol.Reader) int64 {
	n, size := binary.Varint(r.Rest)
	if size <= 0 {
		r.Fail()
		return 0
	}
	r.Bytes(uint64(size))
	return n
}

// isMove reports whether the data of a batch is a move.
func isMove(data []byte) bool {
	return len(data) > batchHeaderSize && data[0] == batchVersion && opcode(data[batchHeaderSize]) == opMove
}

// eachMoved calls visit with every message of a move: where it comes from, and its
// publish command with the offset of that in data.
func eachMoved(data []byte, visit func(from movePlace, offset uint32, raw []byte, m *Message)) error {
	r := protocol.Reader{Rest: data[batchHeaderSize+1:]}
	count := r.Uint32()
	if count > MaxSlots {
		r.Fail()
	}
	var from movePlace
	for ; count > 0 && !r.Failed(); count-- {
		from.read(&r)
		offset := len(data) - len(r.Rest)
		op := opcode(r.Byte())
		body := protocol.Reader{Rest: r.Bytes(r.Uvarint())}
		if op != opPublish && op != opPublishHeader {
			r.Fail()
		}
		stream := readIncarnation(&body)
		m := readContent(&body, op)
		m.Stream = stream
		if r.Failed() || body.Failed() {
			return fmt.Errorf("decode move: %w", protocol.ErrMalformed)
		}
		visit(from, uint32(offset), data[offset:len(data)-len(r.Rest)], &m)
	}
	return r.Done("move")
}

// applyMove applies an entry that is a move.
func (m *Machine) applyMove(index uint64, data []byte, out *Results) error {
	m.index, m.now, m.size, m.out = index, m.stamp, len(data), out
	out.reset(index, m.now)
	out.Slots = append(out.Slots, Result{})
	var to relocation
	err := eachMoved(data, func(from movePlace, offset uint32, raw []byte, message *Message) {
		s := m.byID[message.Stream]
		if s == nil {
			return
		}
		b := s.index.locate(from.seq)
		if b == nil || !b.isAlive(int(from.seq-b.first)) {
			return
		}
		i := int(from.seq - b.first)
		r := b.at(i)
		name := s.subjects.list[r.subject].name
		if r.entry != from.entry || s.locate(&r).Size != uint32(len(raw)) || name != string(message.Subject) {
			return
		}
		if to.block != b {
			m.relocate(&to)
			to = relocation{stream: s, block: b, offsets: to.offsets[:0]}
		}
		if n := len(to.offsets); n > 0 && to.offsets[n-1].position >= i {
			return // it is moved already
		}
		to.offsets = append(to.offsets, newOffset{i, offset})
		live := messageSize(len(name), r.content)
		m.entries.add(index, len(data), live)
		m.entries.remove(r.entry, 1, live)
		out.Slots[0].Seq++
	})
	if err != nil {
		return fmt.Errorf("apply entry %d: %w", index, err)
	}
	m.relocate(&to)
	m.applied, m.out = index, nil
	return nil
}

// relocation is what a move does to one block.
type relocation struct {
	stream  *Stream
	block   *block
	offsets []newOffset // in the order of their positions
}

type newOffset struct {
	position int
	offset   uint32
}

// relocate points messages of a block to the entry being applied.
func (m *Machine) relocate(to *relocation) {
	if to.block == nil {
		return
	}
	to.stream.touchBlock(to.block)
	left := to.offsets
	m.scratch = to.block.repack(m.scratch, func(i int, r *record) {
		if len(left) > 0 && left[0].position == i {
			r.entry, r.offset = m.index, left[0].offset
			left = left[1:]
		}
	})
}
