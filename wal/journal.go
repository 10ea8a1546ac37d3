package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"
	"unsafe"

	"holdfast/protocol"
)

// The journal is what makes small commits durable. bbolt syncs once or twice for each of
// its transactions (unfinished.go), and blocks that the file system has to allocate first. A small commit
// is one frame instead, written to blocks that have been written before, with
// one sync. It is also applied to a transaction of bbolt that stays open; that
// is committed, and with it everything that the frames say, when the journal is
// full, when a commit is too large for a frame or more than entries and hard
// state, and when the store is closed. On opening, the frames that the last
// committed transaction does not contain are applied again.
//
// The journal is a value of the store file, in a bucket of its own which no
// transaction touches after it was made, so that bbolt leaves it where it is:
// it goes wherever the file goes. It is written past bbolt, through the file.
//
// Its first block begins with the tag, 8 random bytes that no other journal has.
// The frames follow, each from the beginning of a block. A frame is a header
//
//	tag       8 bytes
//	version   1
//	zero      3
//	length    4 little-endian, of what is behind the header
//	number    8; the head record says which one is its last
//	checksum  4 CRC32C of the header before it and of the rest
//
// and the writes of one Commit, each a byte of flags, the hard state if flag 1
// is set, the number of entries as a uvarint, and of each entry index, term,
// lineage (epoch, ID), kind and the length of its data as a uvarint before the
// data; then the head record that the Commit makes.
//
// A frame that is not whole was not acknowledged, if it is the one after the
// last whole one: a frame is written after the one before it was synced. So it
// is damage when a later frame is whole. It is damage, too, when the mark says that it was synced (mark.go): that
// is written after each frame and never synced, so it outlives the process but
// perhaps not the machine.
const (
	journalBucket = "journal"
	journalKey    = "journal"

	tagBytes         = 8
	frameVersion     = 2
	frameHeaderBytes = tagBytes + 4 + 4 + 8 + 4

	blockBytes      = 4096
	minJournalBytes = 3 * blockBytes

	// defaultJournalBytes bounds the work of opening, the memory of what is not
	// in the database yet, and how long the commit takes that puts it there.
	defaultJournalBytes = 4 << 20
	// journalShare of the room on the disk is the longest journal.
	journalShare = 64
	// frameShare of the journal is the longest frame: beyond it, writing the bytes
	// twice costs more than the second sync.
	frameShare = 32

	flagHardState = 1
)

// journal is the open journal of a store. It belongs to the committing goroutine.
type journal struct {
	db       *database
	file     *os.File // past the page cache where the file system can do that
	tag      [tagBytes]byte
	from, to int64  // where it is in the file, whole blocks
	next     int64  // where the next frame goes
	frame    []byte // the one that is being written
	head     []byte // the record at its end
}

// span is a part of a file.
type span struct{ from, to int64 }

// journalSpan is the journal's whole blocks, given the address of the file's map
// and the value in it.
func journalSpan(data uintptr, value []byte) span {
	if len(value) < minJournalBytes {
		return span{}
	}
	at := int64(uintptr(unsafe.Pointer(unsafe.SliceData(value))) - data)
	from := (at + blockBytes - 1) / blockBytes * blockBytes
	to := (at + int64(len(value))) / blockBytes * blockBytes
	return span{from, to}
}

// openJournal makes the journal ready that is at some place of the database's
// file.
func openJournal(d *database, at span) (*journal, error) {
	j := &journal{db: d, file: d.file, from: at.from, to: at.to, next: at.from + blockBytes}
	if _, err := d.file.ReadAt(j.tag[:], at.from); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if direct, err := os.OpenFile(d.path, os.O_RDWR|syscall.O_DIRECT, 0); err == nil {
		j.file = direct
	}
	return j, nil
}

func (j *journal) close() error {
	if j == nil || j.file == j.db.file {
		return nil
	}
	return j.file.Close()
}

// begin makes the frame of a commit, without its head record, if it is one that
// the journal takes. The entries that it returns have their data in the frame.
func (j *journal) begin(writes []*protocol.Write) (copied []*protocol.Write, ok bool) {
	longest := (j.to - j.from) / frameShare
	size := int64(frameHeaderBytes + headBytes)
	for _, w := range writes {
		if w.Promise != nil || w.Identity != nil || w.Checkpoint != nil || w.Drop {
			return nil, false
		}
		size += 64
		for i := range w.Entries {
			size += int64(len(w.Entries[i].Data)) + 64
		}
	}
	if size > longest || j.next+size+blockBytes > j.to {
		return nil, false
	}
	j.frame = alignedBlocks(size)[:frameHeaderBytes]
	copied = make([]*protocol.Write, len(writes))
	for i, w := range writes {
		copied[i] = &protocol.Write{HardState: w.HardState}
		j.frame, copied[i].Entries = appendWrite(j.frame, w)
	}
	return copied, true
}

// appendWrite appends the write and returns its entries with their data there.
// dst has room for all of it.
func appendWrite(dst []byte, w *protocol.Write) ([]byte, []protocol.Entry) {
	if h := w.HardState; h != nil {
		dst = append(dst, flagHardState)
		for _, n := range [...]uint64{h.Term, uint64(h.Vote), h.Commit, h.Release} {
			dst = binary.LittleEndian.AppendUint64(dst, n)
		}
	} else {
		dst = append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(w.Entries)))
	if len(w.Entries) == 0 {
		return dst, nil
	}
	entries := make([]protocol.Entry, len(w.Entries))
	for i := range w.Entries {
		e := w.Entries[i]
		dst = binary.LittleEndian.AppendUint64(dst, e.Index)
		dst = binary.LittleEndian.AppendUint64(dst, e.Term)
		dst = appendLineage(dst, e.Lineage)
		dst = append(dst, byte(e.Kind))
		dst = binary.AppendUvarint(dst, uint64(len(e.Data)))
		start := len(dst)
		dst = append(dst, e.Data...)
		e.Data = dst[start:len(dst):len(dst)]
		entries[i] = e
	}
	return dst, entries
}

// write makes the frame durable, with the head record of the state that it makes.
func (j *journal) write(next *state) error {
	j.head = appendHead(j.head[:0], &next.head)
	frame := append(j.frame, j.head...)
	j.frame = nil
	copy(frame, j.tag[:])
	frame[tagBytes] = frameVersion
	binary.LittleEndian.PutUint32(frame[12:], uint32(len(frame)-frameHeaderBytes))
	binary.LittleEndian.PutUint64(frame[16:], next.head.frames)
	binary.LittleEndian.PutUint32(frame[24:], frameSum(frame))
	if err := j.db.opt.disk.ask("commit", j.db.path); err != nil {
		return err
	}
	if err := j.writeBlocks(frame[:blocks(len(frame))]); err != nil {
		return fmt.Errorf("write the journal: %w", asDiskFull(err))
	}
	if err := syncData(j.file); err != nil {
		return fmt.Errorf("sync the journal: %w", err)
	}
	j.next += blocks(len(frame))
	j.synced(next)
	return nil
}

// synced marks what is on the disk now.
func (j *journal) synced(st *state) {
	j.db.opt.mark.set(j.tag, synced{frame: st.head.frames, transaction: uint64(st.txid)})
}

// writeBlocks writes whole blocks, so that the kernel need not read what is there.
func (j *journal) writeBlocks(whole []byte) error {
	_, err := j.file.WriteAt(whole, j.next)
	if errors.Is(err, syscall.EINVAL) && j.file != j.db.file { // not past the cache, after all
		err = j.file.Close()
		if j.file = j.db.file; err == nil {
			_, err = j.file.WriteAt(whole, j.next)
		}
	}
	return err
}

// alignedBlocks is memory for whole blocks that a file opened for direct access
// takes.
func alignedBlocks(size int64) []byte {
	whole := blocks(int(size))
	memory := make([]byte, whole+blockBytes)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % blockBytes
	return memory[skip : int64(skip)+whole]
}

// passed: the frame is applied again and stays.
func (j *journal) passed(f *frame) { j.next += f.bytes }

// restart is called when the database has everything that the frames say.
func (j *journal) restart() { j.next = j.from + blockBytes }

func blocks(size int) int64 { return (int64(size) + blockBytes - 1) / blockBytes * blockBytes }

func frameSum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:frameHeaderBytes-4], castagnoli), castagnoli, frame[frameHeaderBytes:])
}

// frame is what one whole frame says. Its slices are in the journal's bytes.
type frame struct {
	number  uint64
	version byte  // only its header is known of one that a newer program wrote
	bytes   int64 // whole blocks
	body    []byte
}

// openFrame checks the frame of a journal at the beginning of some bytes.
func openFrame(tag, at []byte) (frame, bool) {
	if len(at) < frameHeaderBytes || !bytes.Equal(at[:tagBytes], tag) {
		return frame{}, false
	}
	end := frameHeaderBytes + int64(binary.LittleEndian.Uint32(at[12:]))
	if end > int64(len(at)) || binary.LittleEndian.Uint32(at[24:]) != frameSum(at[:end]) {
		return frame{}, false
	}
	return frame{
		number:  binary.LittleEndian.Uint64(at[16:]),
		version: at[tagBytes],
		bytes:   blocks(int(end)),
		body:    at[frameHeaderBytes:end],
	}, true
}

// pendingFrames returns the frames after the one of that number, in order. The
// error says that one is missing which was acknowledged; the frames before it
// are returned all the same.
func pendingFrames(area []byte, after uint64) ([]frame, error) {
	var found []frame
	next := int64(blockBytes)
	for next < int64(len(area)) {
		f, ok := openFrame(area[:tagBytes], area[next:])
		if !ok || f.number != after+uint64(len(found))+1 {
			break
		}
		if err := f.checkVersion(); err != nil {
			return found, err
		}
		found = append(found, f)
		next += f.bytes
	}
	expected := after + uint64(len(found)) + 1
	for ; next < int64(len(area)); next += blockBytes {
		if f, ok := openFrame(area[:tagBytes], area[next:]); ok && f.number >= expected {
			return found, fmt.Errorf("journal: frame %d is missing or damaged, and frame %d is there", expected, f.number)
		}
	}
	return found, nil
}

func (f *frame) checkVersion() error {
	return protocol.CheckVersion(fmt.Sprintf("frame %d of the journal", f.number), f.version, frameVersion)
}

// writes decodes what the commit of a frame wrote, and the head that it made.
func (f *frame) writes() (writes []*protocol.Write, h head, err error) {
	if err := f.checkVersion(); err != nil {
		return nil, h, err
	}
	if len(f.body) < headBytes {
		return nil, h, fmt.Errorf("journal, frame %d: %w", f.number, protocol.ErrMalformed)
	}
	content, record := f.body[:len(f.body)-headBytes], f.body[len(f.body)-headBytes:]
	if h, err = decodeHead(record); err != nil {
		return nil, h, fmt.Errorf("journal, frame %d: %w", f.number, err)
	}
	r := protocol.Reader{Rest: content}
	for len(r.Rest) > 0 && !r.Failed() {
		writes = append(writes, readWrite(&r))
	}
	if r.Failed() {
		return nil, h, fmt.Errorf("journal, frame %d: %w", f.number, protocol.ErrMalformed)
	}
	return writes, h, nil
}

func readWrite(r *protocol.Reader) *protocol.Write {
	w := &protocol.Write{}
	switch r.Byte() {
	case flagHardState:
		h := &protocol.HardState{Term: r.Uint64(), Vote: protocol.StoreID(r.Uint64())}
		h.Commit, h.Release = r.Uint64(), r.Uint64()
		w.HardState = h
	case 0:
	default:
		r.Fail()
	}
	const smallestEntry = 8 + 8 + 16 + 1 + 1
	count := r.Uvarint()
	if count > uint64(len(r.Rest)/smallestEntry) {
		r.Fail()
		return w
	}
	for range count {
		e := protocol.Entry{Index: r.Uint64(), Term: r.Uint64(), Lineage: readLineage(r), Kind: protocol.Kind(r.Byte())}
		e.Data = r.Bytes(r.Uvarint())
		w.Entries = append(w.Entries, e)
	}
	return w
}
