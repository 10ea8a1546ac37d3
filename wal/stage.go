package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"holdfast/protocol"
)

// Stage is a copy of another node's store while it is being received, in a file
// beside the current store, which stays as it is. It becomes the store by
// Dir.Activate.
type Stage struct {
	path   string
	load   *loader // nil: discarded, or it has become a store
	intake intake
	whole  bool  // Finish succeeded
	err    error // the first failure; the copy is void
}

// Manifest says what a staged copy holds.
type Manifest struct {
	Lineage protocol.Lineage
	Last    uint64 // index of the last entry
	Applied uint64 // index of the checkpoint, at most Last
	Horizon uint64 // every entry above it, up to Last, is there
	Marks   []protocol.Mark
	// What the log says up to Last.
	Configuration protocol.Configuration
	Epoch         uint64
	Foundings     []protocol.Founding
	Stamp         int64 // nanoseconds since 1970
}

// newStage creates the file at path, in the place of an older one. It is synced
// only as a whole, at the end: an unfinished copy is worth nothing.
func newStage(path string, opt databaseOptions) (*Stage, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("stage a copy: %w", err)
	}
	load, err := newLoader(path, opt)
	if err != nil {
		return nil, fmt.Errorf("stage a copy in %s: %w", path, err)
	}
	return &Stage{path: path, load: load}, nil
}

// Write takes the next chunk of an Export. After an error, ErrDiskFull included,
// the copy is void: discard it.
func (g *Stage) Write(chunk []byte) error {
	return g.attempt(func() error {
		if err := g.load.opt.disk.ask("commit", g.path); err != nil {
			return err
		}
		return g.intake.chunk(chunk, g.load)
	})
}

// Finish makes the copy durable, if all of it has come.
func (g *Stage) Finish() (Manifest, error) {
	err := g.attempt(func() error {
		if !g.intake.done() {
			return errors.New("the end is missing")
		}
		return g.load.sync()
	})
	if err != nil {
		return Manifest{}, err
	}
	g.whole = true
	c, end := &g.intake.manifest.checkpoint, &g.intake.manifest.end
	return Manifest{
		Lineage:       g.intake.manifest.lineage,
		Last:          end.Last,
		Applied:       c.index,
		Horizon:       c.horizon,
		Marks:         slices.Clone(g.intake.marks),
		Configuration: end.Configuration,
		Epoch:         end.Epoch,
		Foundings:     slices.Clone(end.Foundings),
		Stamp:         c.stamp,
	}, nil
}

// records are those of the copy, as long as it belongs to nobody.
func (g *Stage) records() (head, checkpointRecord) {
	m := &g.intake.manifest
	return head{
		identity: protocol.Identity{Lineage: m.lineage},
		last:     m.end.Last,
		log:      g.intake.totals.log,
		marks:    g.intake.totals.marks,
		pairs:    g.intake.totals.pairs,
	}, m.checkpoint
}

// attempt does one step unless one before has failed.
func (g *Stage) attempt(step func() error) error {
	if g.err != nil {
		return g.err
	}
	if g.load == nil || g.whole {
		return fmt.Errorf("stage a copy in %s: %w", g.path, ErrClosed)
	}
	if err := step(); err != nil {
		g.err = fmt.Errorf("stage a copy in %s: %w", g.path, asDiskFull(err))
	}
	return g.err
}

// Last is the index of the copy's last entry, and zero until the marks have come,
// with the first chunks.
func (g *Stage) Last() uint64 {
	if !g.intake.described() {
		return 0
	}
	return g.intake.manifest.end.Last
}

// Mark returns the run of the copy's log that holds index, once Last is known.
func (g *Stage) Mark(index uint64) (protocol.Mark, bool) {
	if index == 0 || index > g.Last() {
		return protocol.Mark{}, index == 0
	}
	return findMark(g.intake.marks, index)
}

// Discard removes the copy. It may be called at any time before Activate and
// more than once.
func (g *Stage) Discard() error {
	if g.load == nil {
		return nil
	}
	load := g.load
	g.load = nil
	err := load.file.Close()
	if removed := os.Remove(g.path); removed != nil && !errors.Is(removed, os.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	if err != nil {
		return fmt.Errorf("discard the copy: %w", err)
	}
	return nil
}

// settle writes who the copy becomes, durably, and closes the file.
func (g *Stage) settle(owner Owner, a *Activation) error {
	h, c := g.records()
	c.owner = owner
	h.identity = a.Identity
	h.boot, h.counter = a.Boot, a.Counter+1
	h.promise = a.Promise
	h.hardState = a.HardState
	c.granted = a.Granted
	// All of a copy was committed, and what its checkpoint contains was released.
	h.hardState.Commit = max(h.hardState.Commit, h.last)
	h.hardState.Release = max(h.hardState.Release, c.index)
	load := g.load
	if err := load.finish(&h, &c); err != nil {
		return err
	}
	g.load = nil
	return load.file.Close()
}
