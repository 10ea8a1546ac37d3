package wal

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// Reader reads messages as they were at one moment. It remembers the piece that
// it checked last and where that was, so reading one message after the other
// costs a copy each and one search and checksum for every piece.
type Reader struct {
	store  *Store
	st     *state
	cursor *bolt.Cursor
	summer

	index  uint64 // entry of the piece that was checked last; zero: none
	number uint32 // which of its pieces
	data   []byte // the bytes of that piece
	key    []byte // the prefix that is looked for
	found  []byte // the key that was found, copied
}

// View calls fn with a reader of what the store has now, as of one Commit. The
// reader is valid inside fn only. fn must not call Commit, View or Close, and
// should be done in milliseconds.
func (s *Store) View(fn func(*Reader) error) error {
	db, tx, st, err := s.begin()
	if err != nil {
		return err
	}
	defer db.end(tx)
	r, _ := s.readers.Get().(*Reader)
	if r == nil {
		r = &Reader{data: make([]byte, 0, pieceBytes)}
	}
	if err := r.reset(s, tx, st); err != nil {
		return s.fail("begin to read", err)
	}
	defer func() {
		r.store, r.st, r.cursor = nil, nil, nil
		s.readers.Put(r)
	}()
	return fn(r)
}

// reset points the reader at a transaction.
func (r *Reader) reset(s *Store, tx *bolt.Tx, st *state) (err error) {
	defer catch(&err, debug.SetPanicOnFault(true))
	bucket := tx.Bucket([]byte(piecesBucket))
	if bucket == nil {
		return errors.New("the log's bucket is missing")
	}
	r.store, r.st, r.cursor = s, st, bucket.Cursor()
	r.index, r.found = 0, r.found[:0]
	return nil
}

// Read appends size bytes of the data of the entry at index, from offset on, to
// dst. ErrNotPresent: the entry was deleted, or it has no such bytes.
// *DamageError: the store has lost or changed them.
func (r *Reader) Read(dst []byte, index uint64, offset, size uint32) ([]byte, error) {
	for {
		piece, within := locate(offset)
		if r.index != index || r.number != piece {
			if err := r.load(index, piece); err != nil {
				return dst, err
			}
		}
		if int(within) > len(r.data) {
			return dst, fmt.Errorf("read entry %d at %d: %w", index, offset, ErrNotPresent)
		}
		part := r.data[within:min(len(r.data), int(within)+int(size))]
		dst = append(dst, part...)
		offset += uint32(len(part))
		size -= uint32(len(part))
		if size == 0 {
			return dst, nil
		}
		if len(r.data) < pieceCapacity(piece) {
			return dst, fmt.Errorf("read entry %d at %d: %w", index, offset, ErrNotPresent)
		}
	}
}

// pieceCapacity is how many bytes a piece holds when more follow.
func pieceCapacity(piece uint32) int {
	if piece == 0 {
		return firstBytes
	}
	return pieceBytes
}

// load makes the piece the one that is remembered.
func (r *Reader) load(index uint64, piece uint32) error {
	r.index = 0
	data, _, err := r.fetch(r.data[:0], index, piece)
	if errors.Is(err, errNoPiece) {
		return r.missing(index, piece)
	}
	if err != nil {
		return r.store.fail(fmt.Sprintf("entry %d, piece %d", index, piece), err)
	}
	r.data, r.index, r.number = data, index, piece
	return nil
}

// errNoPiece: the transaction does not have the piece, for whatever reason.
var errNoPiece = errors.New("missing")

// missing judges why a piece is not there.
func (r *Reader) missing(index uint64, piece uint32) error {
	gone := index == 0 || index > r.st.head.last ||
		index <= r.st.checkpoint.horizon && !r.store.present.Load().has(index)
	if !gone && piece > 0 {
		_, h, err := r.fetch(r.data[:0], index, 0)
		switch {
		case err == nil:
			gone = piece >= pieces(h.size) // beyond the end of the entry
		case !errors.Is(err, errNoPiece):
			return r.store.fail(fmt.Sprintf("entry %d, piece 0", index), err)
		}
	}
	if gone {
		return fmt.Errorf("read entry %d: %w", index, ErrNotPresent)
	}
	return r.store.fail(fmt.Sprintf("entry %d, piece %d", index, piece), errNoPiece)
}

// fetch appends the bytes of a piece to dst and checks them there. The header
// is that of the entry for piece 0.
func (r *Reader) fetch(dst []byte, index uint64, piece uint32) (_ []byte, h header, err error) {
	start := len(dst)
	mark, ok := r.st.mark(index)
	if !ok || index == 0 {
		return dst, header{}, errNoPiece
	}
	if held := r.st.overlay.find(index); held != nil {
		dst, r.found, ok = held.piece(dst, r.found[:0], piece)
		if !ok {
			return dst, header{}, errNoPiece
		}
		return dst, held.header, nil
	}
	if dst, err = r.copyPiece(dst, index, piece); err != nil {
		return dst[:start], header{}, err
	}
	k, ok := parsePieceKey(r.found)
	switch data := dst[start:]; {
	case !ok || k.index != index || k.piece != piece:
		err = errors.New("malformed key")
	case piece == 0 && (k.header.term != mark.Term || k.header.lineage != mark.Lineage):
		err = fmt.Errorf("it is of term %d of lineage %v, not of term %d of %v",
			k.header.term, k.header.lineage, mark.Term, mark.Lineage)
	case k.sum != r.piece(index, piece, mark.Term, mark.Lineage, k.header, data):
		err = errChecksum
	case piece == 0 && len(data) != min(int(k.header.size), firstBytes):
		err = errors.New("wrong length")
	}
	if err != nil {
		return dst[:start], header{}, err
	}
	return dst, k.header, nil
}

var errChecksum = errors.New("checksum mismatch")

// copyPiece copies the key of a piece to r.found and appends its bytes to dst.
// It alone touches the memory map.
func (r *Reader) copyPiece(dst []byte, index uint64, piece uint32) (_ []byte, err error) {
	defer catch(&err, debug.SetPanicOnFault(true))
	r.key = piecePrefix(r.key[:0], index, piece)
	key, value := r.step()
	if !bytes.HasPrefix(key, r.key) {
		if key, value = r.cursor.Seek(r.key); !bytes.HasPrefix(key, r.key) {
			return dst, errNoPiece
		}
	}
	if len(key) > firstKeyBytes || len(value) > pieceBytes {
		return dst, errors.New("wrong length")
	}
	r.found = append(r.found[:0], key...)
	return append(dst, value...), nil
}

// step moves the cursor to the next key if what is looked for may be there.
func (r *Reader) step() (key, value []byte) {
	if len(r.found) < pieceKeyBytes-4 || bytes.Compare(r.found, r.key) >= 0 {
		return nil, nil
	}
	return r.cursor.Next()
}

// entry reads a whole entry into memory of its own, unless its data is longer
// than maxBytes.
func (r *Reader) entry(index uint64, maxBytes int) (e protocol.Entry, fits bool, err error) {
	first, h, err := r.fetch(r.data[:0], index, 0)
	r.index = 0
	if errors.Is(err, errNoPiece) {
		return e, false, r.missing(index, 0)
	}
	if err != nil {
		return e, false, r.store.fail(fmt.Sprintf("entry %d, piece 0", index), err)
	}
	r.data = first
	if int(h.size) > maxBytes {
		return e, false, nil
	}
	data := append(make([]byte, 0, h.size), first...)
	rest := uint32(0)
	for piece := uint32(1); piece < pieces(h.size); piece++ {
		before := len(data)
		if data, _, err = r.fetch(data, index, piece); err == nil {
			from, to := pieceSpan(h.size, piece)
			if len(data)-before != int(to-from) {
				err = errors.New("wrong length")
			}
		}
		if err != nil {
			return e, false, r.store.fail(fmt.Sprintf("entry %d, piece %d", index, piece), err)
		}
		k, _ := parsePieceKey(r.found)
		rest = r.follow(rest, k.sum)
	}
	if rest != h.rest {
		return e, false, r.store.fail(fmt.Sprintf("entry %d", index), errChecksum)
	}
	return protocol.Entry{Index: index, Term: h.term, Lineage: h.lineage, Kind: h.kind, Data: data}, true, nil
}
