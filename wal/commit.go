package wal

import (
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

const (
	// dropKeys is how many keys are collected before they are deleted.
	dropKeys = 1024
	// defaultDropPieces is after how many pieces the dead entries that one commit lets
	// go are enough: up to 4 MiB, a few milliseconds.
	defaultDropPieces = 1024
	// pairsFill is the part of a page that pairs fill when it is split: the pages of
	// the index come in the order of their keys and change little afterwards.
	pairsFill = 0.9
)

// Commit makes the writes durable, in order and all at once; the data of entries
// must not change until it returns. The errors are ErrInvalidWrite and
// ErrDiskFull, after which the store is as before, ErrClosed, ErrRemoved and *DamageError.
// After ErrDiskFull a Commit without entries still finds room for some time: a
// checkpoint, and a Drop of what it says to be dead, are the way out.
func (s *Store) Commit(writes ...*protocol.Write) error {
	durable := s.states.Load().durable
	p := newPlan(durable)
	for _, w := range writes {
		if err := p.add(w); err != nil {
			return fmt.Errorf("commit to store %s: %w", s.path, err)
		}
	}
	if p.empty {
		return nil
	}
	if err := s.outlay(&p.need, writes); err != nil {
		return fmt.Errorf("commit to store %s: %w", s.path, err)
	}
	if p.identity != nil && s.claim != nil {
		if err := s.claim(*p.identity); err != nil {
			return fmt.Errorf("commit to store %s: %w", s.path, err)
		}
	}
	var keep func(*state) error
	if s.journal != nil {
		if copied, ok := s.journal.begin(writes); ok {
			writes, keep = copied, s.journal.write
		}
	}
	err := s.transact(p.room(), p.adds(), keep, func(tx *bolt.Tx, next *state) error {
		c := s.change(tx, next, keep != nil)
		if err := c.all(writes, &p); err != nil {
			return err
		}
		return c.finish()
	})
	if err == nil && !s.db.named() {
		return fmt.Errorf("commit to store %s: %w", s.path, ErrRemoved)
	}
	return err
}

// change begins a commit; framed: the journal is to keep it.
func (s *Store) change(tx *bolt.Tx, next *state, framed bool) *change {
	c := &change{store: s, writer: &s.writer, next: next, tx: tx, framed: framed, pieces: tx.Bucket([]byte(piecesBucket))}
	c.pieces.FillPercent = 1 // the log grows at its end
	return c
}

// all applies the writes of one commit.
func (c *change) all(writes []*protocol.Write, p *plan) error {
	if p.status {
		c.next.head.counter++
	}
	for _, w := range writes {
		if err := c.write(w); err != nil {
			return err
		}
	}
	return nil
}

// writer is memory that commits use again and again.
type writer struct {
	summer
	key    []byte
	sums   []uint32
	record []byte // the head record, until the commit is done
	doomed []byte // keys to delete, each after its length
}

// change applies writes to one transaction of the database and to the state
// that it makes.
type change struct {
	*writer
	store  *Store
	next   *state
	tx     *bolt.Tx
	pieces *bolt.Bucket
	framed bool // readers need the entries in memory: the transaction stays open
	// newCheckpoint: the checkpoint record has to be written.
	newCheckpoint bool
	dead          []uint64 // entries that are deleted
}

func (c *change) write(w *protocol.Write) error {
	if len(w.Entries) > 0 {
		if err := c.entries(w.Entries); err != nil {
			return err
		}
	}
	head := &c.next.head
	if w.HardState != nil {
		head.hardState = *w.HardState
	}
	if w.Promise != nil || w.Identity != nil || w.Checkpoint != nil {
		c.store.db.mixed = true
	}
	if w.Promise != nil {
		head.promise = *w.Promise
		if *w.Promise != (protocol.Attempt{}) {
			c.grant(*w.Promise)
		}
	}
	if w.Identity != nil {
		head.identity = *w.Identity
		c.next.checkpoint.granted, c.newCheckpoint = nil, true // a fresh store has granted nothing
		if !head.identity.Lineage.Blank() && !c.next.checkpoint.replaced.Blank() {
			c.next.checkpoint.replaced = protocol.Lineage{}
			c.newCheckpoint = true
		}
	}
	if w.Checkpoint != nil {
		if err := c.checkpoint(w.Checkpoint); err != nil {
			return err
		}
	}
	if w.Drop {
		return c.dropDead()
	}
	return nil
}

// grant remembers an attempt that the store promised. The list is copied:
// readers of the old state keep theirs.
func (c *change) grant(a protocol.Attempt) {
	granted := c.next.checkpoint.granted
	if slices.Contains(granted, a) {
		return
	}
	if len(granted) == maxGranted {
		granted = granted[1:]
	}
	c.next.checkpoint.granted = append(slices.Clip(granted), a)
	c.newCheckpoint = true
}

// finish writes what is written once a commit, and adjusts the memory of which
// entries are there. Entries leave that memory before the commit, so that a
// reader which does not find them in the new transaction does not miss them.
func (c *change) finish() error {
	if c.newCheckpoint {
		record := appendCheckpointRecord(nil, &c.next.checkpoint)
		if err := c.tx.Bucket([]byte(checkpointBucket)).Put([]byte(checkpointKey), record); err != nil {
			return err
		}
	}
	present := c.store.present.Load()
	before := c.store.states.Load().durable.checkpoint.horizon
	if horizon := c.next.checkpoint.horizon; horizon > before {
		present.set(before+1, horizon)
	}
	for _, index := range c.dead {
		present.clear(index)
	}
	return nil
}

// entries replaces the log from the first of them on.
func (c *change) entries(entries []protocol.Entry) error {
	first := entries[0].Index
	if first <= c.next.head.last {
		if err := c.truncate(first); err != nil {
			return err
		}
	}
	for i := range entries {
		if err := c.entry(&entries[i]); err != nil {
			return err
		}
	}
	c.next.head.last = entries[len(entries)-1].Index
	return nil
}

// truncate removes the log from first on.
func (c *change) truncate(first uint64) error {
	if _, err := c.drop(first, c.next.head.last+1); err != nil {
		return err
	}
	keep := len(c.next.marks)
	for ; keep > 0 && c.next.marks[keep-1].Index >= first; keep-- {
		m := c.next.marks[keep-1]
		c.key = markKey(c.key[:0], m)
		if err := c.tx.Bucket([]byte(marksBucket)).Delete(c.key); err != nil {
			return err
		}
		c.next.head.marks.remove(hashMark(m), 8+markValueBytes)
	}
	c.next.overlay.truncate(first)
	// Without the spare capacity, so that readers of the old state keep theirs.
	c.next.marks = c.next.marks[:keep:keep]
	c.next.head.last = first - 1
	return nil
}

// entry appends one entry to the log. Its bytes are handed to the database as
// they are, which copies them once, into the page.
func (c *change) entry(e *protocol.Entry) error {
	if n := len(c.next.marks); n == 0 || c.next.marks[n-1].Term != e.Term || c.next.marks[n-1].Lineage != e.Lineage {
		if err := c.mark(protocol.Mark{Index: e.Index, Term: e.Term, Lineage: e.Lineage}); err != nil {
			return err
		}
	}
	h := header{kind: e.Kind, size: uint32(len(e.Data)), term: e.Term, lineage: e.Lineage}
	count := pieces(h.size)
	c.sums = slices.Grow(c.sums[:0], int(count))[:count]
	for piece := uint32(1); piece < count; piece++ {
		from, to := pieceSpan(h.size, piece)
		c.sums[piece] = c.piece(e.Index, piece, e.Term, e.Lineage, header{}, e.Data[from:to])
		h.rest = c.follow(h.rest, c.sums[piece])
	}
	_, to := pieceSpan(h.size, 0)
	c.sums[0] = c.piece(e.Index, 0, e.Term, e.Lineage, h, e.Data[:to])
	for piece, sum := range c.sums {
		from, to := pieceSpan(h.size, uint32(piece))
		c.key = appendPieceKey(c.key[:0], pieceKey{index: e.Index, piece: uint32(piece), sum: sum, header: h})
		if err := c.pieces.Put(c.key, e.Data[from:to]); err != nil {
			return err
		}
		c.next.head.log.add(hashKey(c.key), len(c.key)+int(to-from))
	}
	if c.framed {
		c.next.overlay.add(heldEntry{Entry: *e, header: h, sums: slices.Clone(c.sums)})
	}
	return nil
}

func (c *change) mark(m protocol.Mark) error {
	c.key = markKey(c.key[:0], m)
	if err := c.tx.Bucket([]byte(marksBucket)).Put(c.key, appendMarkValue(nil, m)); err != nil {
		return err
	}
	c.next.marks = append(c.next.marks, m)
	c.next.head.marks.add(hashMark(m), 8+markValueBytes)
	return nil
}

// dropDead deletes a portion of the entries that checkpoints said to be dead, but at
// least one.
func (c *change) dropDead() error {
	dying := c.next.dying
	for pieces := 0; len(dying) > 0 && (pieces == 0 || pieces < c.store.opt.dropPieces); dying = dying[1:] {
		n, err := c.drop(dying[0], dying[0]+1)
		if err != nil {
			return err
		}
		pieces += max(n, 1)
		c.dead = append(c.dead, dying[0])
	}
	c.next.dying = dying
	c.next.checkpoints++ // who reads the log as of a checkpoint may have seen half of an entry
	return nil
}

// drop deletes the entries from lo up to but not including hi, and returns how many
// pieces they had.
func (c *change) drop(lo, hi uint64) (dropped int, err error) {
	c.store.db.mixed = true
	cursor := c.pieces.Cursor()
	for {
		c.doomed = c.doomed[:0]
		c.key = binary.BigEndian.AppendUint64(c.key[:0], lo)
		count := 0
		for key, value := cursor.Seek(c.key); key != nil && count < dropKeys; key, value = cursor.Next() {
			if _, ok := parsePieceKey(key); !ok {
				return dropped, fmt.Errorf("log: key %x is none", key)
			}
			if binary.BigEndian.Uint64(key) >= hi {
				break
			}
			c.next.head.log.remove(hashKey(key), len(key)+len(value))
			c.doomed = append(append(c.doomed, byte(len(key))), key...)
			count++
		}
		for rest := c.doomed; len(rest) > 0; {
			size := 1 + int(rest[0])
			if err := c.pieces.Delete(rest[1:size]); err != nil {
				return dropped, err
			}
			rest = rest[size:]
		}
		if dropped += count; count < dropKeys {
			return dropped, nil
		}
	}
}

// checkpoint stores the changed pairs, and notes which entries are dead.
func (c *change) checkpoint(cp *protocol.Checkpoint) error {
	pairs := c.tx.Bucket([]byte(pairsBucket))
	pairs.FillPercent = pairsFill
	size := 0
	for _, pair := range cp.Puts {
		size += pairSumBytes + len(pair.Value)
	}
	values := make([]byte, 0, size) // the database keeps parts of it until the commit
	for _, pair := range cp.Puts {
		if before := c.forgetPair(pairs, pair.Key); before > 2*len(pair.Value) {
			// The database looks for pages that are hardly used only where a key was deleted.
			if err := pairs.Delete(pair.Key); err != nil {
				return err
			}
		}
		sum := c.pair(pair.Key, pair.Value)
		start := len(values)
		values = append(binary.LittleEndian.AppendUint32(values, sum), pair.Value...)
		if err := pairs.Put(pair.Key, values[start:]); err != nil {
			return err
		}
		c.next.head.pairs.add(hashPair(pair.Key, sum), len(pair.Key)+len(values)-start)
	}
	for _, key := range cp.Deletes {
		c.forgetPair(pairs, key)
		if err := pairs.Delete(key); err != nil {
			return err
		}
	}
	c.next.dying = append(slices.Clip(c.next.dying), cp.Dead...)
	record := &c.next.checkpoint
	record.index, record.horizon = cp.Index, cp.Horizon
	record.configuration = protocol.Configuration{Voters: slices.Clone(cp.Configuration.Voters)}
	record.epoch, record.stamp = cp.Epoch, cp.Stamp
	record.foundings = slices.Clone(cp.Foundings)
	c.next.checkpoints++
	c.newCheckpoint = true
	return nil
}

// forgetPair takes the pair that the bucket has under key out of the account, and
// returns the size of its value.
func (c *change) forgetPair(pairs *bolt.Bucket, key []byte) int {
	old := pairs.Get(key)
	if sum, ok := pairSum(old); ok {
		c.next.head.pairs.remove(hashPair(key, sum), len(key)+len(old))
	}
	return len(old)
}

// pairSumBytes of checksum stand before each value of the checkpoint.
const pairSumBytes = 4

// pairSum returns the checksum before a stored value.
func pairSum(stored []byte) (uint32, bool) {
	if len(stored) < pairSumBytes {
		return 0, false
	}
	return binary.LittleEndian.Uint32(stored), true
}

// boot raises the boot counter.
func (s *Store) boot() error {
	return s.transact(outlay{bytes: overhead}, 0, nil, func(_ *bolt.Tx, next *state) error {
		s.db.mixed = true
		next.head.boot++
		return nil
	})
}

// bucketNames in the order in which a new store gets its buckets.
var bucketNames = []string{checkpointBucket, headBucket, marksBucket, pairsBucket, piecesBucket}

// initialise gives a new file its buckets and records.
func initialise(tx *bolt.Tx, h *head, c *checkpointRecord) error {
	for _, name := range bucketNames {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return putRecords(tx, h, c)
}

func putRecords(tx *bolt.Tx, h *head, c *checkpointRecord) error {
	if err := tx.Bucket([]byte(checkpointBucket)).Put([]byte(checkpointKey), appendCheckpointRecord(nil, c)); err != nil {
		return err
	}
	return tx.Bucket([]byte(headBucket)).Put([]byte(headKey), appendHead(nil, h))
}
