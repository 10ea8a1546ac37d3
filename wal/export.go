package wal

import (
	"encoding/binary"
	"fmt"

	"holdfast/protocol"
)

const (
	smallestChunk = 16 << 10
	largestChunk  = 8 << 20
)

// Extent says where a copy ends, and what the log says up to there.
type Extent struct {
	// Last is the index of the copy's last entry: committed in the sense of Raft,
	// durable here, and not below the checkpoint.
	Last          uint64
	Configuration protocol.Configuration
	Epoch         uint64
	Foundings     []protocol.Founding
}

// Export reads the checkpoint of a store, with all entries at or below it that
// are there and those above it up to the end of the copy, for a node that joins.
// New entries may be committed meanwhile; a checkpoint may not, and no entry dropped.
type Export struct {
	store    *Store
	sequence uint32
	tag      byte // of the record that comes next
	manifest manifestContent
	marks    []markBytes
	pairs    pairWalk
	pieces   pieceWalk
	totals   totals
	sent     int64
	total    int64
	done     bool
}

type markBytes struct{ key, value []byte }

// Export begins a copy up to end. ErrNoFounding: the entries up to there do not
// contain the founding of the store's lineage, so that the copy would not belong
// to it.
func (s *Store) Export(end Extent) (*Export, error) {
	st := s.states.Load().durable
	checkpoint := &st.checkpoint
	if end.Last < checkpoint.index || end.Last > st.head.last {
		return nil, fmt.Errorf("export %s up to %d, with a checkpoint at %d and the last entry %d: %w", s.path, end.Last, checkpoint.index, st.head.last, ErrNotPresent)
	}
	if mark, ok := st.mark(end.Last); !ok || end.Last == 0 || mark.Lineage != st.head.identity.Lineage {
		return nil, fmt.Errorf("export %s: %w", s.path, ErrNoFounding)
	}
	x := &Export{
		store:  s,
		tag:    recordManifest,
		pairs:  pairWalk{store: s, checkpoints: st.checkpoints},
		pieces: pieceWalk{store: s, checkpoints: st.checkpoints, index: 1, to: end.Last},
		total:  int64(st.head.log.bytes + st.head.pairs.bytes),
	}
	for _, m := range st.marks {
		if m.Index > end.Last {
			break
		}
		value := appendMarkValue(nil, m)
		x.marks = append(x.marks, markBytes{key: markKey(nil, m), value: value})
		x.totals.marks.add(hashMark(m), 8+len(value))
	}
	x.manifest = manifestContent{
		lineage:    st.head.identity.Lineage,
		marks:      uint64(len(x.marks)),
		checkpoint: *checkpoint,
		end:        end,
	}
	return x, nil
}

// Next returns the next chunk, of about maxBytes (at least 16 KiB and at most
// 8 MiB are used). done: it is the last one. The memory is the caller's.
// ErrCheckpointMoved: a checkpoint was made, or an entry dropped, meanwhile; begin again.
func (x *Export) Next(maxBytes int) (chunk []byte, done bool, err error) {
	if x.done {
		return nil, true, nil
	}
	maxBytes = min(max(maxBytes, smallestChunk), largestChunk)
	chunk = beginChunk(make([]byte, 0, maxBytes+pageSize))
	for len(chunk) < maxBytes && !x.done {
		if chunk, err = x.fill(chunk, maxBytes); err != nil {
			return nil, false, err
		}
	}
	sealChunk(chunk, x.sequence)
	x.sequence++
	return chunk, x.done, nil
}

// fill appends records of one kind, and moves on to the next kind after the last.
func (x *Export) fill(chunk []byte, maxBytes int) ([]byte, error) {
	switch x.tag {
	case recordManifest:
		x.tag = recordMark
		return appendRecord(chunk, recordManifest, appendManifest(nil, &x.manifest)), nil
	case recordMark:
		for len(x.marks) > 0 && len(chunk) < maxBytes {
			chunk = appendRecord(chunk, recordMark, x.marks[0].key, x.marks[0].value)
			x.marks = x.marks[1:]
		}
		if len(x.marks) == 0 {
			x.tag = recordPair
		}
		return chunk, nil
	case recordPair:
		return x.fillPairs(chunk, maxBytes)
	case recordPiece:
		return x.fillPieces(chunk, maxBytes)
	}
	x.done = true
	x.sent = x.total
	return appendRecord(chunk, recordEnd, appendTotals(nil, x.totals)), nil
}

func (x *Export) fillPairs(chunk []byte, maxBytes int) ([]byte, error) {
	pairs, err := x.pairs.next(maxBytes - len(chunk))
	if err != nil {
		return nil, err
	}
	for _, pair := range pairs {
		length := binary.AppendUvarint(nil, uint64(len(pair.Key)))
		sum := binary.LittleEndian.AppendUint32(nil, x.pairs.pair(pair.Key, pair.Value))
		chunk = appendRecord(chunk, recordPair, length, pair.Key, sum, pair.Value)
		x.sent += int64(len(pair.Key) + pairSumBytes + len(pair.Value))
	}
	if len(pairs) == 0 {
		x.totals.pairs = x.pairs.seen
		x.tag = recordPiece
	}
	return chunk, nil
}

func (x *Export) fillPieces(chunk []byte, maxBytes int) ([]byte, error) {
	done, err := x.pieces.next(func(key, data []byte) bool {
		chunk = appendRecord(chunk, recordPiece, key, data)
		x.totals.log.add(hashKey(key), len(key)+len(data))
		x.sent += int64(len(key) + len(data))
		return len(chunk) < maxBytes
	})
	if err != nil {
		return nil, err
	}
	if done {
		x.tag = recordEnd
	}
	return chunk, nil
}

// Progress tells how many bytes of keys and values were read, and about how many
// there are; total counts entries above the checkpoint too and is corrected only
// at the end.
func (x *Export) Progress() (sent, total int64) { return x.sent, x.total }

// Close ends the export. Nothing in the store waits for it.
func (x *Export) Close() { x.done = true }
