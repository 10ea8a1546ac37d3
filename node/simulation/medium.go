package simulation

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// medium is a disk with one store folder. It knows which names and contents
// would survive a loss of power: what was synced does, and of what was not, any
// part may. The process tells of each change before it is made (wal.Options.Before);
// the files themselves are real.
type medium struct {
	world  *world
	folder string

	names   map[string]*file // as the operating system shows them
	durable map[string]*file // as they were when last synced
	pending []change         // since then, oldest first
	files   []*file          // all that may still have a name
	made    string           // the file that the last operation makes, content synced
	links   int
}

// file is a file, whatever its names are.
type file struct {
	info     os.FileInfo
	link     string // a name in the shadow folder, under which it can be found again
	unsynced bool   // its content was never synced
}

// change is what one operation does to names; nil: the name is gone.
type change map[string]*file

func (w *world) newMedium(folder string) *medium {
	m := &medium{world: w, folder: folder}
	m.forget()
	return m
}

// forget is for a folder that is empty, or put there by somebody else.
func (m *medium) forget() {
	m.names, m.durable, m.pending, m.files = map[string]*file{}, map[string]*file{}, nil, nil
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

// list reads the names of all files but the lock. A file that is new is given a
// second name, so that it can come back.
func (m *medium) list() map[string]*file {
	found := map[string]*file{}
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
			name := filepath.Join(sub, entry.Name())
			i := slices.IndexFunc(m.files, func(f *file) bool { return os.SameFile(f.info, info) })
			if i < 0 {
				i = len(m.files)
				m.files = append(m.files, m.keep(name, info))
			}
			found[name] = m.files[i]
		}
	}
	return found
}

func (m *medium) keep(name string, info os.FileInfo) *file {
	m.links++
	f := &file{info: info, link: filepath.Join(m.shadow(), fmt.Sprint(m.links)), unsynced: name != m.made}
	err := os.MkdirAll(m.shadow(), 0o700)
	if err == nil {
		err = os.Link(filepath.Join(m.folder, name), f.link)
	}
	if err != nil {
		m.world.fail("keep %s: %v", name, err)
	}
	return f
}

// look finds out what the last operation changed.
func (m *medium) look() {
	now, changed := m.list(), change{}
	for name, f := range now {
		if m.names[name] != f {
			changed[name] = f
		}
	}
	for name := range m.names {
		if now[name] == nil {
			changed[name] = nil
		}
	}
	if len(changed) > 0 {
		m.pending = append(m.pending, changed)
	}
	m.names = now
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
	case operation == "sync" && m.names[name] != nil:
		m.names[name].unsynced = false
	case operation == "sync":
		m.sync(name)
	}
}

// sync makes the names in one folder durable.
func (m *medium) sync(folder string) {
	in := func(name string) bool { return strings.TrimPrefix(filepath.Dir(name), ".") == folder }
	for _, changed := range m.pending {
		for name, f := range changed {
			if in(name) {
				set(m.durable, name, f)
				delete(changed, name)
			}
		}
	}
	m.pending = slices.DeleteFunc(m.pending, func(c change) bool { return len(c) == 0 })
	m.release()
}

func set(names map[string]*file, name string, f *file) {
	if f == nil {
		delete(names, name)
	} else {
		names[name] = f
	}
}

// release lets go of files that cannot come back.
func (m *medium) release() {
	used := map[*file]bool{}
	for _, names := range append([]change{m.names, m.durable}, m.pending...) {
		for _, f := range names {
			used[f] = true
		}
	}
	m.files = slices.DeleteFunc(m.files, func(f *file) bool {
		if !used[f] {
			m.remove(f.link)
		}
		return !used[f]
	})
}

// losePower leaves what was synced, and any part of what was not. Nobody uses
// the folder.
func (m *medium) losePower() {
	m.look()
	left := maps.Clone(m.durable)
	for _, changed := range m.pending {
		if m.world.chance(0.5) {
			continue
		}
		for name, f := range changed {
			set(left, name, f)
		}
	}
	for _, name := range sortedKeys(m.names) {
		if left[name] != m.names[name] {
			m.remove(filepath.Join(m.folder, name))
		}
	}
	for _, name := range sortedKeys(left) {
		if m.names[name] != left[name] {
			if err := os.Link(left[name].link, filepath.Join(m.folder, name)); err != nil {
				m.world.fail("bring back %s: %v", name, err)
			}
		}
		if left[name].unsynced {
			m.world.tear(filepath.Join(m.folder, name), nil)
		}
	}
	m.names, m.durable, m.pending = left, maps.Clone(left), nil
	m.release()
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
	for _, f := range m.files {
		f.unsynced = false
	}
	m.durable = maps.Clone(m.names)
}

func sortedKeys[V any](all map[string]V) []string { return slices.Sorted(maps.Keys(all)) }
