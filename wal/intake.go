package wal

import (
	"bytes"
	"errors"
	"fmt"

	"holdfast/protocol"
)

// sink takes what an intake has checked. The slices share memory with the chunk.
type sink interface {
	mark(key, value []byte) error
	pair(key, value []byte) error
	piece(key, data []byte) error
}

// intake checks the chunks of a copy as they come: their order, every checksum,
// that marks, pairs and entries ascend without a gap where there may be none,
// and at the end that all of it adds up to what the sender read. After an error
// the copy is void.
type intake struct {
	summer
	sequence uint32
	tag      byte // of the record before
	manifest manifestContent
	marks    []protocol.Mark
	lastPair []byte
	totals   totals

	entry     pieceKey // the entry that is being received, by its first piece
	nextPiece uint32
	rest      uint32
	whole     uint64 // the last index up to which, from the horizon on, nothing is missing
}

// described reports whether the marks are complete.
func (in *intake) described() bool {
	return in.manifest.marks > 0 && uint64(len(in.marks)) == in.manifest.marks
}

// done reports whether the copy is whole.
func (in *intake) done() bool { return in.tag == recordEnd }

// chunk takes one chunk in.
func (in *intake) chunk(chunk []byte, to sink) error {
	sequence, records, err := openChunk(chunk)
	if err != nil {
		return err
	}
	if sequence != in.sequence || in.done() {
		return fmt.Errorf("%w: number %d instead of %d", errChunk, sequence, in.sequence)
	}
	in.sequence++
	for len(records) > 0 {
		r := protocol.Reader{Rest: records[1:]}
		content := r.Bytes(r.Uvarint())
		if r.Failed() {
			return fmt.Errorf("%w: a record does not fit", errChunk)
		}
		if err := in.record(records[0], content, to); err != nil {
			return err
		}
		records = r.Rest
	}
	return nil
}

func (in *intake) record(tag byte, content []byte, to sink) (err error) {
	if tag < in.tag || in.done() || (tag == in.tag && tag == recordManifest) || (in.tag == 0) != (tag == recordManifest) {
		return fmt.Errorf("%w: record %d after %d", errChunk, tag, in.tag)
	}
	if tag > recordMark && !in.described() {
		return fmt.Errorf("%w: %d marks of %d", errChunk, len(in.marks), in.manifest.marks)
	}
	in.tag = tag
	switch tag {
	case recordManifest:
		in.manifest, err = decodeManifest(content)
		in.whole = in.manifest.checkpoint.horizon
		return err
	case recordMark:
		return in.mark(content, to)
	case recordPair:
		return in.pairRecord(content, to)
	case recordPiece:
		return in.pieceRecord(content, to)
	case recordEnd:
		return in.end(content)
	}
	return fmt.Errorf("%w: unknown record %d", errChunk, tag)
}

func (in *intake) mark(content []byte, to sink) error {
	if len(content) != 8+markValueBytes {
		return fmt.Errorf("%w: mark of %d bytes", errChunk, len(content))
	}
	m, err := decodeMark(content[:8], content[8:])
	if err != nil {
		return err
	}
	n := len(in.marks)
	switch {
	case n == 0 && m.Index != 1,
		n > 0 && m.Index <= in.marks[n-1].Index,
		m.Index > in.manifest.end.Last,
		in.described():
		return fmt.Errorf("%w: mark at %d out of place", errChunk, m.Index)
	}
	in.marks = append(in.marks, m)
	in.totals.marks.add(hashMark(m), len(content))
	return to.mark(content[:8], content[8:])
}

func (in *intake) pairRecord(content []byte, to sink) error {
	r := protocol.Reader{Rest: content}
	key := r.Bytes(r.Uvarint())
	value := r.Rest
	sum, ok := pairSum(value)
	switch {
	case r.Failed() || !ok || len(key) == 0 || len(key) > maxPairKeyBytes || len(value) > pairSumBytes+maxPairValueBytes:
		return fmt.Errorf("%w: a pair does not fit", errChunk)
	case in.lastPair != nil && bytes.Compare(in.lastPair, key) >= 0:
		return fmt.Errorf("%w: pair %x out of order", errChunk, key)
	case sum != in.pair(key, value[pairSumBytes:]):
		return fmt.Errorf("%w: pair %x: checksum mismatch", errChunk, key)
	}
	in.lastPair = append(in.lastPair[:0], key...)
	in.totals.pairs.add(hashPair(key, sum), len(key)+len(value))
	return to.pair(key, value)
}

func (in *intake) pieceRecord(content []byte, to sink) error {
	size := pieceKeyBytes
	if len(content) >= pieceKeyBytes && bytes.Equal(content[8:12], []byte{0, 0, 0, 0}) {
		size = firstKeyBytes
	}
	if len(content) < size {
		return fmt.Errorf("%w: a piece does not fit", errChunk)
	}
	key, data := content[:size], content[size:]
	k, ok := parsePieceKey(key)
	if !ok {
		return fmt.Errorf("%w: %x is not the key of a piece", errChunk, key)
	}
	if err := in.place(k, len(data)); err != nil {
		return fmt.Errorf("%w: entry %d, piece %d: %w", errChunk, k.index, k.piece, err)
	}
	if k.sum != in.piece(k.index, k.piece, in.entry.header.term, in.entry.header.lineage, k.header, data) {
		return fmt.Errorf("%w: entry %d, piece %d: checksum mismatch", errChunk, k.index, k.piece)
	}
	if k.piece > 0 {
		in.rest = in.follow(in.rest, k.sum)
	}
	if in.nextPiece == pieces(in.entry.header.size) && in.rest != in.entry.header.rest {
		return fmt.Errorf("%w: entry %d: checksum mismatch", errChunk, k.index)
	}
	in.totals.log.add(hashKey(key), len(content))
	return to.piece(key, data)
}

// place checks that a piece is the one that may come next.
func (in *intake) place(k pieceKey, size int) error {
	if k.piece == 0 {
		if err := in.begin(k); err != nil {
			return err
		}
	}
	if k.index != in.entry.index || k.piece != in.nextPiece || k.piece >= pieces(in.entry.header.size) {
		return errors.New("out of order")
	}
	if from, to := pieceSpan(in.entry.header.size, k.piece); size != int(to-from) {
		return errors.New("wrong length")
	}
	in.nextPiece++
	return nil
}

// begin goes on to another entry.
func (in *intake) begin(k pieceKey) error {
	checkpoint := &in.manifest.checkpoint
	switch mark, ok := findMark(in.marks, k.index); {
	case in.entry.index > 0 && in.nextPiece != pieces(in.entry.header.size):
		return fmt.Errorf("entry %d is not complete", in.entry.index)
	case k.index <= in.entry.index || k.index > in.manifest.end.Last:
		return errors.New("out of order")
	case k.index > checkpoint.horizon && k.index != in.whole+1:
		return fmt.Errorf("entry %d is missing", in.whole+1)
	case !ok || mark.Term != k.header.term || mark.Lineage != k.header.lineage:
		return errors.New("its term and lineage are not those of the marks")
	}
	if k.index > checkpoint.horizon {
		in.whole = k.index
	}
	in.entry, in.nextPiece, in.rest = k, 0, 0
	return nil
}

func (in *intake) end(content []byte) error {
	sent, err := decodeTotals(content)
	switch {
	case err != nil:
		return err
	case in.entry.index > 0 && in.nextPiece != pieces(in.entry.header.size):
		return fmt.Errorf("%w: entry %d is not complete", errChunk, in.entry.index)
	case in.whole != in.manifest.end.Last:
		return fmt.Errorf("%w: entry %d is missing", errChunk, in.whole+1)
	case sent != in.totals:
		return fmt.Errorf("%w: it does not add up to what was sent", errChunk)
	}
	return nil
}
