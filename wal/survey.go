package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"syscall"
	"unsafe"

	"holdfast/protocol"
)

// The buckets of a store file, in the order in which a walk meets them, and the
// one key of each of the first two.
const (
	checkpointBucket = "checkpoint" // what changes with a checkpoint: one record
	headBucket       = "head"       // what changes with almost every commit: one record
	// then the journal's; see journal.go
	marksBucket  = "marks"  // where the (lineage, term) of the log changes
	pairsBucket  = "pairs"  // the state machine's checkpoint
	piecesBucket = "pieces" // the log

	checkpointKey = "checkpoint"
	headKey       = "head"
)

// survey is what one walk over a store file learns: everything that is kept in
// memory, and the proof that no key is missing, foreign or changed. Only the
// bytes of values, whose checksums are in the keys or before them, are left to
// be checked when they are read.
type survey struct {
	head       head
	checkpoint checkpointRecord
	marks      []protocol.Mark
	present    *presence // entries at or below the horizon

	metas      pageMetas // that led to all this
	unfinished bool      // they are the older ones: the transaction after it was never finished

	journal []byte  // its bytes, in the map
	tag     []byte  // of the journal, copied; nil: there is none
	frames  []frame // that the rest of the file does not contain, copied

	hasHead, hasCheckpoint bool
	log, marked, pairs     account // as counted

	written written

	// The entry that the walk is in, with its run, and the last one above the horizon.
	index     uint64
	mark      protocol.Mark
	size      uint32
	nextPiece uint32
	whole     uint64
}

// surveyFile walks the file at path. With an error it returns what it had
// learned until then, for a report about a damaged store.
func surveyFile(path string) (*survey, error) { return surveyTold(path, journalMark{}, nil) }

// mapFile maps a whole file, of at least so many bytes, to be read. Whoever reads it
// guards against faults, and unmaps it.
func mapFile(path string, least int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < least {
		return nil, fmt.Errorf("the file is too short: %d bytes", info.Size())
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the file: %w", err)
	}
	return data, nil
}

// visit takes one key in. Nothing of the map is kept.
func (s *survey) visit(bucket string, key, value []byte) (err error) {
	switch bucket {
	case checkpointBucket:
		s.checkpoint, err = decodeCheckpointRecord(value)
		s.hasCheckpoint = err == nil && string(key) == checkpointKey
		s.whole = s.checkpoint.horizon
	case headBucket:
		s.head, err = decodeHead(value)
		s.hasHead = err == nil && string(key) == headKey
	case journalBucket:
		s.journal = value
	case marksBucket:
		var m protocol.Mark
		if m, err = decodeMark(key, value); err == nil {
			s.marks = append(s.marks, m)
			s.marked.add(hashMark(m), len(key)+len(value))
		}
	case pairsBucket:
		sum, ok := pairSum(value)
		if !ok {
			return errors.New("checkpoint: a value without a checksum")
		}
		if s.written.inRoot(key) && sum != s.written.pair(key, value[pairSumBytes:]) {
			return fmt.Errorf("checkpoint, key %x: %w", key, errChecksum)
		}
		s.pairs.add(hashPair(key, sum), len(key)+len(value))
	case piecesBucket:
		s.log.add(hashKey(key), len(key)+len(value))
		if err = s.piece(key, len(value)); err == nil {
			err = s.written.take(s.index, key, value, s.mark)
		}
	default:
		err = fmt.Errorf("unknown bucket %q", bucket)
	}
	return err
}

// pending copies the frames of the journal that the rest of the file does not
// contain.
func (s *survey) pending(data []byte) error {
	if s.journal == nil {
		return nil
	}
	at := journalSpan(uintptr(unsafe.Pointer(unsafe.SliceData(data))), s.journal)
	if at == (span{}) {
		return nil
	}
	s.tag = slices.Clone(data[at.from : at.from+tagBytes])
	frames, err := pendingFrames(data[at.from:at.to], s.head.frames)
	for i := range frames {
		frames[i].body = slices.Clone(frames[i].body)
	}
	s.frames = frames
	return err
}

// piece checks that pieces follow each other without a gap, of the lengths that
// the header of their entry tells.
func (s *survey) piece(key []byte, size int) error {
	k, ok := parsePieceKey(key)
	if !ok {
		return fmt.Errorf("log: key %x is none", key)
	}
	if k.piece == 0 {
		if err := s.entryEnd(); err != nil {
			return err
		}
		if err := s.entryBegin(k); err != nil {
			return err
		}
	}
	if k.index != s.index || k.piece != s.nextPiece || k.piece >= pieces(s.size) {
		return fmt.Errorf("entry %d: piece %d out of place", k.index, k.piece)
	}
	if from, to := pieceSpan(s.size, k.piece); uint32(size) != to-from {
		return fmt.Errorf("entry %d: piece %d has %d bytes of %d", k.index, k.piece, size, to-from)
	}
	s.nextPiece++
	return nil
}

func (s *survey) entryBegin(k pieceKey) error {
	mark, ok := findMark(s.marks, k.index)
	if !ok || mark.Term != k.header.term || mark.Lineage != k.header.lineage {
		return fmt.Errorf("entry %d: term and lineage are not those of the log", k.index)
	}
	if k.index <= s.checkpoint.horizon {
		s.present.set(k.index, k.index)
	} else {
		if k.index != s.whole+1 {
			return fmt.Errorf("entry %d is missing", s.whole+1)
		}
		s.whole = k.index
	}
	s.index, s.mark, s.size, s.nextPiece = k.index, mark, k.header.size, 0
	return nil
}

func (s *survey) entryEnd() error {
	if s.index != 0 && s.nextPiece != pieces(s.size) {
		return fmt.Errorf("entry %d: piece %d is missing", s.index, s.nextPiece)
	}
	return nil
}

// finish compares what was met with what the store remembers.
func (s *survey) finish() error {
	if err := s.entryEnd(); err != nil {
		return err
	}
	last := s.head.last
	switch {
	case !s.hasHead || !s.hasCheckpoint:
		return errors.New("a record is missing")
	case s.head.transaction != 0 && s.head.transaction != s.metas.txid:
		return fmt.Errorf("the head record is of transaction %d, not of %d", s.head.transaction, s.metas.txid)
	case s.log != s.head.log:
		return fmt.Errorf("log: the keys are not those that were written (%d of %d)", s.log.count, s.head.log.count)
	case s.marked != s.head.marks:
		return fmt.Errorf("marks: the keys are not those that were written (%d of %d)", s.marked.count, s.head.marks.count)
	case s.pairs != s.head.pairs:
		return fmt.Errorf("checkpoint: the keys are not those that were written (%d of %d)", s.pairs.count, s.head.pairs.count)
	case s.whole != last:
		return fmt.Errorf("entry %d is missing", s.whole+1)
	case s.checkpoint.index > last:
		return fmt.Errorf("checkpoint at %d after the last entry %d", s.checkpoint.index, last)
	case len(s.marks) == 0 && last > 0, len(s.marks) > 0 && (s.marks[0].Index != 1 || s.marks[len(s.marks)-1].Index > last):
		return errors.New("marks: they do not span the log")
	}
	return nil
}

// findMark returns the run of the log that holds index, given the marks of a
// log that reaches at least there.
func findMark(marks []protocol.Mark, index uint64) (protocol.Mark, bool) {
	// The search is nearly always for the newest run.
	if n := len(marks); n > 0 && marks[n-1].Index <= index {
		return marks[n-1], true
	}
	at := sort.Search(len(marks), func(i int) bool { return marks[i].Index > index })
	if at == 0 {
		return protocol.Mark{}, false
	}
	return marks[at-1], true
}
