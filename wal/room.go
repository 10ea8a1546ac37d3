package wal

import (
	"errors"
	"fmt"
	"syscall"
)

// bbolt meets a full disk in the middle of a commit. To know before, the file is
// kept longer than what is used, with the blocks allocated: growing it is the
// only step that asks the disk for room, and it is done before a transaction
// changes anything.
const (
	smallestGrowth = 1 << 20
	largestGrowth  = 16 << 20
	// overhead is what any commit may add beside its content: the pages on the
	// way from the changed ones up to the root.
	overhead = 32 * pageSize
)

// The file also keeps blocks in reserve for what makes room: deletes, purges and
// acknowledgements are entries of the log before they free anything, and
// another program may take the rest of the disk at any moment. The reserve
// follows the size of what is stored, so that a small store stays small.
const (
	smallestReserve = 4 << 20
	largestReserve  = 16 << 20
)

// kept is how many bytes are kept in reserve beside so many that are stored.
func (d *database) kept(stored int64) int64 {
	return min(max(stored/2, smallestReserve), largestReserve)
}

// reserve makes sure that a commit that takes need, beside used bytes, will find room,
// or says ErrDiskFull. need may be wrong: what happens then is slower (bbolt grows the
// file, or the commit is undone and the file opened again), but not unsafe. It also
// renews what is kept in reserve, as far as the disk lets it.
//
// bbolt takes free pages first. It takes from the end of the file what is left when
// there are none, and runs for which none lie side by side: so the file ends behind the
// larger of the two.
func (d *database) reserve(used int64, need outlay) error {
	size, err := d.size()
	if err != nil {
		return err
	}
	if size < used {
		return fmt.Errorf("the file is too short: %d bytes of %d", size, used)
	}
	free, pending := d.freePages()
	// Those that the last commit freed may still be read, and a run may be forgotten.
	behind := max(need.bytes-free, need.runs, min(need.bytes, overhead))
	free += pending
	fits := used+behind <= size
	lacking := need.bytes + d.kept(used-free) - free - (size - used)
	if fits && (lacking <= 0 || d.disk(size) < lacking) {
		return nil
	}
	growth := min(max(used/64, smallestGrowth), largestGrowth)
	targets := []int64{max(used+behind, size+lacking) + growth, used + behind}
	for _, target := range targets {
		if d.opt.maxBytes > 0 {
			target = min(target, d.opt.maxBytes)
		}
		if target < used+behind {
			err = fmt.Errorf("%w: the size limit of %d bytes is reached", ErrDiskFull, d.opt.maxBytes)
			break
		}
		if target <= size {
			err = nil
			break
		}
		if err = asDiskFull(d.grow(size, target)); !errors.Is(err, ErrDiskFull) {
			break
		}
	}
	if errors.Is(err, ErrDiskFull) && (fits || free >= need.bytes) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("grow %s: %w", d.path, err)
	}
	return nil
}

// grow makes the file longer, with blocks behind every byte where the file
// system can do that.
func (d *database) grow(size, target int64) error {
	fd := int(d.file.Fd())
	err := ignoringInterrupts(func() error { return syscall.Fallocate(fd, 0, size, target-size) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		err = d.file.Truncate(target)
	}
	if err != nil {
		// Give back what was allocated before the disk was full.
		return errors.Join(err, d.file.Truncate(size))
	}
	return d.file.Sync()
}

func ignoringInterrupts(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// size is the length of the file in bytes.
func (d *database) size() (int64, error) {
	info, err := d.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// room is about how many bytes can still be written.
func (d *database) room() int64 {
	size, err := d.size()
	if err != nil {
		return 0
	}
	return max(0, d.free()+max(0, size-d.used.Load())+d.disk(size)-d.held.Load())
}

// disk is by how many bytes a file of this size can still grow.
func (d *database) disk(size int64) int64 {
	disk := int64(0)
	var fs syscall.Statfs_t
	if ignoringInterrupts(func() error { return syscall.Fstatfs(int(d.file.Fd()), &fs) }) == nil {
		disk = int64(fs.Bavail) * fs.Bsize
	}
	if d.opt.maxBytes > 0 {
		disk = min(disk, max(0, d.opt.maxBytes-size))
	}
	return disk
}

// free is the size of the pages that a commit can use again. Those that the last
// one freed are among them: only a reader that began before keeps them.
func (d *database) free() int64 {
	free, pending := d.freePages()
	return free + pending
}

// freePages is the size of the pages that are free whoever reads, and of those that
// readers may keep.
func (d *database) freePages() (free, pending int64) {
	stats := d.bolt.Stats()
	return int64(stats.FreePageN) * pageSize, int64(stats.PendingPageN) * pageSize
}

// close gives the file up. After a panic that left locks behind, the memory map
// stays until the process ends; only the file is closed.
func (d *database) close() error {
	if tx := d.open; tx != nil {
		d.let()
		d.end(tx)
	}
	if d.stuck.Load() {
		return d.file.Close()
	}
	return guard(d.bolt.Close)
}
