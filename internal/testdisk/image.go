package testdisk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Lay lays out in an empty folder what a loss of power in this moment may leave,
// one of all possibilities. What it is follows from the source of randomness.
func (c *Cut) Lay(random *rand.Rand, folder string) error {
	choice := newChoice(random, len(c.renamed))
	names := c.withNames(func(step *change, i int) int {
		across := len(step.names) == 2 && step.names[0].folder != step.names[1].folder
		if across && random.IntN(3) == 0 {
			return 1 // under both names
		}
		if choice.takes(i) {
			return len(step.names)
		}
		return 0
	})
	l := layout{names: names, random: random, cut: c, laid: map[uint64]string{}}
	return l.folder(rootID, folder)
}

// layout is one image that is being written.
type layout struct {
	cut    *Cut
	random *rand.Rand
	names  map[uint64]map[string]assignment
	laid   map[uint64]string // files that are there already, for their second names
}

func (l *layout) folder(id uint64, to string) error {
	for _, a := range sortedNames(l.names[id]) {
		at := filepath.Join(to, a.name)
		var err error
		if first, again := l.laid[a.file]; again {
			err = os.Link(first, at)
		} else if a.isFolder {
			if err = os.Mkdir(at, 0o700); err == nil {
				err = l.folder(a.file, at)
			}
		} else {
			l.laid[a.file] = at
			err = writeSparse(at, l.content(l.cut.file(a.file)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// content is what is left of a file.
func (l *layout) content(f *file) []byte {
	if len(f.pending) == 0 {
		return f.durable
	}
	choice := newChoice(l.random, len(f.pending))
	size := int64(len(f.durable))
	content := slices.Clone(f.durable)
	for i := range f.pending {
		step := &f.pending[i]
		taken := choice.takes(i)
		if step.kind == resizing {
			if taken {
				// What is cut off is gone, also when the file grows again.
				content, size = lengthened(content, step.size), step.size
				clear(content[size:])
			}
			continue
		}
		end := step.offset + int64(len(step.data))
		content = lengthened(content, max(end, size))
		if taken {
			size = max(size, end)
		}
		for at := step.offset; at < end; {
			next := min((at/sectorBytes+1)*sectorBytes, end)
			if choice.takesSector(i) {
				copy(content[at:next], step.data[at-step.offset:])
			}
			at = next
		}
	}
	return content[:size]
}

// choice says which of so many changes happened. Disks lose what was not synced in
// many ways; the ways that code is wrong about are often the regular ones.
type choice struct {
	random *rand.Rand
	way    int
	chance float64 // of each, where they are independent
	one    int     // the one that is different
}

const (
	nothing    = iota
	everything // but perhaps torn
	independent
	onlyOne
	allButOne
	inOrder // those before one, and parts of that
	ways
)

func newChoice(random *rand.Rand, count int) *choice {
	c := &choice{random: random, way: random.IntN(ways), chance: []float64{0.1, 0.5, 0.9}[random.IntN(3)]}
	if count > 0 {
		c.one = random.IntN(count)
		if random.IntN(2) == 0 { // what happened last is what nothing else has settled yet
			c.one = count - 1
		}
	}
	return c
}

// takes reports whether change i happened.
func (c *choice) takes(i int) bool {
	switch c.way {
	case nothing:
		return false
	case everything:
		return true
	case onlyOne:
		return i == c.one
	case allButOne:
		return i != c.one
	case inOrder:
		return i < c.one || i == c.one && c.random.IntN(2) == 0
	default:
		return c.random.Float64() < c.chance
	}
}

// takesSector reports whether a sector of change i was written.
func (c *choice) takesSector(i int) bool {
	if i == c.one && (c.way == inOrder || c.way == everything) {
		return c.random.IntN(2) == 0
	}
	return c.takes(i)
}

// writeSparse writes a file without the blocks that are zero.
func writeSparse(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(content)))
	for at := 0; at < len(content) && err == nil; at += len(zeroes) {
		block := content[at:min(at+len(zeroes), len(content))]
		if !bytes.Equal(block, zeroes[:len(block)]) {
			_, err = f.WriteAt(block, int64(at))
		}
	}
	return errors.Join(err, f.Close())
}

var zeroes [16 << 10]byte
