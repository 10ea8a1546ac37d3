package wal

import "holdfast/protocol"

// overlay is the end of the log as the frames of the journal have it: entries
// that readers do not find in the database, because the transaction that has
// them is not committed, and entries that replace what readers find there. It is
// never changed once it was published; a longer one may share the memory.
type overlay struct {
	first   uint64 // index of the first of them; zero: there are none
	entries []heldEntry
}

// heldEntry is an entry in memory, with the checksums of its pieces.
type heldEntry struct {
	protocol.Entry
	header header
	sums   []uint32
}

// find returns the entry at index, which the log has, if it is held here.
func (o *overlay) find(index uint64) *heldEntry {
	if o.first == 0 || index < o.first || index >= o.first+uint64(len(o.entries)) {
		return nil
	}
	return &o.entries[index-o.first]
}

// truncate takes away what the log loses from index on.
func (o *overlay) truncate(index uint64) {
	switch {
	case o.first == 0 || index <= o.first:
		*o = overlay{first: index}
	case index < o.first+uint64(len(o.entries)):
		kept := index - o.first
		o.entries = o.entries[:kept:kept] // readers keep what was behind
	}
}

// add appends the entry that follows.
func (o *overlay) add(e heldEntry) {
	if o.first == 0 {
		o.first = e.Index
	}
	o.entries = append(o.entries, e)
}

// piece appends the bytes of a piece to dst and its key to key.
func (e *heldEntry) piece(dst, key []byte, piece uint32) (data, found []byte, ok bool) {
	if piece >= uint32(len(e.sums)) {
		return dst, key, false
	}
	from, to := pieceSpan(e.header.size, piece)
	key = appendPieceKey(key, pieceKey{index: e.Index, piece: piece, sum: e.sums[piece], header: e.header})
	return append(dst, e.Data[from:to]...), key, true
}
