package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// disk performs every operation on names and small files of a store folder, so
// that a test can stop the process before any one of them. The databases ask it
// before they commit.
type disk struct {
	// before, when set, is asked before each operation; its error takes the
	// operation's place.
	before func(operation, path string) error
}

// step asks before, and classifies a full disk.
func (d disk) step(operation, path string, act func() error) error {
	if err := d.ask(operation, path); err != nil {
		return err
	}
	return asDiskFull(act())
}

// ask is for operations that somebody else carries out.
func (d disk) ask(operation, path string) error {
	if d.before == nil {
		return nil
	}
	return asDiskFull(d.before(operation, path))
}

// replace puts a file with this content at path: after a crash either the old
// file or the whole new one is there.
func (d disk) replace(path string, content []byte) error {
	temporary := path + temporarySuffix
	if err := d.step("write", temporary, func() error { return writeSynced(temporary, content) }); err != nil {
		return fmt.Errorf("write %s: %w", temporary, err)
	}
	return d.rename(temporary, path)
}

// errUncertain marks a rename that happened, but perhaps not durably.
var errUncertain = errors.New("it may not survive a crash")

// rename gives a file its final name, durably. The folders of both names are
// synced, that of the new one first, so that a crash leaves the file under at
// least one of them.
func (d disk) rename(from, to string) error {
	if err := d.step("rename", to, func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	err := d.syncFolder(filepath.Dir(to))
	if err == nil && filepath.Dir(from) != filepath.Dir(to) {
		err = d.syncFolder(filepath.Dir(from))
	}
	if err != nil {
		return fmt.Errorf("rename %s: %w: %w", to, errUncertain, err)
	}
	return nil
}

// remove deletes a file that nothing refers to; it may be gone already.
func (d disk) remove(path string) error {
	return d.step("remove", path, func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	})
}

// makeFolder creates a folder, durably; it may exist already, and perhaps not
// durably so.
func (d disk) makeFolder(path string) error {
	return d.step("mkdir", path, func() error {
		err := os.Mkdir(path, 0o700)
		existed := errors.Is(err, os.ErrExist)
		if err != nil && !existed {
			return err
		}
		err = syncPath(filepath.Dir(path))
		if existed && errors.Is(err, os.ErrPermission) {
			return nil // it is in a folder of somebody else, who made it
		}
		return err
	})
}

// syncFolder makes the names in a folder durable.
func (d disk) syncFolder(path string) error {
	return d.step("sync", path, func() error { return syncPath(path) })
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncPath flushes a file or the names in a folder.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// asDiskFull marks the errors of the operating system that mean "no room".
func asDiskFull(err error) error {
	if err == nil || errors.Is(err, ErrDiskFull) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
