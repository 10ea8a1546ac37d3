package replication

import (
	"fmt"

	"holdfast/protocol"
)

// entryOverhead is what an entry counts for in every byte limit, beside its
// data, so that many small entries are bounded as well.
const entryOverhead = 32

func entryBytes(e *protocol.Entry) int { return len(e.Data) + entryOverhead }

// tail is the whole log as the core sees it: the newest entries in memory, the
// older ones in the durable Log. Durability lags behind: entries are handed to
// the owner, who reports some time later that they are written.
type tail struct {
	log Log

	// entries are those of [first, last], consecutive. Whatever is not durable
	// is here: first <= durable+1.
	entries queue[protocol.Entry]
	first   uint64
	// before is the position of first-1.
	before protocol.Mark
	// bytes counts entries; those that are durable leave when it passes limit.
	bytes, limit int

	// durable <= taken <= last. Entries up to durable are this log's entries
	// and durable; entries up to taken were handed to the owner.
	durable, taken uint64
	// writes are those handed over and not yet durable, oldest first.
	writes queue[write]
}

// write is one durable write that the owner was given.
type write struct {
	id uint64
	// last is the largest index for which the log that this write leaves
	// behind agrees with the log as it is now. A later truncation lowers it, so
	// that an old write cannot vouch for entries that replaced its own.
	last uint64
}

// newTail returns the log that is durable in log.
func newTail(log Log, limit int) (tail, error) {
	last := log.Last()
	t := tail{log: log, limit: limit, first: last + 1, durable: last, taken: last}
	before, err := t.position(last)
	t.before = before
	return t, err
}

// last returns the index of the last entry.
func (t *tail) last() uint64 { return t.first + uint64(t.entries.len()) - 1 }

// lastPosition returns the position of the last entry.
func (t *tail) lastPosition() protocol.Mark {
	if n := t.entries.len(); n > 0 {
		return positionOf(t.entries.at(n - 1))
	}
	return t.before
}

func positionOf(e *protocol.Entry) protocol.Mark {
	return protocol.Mark{Index: e.Index, Term: e.Term, Lineage: e.Lineage}
}

// position returns the term and lineage of the entry at index, which is at
// most last; it may be gone. Index 0 is the start of every log.
func (t *tail) position(index uint64) (protocol.Mark, error) {
	switch {
	case index == 0:
		return protocol.Mark{}, nil
	case index >= t.first:
		return positionOf(t.entries.at(int(index - t.first))), nil
	case index == t.before.Index:
		return t.before, nil
	}
	run, ok := t.log.Mark(index)
	if !ok {
		return protocol.Mark{}, fmt.Errorf("%w: no mark for entry %d", ErrUnreadable, index)
	}
	return protocol.Mark{Index: index, Term: run.Term, Lineage: run.Lineage}, nil
}

// matches reports whether the log has exactly the entry at that position.
func (t *tail) matches(at protocol.Mark) (bool, error) {
	if at.Index > t.last() {
		return false, nil
	}
	own, err := t.position(at.Index)
	return own == at, err
}

// agreement returns the last position at or below at.Index whose age is not
// above at's. Two logs cannot agree on anything later when at is where the
// other log stands (Raft, end of section 5.3, in both directions).
func (t *tail) agreement(at protocol.Mark) (protocol.Mark, error) {
	index := min(at.Index, t.last())
	for index > 0 {
		own, err := t.position(index)
		if err != nil || compareAge(own, at) <= 0 {
			return own, err
		}
		if index >= t.first {
			index--
			continue
		}
		run, ok := t.log.Mark(index)
		if !ok || run.Index == 0 || run.Index > index {
			return protocol.Mark{}, fmt.Errorf("%w: no mark for entry %d", ErrUnreadable, index)
		}
		index = run.Index - 1
	}
	return protocol.Mark{}, nil
}

// append adds entries, which follow last.
func (t *tail) append(entries ...protocol.Entry) {
	for i := range entries {
		t.entries.push(entries[i])
		t.bytes += entryBytes(&entries[i])
	}
}

// truncate removes every entry from index on; index >= 1.
func (t *tail) truncate(index uint64) error {
	if index > t.last() {
		return nil
	}
	before, err := t.position(index - 1)
	if err != nil {
		return err
	}
	keep := int(max(index, t.first) - t.first)
	for i := keep; i < t.entries.len(); i++ {
		t.bytes -= entryBytes(t.entries.at(i))
	}
	t.entries.cut(keep)
	if keep == 0 {
		t.first, t.before = index, before
	}
	t.durable, t.taken = min(t.durable, index-1), min(t.taken, index-1)
	for i := range t.writes.len() {
		w := t.writes.at(i)
		w.last = min(w.last, index-1)
	}
	return nil
}

// take appends to dst the entries that the owner does not have yet. handed must
// follow, unless there is nothing to write at all.
func (t *tail) take(dst []protocol.Entry) []protocol.Entry {
	for i := int(t.taken + 1 - t.first); i < t.entries.len(); i++ {
		dst = append(dst, *t.entries.at(i))
	}
	return dst
}

// handed records that everything up to last went to the owner as write id.
func (t *tail) handed(id uint64) {
	t.taken = t.last()
	t.writes.push(write{id: id, last: t.taken})
}

// persisted records that write id and all before are durable, and lets go of
// memory.
func (t *tail) persisted(id uint64) {
	for t.writes.len() > 0 && t.writes.at(0).id <= id {
		t.durable = max(t.durable, t.writes.at(0).last)
		t.writes.pop(1)
	}
	for t.bytes > t.limit && t.first <= t.durable {
		oldest := t.entries.at(0)
		t.bytes -= entryBytes(oldest)
		t.before = positionOf(oldest)
		t.entries.pop(1)
		t.first++
	}
}

// available reports whether the entry at index can still be read.
func (t *tail) available(index uint64) bool { return index >= t.first || index >= t.log.First() }

// read appends to dst entries from lo on, below hi, of at most maxBytes but at
// least one. It may stop short of both bounds. lo is available.
func (t *tail) read(dst []protocol.Entry, lo, hi uint64, maxBytes int) ([]protocol.Entry, error) {
	if lo < t.first {
		entries, err := t.log.Entries(lo, min(hi, t.first), maxBytes)
		if err == nil && (len(entries) == 0 || entries[0].Index != lo) {
			err = fmt.Errorf("entry %d is missing", lo)
		}
		if err != nil {
			return dst, fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		return append(dst, entries...), nil
	}
	size := 0
	for i := lo; i < hi; i++ {
		e := t.entries.at(int(i - t.first))
		if size += entryBytes(e); size > maxBytes && i > lo {
			break
		}
		dst = append(dst, *e)
	}
	return dst, nil
}

// firstBatch returns the index of the first batch of [lo, hi), or 0.
func (t *tail) firstBatch(lo, hi uint64) (uint64, error) {
	var entries []protocol.Entry
	for lo < hi {
		var err error
		if entries, err = t.read(entries[:0], lo, hi, t.limit); err != nil {
			return 0, err
		}
		for i := range entries {
			if entries[i].Kind == protocol.KindBatch {
				return entries[i].Index, nil
			}
		}
		lo += uint64(len(entries))
	}
	return 0, nil
}
