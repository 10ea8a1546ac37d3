package machine

import "sort"

// index finds the messages of a stream by sequence. Its blocks ascend and do
// not overlap; between two of them may lie sequences of which none lives. Only
// the last block may be open. A block without live messages is dropped.
type index struct {
	blocks []*block
	size   int // messages per block, at most blockMessages
	hint   int // block of the last lookup
	spare  *openRows
}

// locate returns the block that holds seq, or nil.
func (x *index) locate(seq uint64) *block {
	if at := x.search(seq); at < len(x.blocks) && x.blocks[at].first <= seq {
		return x.blocks[at]
	}
	return nil
}

// search returns the position of the first block that ends above seq.
func (x *index) search(seq uint64) int {
	for at := x.hint; at < min(x.hint+2, len(x.blocks)); at++ {
		if b := x.blocks[at]; seq < b.end() && (seq >= b.first || at == 0) {
			x.hint = at
			return at
		}
	}
	at := sort.Search(len(x.blocks), func(i int) bool { return seq < x.blocks[i].end() })
	x.hint = at
	return at
}

// find is locate for a sequence that has nothing to do with the last lookup.
func (x *index) find(seq uint64) *block {
	if len(x.blocks) == 0 || seq < x.blocks[0].first {
		return nil
	}
	// In a stream without gaps this is the place.
	at := int(min((seq-x.blocks[0].first)/uint64(x.size), uint64(len(x.blocks)-1)))
	if b := x.blocks[at]; seq < b.first || seq >= b.end() {
		at = sort.Search(len(x.blocks), func(i int) bool { return seq < x.blocks[i].end() })
	}
	if at < len(x.blocks) && x.blocks[at].first <= seq {
		return x.blocks[at]
	}
	return nil
}

// get returns the row of a live message.
func (x *index) get(seq uint64) (record, bool) {
	b := x.locate(seq)
	if b == nil || !b.isAlive(int(seq-b.first)) {
		return record{}, false
	}
	return b.at(int(seq - b.first)), true
}

func (x *index) has(seq uint64) bool {
	b := x.locate(seq)
	return b != nil && b.isAlive(int(seq-b.first))
}

// open returns the block to append seq to. It seals one that is full.
func (x *index) open(seq uint64) *block {
	if n := len(x.blocks); n > 0 {
		b := x.blocks[n-1]
		if b.rows != nil && b.count < x.size && b.end() == seq {
			return b
		}
		if b.rows != nil {
			x.spare = b.seal()
		}
	}
	rows := x.spare
	if rows == nil {
		rows = &openRows{}
	}
	x.spare = nil
	b := &block{first: seq, rows: rows}
	x.blocks = append(x.blocks, b)
	return b
}

// drop removes a block that holds nothing live.
func (x *index) drop(b *block) {
	at := x.search(b.first)
	if at == 0 {
		x.blocks[0] = nil
		x.blocks = x.blocks[1:]
	} else {
		x.blocks = append(x.blocks[:at], x.blocks[at+1:]...)
	}
	if len(x.blocks) == 0 {
		x.blocks = nil
	}
	if b.rows != nil {
		b.rows.reset()
		x.spare, b.rows = b.rows, nil
	}
	x.hint = max(x.hint-1, 0)
}

// next returns the first live sequence at or after seq.
func (x *index) next(seq uint64) (uint64, bool) {
	return x.forward(seq, func(b *block, i int) int { return b.nextAlive(i) })
}

// nextOf returns the first live sequence at or after seq with that subject.
func (x *index) nextOf(seq uint64, id uint32) (uint64, bool) {
	return x.forward(seq, func(b *block, i int) int { return b.nextOf(i, id) })
}

// nextOfBelow is nextOf for sequences below end.
func (x *index) nextOfBelow(seq uint64, id uint32, end uint64) (uint64, bool) {
	found, ok := x.forward(seq, func(b *block, i int) int {
		if b.first >= end {
			return b.nextAlive(0) // far enough
		}
		return b.nextOf(i, id)
	})
	return found, ok && found < end
}

// nextIn returns the first live sequence at or after seq whose subject is in ids.
func (x *index) nextIn(seq uint64, ids idSet) (uint64, bool) {
	return x.forward(seq, func(b *block, i int) int { return b.nextIn(i, ids) })
}

func (x *index) forward(seq uint64, find func(b *block, i int) int) (uint64, bool) {
	for at := x.search(seq); at < len(x.blocks); at++ {
		b, i := x.blocks[at], 0
		if seq > b.first {
			i = int(seq - b.first)
		}
		if i = find(b, i); i >= 0 {
			x.hint = at
			return b.first + uint64(i), true
		}
	}
	return 0, false
}

// previousOf returns the last live sequence at or before seq with that subject.
func (x *index) previousOf(seq uint64, id uint32) (uint64, bool) {
	at := x.search(seq)
	if at == len(x.blocks) || x.blocks[at].first > seq {
		at--
	}
	for ; at >= 0; at-- {
		b := x.blocks[at]
		i := b.count - 1
		if seq < b.end() {
			i = int(seq - b.first)
		}
		if i = b.previousOf(i, id); i >= 0 {
			return b.first + uint64(i), true
		}
	}
	return 0, false
}

// sequenceAt returns the first live sequence whose message is stamped at or
// after stamp.
func (x *index) sequenceAt(stamp int64) (uint64, bool) {
	at := sort.Search(len(x.blocks), func(k int) bool {
		r := x.blocks[k].at(x.blocks[k].count - 1)
		return r.stamp+int64(r.slot) >= stamp
	})
	for ; at < len(x.blocks); at++ {
		b := x.blocks[at]
		i := sort.Search(b.count, func(i int) bool {
			r := b.at(i)
			return r.stamp+int64(r.slot) >= stamp
		})
		if i = b.nextAlive(i); i >= 0 {
			return b.first + uint64(i), true
		}
	}
	return 0, false
}

// countFrom counts the live messages at or after seq.
func (x *index) countFrom(seq uint64) uint64 {
	n := 0
	for at := x.search(seq); at < len(x.blocks); at++ {
		b := x.blocks[at]
		if seq <= b.first {
			n += b.live
			continue
		}
		for i := b.nextAlive(int(seq - b.first)); i >= 0; i = b.nextAlive(i + 1) {
			n++
		}
	}
	return uint64(n)
}

// each calls f for every live message in order until it returns false.
func (x *index) each(f func(seq uint64, r *record) bool) {
	for _, b := range x.blocks {
		for i := b.nextAlive(0); i >= 0; i = b.nextAlive(i + 1) {
			if r := b.at(i); !f(b.first+uint64(i), &r) {
				return
			}
		}
	}
}
