package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// File system types of statfs(2) whose files are in memory.
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

// volatile reports whether the folder, or where it would be created, is on a
// file system that is gone after a power failure. When that cannot be found
// out, it is taken for durable. A RAM disk that is a block device with a file
// system of its own cannot be told from a disk.
func volatile(folder string) bool {
	path, err := filepath.Abs(folder)
	if err != nil {
		return false
	}
	for {
		var stat syscall.Statfs_t
		err := syscall.Statfs(path, &stat)
		if err == nil {
			// The field's width and sign differ between architectures.
			kind := uint32(stat.Type)
			return kind == tmpfsMagic || kind == ramfsMagic
		}
		parent := filepath.Dir(path)
		if !errors.Is(err, fs.ErrNotExist) || parent == path {
			return false
		}
		path = parent
	}
}
