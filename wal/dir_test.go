package wal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/protocol"
)

// listing is every file of a folder with its content, to see that nothing was touched.
func listing(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(path, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		b.WriteString(name + "=" + string(content) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func refused(t *testing.T, path string, who Owner, want error, mentions ...string) {
	t.Helper()
	before := listing(t, path)
	_, err := OpenDir(path, who, small)
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	for _, text := range append(mentions, path) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not mention %q", err, text)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than one line", err)
	}
	if after := listing(t, path); after != before {
		t.Error("the folder was touched")
	}
}

func TestFolderOfAnotherOwnerIsRefused(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	openStoreIn(t, d).Close()
	d.Close()
	refused(t, path, Owner{Cluster: "edge-2", Member: "n1"}, ErrForeign, `"edge-1"`, `"edge-2"`)
	refused(t, path, Owner{Cluster: "edge-1", Member: "n3"}, ErrForeign, `"n1"`, `"n3"`)
	if err := os.Remove(filepath.Join(path, pointerName)); err != nil {
		t.Fatal(err)
	}
	refused(t, path, Owner{Cluster: "edge-1", Member: "n3"}, ErrForeign, `"n1"`, `"n3"`)
}

func TestFolderOfANewerFormatIsRefused(t *testing.T) {
	path := t.TempDir()
	openDir(t, path, small).Close()
	name := filepath.Join(path, pointerName)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(content), "format 1", "format 2\nsomething new", 1)
	if err := os.WriteFile(name, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, path, owner, ErrNewerFormat, "format 2", "up to 1")
}

func TestFolderInUseIsRefused(t *testing.T) {
	path := t.TempDir()
	openStoreIn(t, openDir(t, path, small))
	refused(t, path, owner, ErrLocked, "two processes")
}

func TestFolderWithOtherFilesIsRefused(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "letter.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, path, owner, ErrForeign, "letter.txt")
}

func TestMountPointIsAccepted(t *testing.T) {
	path := t.TempDir()
	if err := os.Mkdir(filepath.Join(path, lostAndFoundName), 0o700); err != nil {
		t.Fatal(err)
	}
	openStoreIn(t, openDir(t, path, small))
}

func TestUnusablePathIsOneClearLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below"), "/proc/holdfast"} {
		_, err := OpenDir(path, owner, small)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFullDiskAtCreationLeavesNothingBehind(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{MapBytes: 1 << 20, MaxBytes: 64 << 10})
	if _, err := d.Open(); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(path, "store-*")); len(files) > 0 {
		t.Error(files)
	}
	d.Close()
	openStoreIn(t, openDir(t, path, small))
}

func TestQuarantinedStoreIsKeptAndRemembered(t *testing.T) {
	path := t.TempDir()
	opt := small
	opt.Now = func() time.Time { return time.Unix(1700000000, 0) }
	d := openDir(t, path, opt)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	if _, err := d.Quarantine("too early"); err == nil {
		t.Error("an open store was set aside")
	}
	s.Close()
	aside, err := d.Quarantine("it smelled")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(aside); err != nil {
		t.Error(err)
	}
	s = openStoreIn(t, d)
	if m := s.Meta(); m.Replaced != lineage || !m.Identity.Lineage.Blank() || m.Identity.Store == 7 || s.Last() != 0 {
		t.Errorf("the next store: %+v", m)
	}
	s.Close()
	if _, err := d.Quarantine("this one too"); err != nil {
		t.Fatal(err)
	}
	s = openStoreIn(t, d)
	if m := s.Meta(); m.Replaced != lineage {
		t.Errorf("the second blank store forgot the lineage: %+v", m)
	}
	all, err := d.Quarantined()
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if q := all[0]; q.Path != aside || q.Store != 7 || q.Lineage != lineage || q.Reason != "it smelled" || q.Time.Unix() != 1700000000 {
		t.Errorf("%+v", q)
	}
	commit(t, s, founded())
	if m := s.Meta(); !m.Replaced.Blank() {
		t.Errorf("a store that holds a lineage still replaces one: %+v", m)
	}
}

// Only a person removes what was set aside, and nothing else in the folder.
func TestRemoveQuarantined(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	for range 2 {
		s := openStoreIn(t, d)
		commit(t, s, founded())
		s.Close()
		if _, err := d.Quarantine("no reason"); err != nil {
			t.Fatal(err)
		}
	}
	s := openStoreIn(t, d)
	all, err := d.Quarantined()
	if err != nil || len(all) != 2 || all[0].Bytes == 0 || all[0].Name() != "store-000001" {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := d.Remove(&Quarantined{Path: s.Path()}); err == nil {
		t.Error("the store in use was removed")
	}
	if err := d.Remove(&all[0]); err != nil {
		t.Fatal(err)
	}
	left, err := d.Quarantined()
	if err != nil || len(left) != 1 || left[0] != all[1] {
		t.Errorf("%+v, %v", left, err)
	}
	// The note goes last: what a crash leaves is a note without a file.
	if err := os.Remove(left[0].Path); err != nil {
		t.Fatal(err)
	}
	if left, err = d.Quarantined(); err != nil || len(left) != 1 || left[0].Bytes != 0 {
		t.Errorf("%+v, %v", left, err)
	}
	if err := d.Remove(&left[0]); err != nil {
		t.Error(err)
	}
	commit(t, s, founded())
}

func TestMissingStoreFileIsDamage(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	s.Close()
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if _, err := d.Open(); !errors.As(err, &damage) {
		t.Fatal(err)
	}
	if _, err := d.Quarantine(damage.Error()); err != nil {
		t.Fatal(err)
	}
	if m := openStoreIn(t, d).Meta(); m.Replaced != lineage {
		t.Errorf("%+v", m)
	}
}

// Which file was the store cannot be told without the pointer: a store that was
// quarantined for a reason must not come back.
func TestLostPointerSetsEveryStoreAside(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"missing": os.Remove,
		"damaged": func(path string) error {
			return os.WriteFile(path, []byte("holdfast store folder, format 1\nx"), 0o600)
		},
		"empty": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d := openDir(t, path, small)
			s := openStoreIn(t, d)
			commit(t, s, founded())
			s.Close()
			d.Close()
			if err := lose(filepath.Join(path, pointerName)); err != nil {
				t.Fatal(err)
			}
			d = openDir(t, path, small)
			m := openStoreIn(t, d).Meta()
			if m.Replaced != lineage || m.Identity.Store == 7 {
				t.Errorf("%+v", m)
			}
			all, err := d.Quarantined()
			if err != nil || len(all) != 1 || all[0].Store != 7 || !strings.Contains(all[0].Reason, pointerName) {
				t.Errorf("%+v, %v", all, err)
			}
		})
	}
}

func TestUnreadableStoreWithoutPointerCountsAsALineage(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	s.Close()
	d.Close()
	if err := errors.Join(os.Remove(filepath.Join(path, pointerName)), os.Truncate(s.Path(), 100)); err != nil {
		t.Fatal(err)
	}
	if m := openStoreIn(t, openDir(t, path, small)).Meta(); m.Replaced != UnknownLineage {
		t.Errorf("%+v", m)
	}
}

func TestPointerFollowsTheIdentity(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	s := openStoreIn(t, d)
	commit(t, s, founded())
	s.Close()
	if err := os.Truncate(s.Path(), 0); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if _, err := d.Open(); !errors.As(err, &damage) {
		t.Fatal(err)
	}
	if _, err := d.Quarantine("short"); err != nil {
		t.Fatal(err)
	}
	all, err := d.Quarantined()
	if err != nil || len(all) != 1 || all[0].Store != 7 || all[0].Lineage != lineage {
		t.Errorf("%+v, %v", all, err)
	}
}

var errStopped = errors.New("stopped")

// stopAt returns a disk that does n operations and then none any more.
func stopAt(n int) (disk, *[]string) {
	var done []string
	return disk{before: func(operation, path string) error {
		if len(done) >= n {
			return errStopped
		}
		done = append(done, operation+" "+filepath.Base(path))
		return nil
	}}, &done
}

// everyStop calls run with a process that ends before its n-th file operation,
// for n from 0 until run gets through, and then judge with a new one.
func everyStop(t *testing.T, prepare func(path string), run func(d *Dir) error, judge func(d *Dir, done []string, finished bool)) {
	t.Helper()
	for n := 0; ; n++ {
		path := t.TempDir()
		prepare(path)
		opt := small
		var done *[]string
		opt.disk, done = stopAt(n)
		d, err := OpenDir(path, owner, opt)
		if err == nil {
			err = run(d)
			d.abandon()
		}
		if err != nil && !errors.Is(err, errStopped) {
			t.Fatalf("after %q: %v", *done, err)
		}
		d = openDir(t, path, small)
		judge(d, *done, err == nil)
		left, _ := filepath.Glob(filepath.Join(path, "*"+temporarySuffix))
		stores, _ := filepath.Glob(filepath.Join(path, "store-*"))
		if len(left) > 0 || len(stores) != 1 {
			t.Errorf("after %q: %v %v are left", *done, left, stores)
		}
		d.abandon()
		if err == nil {
			if n == 0 {
				t.Fatal("no file operation at all")
			}
			return
		}
	}
}

func TestCreationCanStopAnywhere(t *testing.T) {
	everyStop(t, func(string) {},
		func(d *Dir) error { _, err := d.Open(); return err },
		func(d *Dir, done []string, _ bool) {
			s := openStoreIn(t, d)
			if m := s.Meta(); !m.Replaced.Blank() || m.Identity.Store == 0 {
				t.Errorf("after %q: %+v", done, m)
			}
			if aside, _ := d.Quarantined(); len(aside) > 0 {
				t.Errorf("after %q: quarantined %+v", done, aside)
			}
		})
}

func TestQuarantineCanStopAnywhere(t *testing.T) {
	everyStop(t,
		func(path string) {
			d := openDir(t, path, small)
			commit(t, openStoreIn(t, d), founded())
			d.abandon()
		},
		func(d *Dir) error { _, err := d.Quarantine("a reason"); return err },
		func(d *Dir, done []string, finished bool) {
			m := openStoreIn(t, d).Meta()
			aside, err := d.Quarantined()
			if err != nil {
				t.Fatal(err)
			}
			switched := slices.Contains(done, "rename current")
			switch {
			case m.Identity == protocol.Identity{Store: 7, Lineage: lineage} && len(aside) == 0 && !switched:
			case m.Replaced == lineage && len(aside) == 1 && aside[0].Store == 7 && aside[0].Reason == "a reason" && switched:
				if _, err := os.Stat(aside[0].Path); err != nil {
					t.Error(err)
				}
			default:
				t.Errorf("after %q: %+v, quarantined %+v", done, m, aside)
			}
		})
}

// A process that was killed between a rename and its sync leaves names that a loss
// of power would take back. The next one syncs them before it uses what it finds.
func TestNamesAreSyncedBeforeTheyAreUsed(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	openStoreIn(t, d).Close()
	if _, err := d.Quarantine("a reason"); err != nil {
		t.Fatal(err)
	}
	d.abandon()
	opt := small
	var done *[]string
	opt.disk, done = stopAt(100)
	d = openDir(t, path, opt)
	openStoreIn(t, d)
	want := []string{"mkdir " + filepath.Base(path), "sync quarantine", "sync " + filepath.Base(path)}
	if len(*done) < len(want) || !slices.Equal((*done)[:len(want)], want) {
		t.Errorf("the first operations are %q, want %q", *done, want)
	}
}

// The two folders of a rename are synced one after the other, so a loss of power
// can leave a file under both names.
func TestQuarantinedStoreUnderBothNames(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	commit(t, openStoreIn(t, d), founded())
	d.store.Close()
	aside, err := d.Quarantine("a reason")
	if err != nil {
		t.Fatal(err)
	}
	d.abandon()
	before := filepath.Join(path, filepath.Base(aside))
	if err := os.Link(aside, before); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path, small)
	openStoreIn(t, d)
	if _, err := os.Lstat(before); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old name is still there: %v", err)
	}
	if all, err := d.Quarantined(); err != nil || len(all) != 1 || all[0].Store != 7 {
		t.Errorf("%+v, %v", all, err)
	}
}

// When it is not known which store a crash would leave as the current one, none
// may be used until the folder was opened again.
func TestUncertainSwitchStopsTheFolder(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, small)
	openStoreIn(t, d).Close()
	var renamed bool
	d.opt.disk = disk{before: func(operation, at string) error {
		if operation == "sync" && renamed {
			return errStopped
		}
		renamed = operation == "rename" && filepath.Base(at) == pointerName
		return nil
	}}
	if _, err := d.Quarantine("a reason"); !errors.Is(err, errUncertain) {
		t.Fatal(err)
	}
	if _, err := d.Open(); !errors.Is(err, errUncertain) {
		t.Errorf("open: %v", err)
	}
	d.abandon()
	d = openDir(t, path, small)
	openStoreIn(t, d)
}
