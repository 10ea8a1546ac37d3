package testdisk

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// rootID is the number of the root folder.
const rootID = 1

// Disk is a file system in memory with a record of all of its changes.
type Disk struct {
	mu     sync.RWMutex
	nodes  map[uint64]*node // all that there ever were, by number
	last   uint64           // the highest number
	record []change
	fail   func(Operation) syscall.Errno
	mount  *Mount
}

// node is a file or a folder as processes see it.
type node struct {
	mode  uint32 // with the type
	data  []byte // of a file
	names map[string]uint64
	links int
	// path was the last one it had, from the root, without a slash in front.
	path string
}

func (n *node) folder() bool { return n.names != nil }

// Operation is one request of a process, before it is carried out.
type Operation struct {
	Kind   string // "read", "write", "resize", "sync", "create", "mkdir", "link", "rename", "remove"
	Path   string // from the root of the disk; the new one of a rename
	Offset int64  // of a read or write
	Length int64  // of a read or write
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{nodes: map[uint64]*node{}}
	d.add(syscall.S_IFDIR|0o755, "")
	return d
}

// Fail makes operations fail for which rule returns an error number, from now on;
// nil: none. An operation that fails changes nothing. Rule is called by many
// goroutines, one at a time, and must not use the disk.
func (d *Disk) Fail(rule func(Operation) syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = rule
}

// Length is how many changes are recorded: the moment that Cut.Advance goes to.
func (d *Disk) Length() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.record)
}

// Load copies an ordinary folder to the root of an unused disk, durably. A file
// with two names keeps both.
func (d *Disk) Load(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	copied := map[uint64]uint64{}
	return filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		within, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		parent := d.find(path.Dir(within))
		inode := info.Sys().(*syscall.Stat_t).Ino
		at := assignment{folder: parent, name: entry.Name(), file: copied[inode], isFolder: entry.IsDir()}
		if at.file == 0 {
			at.file = d.add(info.Sys().(*syscall.Stat_t).Mode, within)
			copied[inode] = at.file
			if !entry.IsDir() {
				content, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				d.write(at.file, 0, content)
				d.note(change{kind: syncing, file: at.file, path: within})
			}
		}
		d.assign(at)
		d.note(change{kind: syncing, file: parent, isFolder: true, path: path.Dir(within)})
		return nil
	})
}

// Path is where one finds a file of a mounted disk.
func (d *Disk) Path(elements ...string) string {
	return filepath.Join(append([]string{d.mount.path}, elements...)...)
}

// Flip changes one bit of a file behind the back of everybody: it is not recorded,
// and no process hears of it until it reads that part again, which the kernel does
// not keep.
func (d *Disk) Flip(name string, offset int64, bit uint) error {
	d.mu.Lock()
	id := d.find(name)
	if id == 0 || offset >= int64(len(d.nodes[id].data)) {
		d.mu.Unlock()
		return &fs.PathError{Op: "flip", Path: name, Err: fs.ErrNotExist}
	}
	d.nodes[id].data[offset] ^= 1 << bit
	d.mu.Unlock()
	return d.mount.forget(id)
}

// DropCache makes the kernel read a file again, which it would otherwise not do for
// what it has read before.
func (d *Disk) DropCache(name string) error {
	d.mu.RLock()
	id := d.find(name)
	d.mu.RUnlock()
	if id == 0 {
		return &fs.PathError{Op: "drop", Path: name, Err: fs.ErrNotExist}
	}
	return d.mount.forget(id)
}

// Content is a file as processes see it now.
func (d *Disk) Content(name string) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	id := d.find(name)
	if id == 0 {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(d.nodes[id].data), nil
}

// find returns the number of what has a path now; zero: nothing has.
func (d *Disk) find(name string) uint64 {
	id := uint64(rootID)
	for _, element := range elements(name) {
		if id = d.nodes[id].names[element]; id == 0 {
			return 0
		}
	}
	return id
}

// add makes a node that has no name yet.
func (d *Disk) add(mode uint32, at string) uint64 {
	d.last++
	n := &node{mode: mode, path: at}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		n.names = map[string]uint64{}
	}
	d.nodes[d.last] = n
	return d.last
}

func (d *Disk) note(c change) { d.record = append(d.record, c) }

// write changes a part of a file.
func (d *Disk) write(id uint64, offset int64, data []byte) {
	n := d.nodes[id]
	n.data = lengthened(n.data, offset+int64(len(data)))
	copy(n.data[offset:], data)
	d.note(change{kind: writing, file: id, offset: offset, data: slices.Clone(data)})
}

// resize changes the length of a file.
func (d *Disk) resize(id uint64, size int64) {
	n := d.nodes[id]
	n.data = resized(n.data, size)
	d.note(change{kind: resizing, file: id, size: size})
}

// assign changes names, all at once.
func (d *Disk) assign(names ...assignment) {
	for _, a := range names {
		folder := d.nodes[a.folder]
		if old := folder.names[a.name]; old != 0 {
			d.nodes[old].links--
			delete(folder.names, a.name)
		}
		if a.file != 0 {
			folder.names[a.name] = a.file
			d.nodes[a.file].links++
			d.nodes[a.file].path = path.Join(folder.path, a.name)
		}
	}
	d.note(change{kind: naming, names: names})
}

// lengthened returns data that is at least that long.
func lengthened(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data
	}
	return resized(data, size)
}

// resized returns data of that length, with zeroes where it had none.
func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	grown := slices.Grow(data, int(size)-len(data))[:size]
	clear(grown[len(data):])
	return grown
}
