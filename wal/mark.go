package wal

import (
	"encoding/binary"
	"hash/crc32"
	"os"
)

// journalMark tells, to the next process, the last frame of a journal that was
// synced. It is in the folder's lock file and never synced itself. The zero value
// is none.
type journalMark struct{ lock *os.File }

// The mark is behind the text of the lock file: the tag of the journal, the number
// of the frame and a CRC32C.
const (
	markOffset  = 512
	markLength  = tagBytes + 8 + 4
	markSumFrom = tagBytes + 8
)

// set does its best: without the mark, a frame that rots before the next one is
// written looks like one that was never finished.
func (m journalMark) set(tag [tagBytes]byte, number uint64) {
	if m.lock == nil {
		return
	}
	var b [markLength]byte
	copy(b[:], tag[:])
	binary.LittleEndian.PutUint64(b[tagBytes:], number)
	binary.LittleEndian.PutUint32(b[markSumFrom:], crc32.Checksum(b[:markSumFrom], castagnoli))
	_, _ = m.lock.WriteAt(b[:], markOffset)
}

// number of the last frame of that journal which is known to have been synced.
func (m journalMark) number(tag [tagBytes]byte) uint64 {
	var b [markLength]byte
	if m.lock == nil {
		return 0
	}
	if _, err := m.lock.ReadAt(b[:], markOffset); err != nil || string(b[:tagBytes]) != string(tag[:]) ||
		binary.LittleEndian.Uint32(b[markSumFrom:]) != crc32.Checksum(b[:markSumFrom], castagnoli) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[tagBytes:])
}
