package testdisk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// mounted returns a disk that is mounted. Without one, nothing that this package is
// for is tested on this machine, which must not pass for a success.
func mounted(t *testing.T) *Disk {
	t.Helper()
	d := New()
	m, err := d.Mount()
	if err != nil {
		t.Skipf("NOT TESTED on this machine: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func syncPath(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// images lays out many images of the end of the record and describes each one; the
// descriptions are counted.
func images(t *testing.T, d *Disk, ignore func(Sync) bool, describe func(folder string) string) map[string]int {
	t.Helper()
	c := d.Cut()
	c.Ignore = ignore
	c.Advance(d.Length())
	seen := map[string]int{}
	for seed := range uint64(150) {
		folder := t.TempDir()
		do(t, c.Lay(rand.New(rand.NewPCG(seed, 0)), folder))
		seen[describe(folder)]++
		do(t, os.RemoveAll(folder))
	}
	return seen
}

// files describes a folder by the files in it and their first bytes.
func files(folder string) string {
	var all []string
	filepath.WalkDir(folder, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		within, _ := filepath.Rel(folder, name)
		content, _ := os.ReadFile(name)
		all = append(all, within+"="+string(content[:min(1, len(content))]))
		return nil
	})
	slices.Sort(all)
	return strings.Join(all, " ")
}

func expect(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("never seen: %q; seen: %v", w, got)
		}
		delete(got, w)
	}
	if len(got) > 0 {
		t.Errorf("impossible: %v", got)
	}
}

func TestWhatASyncPromises(t *testing.T) {
	d := mounted(t)
	name := d.Path("file")
	write := func(text string) error { return os.WriteFile(name, []byte(text), 0o600) }
	do(t, write("a"))
	expect(t, images(t, d, nil, files), "", "file=", "file=a", "file=\x00")
	do(t, syncPath(d.Path()))
	expect(t, images(t, d, nil, files), "file=", "file=a", "file=\x00")
	do(t, syncPath(name))
	expect(t, images(t, d, nil, files), "file=a")
	expect(t, images(t, d, func(s Sync) bool { return s.Folder }, files), "", "file=a")
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	do(t, err)
	for _, text := range []string{"b", "c"} {
		_, err := f.WriteAt([]byte(text), 0)
		do(t, err)
	}
	expect(t, images(t, d, nil, files), "file=a", "file=b", "file=c")
	do(t, f.Sync(), f.Close())
	expect(t, images(t, d, nil, files), "file=c")
}

func TestWhatARenamePromises(t *testing.T) {
	d := mounted(t)
	put := func(name, text string) error {
		return errors.Join(os.WriteFile(d.Path(name), []byte(text), 0o600), syncPath(d.Path(name)))
	}
	do(t, put("current", "a"), put("new", "b"), os.Mkdir(d.Path("aside"), 0o700), syncPath(d.Path()))
	do(t, os.Rename(d.Path("new"), d.Path("current")))
	expect(t, images(t, d, nil, files), "current=a new=b", "current=b")
	do(t, syncPath(d.Path()))
	do(t, os.Rename(d.Path("current"), d.Path("aside", "current")))
	both := "aside/current=b current=b"
	expect(t, images(t, d, nil, files), "current=b", both, "aside/current=b")
	do(t, syncPath(d.Path("aside")))
	expect(t, images(t, d, nil, files), both, "aside/current=b")
	do(t, syncPath(d.Path()))
	expect(t, images(t, d, nil, files), "aside/current=b")
}

func TestSectorsAreLostOneByOne(t *testing.T) {
	d := mounted(t)
	f, err := os.Create(d.Path("file"))
	do(t, err)
	defer f.Close()
	fallocate := syscall.Fallocate(int(f.Fd()), 0, 0, 4*sectorBytes)
	do(t, fallocate, f.Sync(), syncPath(d.Path()))
	_, err = f.WriteAt([]byte(strings.Repeat("x", 4*sectorBytes)), 0)
	do(t, err)
	seen := images(t, d, nil, func(folder string) string {
		content, err := os.ReadFile(filepath.Join(folder, "file"))
		do(t, err)
		var sectors []byte
		for at := 0; at < len(content); at += sectorBytes {
			sector := content[at : at+sectorBytes]
			if strings.Trim(string(sector), string(sector[:1])) != "" {
				t.Fatal("half a sector was written")
			}
			sectors = append(sectors, sector[0]|'0')
		}
		return string(sectors)
	})
	if len(seen) != 16 {
		t.Errorf("%d combinations of 4 sectors: %v", len(seen), seen)
	}
}

// What Load reads is what an image has, and the end of one life is the beginning of
// the next.
func TestLoadIsDurable(t *testing.T) {
	folder := t.TempDir()
	do(t, os.WriteFile(filepath.Join(folder, "a"), []byte("a"), 0o600), os.Mkdir(filepath.Join(folder, "sub"), 0o700),
		os.Link(filepath.Join(folder, "a"), filepath.Join(folder, "sub", "b")))
	d := New()
	do(t, d.Load(folder))
	expect(t, images(t, d, nil, func(folder string) string {
		a, errA := os.Stat(filepath.Join(folder, "a"))
		b, errB := os.Stat(filepath.Join(folder, "sub", "b"))
		do(t, errA, errB)
		return fmt.Sprintf("%s %v", files(folder), os.SameFile(a, b))
	}), "a=a sub/b=a true")
}

func TestFailuresAndFlips(t *testing.T) {
	d := mounted(t)
	name := d.Path("file")
	do(t, os.WriteFile(name, []byte("abc"), 0o600))
	d.Fail(func(o Operation) syscall.Errno {
		if o.Kind == "sync" && o.Path == "file" {
			return syscall.EIO
		}
		return 0
	})
	if err := syncPath(name); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	d.Fail(nil)
	do(t, syncPath(name), d.Flip("file", 1, 0))
	if content, err := os.ReadFile(name); err != nil || string(content) != "acc" {
		t.Errorf("%q, %v", content, err)
	}
	d.Fail(func(o Operation) syscall.Errno {
		if o.Kind == "read" {
			return syscall.EIO
		}
		return 0
	})
	do(t, d.DropCache("file"))
	if _, err := os.ReadFile(name); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v", err)
	}
}
