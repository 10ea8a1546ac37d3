package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// image is a disk of one node's own that outlives memory: ext4 in a file, so that
// stores are on a file system with a journal and blocks, as on an SSD.
type image struct {
	folder, file string
}

// newImage makes a file system in a file and mounts it.
func newImage(folder, file string) (*image, error) {
	d := &image{folder, file}
	f, err := os.Create(file)
	if err == nil {
		err = errors.Join(f.Truncate(diskSize), f.Close())
	}
	if err != nil {
		return nil, err
	}
	for _, words := range [][]string{
		// No block is kept back for root, who runs the nodes here.
		{"mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", file},
		{"mount", "-o", "loop", file, folder},
	} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
		}
	}
	return d, nil
}

// unmount gives the loop device back as well, which mount(8) asks the kernel for.
func (d *image) unmount() error { return syscall.Unmount(d.folder, syscall.MNT_DETACH) }

// ballast is the file that takes the room of a full disk.
func (d *image) ballast() string { return d.folder + "/ballast" }

// fill takes all room but lastRoom, in some steps while others give some back.
func (d *image) fill() error {
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	size := int64(0)
	for range 20 {
		var s syscall.Statfs_t
		if err = syscall.Statfs(d.folder, &s); err != nil {
			break
		}
		free := int64(s.Bavail)*s.Bsize - lastRoom
		if free <= 0 {
			break
		}
		if err = syscall.Fallocate(int(f.Fd()), 0, size, free); err == nil {
			size += free
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil // it is as full as it gets
	}
	return errors.Join(err, f.Close())
}

func (d *image) empty() error { return os.Remove(d.ballast()) }
