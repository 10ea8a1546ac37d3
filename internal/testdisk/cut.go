package testdisk

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Cut goes through the record of a disk and knows, for the moment that it is at,
// what is durable and what is not.
type Cut struct {
	record []change
	at     int // so many changes have happened
	files  map[uint64]*file
	names  map[uint64]map[string]assignment // durable, by folder
	// renamed are changes of names that are not durable, in their order.
	renamed []change
	// Ignore, when set, is asked about each sync, and true makes it none: as if the
	// code had left it out. With it, a test shows that it would notice.
	Ignore func(Sync) bool
}

// file is the content of one file.
type file struct {
	durable []byte
	pending []change // writes and lengths since the last sync
}

// Cut returns one at the beginning of what is recorded by now.
func (d *Disk) Cut() *Cut {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return &Cut{record: slices.Clone(d.record), files: map[uint64]*file{}, names: map[uint64]map[string]assignment{}}
}

// At is the moment that the cut is at.
func (c *Cut) At() int { return c.at }

// Advance goes on to the moment when so many changes had happened. It does not go
// back.
func (c *Cut) Advance(to int) {
	for ; c.at < min(to, len(c.record)); c.at++ {
		switch step := c.record[c.at]; step.kind {
		case writing, resizing:
			f := c.file(step.file)
			f.pending = append(f.pending, step)
		case naming:
			c.renamed = append(c.renamed, step)
		case syncing:
			if c.Ignore != nil && c.Ignore(c.describe(step)) {
				continue
			}
			if step.isFolder {
				c.syncNames(step.file)
			} else {
				c.file(step.file).sync()
			}
		}
	}
}

func (c *Cut) file(id uint64) *file {
	f := c.files[id]
	if f == nil {
		f = &file{}
		c.files[id] = f
	}
	return f
}

// describe tells what a rule may want to know about a sync.
func (c *Cut) describe(step change) Sync {
	s := Sync{Path: step.path, Folder: step.isFolder, Next: -1}
	if step.isFolder {
		return s
	}
	for _, before := range c.file(step.file).pending {
		if before.kind == writing {
			s.Before = append(s.Before, before.offset)
		}
	}
	for _, later := range c.record[c.at+1:] {
		if later.kind == writing && later.file == step.file {
			s.Next = later.offset
			break
		}
	}
	return s
}

// sync makes everything durable that happened to the file.
func (f *file) sync() {
	for _, step := range f.pending {
		f.durable = step.applied(f.durable)
	}
	f.pending = nil
}

// applied is content after the change happened to it.
func (step *change) applied(content []byte) []byte {
	if step.kind == resizing {
		return resized(content, step.size)
	}
	content = lengthened(content, step.offset+int64(len(step.data)))
	copy(content[step.offset:], step.data)
	return content
}

// syncNames makes the names in one folder durable. With the old name of a rename,
// the new one is: nothing else would be a rename.
func (c *Cut) syncNames(folder uint64) {
	left := c.renamed[:0]
	for _, step := range c.renamed {
		whole := len(step.names) == 2 && step.names[1].folder == folder
		step.names = slices.DeleteFunc(slices.Clone(step.names), func(a assignment) bool {
			if a.folder != folder && !whole {
				return false
			}
			assign(c.names, a)
			return true
		})
		if len(step.names) > 0 {
			left = append(left, step)
		}
	}
	clear(c.renamed[len(left):])
	c.renamed = left
}

func assign(names map[uint64]map[string]assignment, a assignment) {
	if names[a.folder] == nil {
		names[a.folder] = map[string]assignment{}
	}
	if a.file == 0 {
		delete(names[a.folder], a.name)
	} else {
		names[a.folder][a.name] = a
	}
}

// Read is a file as processes saw it in that moment; nil: there was none.
func (c *Cut) Read(name string) []byte {
	names := c.withNames(func(*change, int) int { return 2 })
	id := uint64(rootID)
	for _, element := range elements(name) {
		if id = names[id][element].file; id == 0 {
			return nil
		}
	}
	f := c.file(id)
	content := slices.Clone(f.durable)
	for _, step := range f.pending {
		content = step.applied(content)
	}
	return content
}

// withNames returns the durable names with those of the pending changes that count:
// choose says how many of the assignments of each.
func (c *Cut) withNames(choose func(step *change, i int) int) map[uint64]map[string]assignment {
	names := make(map[uint64]map[string]assignment, len(c.names))
	for folder, in := range c.names {
		names[folder] = maps.Clone(in)
	}
	for i := range c.renamed {
		step := &c.renamed[i]
		for _, a := range step.names[:min(len(step.names), choose(step, i))] {
			assign(names, a)
		}
	}
	return names
}

// Pending tells in one line what is not durable in that moment.
func (c *Cut) Pending() string {
	writes := 0
	for _, f := range c.files {
		writes += len(f.pending)
	}
	return fmt.Sprintf("%d writes and %d changes of names are not synced", writes, len(c.renamed))
}

// sortedNames are the names in a folder, ascending.
func sortedNames(names map[string]assignment) []assignment {
	return slices.SortedFunc(maps.Values(names), func(a, b assignment) int { return cmp.Compare(a.name, b.name) })
}
