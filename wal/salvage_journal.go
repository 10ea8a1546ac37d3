package wal

import (
	"cmp"
	"slices"
	"unsafe"

	"holdfast/protocol"
)

// readJournal takes in what only the journal has. Where the head record is lost,
// nobody knows which of its frames those are: then all of them count, the newer
// before the older.
func (s *Salvage) readJournal() error {
	frames := s.frames
	if len(s.journal) > 0 {
		at := journalSpan(uintptr(unsafe.Pointer(unsafe.SliceData(s.data))), s.journal)
		pending, err := pendingFrames(s.data[at.from:at.to], s.head.frames)
		if err != nil || !s.hasHead {
			pending = allFrames(s.data[at.from:at.to])
		}
		frames = append(frames, pending...)
	}
	slices.SortStableFunc(frames, func(a, b frame) int { return cmp.Compare(a.number, b.number) })
	s.journaled = make(map[uint64]protocol.Entry)
	for i := range frames {
		if frames[i].number <= s.head.frames {
			continue
		}
		writes, made, err := frames[i].writes()
		if err != nil {
			s.fault("%v", err)
			continue
		}
		for _, w := range writes {
			s.takeEntries(w.Entries)
		}
		if s.hasHead {
			s.head = made
		}
	}
	return nil
}

// takeEntries keeps entries that replace everything from the first of them on.
func (s *Salvage) takeEntries(entries []protocol.Entry) {
	if len(entries) == 0 {
		return
	}
	first := entries[0].Index
	for index := range s.journaled {
		if index >= first {
			delete(s.journaled, index)
		}
	}
	if s.hasHead {
		s.pieces = s.pieces[:s.search(first)]
		s.marks = slices.DeleteFunc(s.marks, func(m protocol.Mark) bool { return m.Index >= first })
	}
	for _, e := range entries {
		s.journaled[e.Index] = e
	}
}

// rescueFrames looks for frames wherever the walk did not come.
func (s *Salvage) rescueFrames(w *pageWalk) {
	for id := uint64(2); id < w.highWater; id++ {
		if w.used[id/64]&(1<<(id%64)) != 0 {
			continue
		}
		for at := id * pageSize; at < (id+1)*pageSize; at += blockBytes {
			if f, ok := openFrame(s.data[at:at+tagBytes], s.data[at:]); ok {
				s.frames = append(s.frames, f)
			}
		}
	}
}

// allFrames finds every frame of a journal that is whole.
func allFrames(area []byte) (found []frame) {
	for at := blockBytes; at < len(area); at += blockBytes {
		if f, ok := openFrame(area[:tagBytes], area[at:]); ok {
			found = append(found, f)
		}
	}
	return found
}
