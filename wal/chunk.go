package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"holdfast/protocol"
)

// A copy of a store travels as a sequence of chunks. A chunk is a header
//
//	magic     4 bytes "HFCP"
//	version   1
//	zero      3
//	sequence  4 little-endian; the first chunk of a copy is 0
//	length    4 of the records
//	checksum  4 CRC32C of the header before it and of the records
//
// and records, each a tag, the length of its content as a uvarint, and the
// content. They come in the order of their tags; only the last chunk ends with
// recordEnd.
const (
	chunkMagic       = "HFCP"
	chunkVersion     = 1
	chunkHeaderBytes = 20
	// MaxChunkBytes bounds a chunk as a whole. The largest record, a pair of the
	// checkpoint, fits.
	MaxChunkBytes = 32 << 20

	recordManifest = 1 // lineage, number of marks, checkpoint state, state at the end
	recordMark     = 2 // key and value as in the store
	recordPair     = 3 // length of the key, key, value as in the store
	recordPiece    = 4 // key and bytes as in the store
	recordEnd      = 5 // the accounts of marks, pairs and pieces
)

var errChunk = errors.New("malformed chunk")

// beginChunk leaves room for the header.
func beginChunk(dst []byte) []byte { return append(dst, make([]byte, chunkHeaderBytes)...) }

// sealChunk fills the header in.
func sealChunk(chunk []byte, sequence uint32) {
	copy(chunk, chunkMagic)
	chunk[4] = chunkVersion
	binary.LittleEndian.PutUint32(chunk[8:], sequence)
	binary.LittleEndian.PutUint32(chunk[12:], uint32(len(chunk)-chunkHeaderBytes))
	binary.LittleEndian.PutUint32(chunk[16:], chunkSum(chunk))
}

func chunkSum(chunk []byte) uint32 {
	return crc32.Update(crc32.Checksum(chunk[:16], castagnoli), castagnoli, chunk[chunkHeaderBytes:])
}

// openChunk checks a chunk and returns its sequence number and its records.
func openChunk(chunk []byte) (sequence uint32, records []byte, err error) {
	switch {
	case len(chunk) < chunkHeaderBytes || len(chunk) > MaxChunkBytes || string(chunk[:4]) != chunkMagic:
		return 0, nil, errChunk
	case chunk[4] != chunkVersion:
		return 0, nil, fmt.Errorf("%w: version %d, this program knows %d", errChunk, chunk[4], chunkVersion)
	case chunk[5]|chunk[6]|chunk[7] != 0 || uint64(binary.LittleEndian.Uint32(chunk[12:])) != uint64(len(chunk)-chunkHeaderBytes):
		return 0, nil, fmt.Errorf("%w: wrong header", errChunk)
	case binary.LittleEndian.Uint32(chunk[16:]) != chunkSum(chunk):
		return 0, nil, fmt.Errorf("%w: checksum mismatch", errChunk)
	}
	return binary.LittleEndian.Uint32(chunk[8:]), chunk[chunkHeaderBytes:], nil
}

// appendRecord appends a record whose content is the concatenation of the parts.
func appendRecord(dst []byte, tag byte, parts ...[]byte) []byte {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	dst = binary.AppendUvarint(append(dst, tag), uint64(size))
	for _, part := range parts {
		dst = append(dst, part...)
	}
	return dst
}

// manifestContent is what the first record of a copy says.
type manifestContent struct {
	lineage    protocol.Lineage
	marks      uint64
	checkpoint checkpointRecord // without owner, replaced and granted
	end        Extent
}

func appendManifest(dst []byte, m *manifestContent) []byte {
	dst = appendLineage(dst, m.lineage)
	dst = binary.LittleEndian.AppendUint64(dst, m.marks)
	dst = appendCheckpointState(dst, &m.checkpoint)
	dst = binary.LittleEndian.AppendUint64(dst, m.end.Last)
	dst = binary.LittleEndian.AppendUint64(dst, m.end.Epoch)
	dst = protocol.AppendConfiguration(dst, m.end.Configuration)
	return appendFoundings(dst, m.end.Foundings)
}

func decodeManifest(content []byte) (manifestContent, error) {
	r := protocol.Reader{Rest: content}
	m := manifestContent{lineage: readLineage(&r), marks: r.Uint64()}
	readCheckpointState(&r, &m.checkpoint)
	m.end = Extent{Last: r.Uint64(), Epoch: r.Uint64(), Configuration: r.Configuration(), Foundings: readFoundings(&r)}
	if err := r.Done("manifest"); err != nil {
		return manifestContent{}, err
	}
	if m.lineage.Blank() || m.end.Last == 0 || m.end.Last < m.checkpoint.index || m.marks == 0 || m.marks > m.end.Last {
		return manifestContent{}, fmt.Errorf("decode manifest: %w", protocol.ErrMalformed)
	}
	return m, nil
}

// totals are the accounts of a whole copy.
type totals struct{ marks, pairs, log account }

func appendTotals(dst []byte, t totals) []byte {
	return appendAccount(appendAccount(appendAccount(dst, t.marks), t.pairs), t.log)
}

func decodeTotals(content []byte) (totals, error) {
	r := protocol.Reader{Rest: content}
	t := totals{marks: readAccount(&r), pairs: readAccount(&r), log: readAccount(&r)}
	return t, r.Done("totals")
}
