package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"holdfast/protocol"
)

// Quarantined describes a store that was set aside. Nothing removes it but a
// person.
type Quarantined struct {
	Path    string           // the store's file
	Bytes   int64            // its length; zero: it is gone, and only the note is left
	Store   protocol.StoreID // zero: it could not be read
	Lineage protocol.Lineage // UnknownLineage: it could not be read
	Reason  string
	Time    time.Time
}

// Name is what the file is called, without its suffix; a person names it so.
func (q *Quarantined) Name() string { return strings.TrimSuffix(filepath.Base(q.Path), storeSuffix) }

// Quarantine sets the current store, which must be closed, aside and returns
// where it is now. The next Open creates a blank store that knows which lineage
// it replaces.
func (d *Dir) Quarantine(reason string) (path string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unused(); err != nil {
		return "", err
	}
	if !d.pointer.current {
		return "", fmt.Errorf("quarantine the store of %s: there is none", d.path)
	}
	p := d.pointer
	p.aside = d.currentNote(reason)
	p.replaced = d.pointer.lost()
	p.current, p.identity = false, protocol.Identity{}
	if err := d.setPointer(p); err != nil {
		return "", fmt.Errorf("quarantine the store of %s: %w", d.path, err)
	}
	if path, err = d.moveAside(p.aside); err != nil {
		return "", fmt.Errorf("quarantine the store of %s: %w", d.path, err)
	}
	return path, nil
}

// maxReasonBytes keeps notes well within maxTextFileBytes, however they are quoted.
const maxReasonBytes = 2000

// currentNote describes the current store.
func (d *Dir) currentNote(reason string) note {
	reason = reason[:min(len(reason), maxReasonBytes)]
	return note{serial: d.pointer.serial, identity: d.pointer.identity, reason: reason, time: d.opt.Now()}
}

// noteFor describes a store file that is not the current one: as the pointer
// does, or else as far as the file itself can be read.
func (d *Dir) noteFor(serial uint64, reason string) note {
	if d.pointer.aside.serial == serial {
		return d.pointer.aside
	}
	n := note{serial: serial, reason: reason, time: d.opt.Now()}
	n.identity.Lineage = UnknownLineage
	if peeked, _ := surveyFile(d.storePath(serial)); peeked.hasHead {
		n.identity = peeked.head.identity
		if n.identity.Lineage.Blank() {
			n.identity.Lineage = peeked.checkpoint.replaced
		}
	}
	return n
}

// moveAside puts a store file that the pointer does not name (any more) into the
// quarantine: the note first, then the file. Both steps can be repeated.
func (d *Dir) moveAside(n note) (string, error) {
	folder := filepath.Join(d.path, quarantineName)
	if err := d.opt.disk.makeFolder(folder); err != nil {
		return "", err
	}
	from := d.storePath(n.serial)
	to := filepath.Join(folder, filepath.Base(from))
	if there, err := os.Lstat(to); err == nil {
		if still, err := os.Lstat(from); err != nil || !os.SameFile(there, still) {
			return "", fmt.Errorf("%s exists already; move it out of the way", to)
		}
		return to, d.opt.disk.remove(from) // a crash left it under both names
	}
	if err := d.opt.disk.replace(strings.TrimSuffix(to, storeSuffix)+noteSuffix, encodeNote(&n)); err != nil {
		return "", err
	}
	if err := d.opt.disk.rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return to, nil
}

// Quarantined lists what was set aside, oldest first.
func (d *Dir) Quarantined() ([]Quarantined, error) {
	folder := filepath.Join(d.path, quarantineName)
	listed, err := os.ReadDir(folder) // ascending by name, which is by serial number
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	var all []Quarantined
	for _, entry := range listed {
		base, isNote := strings.CutSuffix(entry.Name(), noteSuffix)
		if !isNote {
			continue
		}
		q := Quarantined{Path: filepath.Join(folder, base+storeSuffix), Lineage: UnknownLineage}
		if info, err := os.Stat(q.Path); err == nil {
			q.Bytes = info.Size()
		}
		content, err := readBounded(filepath.Join(folder, entry.Name()))
		var n note
		if err == nil {
			n, err = decodeNote(content)
		}
		if err != nil {
			q.Reason = "its note cannot be read: " + err.Error()
		} else {
			q.Store, q.Lineage, q.Reason, q.Time = n.identity.Store, n.identity.Lineage, n.reason, n.time
		}
		all = append(all, q)
	}
	return all, nil
}

// Remove deletes a store that was set aside, for good. Only a person may ask for
// it. After a crash the note may be left, with Bytes zero.
func (d *Dir) Remove(q *Quarantined) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	folder := filepath.Join(d.path, quarantineName)
	if d.lock == nil {
		return fmt.Errorf("remove %s: store folder %s: %w", q.Path, d.path, ErrClosed)
	}
	if filepath.Dir(q.Path) != folder {
		return fmt.Errorf("remove %s: it is not in %s", q.Path, folder)
	}
	for _, path := range []string{q.Path, strings.TrimSuffix(q.Path, storeSuffix) + noteSuffix} {
		if err := d.opt.disk.remove(path); err != nil {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return d.opt.disk.syncFolder(folder)
}
