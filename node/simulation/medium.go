package simulation

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// medium is a disk with one store folder. It knows which names and contents
// would survive a loss of power: what was synced does, and of what was not, any
// part may. The process tells of each change before it is made (wal.Options.Before);
// the files themselves are real.
type medium struct {
	world  *world
	folder string

	names    map[string]uint64 // inodes, as the operating system shows them
	durable  map[string]uint64 // as they were when last synced
	pending  []change          // since then, oldest first
	unsynced map[uint64]bool   // inodes whose content was never synced
	links    map[uint64]string // a second name for each inode, in the shadow folder
	made     string            // the file that the last operation makes, content synced
	copies   int
}

// change is what one operation does to names; inode 0: the name is gone.
type change map[string]uint64

func (w *world) newMedium(folder string) *medium {
	m := &medium{world: w, folder: folder}
	m.forget()
	return m
}

// forget is for a folder that is empty, or put there by somebody else.
func (m *medium) forget() {
	m.names, m.durable, m.pending = map[string]uint64{}, map[string]uint64{}, nil
	m.unsynced, m.links = map[uint64]bool{}, map[uint64]string{}
	m.remove(m.shadow())
}

func (m *medium) shadow() string { return m.folder + ".shadow" }

func (m *medium) remove(path string) {
	if err := os.RemoveAll(path); err != nil {
		m.world.fail("remove %s: %v", path, err)
	}
}

// wipe takes everything away.
func (m *medium) wipe() {
	m.remove(m.folder)
	m.forget()
}

// folders are those below the store folder that hold names.
var folders = []string{"", "quarantine"}

// list reads the names and inodes of all files but the lock.
func (m *medium) list() map[string]uint64 {
	found := map[string]uint64{}
	for _, sub := range folders {
		entries, err := os.ReadDir(filepath.Join(m.folder, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			m.world.fail("list %s: %v", m.folder, err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil || info.IsDir() || entry.Name() == "lock" {
				continue
			}
			found[filepath.Join(sub, entry.Name())] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return found
}

// look finds out what the last operation changed.
func (m *medium) look() {
	now, changed := m.list(), change{}
	for name, inode := range now {
		if m.names[name] != inode {
			changed[name] = inode
			m.keep(name, inode)
		}
	}
	for name := range m.names {
		if now[name] == 0 {
			changed[name] = 0
		}
	}
	if len(changed) > 0 {
		m.pending = append(m.pending, changed)
	}
	m.names = now
}

// keep gives a new inode a second name, so that it can come back.
func (m *medium) keep(name string, inode uint64) {
	if m.links[inode] != "" {
		return
	}
	m.copies++
	link := filepath.Join(m.shadow(), fmt.Sprint(m.copies))
	err := os.MkdirAll(m.shadow(), 0o700)
	if err == nil {
		err = os.Link(filepath.Join(m.folder, name), link)
	}
	if err != nil {
		m.world.fail("keep %s: %v", name, err)
	}
	m.links[inode] = link
	m.unsynced[inode] = name != m.made
}

// before takes note of an operation that is about to be made.
func (m *medium) before(operation, path string) {
	if operation == "commit" {
		return
	}
	m.look()
	name := strings.TrimPrefix(strings.TrimPrefix(path, m.folder), "/")
	m.made = ""
	switch {
	case operation == "write" || operation == "create":
		m.made = name
	case operation == "sync" && m.names[name] != 0:
		m.unsynced[m.names[name]] = false
	case operation == "sync":
		m.sync(name)
	}
}

// sync makes the names in one folder durable.
func (m *medium) sync(folder string) {
	in := func(name string) bool { return strings.TrimPrefix(filepath.Dir(name), ".") == folder }
	for _, changed := range m.pending {
		for name, inode := range changed {
			if in(name) {
				m.set(m.durable, name, inode)
				delete(changed, name)
			}
		}
	}
	m.pending = slices.DeleteFunc(m.pending, func(c change) bool { return len(c) == 0 })
	m.release()
}

func (m *medium) set(names map[string]uint64, name string, inode uint64) {
	if inode == 0 {
		delete(names, name)
	} else {
		names[name] = inode
	}
}

// release lets go of inodes that cannot come back.
func (m *medium) release() {
	used := map[uint64]bool{}
	for _, names := range append([]change{m.names, m.durable}, m.pending...) {
		for _, inode := range names {
			used[inode] = true
		}
	}
	for inode, link := range m.links {
		if !used[inode] {
			m.remove(link)
			delete(m.links, inode)
			delete(m.unsynced, inode)
		}
	}
}

// losePower leaves what was synced, and any part of what was not. Nobody uses
// the folder. It returns how many names that changed, and contents that were torn.
func (m *medium) losePower() (lost, torn int) {
	m.look()
	left := maps.Clone(m.durable)
	for _, changed := range m.pending {
		if m.world.chance(0.5) {
			lost++
			continue
		}
		for name, inode := range changed {
			m.set(left, name, inode)
		}
	}
	for _, name := range sortedKeys(m.names) {
		if left[name] != m.names[name] {
			m.remove(filepath.Join(m.folder, name))
		}
	}
	for _, name := range sortedKeys(left) {
		if m.names[name] != left[name] {
			if err := os.Link(m.links[left[name]], filepath.Join(m.folder, name)); err != nil {
				m.world.fail("bring back %s: %v", name, err)
			}
		}
		if m.unsynced[left[name]] {
			torn++
			m.world.tear(filepath.Join(m.folder, name), nil)
		}
	}
	m.names, m.durable, m.pending = left, maps.Clone(left), nil
	m.release()
	return lost, torn
}

// image is a copy of everything, for a disk that gives an older state back.
func (m *medium) image(to string) {
	m.remove(to)
	if err := os.CopyFS(to, os.DirFS(m.folder)); err != nil {
		m.world.fail("copy %s: %v", m.folder, err)
	}
}

// restore gives an image back.
func (m *medium) restore(from string) {
	m.wipe()
	if err := os.Rename(from, m.folder); err != nil {
		m.world.fail("restore %s: %v", m.folder, err)
	}
	m.names = m.list()
	for _, name := range sortedKeys(m.names) {
		m.made = name
		m.keep(name, m.names[name])
	}
	m.durable = maps.Clone(m.names)
}

func sortedKeys[V any](all map[string]V) []string { return slices.Sorted(maps.Keys(all)) }
