package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// diskSize bounds what one node stores, what it sets aside included.
	diskSize = 3 << 30
	// lastRoom is what a full disk still has.
	lastRoom = 64 << 10
)

// disk is a small file system of one node's own, so that it can be full without
// anybody else noticing.
type disk interface {
	fill() error  // leaves hardly any room
	empty() error // undoes fill
	unmount() error
}

// newDisk mounts a disk: in memory, or in a file beside the folder.
func newDisk(folder string, inFile bool) (disk, error) {
	if inFile {
		return newImage(folder, folder+".image")
	}
	return newRAMDisk(folder)
}

type ramDisk struct{ folder string }

func newRAMDisk(folder string) (*ramDisk, error) {
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", diskSize)); err != nil {
		return nil, fmt.Errorf("mount a RAM disk: %w", err)
	}
	return &ramDisk{folder}, nil
}

func (d *ramDisk) unmount() error { return syscall.Unmount(d.folder, syscall.MNT_DETACH) }

// fill tries again when something is stored meanwhile.
func (d *ramDisk) fill() error {
	var err error
	for range 20 {
		var s syscall.Statfs_t
		if err = syscall.Statfs(d.folder, &s); err != nil {
			return err
		}
		used := int64(s.Blocks-s.Bfree) * s.Bsize
		if err = d.resize(used + lastRoom); err == nil {
			return nil
		}
	}
	return err
}

func (d *ramDisk) empty() error { return d.resize(diskSize) }

func (d *ramDisk) resize(size int64) error {
	if err := syscall.Mount("tmpfs", d.folder, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("change the size of %s: %w", d.folder, err)
	}
	return nil
}

// maxFlips bounds the bits that one fault flips.
const maxFlips = 8

// flipBits changes a few bits anywhere in the files of a store, and says where.
func flipBits(random *rand.Rand, store string) (string, error) {
	files, total, err := storeFiles(store)
	if err != nil || total == 0 {
		return "nothing is stored", err
	}
	var said []string
	for range 1 + random.IntN(maxFlips) {
		file, at := files.at(random.Int64N(total))
		if err := flipBit(file, at, random.IntN(8)); err != nil {
			return "", fmt.Errorf("flip a bit: %w", err)
		}
		said = append(said, fmt.Sprintf("%s:%d", filepath.Base(file), at))
	}
	return strings.Join(said, " "), nil
}

func flipBit(file string, at int64, bit int) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a running server may remove its files
	} else if err != nil {
		return err
	}
	var one [1]byte
	if n, _ := f.ReadAt(one[:], at); n == 1 {
		one[0] ^= 1 << bit
		_, err = f.WriteAt(one[:], at)
	}
	return errors.Join(err, f.Close())
}

// cutFile makes one file of a store shorter, and says which.
func cutFile(random *rand.Rand, store string) (string, error) {
	files, total, err := storeFiles(store)
	if err != nil || total == 0 {
		return "nothing is stored", err
	}
	file, at := files.at(random.Int64N(total)) // large files more often
	if err := os.Truncate(file, at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cut a file: %w", err)
	}
	return fmt.Sprintf("%s to %d bytes", filepath.Base(file), at), nil
}

// storeFile is one file of a store.
type storeFile struct {
	path string
	size int64
}

type fileList []storeFile

// at is the file and the place in it of one byte of all of them.
func (l fileList) at(position int64) (string, int64) {
	for _, f := range l {
		if position < f.size {
			return f.path, position
		}
		position -= f.size
	}
	panic("position beyond the end of the store")
}

// setAside is where Holdfast keeps stores that it does not use.
const setAside = "quarantine"

// storeFiles lists the files of a store that are in use, in the order of their
// names, and what they are together.
func storeFiles(store string) (files fileList, total int64, err error) {
	err = filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == setAside {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && (info.Size() == 0 || !info.Mode().IsRegular()) {
			return nil
		} else if err != nil {
			return err
		}
		files, total = append(files, storeFile{path, info.Size()}), total+info.Size()
		return nil
	})
	return files, total, err
}
