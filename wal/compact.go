package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// compactStep is about how many bytes lie between two reports of a compaction.
const compactStep = 8 << 20

// Compact writes the current store of a folder, which no process uses, into a new
// file without free pages, and makes that the store: by the same rename as a copy
// from another node (Dir.Activate), so that a crash leaves the old file or the new
// one. It refuses a damaged store, and checks every byte of the new file before
// the old one goes. progress is told how many bytes are done, of how many.
func Compact(folder string, progress func(done, total int64)) (before, after int64, err error) {
	return compact(folder, disk{}, progress)
}

func compact(folder string, disk disk, progress func(done, total int64)) (before, after int64, err error) {
	content, err := readBounded(filepath.Join(folder, pointerName))
	if err != nil {
		return 0, 0, fmt.Errorf("compact %s: %w", folder, err)
	}
	p, err := decodePointer(content)
	if err != nil {
		return 0, 0, fmt.Errorf("compact %s: %w", folder, err)
	}
	d, err := OpenDir(folder, p.owner, Options{disk: disk})
	if err != nil {
		return 0, 0, err
	}
	if !d.pointer.current {
		return 0, 0, errors.Join(fmt.Errorf("compact %s: there is no store", folder), d.Close())
	}
	before, after, err = d.compact(progress)
	if err = errors.Join(err, d.Close()); err != nil {
		err = fmt.Errorf("compact %s: %w", folder, asDiskFull(err))
	}
	return before, after, err
}

func (d *Dir) compact(progress func(done, total int64)) (before, after int64, err error) {
	old := d.storePath(d.pointer.serial)
	found, err := surveyFile(old)
	if err != nil {
		return 0, 0, fmt.Errorf("%s is damaged: %w", old, err)
	}
	if len(found.frames) > 0 || found.unfinished {
		if found, err = d.fold(old); err != nil {
			return 0, 0, err
		}
	}
	found.head.transaction = 0 // of the old file
	next := d.pointer
	next.serial++
	fresh := d.storePath(next.serial)
	temporary := fresh + temporarySuffix
	err = d.opt.disk.step("create", temporary, func() error {
		if err := rewrite(old, temporary, found, progress); err != nil {
			return err
		}
		return sameContent(temporary, found)
	})
	if err != nil {
		return 0, 0, errors.Join(err, d.opt.disk.remove(temporary))
	}
	if before, after, err = lengths(old, temporary); err != nil {
		return before, after, err
	}
	if err := d.opt.disk.rename(temporary, fresh); err != nil {
		return before, after, err
	}
	if err := d.setPointer(next); err != nil {
		return before, after, err
	}
	return before, after, d.opt.disk.remove(old)
}

// fold opens and closes a store file, so that nothing is left in its journal, and
// surveys it again.
func (d *Dir) fold(path string) (*survey, error) {
	s, err := openStore(path, d.owner, d.databaseOptions())
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return nil, err
	}
	return surveyFile(path)
}

// rewrite copies every key of a store file into a new one, in order, but for the
// journal, which has nothing that is not elsewhere.
func rewrite(from, to string, found *survey, progress func(done, total int64)) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	data, err := mapFile(from, 4*pageSize)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	defer syscall.Munmap(data)
	load, err := newLoader(to, databaseOptions{})
	if err != nil {
		return err
	}
	total := int64(found.head.log.bytes + found.head.pairs.bytes)
	done, told := int64(0), int64(0)
	put := func(bucket string, key, value []byte) error {
		switch bucket {
		case journalBucket, headBucket, checkpointBucket: // finish writes the records
			return nil
		}
		if done += int64(len(key) + len(value)); progress != nil && done-told >= compactStep {
			told = done
			progress(min(done, total), total)
		}
		return load.put(bucket, key, value)
	}
	err = guard(func() error { return walkPages(data, put) })
	if err == nil {
		err = load.finish(&found.head, &found.checkpoint)
	}
	if err == nil && progress != nil {
		progress(total, total)
	}
	return errors.Join(err, load.file.Close())
}

// sameContent checks every byte of a rewritten file.
func sameContent(path string, old *survey) error {
	found, err := surveyFile(path)
	if err == nil && (found.head != old.head || found.log != old.log || found.pairs != old.pairs || found.marked != old.marked) {
		err = errors.New("it does not hold the same")
	}
	if err != nil {
		return fmt.Errorf("the new file: %w", err)
	}
	s, err := SalvageFile(path)
	if err != nil {
		return err
	}
	err = s.Indices(func(index uint64) error {
		_, err := s.Entry(index)
		return err
	})
	if faults := s.Faults(); err == nil && len(faults) > 0 {
		err = errors.New(faults[0])
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("the store is damaged, nothing was changed: %w", err)
	}
	return nil
}

func lengths(old, fresh string) (before, after int64, err error) {
	was, err := os.Stat(old)
	if err != nil {
		return 0, 0, err
	}
	is, err := os.Stat(fresh)
	if err != nil {
		return 0, 0, err
	}
	return was.Size(), is.Size(), nil
}
