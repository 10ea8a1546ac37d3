package wal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"unsafe"

	"holdfast/protocol"
)

// bbolt waits for the disk twice in each of its transactions: for the pages, and then
// for the meta page that leads to them. A transaction that only adds entries to the log
// and changes the hard state waits once, for both together. So after a loss of power the
// newer meta page may lead to pages of which any part is missing. Such a transaction was
// never acknowledged; it is unfinished, and opening goes back to the one before:
//
//   - It is noticed. What opening checks of every file are the structure, the records
//     and all keys, which have the checksums of the values; here also the values
//     themselves, of what the transaction wrote (see written). The pages of an earlier
//     transaction can be whole in the place of the missing ones; but the head record
//     says which transaction it is of.
//   - The one before is there. Pages that it uses are used again by the transaction after
//     the unfinished one at the earliest, and that begins when the unfinished one is on
//     the disk. The same holds for the frames of the journal after it.
//   - What was acknowledged is not taken for unfinished while the mark says that it was
//     synced (see journalMark). Where power was lost, the mark may be older; then a last
//     transaction that rotted looks like an unfinished one.

// surveyTold is surveyFile that tells how far it is, unless told is nil, and goes back
// from an unfinished transaction unless the mark says that it was synced.
func surveyTold(path string, mark journalMark, told func(done, total int64)) (*survey, error) {
	data, err := mapFile(path, 4*pageSize)
	if err != nil {
		return &survey{present: newPresence()}, err
	}
	defer syscall.Munmap(data)
	var newer, older pageMetas
	if err := guard(func() (err error) {
		newer, older, err = readMetas(data)
		return err
	}); err != nil {
		return &survey{present: newPresence()}, err
	}
	s, err := surveyTree(data, newer, lastBefore(data, older), told)
	if err == nil || errors.Is(err, ErrNewerFormat) {
		return s, err
	}
	before, wrong := surveyTree(data, older, math.MaxUint64, told)
	if wrong != nil || before.tag == nil || mark.last(before.tag).transaction >= newer.txid {
		return s, err
	}
	before.unfinished = true
	return before, nil
}

// surveyTree walks what one meta page leads to. The values of entries above added are
// checked too.
func surveyTree(data []byte, metas pageMetas, added uint64, told func(done, total int64)) (*survey, error) {
	s := &survey{present: newPresence(), metas: metas}
	s.written = written{data: uintptr(unsafe.Pointer(unsafe.SliceData(data))), root: metas.root, added: added}
	err := guard(func() error {
		w, err := newPageWalk(data, metas)
		if err != nil {
			return err
		}
		w.visit, w.told = s.visit, told
		if err := w.all(metas.root); err != nil {
			return err
		}
		if err := s.finish(); err != nil {
			return err
		}
		return s.pending(data)
	})
	s.journal, s.written = nil, written{}
	return s, err
}

// lastBefore is the last entry of the log in the state that the older meta page leads to.
// Where that cannot be told, the pages of that state were used again: by a transaction
// after the newer one, which therefore was synced, and has no entries to be checked.
func lastBefore(data []byte, older pageMetas) uint64 {
	last := uint64(math.MaxUint64)
	_ = guard(func() error {
		w, err := newPageWalk(data, older)
		if err != nil {
			return err
		}
		w.visit = func(_ string, _, value []byte) error {
			h, err := decodeHead(value)
			if err == nil {
				last = h.last
			}
			return err
		}
		return w.tree(older.root, func(key, value []byte, isBucket bool) error {
			if string(key) != headBucket || !isBucket || len(value) < bucketBytes {
				return nil
			}
			return w.bucket(headBucket, value)
		})
	})
	return last
}

// written checks the values in the pages that a transaction wrote which only added
// entries: those of the entries themselves; what else is in the page that was the last of
// the log before, which is the first of them or the one before it; and the small buckets,
// which are in the root page.
type written struct {
	data  uintptr // address of the map
	root  uint64  // number of the page
	added uint64  // index before the first of the entries

	page    uint64     // where the walk of the log is
	waiting []rawPiece // of that page and the one before, not checked
	before  int        // how many of them are of the one before
	summer
}

// rawPiece is a piece in the memory map, with the run of the log that it is in.
type rawPiece struct {
	key, value []byte
	mark       protocol.Mark
}

// inRoot reports whether a key is in the root page, and what is there to be checked.
func (w *written) inRoot(key []byte) bool {
	return w.added != math.MaxUint64 && w.pageOf(key) == w.root
}

func (w *written) pageOf(key []byte) uint64 {
	return uint64((uintptr(unsafe.Pointer(unsafe.SliceData(key))) - w.data) / pageSize)
}

// take looks at the next piece of the log, of the entry at index.
func (w *written) take(index uint64, key, value []byte, mark protocol.Mark) error {
	if w.added == math.MaxUint64 {
		return nil
	}
	if page := w.pageOf(key); page != w.page {
		w.waiting = append(w.waiting[:0], w.waiting[w.before:]...)
		w.page, w.before = page, len(w.waiting)
	}
	w.waiting = append(w.waiting, rawPiece{key, value, mark})
	if index <= w.added && w.page != w.root {
		return nil
	}
	for _, p := range w.waiting {
		if err := w.check(p); err != nil {
			return err
		}
	}
	w.waiting, w.before = w.waiting[:0], 0
	return nil
}

func (w *written) check(p rawPiece) error {
	k, _ := parsePieceKey(p.key)
	if k.sum != w.piece(k.index, k.piece, p.mark.Term, p.mark.Lineage, k.header, p.value) {
		return fmt.Errorf("entry %d, piece %d: %w", k.index, k.piece, errChecksum)
	}
	return nil
}

// openSurveyed opens the database of a file that was surveyed. What the survey saw is
// on the disk then: the process before may have ended while it waited for that, and
// what a transaction leaves behind is used again by the next one.
func openSurveyed(path string, opt databaseOptions, found *survey) (*database, error) {
	if found.unfinished {
		if err := goBack(path, found.metas); err != nil {
			return nil, fmt.Errorf("go back from an unfinished commit: %w", err)
		}
	}
	d, err := openDatabase(path, opt)
	if err != nil {
		return nil, err
	}
	if err := d.sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("sync: %w", err), d.close())
	}
	return d, nil
}

// goBack makes the older of the meta pages the newer one: the other becomes a copy of it
// that says it is from one transaction before.
func goBack(path string, older pageMetas) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	older.txid--
	_, err = f.WriteAt(appendMeta(nil, older), int64(older.txid%2)*pageSize)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
