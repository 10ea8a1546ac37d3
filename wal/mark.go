package wal

import (
	"encoding/binary"
	"hash/crc32"
	"os"
)

// journalMark tells, to the next process, what was synced last: a frame of the journal,
// or a transaction of the database. It is in the folder's lock file and never synced
// itself. The zero value is none.
type journalMark struct{ lock *os.File }

// synced is what a mark tells; the zero value says nothing.
type synced struct {
	frame       uint64 // number of the last frame of the journal
	transaction uint64 // of the database, the last one
}

// The mark is behind the text of the lock file: the tag of the journal, the number
// of the frame, that of the transaction and a CRC32C.
const (
	markOffset  = 512
	markLength  = tagBytes + 8 + 8 + 4
	markSumFrom = markLength - 4
)

// set does its best: without the mark, what rots before the next commit looks like
// something that was never finished.
func (m journalMark) set(tag [tagBytes]byte, s synced) {
	if m.lock == nil {
		return
	}
	var b [markLength]byte
	copy(b[:], tag[:])
	binary.LittleEndian.PutUint64(b[tagBytes:], s.frame)
	binary.LittleEndian.PutUint64(b[tagBytes+8:], s.transaction)
	binary.LittleEndian.PutUint32(b[markSumFrom:], crc32.Checksum(b[:markSumFrom], castagnoli))
	_, _ = m.lock.WriteAt(b[:], markOffset)
}

// last is what is known to have been synced of the store that has a journal with that tag.
func (m journalMark) last(tag []byte) synced {
	var b [markLength]byte
	if m.lock == nil {
		return synced{}
	}
	if _, err := m.lock.ReadAt(b[:], markOffset); err != nil || string(b[:tagBytes]) != string(tag) ||
		binary.LittleEndian.Uint32(b[markSumFrom:]) != crc32.Checksum(b[:markSumFrom], castagnoli) {
		return synced{}
	}
	return synced{
		frame:       binary.LittleEndian.Uint64(b[tagBytes:]),
		transaction: binary.LittleEndian.Uint64(b[tagBytes+8:]),
	}
}
