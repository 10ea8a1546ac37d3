package wal

import (
	"encoding/binary"
	"hash/crc32"

	"holdfast/protocol"
)

// An entry is cut into pieces, one key and value of the database each. The
// value is nothing but the piece's bytes, so that they reach the database
// without a copy of our own; everything about them is in the key:
//
//	index     8 bytes big-endian
//	piece     4 bytes big-endian, 0 is the first
//	checksum  4 bytes little-endian, CRC32C
//
// and in the key of piece 0 only, little-endian:
//
//	kind 1, size of the entry's data 4, term 8, lineage epoch 8, lineage ID 8,
//	checksum of the checksums of the pieces after this one 4
//
// The checksum of a piece covers the identity of its entry (index, piece
// number, term, lineage; for piece 0 the whole header) before the bytes. A
// piece that was written for another place, or for an entry that was replaced,
// is therefore as wrong as one with a flipped bit.
const (
	pieceKeyBytes = 16
	firstKeyBytes = pieceKeyBytes + 33

	// Two pieces fill one page of the database exactly: 16 bytes of page header
	// and for each 16 bytes of element header, the key and the value. bbolt
	// takes pages of more than one block from the garbage collector instead of
	// its pool, so pieces of twice the size cost 3.5 times the allocation at
	// the same number of bytes written.
	pieceBytes = (pageSize-16)/2 - 16 - pieceKeyBytes
	firstBytes = (pageSize-16)/2 - 16 - firstKeyBytes

	// MaxEntryBytes bounds the data of one entry.
	MaxEntryBytes = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what the key of an entry's first piece says about the entry.
type header struct {
	kind    protocol.Kind
	size    uint32
	term    uint64
	lineage protocol.Lineage
	rest    uint32 // checksum of the checksums of the later pieces
}

// pieces is the number of pieces of an entry with size bytes of data; at least 1.
func pieces(size uint32) uint32 {
	if size <= firstBytes {
		return 1
	}
	return 1 + (size-firstBytes+pieceBytes-1)/pieceBytes
}

// pieceSpan says which bytes of an entry of that size a piece holds.
func pieceSpan(size, piece uint32) (from, to uint32) {
	if piece == 0 {
		return 0, min(size, firstBytes)
	}
	from = firstBytes + (piece-1)*pieceBytes
	return from, min(size, from+pieceBytes)
}

// locate says which piece holds the byte at offset, and where in it.
func locate(offset uint32) (piece, within uint32) {
	if offset < firstBytes {
		return 0, offset
	}
	offset -= firstBytes
	return 1 + offset/pieceBytes, offset % pieceBytes
}

// pieceKey is a key cut into its parts.
type pieceKey struct {
	index  uint64
	piece  uint32
	sum    uint32
	header header // of piece 0 only
}

// parsePieceKey reads a key; it reports false for anything that is not one.
func parsePieceKey(key []byte) (pieceKey, bool) {
	if len(key) < pieceKeyBytes {
		return pieceKey{}, false
	}
	k := pieceKey{
		index: binary.BigEndian.Uint64(key),
		piece: binary.BigEndian.Uint32(key[8:]),
		sum:   binary.LittleEndian.Uint32(key[12:]),
	}
	if k.index == 0 {
		return pieceKey{}, false
	}
	if k.piece != 0 {
		return k, len(key) == pieceKeyBytes
	}
	if len(key) != firstKeyBytes {
		return pieceKey{}, false
	}
	r := protocol.Reader{Rest: key[pieceKeyBytes:]}
	k.header = header{
		kind: protocol.Kind(r.Byte()),
		size: r.Uint32(),
		term: r.Uint64(),
		lineage: protocol.Lineage{
			Epoch: r.Uint64(),
			ID:    protocol.AttemptID(r.Uint64()),
		},
		rest: r.Uint32(),
	}
	return k, k.header.size <= MaxEntryBytes
}

// appendPieceKey appends the key's bytes to dst.
func appendPieceKey(dst []byte, k pieceKey) []byte {
	dst = binary.BigEndian.AppendUint64(dst, k.index)
	dst = binary.BigEndian.AppendUint32(dst, k.piece)
	dst = binary.LittleEndian.AppendUint32(dst, k.sum)
	if k.piece != 0 {
		return dst
	}
	dst = append(dst, byte(k.header.kind))
	dst = binary.LittleEndian.AppendUint32(dst, k.header.size)
	dst = binary.LittleEndian.AppendUint64(dst, k.header.term)
	dst = binary.LittleEndian.AppendUint64(dst, k.header.lineage.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(k.header.lineage.ID))
	return binary.LittleEndian.AppendUint32(dst, k.header.rest)
}

// piecePrefix is the part of a key that is known without its content.
func piecePrefix(dst []byte, index uint64, piece uint32) []byte {
	dst = binary.BigEndian.AppendUint64(dst, index)
	return binary.BigEndian.AppendUint32(dst, piece)
}

// summer computes checksums. It keeps the bytes before the data in memory of
// its own, because what is given to the checksum's assembly escapes to the heap.
type summer struct {
	prefix []byte
}

// piece is the checksum of one piece. term and lineage are those of the entry;
// h is looked at for piece 0 only.
func (s *summer) piece(index uint64, piece uint32, term uint64, lineage protocol.Lineage, h header, data []byte) uint32 {
	b := piecePrefix(s.prefix[:0], index, piece)
	b = binary.LittleEndian.AppendUint64(b, term)
	b = binary.LittleEndian.AppendUint64(b, lineage.Epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(lineage.ID))
	if piece == 0 {
		b = append(b, byte(h.kind))
		b = binary.LittleEndian.AppendUint32(b, h.size)
		b = binary.LittleEndian.AppendUint32(b, h.rest)
	}
	s.prefix = b
	return crc32.Update(crc32.Update(0, castagnoli, b), castagnoli, data)
}

// follow extends the checksum over the checksums of an entry's later pieces.
func (s *summer) follow(rest, sum uint32) uint32 {
	s.prefix = binary.LittleEndian.AppendUint32(s.prefix[:0], sum)
	return crc32.Update(rest, castagnoli, s.prefix)
}

// pair is the checksum of a key and value of the checkpoint.
func (s *summer) pair(key, value []byte) uint32 {
	s.prefix = binary.LittleEndian.AppendUint32(s.prefix[:0], uint32(len(key)))
	return crc32.Update(crc32.Update(crc32.Update(0, castagnoli, s.prefix), castagnoli, key), castagnoli, value)
}

// account is what a store remembers about all keys of one bucket, so that a key
// that vanished, appeared or changed is noticed although bbolt has no checksum
// over its pages: their number, a sum of their hashes in any order, and the
// bytes of keys and values.
type account struct {
	count uint64
	sum   uint64
	bytes uint64
}

func (a *account) add(hash uint64, bytes int) {
	a.count++
	a.sum += hash
	a.bytes += uint64(bytes)
}

func (a *account) remove(hash uint64, bytes int) {
	a.count--
	a.sum -= hash
	a.bytes -= uint64(bytes)
}

// fnv1a is the hash of that name with 64 bits, as bbolt has it over its meta pages.
func fnv1a(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// hashKey is the hash that an account adds up: FNV-1a with the finisher of
// MurmurHash3, so that sums of similar keys do not cancel out.
func hashKey(key []byte) uint64 {
	h := fnv1a(key)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
