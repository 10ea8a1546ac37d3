package wal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unsafe"

	"holdfast/protocol"
)

// Salvage is a store file, possibly damaged, that is read and never written. It
// goes on behind whatever is wrong, and says what that was: an entry that it
// gives is right in every byte, because its checksums are. It does not use
// bbolt, which relies on pages being right.
type Salvage struct {
	path string
	data []byte // the memory map
	// metas are those before an unfinished transaction; nil: there is none.
	metas *pageMetas
	head  head
	// what the records say; zero where they are damaged
	checkpoint             checkpointRecord
	hasHead, hasCheckpoint bool
	marks                  []protocol.Mark
	pairs                  []protocol.Pair // right ones only, in the memory map
	pairAccount            account
	pieces                 []savedPiece // ascending
	journal                []byte       // its value, in the memory map
	frames                 []frame      // found where nothing led to
	// journaled are entries that only the journal has, or had last.
	journaled map[uint64]protocol.Entry
	faults    []string
	more      int // faults beyond maxFaults
	summer
}

// savedPiece is where the bytes of a piece are. Of a damaged file there may be
// several under one number, of different times.
type savedPiece struct {
	index   uint64
	piece   uint32
	size    uint32
	at      int64 // of the bytes, in the file
	key     int64 // of the key
	rescued bool  // found in a page that nothing led to
}

// maxFaults bounds the list of what is wrong.
const maxFaults = 1000

// SalvageFile opens a store file. The error says why nothing can be read at all.
func SalvageFile(path string) (*Salvage, error) {
	data, err := mapFile(path, pageSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Salvage{path: path, data: data}
	found, err := surveyFile(path)
	if err != nil {
		s.fault("%v", err)
	}
	if found.unfinished {
		s.metas = &found.metas
	}
	if err := guard(s.collect); err != nil {
		s.fault("%v", err)
	}
	slices.SortFunc(s.pieces, func(a, b savedPiece) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.piece, b.piece), cmp.Compare(a.at, b.at))
	})
	if err := guard(s.readJournal); err != nil {
		s.fault("%v", err)
	}
	return s, nil
}

// Close ends the reading.
func (s *Salvage) Close() error { return syscall.Munmap(s.data) }

// Path is the file.
func (s *Salvage) Path() string { return s.path }

// Bytes is the length of the file.
func (s *Salvage) Bytes() int64 { return int64(len(s.data)) }

// Meta is what the store knows about itself; false: the records that say so are
// damaged, and what they would tell is zero.
func (s *Salvage) Meta() (Meta, bool) {
	st := state{head: s.head, checkpoint: s.checkpoint}
	return st.meta(), s.hasHead && s.hasCheckpoint
}

// Last is the index of the last entry, as far as that is known.
func (s *Salvage) Last() uint64 { return s.head.last }

// Stored is the number of bytes in the log and in the checkpoint, as the store
// counted them.
func (s *Salvage) Stored() (log, checkpoint uint64) { return s.head.log.bytes, s.head.pairs.bytes }

// Faults lists what is wrong with the file, as far as it was found out.
func (s *Salvage) Faults() []string {
	if s.more > 0 {
		return append(slices.Clone(s.faults), fmt.Sprintf("and %d more", s.more))
	}
	return s.faults
}

func (s *Salvage) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case slices.Contains(s.faults, text):
	case len(s.faults) == maxFaults:
		s.more++
	default:
		s.faults = append(s.faults, text)
	}
}

// collect finds everything that can be reached, and if anything could not, what
// lies in pages that nothing leads to.
func (s *Salvage) collect() error {
	metas, err := s.newestMeta()
	if err != nil {
		s.fault("%v", err)
		metas.highWater = uint64(len(s.data) / pageSize)
	}
	highWater := min(metas.highWater, uint64(len(s.data)/pageSize))
	w := &pageWalk{data: s.data[:highWater*pageSize], highWater: highWater, used: make([]uint64, highWater/64+1)}
	broken := err != nil || highWater < metas.highWater
	w.skip = func(err error) bool {
		broken = true
		s.fault("%v", err)
		return true
	}
	w.visit = func(bucket string, key, value []byte) error {
		s.take(bucket, key, value)
		return nil
	}
	if metas.root != 0 {
		if err := w.all(metas.root); err != nil {
			broken = true
			s.fault("%v", err)
		}
	}
	if broken {
		s.rescue(w)
	}
	return nil
}

// newestMeta is the newer of the meta pages that are right.
func (s *Salvage) newestMeta() (newest pageMetas, err error) {
	if s.metas != nil {
		return *s.metas, nil
	}
	err = errors.New("both meta pages are wrong")
	for slot := range uint64(2) {
		if uint64(len(s.data)) < (slot+1)*pageSize {
			break
		}
		if m, wrong := readMeta(s.data[slot*pageSize:], slot); wrong == nil && m.txid >= newest.txid {
			newest, err = m, nil
		}
	}
	return newest, err
}

// take keeps what is right in itself.
func (s *Salvage) take(bucket string, key, value []byte) {
	switch bucket {
	case checkpointBucket:
		if c, err := decodeCheckpointRecord(value); err == nil {
			s.checkpoint, s.hasCheckpoint = c, true
		}
	case headBucket:
		if h, err := decodeHead(value); err == nil {
			s.head, s.hasHead = h, true
		}
	case marksBucket:
		if m, err := decodeMark(key, value); err == nil {
			s.marks = append(s.marks, m)
		}
	case pairsBucket:
		sum, ok := pairSum(value)
		if !ok || sum != s.pair(key, value[pairSumBytes:]) {
			s.fault("checkpoint, key %x: %v", key, errChecksum)
			return
		}
		s.pairs = append(s.pairs, protocol.Pair{Key: key, Value: value[pairSumBytes:]})
		s.pairAccount.add(hashPair(key, sum), len(key)+len(value))
	case piecesBucket:
		s.takePiece(key, value, false)
	case journalBucket:
		s.journal = value
	}
}

func (s *Salvage) takePiece(key, value []byte, rescued bool) {
	if k, ok := parsePieceKey(key); ok && len(value) <= pieceBytes {
		s.pieces = append(s.pieces, savedPiece{
			index: k.index, piece: k.piece, size: uint32(len(value)),
			at: s.offset(value, key), key: s.offset(key, key), rescued: rescued,
		})
	}
}

// offset is where a part of the map begins; an empty one is where its key is.
func (s *Salvage) offset(part, key []byte) int64 {
	if len(part) == 0 {
		part = key
	}
	return int64(uintptr(unsafe.Pointer(&part[0])) - uintptr(unsafe.Pointer(&s.data[0])))
}

// rescue looks into every page that the walk did not reach. A piece found there
// may be of an entry that was deleted or replaced.
func (s *Salvage) rescue(w *pageWalk) {
	if len(s.journal) == 0 {
		s.rescueFrames(w)
	}
	for id := uint64(2); id < w.highWater; id++ {
		if w.used[id/64]&(1<<(id%64)) != 0 {
			continue
		}
		page, err := w.page(id)
		if err != nil || len(page) == 0 {
			continue
		}
		// Errors only mean that it is no such page.
		_ = guard(func() error {
			return w.leaf(page, nil, nil, func(key, value []byte, isBucket bool) error {
				if !isBucket {
					s.takePiece(key, value, true)
				}
				return nil
			})
		})
	}
}

// Pairs calls fn with every pair of the checkpoint; whole: none of them is
// missing. The slices are valid until Close.
func (s *Salvage) Pairs(fn func(key, value []byte) error) (whole bool, err error) {
	for _, pair := range s.pairs {
		if err := fn(pair.Key, pair.Value); err != nil {
			return false, err
		}
	}
	return s.hasHead && s.hasCheckpoint && s.pairAccount == s.head.pairs, nil
}

// Indices calls fn for the index of every entry of which there is anything, in
// ascending order.
func (s *Salvage) Indices(fn func(index uint64) error) error {
	journaled := slices.Sorted(maps.Keys(s.journaled))
	last := uint64(0)
	for i := range s.pieces {
		index := s.pieces[i].index
		if index == last {
			continue
		}
		for ; len(journaled) > 0 && journaled[0] < index; journaled = journaled[1:] {
			if err := fn(journaled[0]); err != nil {
				return err
			}
		}
		if len(journaled) > 0 && journaled[0] == index {
			journaled = journaled[1:]
		}
		last = index
		if err := fn(index); err != nil {
			return err
		}
	}
	for _, index := range journaled {
		if err := fn(index); err != nil {
			return err
		}
	}
	return nil
}

// search is where in s.pieces those at or above an index begin.
func (s *Salvage) search(index uint64) int {
	at, _ := slices.BinarySearchFunc(s.pieces, index, func(p savedPiece, index uint64) int { return cmp.Compare(p.index, index) })
	return at
}

// span is where the pieces of an entry are in s.pieces.
func (s *Salvage) span(index uint64) []savedPiece {
	from := s.search(index)
	to := from
	for to < len(s.pieces) && s.pieces[to].index == index {
		to++
	}
	return s.pieces[from:to]
}

// Entry reads a whole entry. The error says what of it is missing or wrong.
func (s *Salvage) Entry(index uint64) (e protocol.Entry, err error) {
	if e, ok := s.journaled[index]; ok {
		e.Data = bytes.Clone(e.Data)
		return e, nil
	}
	span := s.span(index)
	err = fmt.Errorf("entry %d: piece 0 is missing or damaged", index)
	for i := range span {
		if span[i].piece != 0 {
			break
		}
		var candidate protocol.Entry
		if candidate, err = s.entryFrom(&span[i], span); err == nil {
			return candidate, nil
		}
	}
	return e, err
}

// entryFrom puts the entry together that begins with this first piece.
func (s *Salvage) entryFrom(first *savedPiece, span []savedPiece) (e protocol.Entry, err error) {
	err = guard(func() error {
		k, _ := parsePieceKey(s.data[first.key : first.key+firstKeyBytes])
		h := k.header
		data := append(make([]byte, 0, h.size), s.data[first.at:first.at+int64(first.size)]...)
		if k.sum != s.piece(k.index, 0, h.term, h.lineage, h, data) {
			return fmt.Errorf("entry %d, piece 0: %w", k.index, errChecksum)
		}
		if mark, ok := findMark(s.marks, k.index); s.hasHead && ok && (mark.Term != h.term || mark.Lineage != h.lineage) {
			return fmt.Errorf("entry %d: it was replaced", k.index)
		}
		rest := uint32(0)
		for piece := uint32(1); piece < pieces(h.size); piece++ {
			found := s.find(span, piece, h, &data)
			if found == nil {
				return fmt.Errorf("entry %d, piece %d of %d: missing or damaged", k.index, piece, pieces(h.size))
			}
			rest = s.follow(rest, found.sum)
		}
		if rest != h.rest || len(data) != int(h.size) {
			return fmt.Errorf("entry %d: %w", k.index, errChecksum)
		}
		e = protocol.Entry{Index: k.index, Term: h.term, Lineage: h.lineage, Kind: h.kind, Data: data}
		return nil
	})
	return e, err
}

// find appends the bytes of the piece of that number that belongs to the entry.
func (s *Salvage) find(span []savedPiece, piece uint32, h header, data *[]byte) *pieceKey {
	for i := range span {
		p := &span[i]
		if p.piece != piece {
			continue
		}
		k, ok := parsePieceKey(bytes.Clone(s.data[p.key : p.key+pieceKeyBytes]))
		start := len(*data)
		*data = append(*data, s.data[p.at:p.at+int64(p.size)]...)
		if ok && k.sum == s.piece(p.index, piece, h.term, h.lineage, header{}, (*data)[start:]) {
			return &k
		}
		*data = (*data)[:start]
	}
	return nil
}

// Folder is what a store folder holds, looked at without a change.
type Folder struct {
	Owner   Owner
	Store   string   // the store's file; "" : there is none
	Serial  uint64   // the number in its name
	Aside   []string // store files in the quarantine
	Strays  []string // other store files: replaced, unused, or nobody knows
	Problem string   // why current cannot tell which file is the store; "" otherwise
	lock    *os.File
}

// LookInto reads a store folder that no process uses, and keeps it so until
// Close. ErrLocked: one does.
func LookInto(path string) (*Folder, error) {
	listed, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	f := &Folder{}
	if f.lock, err = os.Open(filepath.Join(path, lockName)); err == nil {
		err = ignoringInterrupts(func() error { return syscall.Flock(int(f.lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) })
		if err != nil {
			f.lock.Close()
			return nil, fmt.Errorf("store folder %s: %w by a node; stop it first", path, ErrLocked)
		}
	}
	content, err := readBounded(filepath.Join(path, pointerName))
	var p pointer
	if err == nil {
		p, err = decodePointer(content)
	}
	if err != nil {
		f.Problem = fmt.Sprintf("%s: %v", filepath.Join(path, pointerName), err)
	}
	f.Owner = p.owner
	for _, entry := range listed {
		serial, ok := storeSerial(entry.Name())
		switch full := filepath.Join(path, entry.Name()); {
		case !ok:
		case err == nil && p.current && serial == p.serial:
			f.Store, f.Serial = full, serial
		default:
			f.Strays = append(f.Strays, full)
		}
	}
	if err == nil && p.current && f.Store == "" {
		f.Problem = fmt.Sprintf("the store's file, %s, is missing", fmt.Sprintf(storePattern, p.serial))
	}
	f.Aside, err = filepath.Glob(filepath.Join(path, quarantineName, "*"+storeSuffix))
	return f, err
}

// Close lets a node use the folder again.
func (f *Folder) Close() {
	if f.lock != nil {
		f.lock.Close()
	}
}
