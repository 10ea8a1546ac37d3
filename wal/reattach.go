package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// A file that loses its name while it is open, because somebody empties the folder
// of a running node, goes on as if nothing had happened, and is gone when the process
// ends. What is written to it is on no stable storage. But the process still has all
// of it: the store is closed, its file is written once more under its name, and the
// store is opened again, as after a restart.

// lookEvery bytes of a copy are reported to Options.Opening.
const lookEvery = 64 << 20

// named reports whether the open file still has a name somewhere. Where the file
// system did not count one when the store was opened, it says nothing.
func (d *database) named() bool {
	if !d.counted {
		return true
	}
	var st syscall.Stat_t
	return syscall.Fstat(int(d.file.Fd()), &st) != nil || st.Nlink > 0
}

// locate finds out what the file system tells about names, while the file has its own.
func (d *database) locate() {
	var st syscall.Stat_t
	d.counted = syscall.Fstat(int(d.file.Fd()), &st) == nil && st.Nlink > 0
	there, err := names(d.path, d.file)
	d.located = there && err == nil
}

// inPlace reports whether the file's path names it, or cannot be asked.
func (d *database) inPlace() bool {
	if !d.located {
		return true
	}
	there, err := names(d.path, d.file)
	return there || err != nil
}

// names reports whether a path names an open file. An error: nobody can tell.
func names(path string, file *os.File) (bool, error) {
	there, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	open, err := file.Stat()
	return err == nil && os.SameFile(there, open), err
}

// Attached returns ErrRemoved if the store's file is not where it belongs any more:
// it was removed, moved away, or replaced.
func (s *Store) Attached() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.damage.Load() != nil {
		return nil
	}
	if !s.db.inPlace() {
		return fmt.Errorf("store %s: %w", s.path, ErrRemoved)
	}
	return nil
}

// keepRemoved holds on to a file that has no name, or another one, for Reattach.
func (s *Store) keepRemoved() {
	if s.damage.Load() != nil || s.db.inPlace() {
		return
	}
	if fd, err := syscall.Dup(int(s.db.file.Fd())); err == nil {
		syscall.CloseOnExec(fd)
		s.removed = os.NewFile(uintptr(fd), s.path)
	}
}

// Reattach writes the file of the store that was open last, and is closed, once more
// under its name, because it was not there any more, with what else the folder needs.
// The next Open opens it. Whatever is there is left as it is: ErrLocked if
// another process took the folder meanwhile, ErrForeign if it is somebody else's now, and
// an error if another file has the name. ErrDiskFull: the file that was removed
// keeps its room until the process ends.
func (d *Dir) Reattach() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unused(); err != nil {
		return err
	}
	if d.store == nil || d.store.removed == nil || !d.pointer.current {
		return fmt.Errorf("write the store of %s again: its file is where it was, or nobody has it", d.path)
	}
	file := d.store.removed
	d.store.removed = nil
	defer file.Close()
	if err := d.reattach(file); err != nil {
		return fmt.Errorf("write the store of %s again: %w", d.path, err)
	}
	return nil
}

func (d *Dir) reattach(file *os.File) error {
	found, err := d.inspect()
	if err != nil {
		return err
	}
	if found.pointer != nil && !bytes.Equal(encodePointer(found.pointer), encodePointer(&d.pointer)) {
		return fmt.Errorf("the file %s is not the one that this process wrote; look at what is there, and start the node again", pointerName)
	}
	if err := d.relock(); err != nil {
		return err
	}
	path := d.storePath(d.pointer.serial)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("another file has the name %s; look at what it is, and start the node again", path))
	}
	// Until the file is there, the pointer names a store that is missing, which is what
	// a crash would make true.
	if err := d.setPointer(d.pointer); err != nil {
		return err
	}
	temporary := path + temporarySuffix
	if err := d.opt.disk.step("write", temporary, func() error { return d.writeAgain(temporary, file) }); err != nil {
		return errors.Join(err, d.opt.disk.remove(temporary))
	}
	return d.opt.disk.rename(temporary, path)
}

// relock takes the lock of the folder that is there now, unless it is the one held.
func (d *Dir) relock() error {
	held := d.lock
	if there, err := names(filepath.Join(d.path, lockName), held); there && err == nil {
		return nil
	}
	if err := d.takeLock(); err != nil {
		return err
	}
	return held.Close()
}

// writeAgain copies an open file to a path, durably.
func (d *Dir) writeAgain(path string, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for done := int64(0); err == nil && done < info.Size(); {
		var n int64
		n, err = io.Copy(to, io.NewSectionReader(file, done, min(lookEvery, info.Size()-done)))
		if done += n; err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if d.opt.Opening != nil {
			d.opt.Opening(done, info.Size())
		}
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}
