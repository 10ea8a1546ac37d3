package machine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"holdfast/protocol"
)

// blockMessages is how many messages a block holds; blockWords is that in
// words of the liveness bitmap.
const (
	blockMessages = 1024
	blockWords    = blockMessages / 64
)

// The columns of a block. Those up to columnRun have a number per message, the
// others one per run; a run is consecutive messages of one log entry. A mirror's
// messages have times of their own, so each of them is a run.
const (
	columnOffset  = iota // of the command in the entry's data
	columnContent        // bytes of header and payload, see record.content
	columnSubject        // ID in the stream's subjects
	columnSlot           // of the command in the entry
	columnTTL            // see ttl.go; all zero in most streams, which takes no room
	columnRun            // which run the message belongs to
	columnEntry          // log index of the run
	columnStamp          // stamp of the run's entry, or what a mirror has in its place
	blockColumns
)

// record is what the index knows of one message.
type record struct {
	entry  uint64 // log index
	stamp  int64  // of the entry, or of the origin; the message's own is stamp plus slot
	offset uint32
	// content is the length of the payload plus, when there is a header, its
	// length and that of its length field, times two; the lowest bit says
	// whether there is a header.
	content uint32
	subject uint32
	slot    uint16
}

// block indexes messages with consecutive sequences. It is open while it is
// the stream's last and grows; once full it is sealed: its columns are packed
// into a page and never change again. Only the liveness bitmap does.
type block struct {
	first uint64 // sequence of position 0
	count int    // positions in use, at most blockMessages
	live  int    // bits set in alive; never above count
	alive [blockWords]uint64

	rows *openRows // nil once sealed
	page []byte    // nil while open
	cols [blockColumns]column
	runs int
	// everyRun: every row is a run of its own.
	everyRun bool
	kept     *keptRows // of a sealed block: which positions have a row; nil: all
	next     []uint32  // see chain.go; nil when nothing is known
	// ttlDue is a stamp at or before which no message ends its time to live, 0
	// when none has one. See ttl.go.
	ttlDue int64

	// What the durable state lacks or has, see checkpoint.go.
	// listed is the number of the capture that takes the block up (Machine.round, or
	// the one before while that is under way); 0: the durable state lacks nothing.
	listed      uint64
	pageChanged bool // the page, or what it will be, differs from the durable one
	pageSaved   bool // a page was handed out under this block's key
	aliveSaved  bool // a bitmap was handed out
}

// openRows are the columns of an open block. Their memory is reused for the
// stream's next block.
type openRows struct {
	offset, content, subject []uint32
	ttl                      []uint32 // empty until a message has one
	slot, run                []uint16
	entry                    []uint64
	stamp                    []int64
}

func (o *openRows) reset() {
	o.offset, o.content, o.subject = o.offset[:0], o.content[:0], o.subject[:0]
	o.ttl, o.slot, o.run = o.ttl[:0], o.slot[:0], o.run[:0]
	o.entry, o.stamp = o.entry[:0], o.stamp[:0]
}

// add appends all columns but the time to live.
func (o *openRows) add(r *record) {
	if n := len(o.entry); n == 0 || o.entry[n-1] != r.entry || o.stamp[n-1] != r.stamp {
		o.entry = append(o.entry, r.entry)
		o.stamp = append(o.stamp, r.stamp)
	}
	o.offset = append(o.offset, r.offset)
	o.content = append(o.content, r.content)
	o.subject = append(o.subject, r.subject)
	o.slot = append(o.slot, r.slot)
	o.run = append(o.run, uint16(len(o.entry)-1))
}

func (b *block) end() uint64 { return b.first + uint64(b.count) }

func (b *block) isAlive(i int) bool { return b.alive[i>>6]&(1<<(i&63)) != 0 }

// add appends a message; a block that is not open or full must not be added to.
func (b *block) add(r *record) {
	o := b.rows
	o.add(r)
	if len(o.ttl) > 0 {
		o.ttl = append(o.ttl, 0)
	}
	b.alive[b.count>>6] |= 1 << (b.count & 63)
	b.count++
	b.live++
}

// addDead appends a sequence that never had a message. It repeats the last
// row, which costs the columns least. The block must not be empty.
func (b *block) addDead() {
	o, last := b.rows, b.count-1
	o.offset = append(o.offset, o.offset[last])
	o.content = append(o.content, o.content[last])
	o.subject = append(o.subject, o.subject[last])
	o.slot = append(o.slot, o.slot[last])
	o.run = append(o.run, o.run[last])
	if len(o.ttl) > 0 {
		o.ttl = append(o.ttl, 0)
	}
	b.count++
}

func (b *block) kill(i int) {
	b.alive[i>>6] &^= 1 << (i & 63)
	b.live--
}

// at reads the row of position i, alive or not. Of a position that has none it is
// that of another one near by, so that the stamps of all positions rise.
func (b *block) at(i int) record {
	if o := b.rows; o != nil {
		run := o.run[i]
		return record{entry: o.entry[run], stamp: o.stamp[run], offset: o.offset[i], content: o.content[i], subject: o.subject[i], slot: o.slot[i]}
	}
	i = b.row(i)
	run := i
	if !b.everyRun {
		run = int(b.cols[columnRun].get(b.page, i))
	}
	return record{
		entry:   b.cols[columnEntry].get(b.page, run),
		stamp:   int64(b.cols[columnStamp].get(b.page, run)),
		offset:  uint32(b.cols[columnOffset].get(b.page, i)),
		content: uint32(b.cols[columnContent].get(b.page, i)),
		subject: uint32(b.cols[columnSubject].get(b.page, i)),
		slot:    uint16(b.cols[columnSlot].get(b.page, i)),
	}
}

func (b *block) subjectAt(i int) uint32 {
	if b.rows != nil {
		return b.rows.subject[i]
	}
	return uint32(b.cols[columnSubject].get(b.page, b.row(i)))
}

// nextAlive returns the first live position at or after i, or -1.
func (b *block) nextAlive(i int) int {
	if i >= b.count {
		return -1
	}
	word := b.alive[i>>6] &^ (1<<(i&63) - 1)
	for w := i >> 6; ; {
		if word != 0 {
			return w<<6 + bits.TrailingZeros64(word)
		}
		if w++; w == blockWords {
			return -1
		}
		word = b.alive[w]
	}
}

// previousAlive returns the last live position at or before i, or -1.
func (b *block) previousAlive(i int) int {
	if i = min(i, b.count-1); i < 0 {
		return -1
	}
	word := b.alive[i>>6] & (^uint64(0) >> (63 - i&63))
	for w := i >> 6; ; {
		if word != 0 {
			return w<<6 + 63 - bits.LeadingZeros64(word)
		}
		if w--; w < 0 {
			return -1
		}
		word = b.alive[w]
	}
}

// mayHold reports whether the subject column can contain id.
func (b *block) mayHold(id uint32) bool {
	if b.rows != nil {
		return true
	}
	c := &b.cols[columnSubject]
	return uint64(id) >= c.base && uint64(id)-c.base <= c.mask
}

// nextOf returns the first live position at or after i with that subject.
func (b *block) nextOf(i int, id uint32) int {
	if !b.mayHold(id) {
		return -1
	}
	if b.rows == nil && b.kept == nil {
		return b.nextInColumn(i, id)
	}
	for i = b.nextAlive(i); i >= 0; i = b.nextAlive(i + 1) {
		if b.subjectAt(i) == id {
			return i
		}
	}
	return -1
}

// nextInColumn is nextOf for a sealed block in which every position has a row. It is
// where a search for a subject among many spends its time.
func (b *block) nextInColumn(i int, id uint32) int {
	c := &b.cols[columnSubject]
	if c.width == 0 {
		return b.nextAlive(i)
	}
	width, distance := int(c.width), uint64(id)-c.base
	for at := int(c.start) + i*width; i < b.count; i, at = i+1, at+width {
		if width == 1 {
			skip := bytes.IndexByte(b.page[at:c.end(b.count)], byte(distance))
			if skip < 0 {
				return -1
			}
			i, at = i+skip, at+skip
		}
		if binary.LittleEndian.Uint64(b.page[at:])&c.mask == distance && b.isAlive(i) {
			return i
		}
	}
	return -1
}

// previousOf returns the last live position at or before i with that subject.
func (b *block) previousOf(i int, id uint32) int {
	if !b.mayHold(id) {
		return -1
	}
	for i = b.previousAlive(i); i >= 0; i = b.previousAlive(i - 1) {
		if b.subjectAt(i) == id {
			return i
		}
	}
	return -1
}

// nextIn returns the first live position at or after i whose subject is in ids.
func (b *block) nextIn(i int, ids idSet) int {
	for i = b.nextAlive(i); i >= 0; i = b.nextAlive(i + 1) {
		if ids.has(b.subjectAt(i)) {
			return i
		}
	}
	return -1
}

// pageHeader: first sequence, messages, rows, runs, then base and width per column.
// When not every message has a row, a bit for each of them follows.
const pageHeader = 8 + 3*4 + blockColumns*9

const keptBytes = 8 * blockWords

// encodePage packs columns, of all positions of the block or, with kept, of some.
func (b *block) encodePage(o *openRows, kept *keptRows) []byte {
	rows, start := len(o.offset), pageHeader
	if kept != nil {
		start += keptBytes
	}
	cols := [blockColumns]column{columnOffset: measure(o.offset, start)}
	cols[columnContent] = measure(o.content, cols[columnOffset].end(rows))
	cols[columnSubject] = measure(o.subject, cols[columnContent].end(rows))
	cols[columnSlot] = measure(o.slot, cols[columnSubject].end(rows))
	cols[columnTTL] = measure(o.ttl, cols[columnSlot].end(rows))
	runs := o.run
	if len(o.entry) == rows { // message i is run i
		runs = nil
	}
	cols[columnRun] = measure(runs, cols[columnTTL].end(rows))
	cols[columnEntry] = measure(o.entry, cols[columnRun].end(len(runs)))
	cols[columnStamp] = measure(o.stamp, cols[columnEntry].end(len(o.entry)))
	end := cols[columnStamp].end(len(o.entry))

	page := make([]byte, end+columnPadding, end+columnPadding+valueTrailer)
	binary.LittleEndian.PutUint64(page, b.first)
	binary.LittleEndian.PutUint32(page[8:], uint32(b.count))
	binary.LittleEndian.PutUint32(page[12:], uint32(rows))
	binary.LittleEndian.PutUint32(page[16:], uint32(len(o.entry)))
	for i := range cols {
		binary.LittleEndian.PutUint64(page[20+9*i:], cols[i].base)
		page[20+9*i+8] = cols[i].width
	}
	if kept != nil {
		for w, word := range kept.bits {
			binary.LittleEndian.PutUint64(page[pageHeader+8*w:], word)
		}
	}
	put(&cols[columnOffset], page, o.offset)
	put(&cols[columnContent], page, o.content)
	put(&cols[columnSubject], page, o.subject)
	put(&cols[columnSlot], page, o.slot)
	put(&cols[columnTTL], page, o.ttl)
	put(&cols[columnRun], page, runs)
	put(&cols[columnEntry], page, o.entry)
	put(&cols[columnStamp], page, o.stamp)
	return page
}

// seal packs the columns and returns the rows' memory for the next block.
func (b *block) seal() *openRows {
	rows := b.rows
	b.reload(b.encodePage(rows, nil))
	rows.reset()
	return rows
}

// reload loads what was just encoded, which decodes.
func (b *block) reload(page []byte) {
	if err := b.load(page); err != nil {
		panic("machine: " + err.Error())
	}
}

// load makes the block a sealed one that reads from page. All positions count
// as alive or dead as the bitmap says, which load leaves alone.
func (b *block) load(page []byte) error {
	if len(page) < pageHeader+columnPadding {
		return fmt.Errorf("decode block: %w", protocol.ErrMalformed)
	}
	count, rows, runs := int(binary.LittleEndian.Uint32(page[8:])), int(binary.LittleEndian.Uint32(page[12:])), int(binary.LittleEndian.Uint32(page[16:]))
	if count < 1 || count > blockMessages || rows < 1 || rows > count || runs < 1 || runs > rows {
		return fmt.Errorf("decode block: %w", protocol.ErrMalformed)
	}
	var kept *keptRows
	end := pageHeader
	if rows < count {
		if kept = loadKept(page[pageHeader:], count); kept == nil || kept.rows() != rows {
			return fmt.Errorf("decode block: %w", protocol.ErrMalformed)
		}
		end += keptBytes
	}
	var cols [blockColumns]column
	for i := range cols {
		width := page[20+9*i+8]
		if width > 8 {
			return fmt.Errorf("decode block: %w", protocol.ErrMalformed)
		}
		cols[i] = newColumn(binary.LittleEndian.Uint64(page[20+9*i:]), width, end)
		switch {
		case i < columnRun:
			end = cols[i].end(rows)
		case i == columnRun && runs == rows:
			// left out
		case i == columnRun:
			end = cols[i].end(rows)
		default:
			end = cols[i].end(runs)
		}
	}
	if len(page) != end+columnPadding {
		return fmt.Errorf("decode block: %w", protocol.ErrMalformed)
	}
	b.first, b.count, b.runs = binary.LittleEndian.Uint64(page), count, runs
	b.page, b.cols, b.kept, b.rows = page, cols, kept, nil
	b.everyRun = runs == rows
	return nil
}

// reopen turns a sealed block that is not full back into an open one.
func (b *block) reopen(rows *openRows) {
	rows.reset()
	for i := range b.count {
		r := b.at(i)
		rows.add(&r)
		if b.hasTTLs() {
			rows.ttl = append(rows.ttl, b.ttlAt(i))
		}
	}
	b.rows, b.page, b.kept = rows, nil, nil
}
