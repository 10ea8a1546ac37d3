package testdisk

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Mount is a disk that processes can use.
type Mount struct {
	fuse.RawFileSystem // refuses what is not below
	disk               *Disk
	server             *fuse.Server
	root               int    // descriptor of the root folder
	path               string // through that descriptor
	served             chan struct{}
}

// ErrNoMount says that this machine does not let us mount: no root, no /dev/fuse,
// or a kernel before 5.2.
var ErrNoMount = errors.New("this machine cannot mount a FUSE file system for tests")

// Mount makes the disk a file system until Unmount.
func (d *Disk) Mount() (*Mount, error) {
	device, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: /dev/fuse: %w", ErrNoMount, err)
	}
	root, err := detachedMount(device)
	if err != nil {
		syscall.Close(device)
		return nil, fmt.Errorf("%w: %w", ErrNoMount, err)
	}
	m := &Mount{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: d, root: root, served: make(chan struct{})}
	m.path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), root)
	// The kernel keeps what it has read: all changes go through it.
	options := &fuse.MountOptions{Name: "testdisk", MaxWrite: 1 << 20, ExplicitDataCacheControl: true, DisableReadDirPlus: true}
	if m.server, err = fuse.NewServer(m, fmt.Sprintf("/dev/fd/%d", device), options); err != nil {
		syscall.Close(root)
		return nil, fmt.Errorf("%w: %w", ErrNoMount, err)
	}
	go func() {
		m.server.Serve()
		close(m.served)
	}()
	if err := m.refusePolls(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount: %w", err), m.Unmount())
	}
	d.mu.Lock()
	d.mount = m
	d.mu.Unlock()
	return m, nil
}

// refusePolls lets the kernel learn that these files cannot be polled, so that it
// asks no more. The runtime asks whenever it opens a file, in a way that holds up
// its scheduler until there is an answer; the one who has to give it may be this
// very process, which would then hang for ever. go-fuse does this by itself for
// mounts that have a place in the tree.
func (m *Mount) refusePolls() error {
	const file = ".go-fuse-epoll-hack" // known to go-fuse
	fd, err := syscall.Open(path.Join(m.path, file), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	defer syscall.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		return fmt.Errorf("poll %s: %w", file, err)
	}
	return nil
}

// detachedMount makes a mount that has no place in any tree of folders, and returns
// a descriptor of its root.
func detachedMount(device int) (int, error) {
	context, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(context)
	for _, option := range [][2]string{
		{"source", "testdisk"}, {"fd", strconv.Itoa(device)}, {"rootmode", "40000"},
		{"user_id", strconv.Itoa(os.Geteuid())}, {"group_id", strconv.Itoa(os.Getegid())},
	} {
		if err := unix.FsconfigSetString(context, option[0], option[1]); err != nil {
			return 0, fmt.Errorf("%s: %w", option[0], err)
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return 0, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// Unmount ends the file system, once the processes that used it are gone.
func (m *Mount) Unmount() error {
	err := syscall.Close(m.root)
	select {
	case <-m.served:
	case <-time.After(10 * time.Second):
		err = errors.Join(err, errors.New("a process still uses the disk"))
	}
	return err
}

// forget makes the kernel forget what it has read of a file.
func (m *Mount) forget(id uint64) error {
	if status := m.server.InodeNotify(id, 0, 0); !status.Ok() && status != fuse.ENOENT {
		return fmt.Errorf("drop the cache: %v", status)
	}
	return nil
}

// does carries out an operation unless it is to fail. With a write lock held.
func (m *Mount) does(operation Operation, act func() fuse.Status) fuse.Status {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.disk.fail != nil {
		if errno := m.disk.fail(operation); errno != 0 {
			return fuse.Status(errno)
		}
	}
	return act()
}

const (
	cacheTime  = 3600 // seconds
	blockBytes = 4096
	diskBlocks = 16 << 30 / blockBytes
)

func (m *Mount) attributes(id uint64, out *fuse.Attr) {
	n := m.disk.nodes[id]
	*out = fuse.Attr{
		Ino: id, Mode: n.mode, Size: uint64(len(n.data)), Blocks: (uint64(len(n.data)) + 511) / 512,
		Nlink: uint32(max(1, n.links)), Blksize: blockBytes,
		Owner: fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())},
	}
}

func (m *Mount) entry(id uint64, out *fuse.EntryOut) fuse.Status {
	out.NodeId, out.EntryValid, out.AttrValid = id, cacheTime, cacheTime
	m.attributes(id, &out.Attr)
	return fuse.OK
}

// in is the path of a name in a folder.
func (m *Mount) in(folder uint64, name string) string {
	m.disk.mu.RLock()
	defer m.disk.mu.RUnlock()
	return path.Join(m.disk.nodes[folder].path, name)
}

// Lookup finds a name in a folder.
func (m *Mount) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	m.disk.mu.RLock()
	defer m.disk.mu.RUnlock()
	id := m.disk.nodes[header.NodeId].names[name]
	if id == 0 {
		return fuse.ENOENT
	}
	return m.entry(id, out)
}

// GetAttr tells type and length.
func (m *Mount) GetAttr(_ <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	m.disk.mu.RLock()
	defer m.disk.mu.RUnlock()
	out.AttrValid = cacheTime
	m.attributes(input.NodeId, &out.Attr)
	return fuse.OK
}

// SetAttr changes the length; the rest is not kept.
func (m *Mount) SetAttr(_ <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	act := func() fuse.Status {
		out.AttrValid = cacheTime
		m.attributes(input.NodeId, &out.Attr)
		return fuse.OK
	}
	size, resize := input.GetSize()
	if !resize {
		m.disk.mu.Lock()
		defer m.disk.mu.Unlock()
		return act()
	}
	return m.does(Operation{Kind: "resize", Path: m.in(input.NodeId, "")}, func() fuse.Status {
		m.disk.resize(input.NodeId, int64(size))
		return act()
	})
}

// Mkdir makes a folder.
func (m *Mount) Mkdir(_ <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return m.make("mkdir", input.NodeId, syscall.S_IFDIR|input.Mode&0o7777, name, out)
}

// Create makes a file and opens it.
func (m *Mount) Create(_ <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return m.make("create", input.NodeId, syscall.S_IFREG|input.Mode&0o7777, name, &out.EntryOut)
}

func (m *Mount) make(kind string, folder uint64, mode uint32, name string, out *fuse.EntryOut) fuse.Status {
	at := m.in(folder, name)
	return m.does(Operation{Kind: kind, Path: at}, func() fuse.Status {
		if m.disk.nodes[folder].names[name] != 0 {
			return fuse.Status(syscall.EEXIST)
		}
		id := m.disk.add(mode, at)
		m.disk.assign(assignment{folder: folder, name: name, file: id, isFolder: m.disk.nodes[id].folder()})
		return m.entry(id, out)
	})
}

// Link gives a file a second name.
func (m *Mount) Link(_ <-chan struct{}, input *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return m.does(Operation{Kind: "link", Path: m.in(input.NodeId, name)}, func() fuse.Status {
		m.disk.assign(assignment{folder: input.NodeId, name: name, file: input.Oldnodeid})
		return m.entry(input.Oldnodeid, out)
	})
}

// Unlink removes the name of a file.
func (m *Mount) Unlink(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return m.does(Operation{Kind: "remove", Path: m.in(header.NodeId, name)}, func() fuse.Status {
		m.disk.assign(assignment{folder: header.NodeId, name: name})
		return fuse.OK
	})
}

// Rmdir removes an empty folder.
func (m *Mount) Rmdir(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return m.does(Operation{Kind: "remove", Path: m.in(header.NodeId, name)}, func() fuse.Status {
		if len(m.disk.nodes[m.disk.nodes[header.NodeId].names[name]].names) > 0 {
			return fuse.Status(syscall.ENOTEMPTY)
		}
		m.disk.assign(assignment{folder: header.NodeId, name: name})
		return fuse.OK
	})
}

// Rename gives a file another name, in the place of what had it.
func (m *Mount) Rename(_ <-chan struct{}, input *fuse.RenameIn, from, to string) fuse.Status {
	return m.does(Operation{Kind: "rename", Path: m.in(input.Newdir, to)}, func() fuse.Status {
		id := m.disk.nodes[input.NodeId].names[from]
		switch {
		case input.Flags != 0:
			return fuse.EINVAL
		case m.disk.nodes[id].folder():
			return fuse.ENOSYS // nobody does
		}
		m.disk.assign(
			assignment{folder: input.Newdir, name: to, file: id},
			assignment{folder: input.NodeId, name: from})
		return fuse.OK
	})
}

// Open opens a file.
func (m *Mount) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// Read reads from a file.
func (m *Mount) Read(_ <-chan struct{}, input *fuse.ReadIn, into []byte) (fuse.ReadResult, fuse.Status) {
	operation := Operation{Kind: "read", Path: m.in(input.NodeId, ""), Offset: int64(input.Offset), Length: int64(len(into))}
	n := 0
	status := m.does(operation, func() fuse.Status {
		if data := m.disk.nodes[input.NodeId].data; input.Offset < uint64(len(data)) {
			n = copy(into, data[input.Offset:])
		}
		return fuse.OK
	})
	return fuse.ReadResultData(into[:n]), status
}

// Write writes to a file.
func (m *Mount) Write(_ <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	operation := Operation{Kind: "write", Path: m.in(input.NodeId, ""), Offset: int64(input.Offset), Length: int64(len(data))}
	status := m.does(operation, func() fuse.Status {
		m.disk.write(input.NodeId, int64(input.Offset), data)
		return fuse.OK
	})
	return uint32(len(data)), status
}

// Fallocate makes a file longer.
func (m *Mount) Fallocate(_ <-chan struct{}, input *fuse.FallocateIn) fuse.Status {
	return m.does(Operation{Kind: "resize", Path: m.in(input.NodeId, "")}, func() fuse.Status {
		if input.Mode != 0 {
			return fuse.Status(syscall.EOPNOTSUPP)
		}
		if size := int64(input.Offset + input.Length); size > int64(len(m.disk.nodes[input.NodeId].data)) {
			m.disk.resize(input.NodeId, size)
		}
		return fuse.OK
	})
}

// Fsync makes the content of a file durable.
func (m *Mount) Fsync(_ <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	return m.sync(input.NodeId)
}

// FsyncDir makes the names in a folder durable.
func (m *Mount) FsyncDir(_ <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	return m.sync(input.NodeId)
}

func (m *Mount) sync(id uint64) fuse.Status {
	at := m.in(id, "")
	return m.does(Operation{Kind: "sync", Path: at}, func() fuse.Status {
		m.disk.note(change{kind: syncing, file: id, isFolder: m.disk.nodes[id].folder(), path: at})
		return fuse.OK
	})
}

// OpenDir opens a folder.
func (m *Mount) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

// ReadDir lists a folder.
func (m *Mount) ReadDir(_ <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	m.disk.mu.RLock()
	defer m.disk.mu.RUnlock()
	var names []string
	for name := range m.disk.nodes[input.NodeId].names {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		id := m.disk.nodes[input.NodeId].names[name]
		if uint64(i) >= input.Offset && !out.AddDirEntry(fuse.DirEntry{Name: name, Ino: id, Mode: m.disk.nodes[id].mode, Off: uint64(i) + 1}) {
			break
		}
	}
	return fuse.OK
}

// StatFs says that there is room.
func (m *Mount) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Blocks: diskBlocks, Bfree: diskBlocks, Bavail: diskBlocks, Files: 1 << 20, Ffree: 1 << 20,
		Bsize: blockBytes, Frsize: blockBytes, NameLen: 255}
	return fuse.OK
}

// String is for the library's messages.
func (m *Mount) String() string { return "testdisk" }

// Flush, Release and Forget: nothing is kept per handle.
func (m *Mount) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }
