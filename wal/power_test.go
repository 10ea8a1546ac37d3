package wal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/testdisk"
)

// A process works on a disk that records every change (internal/testdisk); then the
// power is cut at many moments, and what is left each time is judged. The next
// process goes on with one of these, so the way back is cut as well.

var (
	powerFor  = flag.Duration("power", 0, "how long TestPowerCuts goes on; 0: a short fixed run")
	powerSeed = flag.Uint64("power-seed", 0, "the first seed of TestPowerCuts; 0: a fixed one, or with -power a fresh one")
)

// powerVariable makes this program the process: seed, steps done, steps to do, and
// the file with the copy, with spaces between.
const powerVariable = "HOLDFAST_WAL_POWER"

const (
	stepsPerLife = 40
	cutsPerLife  = 80
	shortLives   = 5 // of each of two histories
)

// powerFixture is the store that processes copy.
type powerFixture struct {
	chunks [][]byte
	file   string // with the chunks
	copied picture
	ram    string // a folder for images
}

func newPowerFixture(t *testing.T) *powerFixture {
	t.Helper()
	f := &powerFixture{ram: ramFolder(t)}
	f.chunks = chunksOf(t, source(t), 32<<10)
	f.file = filepath.Join(t.TempDir(), "chunks")
	if err := writeChunks(f.file, f.chunks); err != nil {
		t.Fatal(err)
	}
	l := &life{history: newHistory(0, f.chunks, picture{}), folder: t.TempDir(), opt: small}
	if err := errors.Join(l.start(), l.do(step{kind: switching, store: 1})); err != nil {
		t.Fatal(err)
	}
	f.copied = lookAt(t, l.store)
	l.dir.abandon()
	return f
}

// ramFolder is a temporary folder in memory where there is one: syncs of what is
// thrown away cost the most.
func ramFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "holdfast-power-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// command is the process, with its arguments.
func (f *powerFixture) command(folder string, seed uint64, done, until int) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d %s", powerVariable, seed, done, until, f.file), childFolder+"="+folder)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// runPowerChild is the process.
func runPowerChild(arguments, folder string) int {
	words := strings.SplitN(arguments, " ", 4)
	var numbers [3]uint64
	for i := range numbers {
		numbers[i], _ = strconv.ParseUint(words[i], 10, 64)
	}
	chunks, err := readChunks(words[3])
	if err == nil {
		var copied picture
		if copied, err = pictureOf(chunks); err == nil {
			err = live(folder, newHistory(numbers[0], chunks, copied), int(numbers[1]), int(numbers[2]))
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// pictureOf is what a copy looks like when it was switched to.
func pictureOf(chunks [][]byte) (p picture, err error) {
	folder, err := os.MkdirTemp("", "holdfast-copy-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(folder)
	l := &life{history: newHistory(0, chunks, picture{}), folder: folder, opt: small}
	if err = errors.Join(l.start(), l.do(step{kind: switching, store: 1})); err == nil {
		p, err = look(l.store)
		l.dir.abandon()
	}
	return p, err
}

// recorded lets a process live on a disk that begins as a folder ("": empty), and
// returns the disk and the moment when it began.
func (f *powerFixture) recorded(t *testing.T, from string, seed uint64, done int) (*testdisk.Disk, int) {
	t.Helper()
	d := testdisk.New()
	if from != "" {
		if err := d.Load(from); err != nil {
			t.Fatal(err)
		}
	}
	began := d.Length()
	mount, err := d.Mount()
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.command(d.Path(), seed, done, done+stepsPerLife).CombinedOutput()
	if err != nil {
		t.Errorf("seed %d, after %d steps: %v: %s", seed, done, err, out)
	}
	if err := mount.Unmount(); err != nil {
		t.Error(err)
	}
	return d, began
}

// cutter cuts the power of one life at one moment after the other.
type cutter struct {
	*powerFixture
	cut     *testdisk.Cut
	seed    uint64
	began   int // steps done when the life began
	moments []moment
}

// at cuts the power after so many changes, and returns how many steps were done.
func (c *cutter) at(moment int, draw uint64) (steps int, err error) {
	c.cut.Advance(moment)
	t, ok := decodeTold(c.cut.Read(toldName))
	if !ok || t.steps < uint64(c.began) {
		t = told{steps: uint64(c.began)}
	}
	image, err := os.MkdirTemp(c.ram, "image-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(image)
	if err := c.lay(image, draw); err != nil {
		return 0, err
	}
	steps, err = judge(image, c.seed, c.moments, t, draw%4 == 0)
	if err != nil {
		err = fmt.Errorf("seed %d, power cut after %d changes, draw %d, %s; %d steps were told: %w", c.seed, moment, draw, c.cut.Pending(), t.steps, err)
	}
	return steps, err
}

// lay lays out what is left of the moment that the cut is at.
func (c *cutter) lay(image string, draw uint64) error {
	return c.cut.Lay(rand.New(rand.NewPCG(c.seed, draw)), image)
}

// TestPowerCuts: nothing that the store has told is lost, whenever the power is cut
// and whatever was not synced is lost. Steps are commits, restarts, copies of other
// stores, switches to them, and quarantines; the folder is made on the way.
func TestPowerCuts(t *testing.T) {
	f := newPowerFixture(t)
	if m, err := testdisk.New().Mount(); err != nil {
		processCuts(t, f, err)
		return
	} else if err := m.Unmount(); err != nil {
		t.Fatal(err)
	}
	seed, histories, lives := uint64(1), 2, shortLives
	if *powerFor > 0 {
		seed, histories, lives = rand.Uint64N(1<<40), 1<<30, 12
	}
	if *powerSeed > 0 {
		seed = *powerSeed
	}
	began, cuts := time.Now(), 0
	for n := range histories {
		cuts += f.history(t, seed+uint64(n), lives)
		if t.Failed() || *powerFor > 0 && time.Since(began) > *powerFor {
			break
		}
	}
	t.Logf("%d power cuts in %v, from seed %d on", cuts, time.Since(began).Round(time.Second), seed)
}

// history is one folder through so many lives, and returns the number of cuts.
func (f *powerFixture) history(t *testing.T, seed uint64, lives int) (cuts int) {
	t.Helper()
	from, done := "", 0
	random := rand.New(rand.NewPCG(seed, 1<<32))
	moments := newHistory(seed, f.chunks, f.copied).moments((lives + 1) * stepsPerLife)
	for range lives {
		disk, began := f.recorded(t, from, seed, done)
		c := &cutter{f, disk.Cut(), seed, done, moments}
		when := make([]int, cutsPerLife)
		for i := range when {
			when[i] = began + random.IntN(disk.Length()-began+1)
		}
		slices.Sort(when)
		last := cutsPerLife/2 + random.IntN(cutsPerLife/2)
		for i, moment := range when {
			steps, err := c.at(moment, uint64(i))
			if err != nil {
				t.Error(err)
				return cuts
			}
			cuts++
			if i != last {
				continue
			}
			if from != "" {
				os.RemoveAll(from)
			}
			from = filepath.Join(f.ram, fmt.Sprint("life-", seed, "-", cuts))
			if err := errors.Join(os.Mkdir(from, 0o700), c.lay(from, uint64(i))); err != nil {
				t.Fatal(err)
			}
			done = steps
		}
	}
	return cuts
}

// processCuts is what can be tested without a disk that loses what is not synced: a
// process that is killed at any moment leaves everything that it has written.
func processCuts(t *testing.T, f *powerFixture, why error) {
	fmt.Printf("POWER CUTS ARE NOT TESTED HERE, only processes that are killed at any moment: %v\n", why)
	const seed, until = 1, 400
	random := rand.New(rand.NewPCG(seed, 0))
	folder := filepath.Join(f.ram, "life")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	moments := newHistory(seed, f.chunks, f.copied).moments(until)
	kills := 0
	for done := 0; done < until; kills++ {
		child := f.command(folder, seed, done, until)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { // it gets somewhere, and then at any moment
			for until := uint64(done + 1 + random.IntN(40)); saidIn(folder).steps < until; {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
				}
			}
			child.Process.Kill()
		}()
		child.Wait() // how it ended does not matter, what it left does
		close(ended)
		said := saidIn(folder)
		said.steps = max(said.steps, uint64(done))
		image := filepath.Join(f.ram, "image")
		err := os.CopyFS(image, os.DirFS(folder))
		if err == nil {
			done, err = judge(image, seed, moments, said, true)
		}
		if err != nil {
			t.Fatalf("after %d kills: %v", kills, err)
		}
		os.RemoveAll(image)
	}
	t.Logf("%d kills", kills)
}

// saidIn is what a process has told in an ordinary folder.
func saidIn(folder string) told {
	content, _ := os.ReadFile(filepath.Join(folder, toldName))
	said, _ := decodeTold(content)
	return said
}

// TestPowerCutsFindWhatIsNotSynced leaves out, in the record of a process, the
// syncs of one kind, as if the code had forgotten them; the cuts have to notice.
func TestPowerCutsFindWhatIsNotSynced(t *testing.T) {
	f := newPowerFixture(t)
	if m, err := testdisk.New().Mount(); err != nil {
		t.Skipf("NOT TESTED on this machine: %v", err)
	} else if err := m.Unmount(); err != nil {
		t.Fatal(err)
	}
	const seed = 19
	planned, kinds := newHistory(seed, f.chunks, f.copied), map[stepKind]int{}
	for planned.steps < stepsPerLife {
		kinds[planned.next().kind]++
	}
	if len(kinds) != int(quarantined)+1 {
		t.Fatalf("some kind of step is not in the history: %v", kinds)
	}
	disk, began := f.recorded(t, "", seed, 0)
	moments := newHistory(seed, f.chunks, f.copied).moments(2 * stepsPerLife)
	isStore := func(s testdisk.Sync) bool {
		return !s.Folder && strings.HasPrefix(filepath.Base(s.Path), "store-") && strings.HasSuffix(s.Path, storeSuffix)
	}
	isMeta := func(offset int64) bool { return offset >= 0 && offset < 2*pageSize }
	for name, forgotten := range map[string]func(testdisk.Sync) bool{
		"a frame of the journal": func(s testdisk.Sync) bool {
			return isStore(s) && len(s.Before) == 1 && !isMeta(s.Before[0]) && !isMeta(s.Next)
		},
		"the pages before the meta page": func(s testdisk.Sync) bool { return isStore(s) && isMeta(s.Next) },
		"the meta page": func(s testdisk.Sync) bool {
			return isStore(s) && len(s.Before) == 1 && isMeta(s.Before[0])
		},
		"the pages with the meta page": func(s testdisk.Sync) bool {
			return isStore(s) && len(s.Before) > 1 && isMeta(s.Before[len(s.Before)-1])
		},
		"a new store":      func(s testdisk.Sync) bool { return strings.HasSuffix(s.Path, storeSuffix+temporarySuffix) },
		"the copy":         func(s testdisk.Sync) bool { return filepath.Base(s.Path) == stageName },
		"current":          func(s testdisk.Sync) bool { return filepath.Base(s.Path) == pointerName+temporarySuffix },
		"the folder":       func(s testdisk.Sync) bool { return s.Folder && s.Path == storeFolder },
		"the quarantine":   func(s testdisk.Sync) bool { return s.Folder && filepath.Base(s.Path) == quarantineName },
		"the folder's own": func(s testdisk.Sync) bool { return s.Folder && s.Path == "" },
	} {
		t.Run(name, func(t *testing.T) {
			c := &cutter{f, disk.Cut(), seed, 0, moments}
			c.cut.Ignore = forgotten
			when := soonAfter(disk, began, forgotten)
			if len(when) == 0 {
				t.Fatal("the process makes no such sync")
			}
			for i, moment := range when {
				if _, err := c.at(moment, uint64(i)); err != nil {
					t.Logf("found by cut %d: %v", i+1, err)
					return
				}
			}
			t.Error("nobody noticed")
		})
	}
}

// soonAfter returns random moments after each sync of one kind, ascending.
func soonAfter(disk *testdisk.Disk, began int, kind func(testdisk.Sync) bool) (when []int) {
	random := rand.New(rand.NewPCG(1, 2))
	passing := disk.Cut()
	passing.Ignore = func(s testdisk.Sync) bool {
		if at := passing.At(); at >= began && kind(s) {
			for range 30 {
				when = append(when, at+1+random.IntN(20))
			}
		}
		return false
	}
	passing.Advance(disk.Length())
	slices.Sort(when)
	return when
}
