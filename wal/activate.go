package wal

import (
	"errors"
	"fmt"
	"path/filepath"

	"holdfast/protocol"
)

// Activation is who a staged copy becomes. A voter that lagged too far behind
// keeps its store ID with its hard state and promise; a node that joins has a
// fresh store ID and neither.
type Activation struct {
	Identity  protocol.Identity // the lineage must be that of the copy
	HardState protocol.HardState
	Promise   protocol.Attempt
	Granted   []protocol.Attempt // every attempt that this very store promised
	Boot      uint64             // of this process; it is not raised
	Counter   uint64             // the last one that was told for this store ID; the store goes on above it
	Reason    string             // for the note of the store that is set aside
}

// NewStage begins a copy of another node's store beside the current one, which
// is not touched. An unfinished older copy is discarded.
func (d *Dir) NewStage() (*Stage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil, fmt.Errorf("store folder %s: %w", d.path, ErrClosed)
	}
	if d.stage != nil {
		if err := d.stage.Discard(); err != nil {
			return nil, err
		}
		d.stage = nil
	}
	g, err := newStage(filepath.Join(d.path, stageName), d.databaseOptions())
	if err != nil {
		return nil, err
	}
	d.stage = g
	return g, nil
}

// Activate makes a finished copy the store and opens it. The store before must
// be closed; it is set aside, unless it is blank: such a store has no log that
// anybody could want, and is removed once the copy is open. The switch is one
// rename of the pointer file: a crash leaves either the old store or the copy. An error
// says which: if Open then returns the store with the identity of the activation,
// it had happened.
func (d *Dir) Activate(stage *Stage, a Activation) (*Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unused(); err != nil {
		return nil, err
	}
	before := d.pointer
	if err := d.switchTo(stage, &a); err != nil {
		return nil, fmt.Errorf("activate the copy in %s: %w", d.path, err)
	}
	s, err := d.openCurrent(func(*Store) error { return nil })
	if err == nil && before.blank() {
		// The pointer is never behind the store, so there is nothing in it. What
		// cannot be removed now is set aside when the folder is opened next.
		if err = d.opt.disk.remove(d.storePath(before.serial)); err != nil {
			s.Close() // the error is the one that counts
			return nil, fmt.Errorf("remove the store that the copy in %s replaced: %w", d.path, err)
		}
	}
	return s, err
}

func (d *Dir) switchTo(stage *Stage, a *Activation) error {
	switch {
	case stage != d.stage || !stage.whole || stage.load == nil:
		return errors.New("it is not whole")
	case a.Identity.Store == 0 || a.Identity.Lineage != stage.intake.manifest.lineage:
		return fmt.Errorf("store %v of lineage %v cannot hold a copy of %v",
			a.Identity.Store, a.Identity.Lineage, stage.intake.manifest.lineage)
	}
	if err := d.opt.disk.step("settle", stage.path, func() error { return stage.settle(d.owner, a) }); err != nil {
		return err
	}
	d.stage = nil
	p := d.pointer
	p.serial++
	if err := d.opt.disk.rename(stage.path, d.storePath(p.serial)); err != nil {
		return err
	}
	if d.pointer.current {
		p.aside = d.currentNote(a.Reason)
	}
	holds := d.pointer.current && !d.pointer.blank()
	p.current, p.identity, p.replaced = true, a.Identity, protocol.Lineage{}
	if err := d.setPointer(p); err != nil {
		return err
	}
	if !holds {
		return nil
	}
	_, err := d.moveAside(p.aside)
	return err
}
