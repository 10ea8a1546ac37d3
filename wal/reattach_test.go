package wal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/protocol"
)

// waysToRemove a store's file below an open store.
var waysToRemove = map[string]func(folder, file string) error{
	"file removed":   func(_, file string) error { return os.Remove(file) },
	"file renamed":   func(_, file string) error { return os.Rename(file, file+".away") },
	"folder removed": func(folder, _ string) error { return os.RemoveAll(folder) },
	"folder renamed": func(folder, _ string) error { return os.Rename(folder, folder+".away") },
	"folder emptied": func(folder, _ string) error {
		names, err := filepath.Glob(filepath.Join(folder, "*"))
		for _, name := range names {
			err = errors.Join(err, os.RemoveAll(name))
		}
		return err
	},
}

// What the process has open is written again, with the commit that noticed it, and
// the next process finds it, too.
func TestRemovedFileIsWrittenAgain(t *testing.T) {
	for name, remove := range waysToRemove {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			d := openDir(t, path, small)
			s := openStoreIn(t, d)
			commit(t, s, founded(), &protocol.Write{Entries: batches(2, 20, 1, 9000)}, checkpointAt(10, []uint64{2, 3}, pair("k", "v")))
			commit(t, s, &protocol.Write{Entries: batches(22, 1, 1, 100)}) // in the journal
			if err := s.Attached(); err != nil {
				t.Fatal(err)
			}
			if err := remove(path, s.Path()); err != nil {
				t.Fatal(err)
			}
			if err := s.Attached(); !errors.Is(err, ErrRemoved) {
				t.Fatalf("noticed %v", err)
			}
			err := s.Commit(&protocol.Write{Entries: batches(23, 1, 1, 100)})
			if strings.HasSuffix(name, "renamed") { // it still has a name, somewhere
				if err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, ErrRemoved) {
				t.Fatalf("commit to a file without a name: %v", err)
			}
			was := s.Meta()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := d.Reattach(); err != nil {
				t.Fatal(err)
			}
			for _, again := range []string{"in this process", "in the next one"} {
				s = openStoreIn(t, d)
				now := s.Meta()
				if now.Boot <= was.Boot || now.Identity != was.Identity || s.Last() != 23 || now.CheckpointIndex != 10 {
					t.Fatalf("%s: %+v, last %d; was %+v", again, now, s.Last(), was)
				}
				for index := uint64(11); index <= 23; index++ {
					want := batches(index, 1, 1, map[bool]int{true: 100, false: 9000}[index > 21])
					if got, err := s.Entries(index, index+1, 1<<20); err != nil || sameEntry(got[0], want[0]) != nil {
						t.Fatalf("%s: entry %d: %v, %v", again, index, err, sameEntry(got[0], want[0]))
					}
				}
				was = now
				d.abandon()
				d = openDir(t, path, small)
			}
		})
	}
}

// A store that is where it belongs is not written again, nor is one that was damaged.
func TestOnlyRemovedFilesAreWrittenAgain(t *testing.T) {
	d, s := newStore(t)
	commit(t, s, founded())
	if err := d.Reattach(); err == nil {
		t.Error("while the store is open")
	}
	s.Close()
	if err := d.Reattach(); err == nil {
		t.Error("although the file is there")
	}
	s = openStoreIn(t, d)
	damage := s.fail("a test", nil)
	os.Remove(s.Path())
	if err := s.Attached(); err != nil {
		t.Errorf("a damaged store (%v) is damaged, and not %v", damage, err)
	}
	s.Close()
	if err := d.Reattach(); err == nil {
		t.Error("although it is damaged")
	}
}

// Whatever somebody put in the place of what was removed is left as it is.
func TestReattachLeavesWhatIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(t *testing.T, path, file string)
		want error
	}{
		"another file": {put: func(t *testing.T, _, file string) {
			if err := os.WriteFile(file, []byte("something"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"a store of the same member": {put: func(t *testing.T, path, _ string) {
			other := openDir(t, path, small)
			openStoreIn(t, other)
			other.abandon()
		}},
		"a store of another member": {want: ErrForeign, put: func(t *testing.T, path, _ string) {
			other, err := OpenDir(path, Owner{Cluster: "edge-1", Member: "n2"}, small)
			if err != nil {
				t.Fatal(err)
			}
			openStoreIn(t, other)
			other.abandon()
		}},
		"another process": {want: ErrLocked, put: func(t *testing.T, path, _ string) {
			other := openDir(t, path, small)
			if err := os.Remove(filepath.Join(path, pointerName)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(other.abandon)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			d := openDir(t, path, small)
			s := openStoreIn(t, d)
			commit(t, s, founded())
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			c.put(t, path, s.Path())
			before := folderContent(t, path)
			s.Close()
			err := d.Reattach()
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("written again: %v", err)
			}
			after := folderContent(t, path)
			for file, content := range before {
				if filepath.Base(file) != lockName && after[file] != content {
					t.Errorf("%s was changed", file)
				}
			}
		})
	}
}

// folderContent is what is in the files of a folder.
func folderContent(t *testing.T, path string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(path, "*"))
	if err != nil {
		t.Fatal(err)
	}
	content := make(map[string]string)
	for _, name := range names {
		bytes, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = string(bytes)
	}
	return content
}

func TestReattachCanStopAnywhere(t *testing.T) {
	everyStop(t, func(string) {},
		func(d *Dir) error {
			s, err := d.Open()
			if err != nil {
				return err
			}
			if err := s.Commit(founded()); err != nil {
				return err
			}
			if err := waysToRemove["folder emptied"](d.path, s.Path()); err != nil {
				return err
			}
			s.Close()
			return d.Reattach()
		},
		func(d *Dir, done []string, finished bool) {
			s, err := d.Open()
			var damage *DamageError
			if errors.As(err, &damage) && !finished {
				if _, err := d.Quarantine(damage.Error()); err != nil {
					t.Fatalf("after %q: %v", done, err)
				}
				s = openStoreIn(t, d)
			} else if err != nil {
				t.Fatalf("after %q: %v", done, err)
			}
			whole := s.Meta().Identity == protocol.Identity{Store: 7, Lineage: lineage} && s.Last() == 1
			blank := s.Meta().Identity.Lineage.Blank() && s.Last() == 0
			if !whole && (finished || !blank) {
				t.Errorf("after %q: %+v", done, s.Meta())
			}
		})
}
