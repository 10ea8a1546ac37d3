package simulation

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	replay = flag.Uint64("seed", 0, "replay this seed with a readable trace")
	hunt   = flag.Duration("hunt", 0, "try fresh seeds for so long")
)

// folder is where the stores of a run are: in memory where there is room for it.
func folder(t testing.TB, seed uint64) string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = t.TempDir()
	}
	return filepath.Join(base, fmt.Sprintf("holdfast-simulation-%d-%d", os.Getpid(), seed))
}

// campaign makes runs and adds up what was simulated.
type campaign struct {
	testing.TB
	runs, faults, acked, foundings int
	rewrites                       int // of what lives in mostly dead entries
	halves                         int // checkpoints in the middle of which their process was killed
	undropped                      int // processes that were killed before all that was dead had gone
	resumed                        int // copies that were interrupted and became whole
	rollups, pending               int // that replaced messages, and of which something was left to do behind the entry
	expired, markers               int // messages that ended by their own time to live, and marked such an end
	pauses, resets                 int // of consumers
	refusals                       int // of streams that the account has no room for
	pinned, overflowed             int // clients that got messages alone, and messages for those that want others to wait
	virtual                        time.Duration
	slowest                        int // ticks until everything was live again
}

func (c *campaign) run(seed uint64) {
	r := Run(Options{Seed: seed, Folder: folder(c, seed)})
	c.runs++
	c.faults += r.Faults
	c.acked += r.Acked
	c.foundings += r.Foundings
	c.rewrites += r.Rewrites
	c.halves += r.Halves
	c.undropped += r.Undropped
	c.resumed += r.Resumed
	c.rollups += r.Rollups
	c.pending += r.Pending
	c.expired += r.Expired
	c.markers += r.Markers
	c.pauses += r.Pauses
	c.resets += r.Resets
	c.refusals += r.Refusals
	c.pinned += r.Pinned
	c.overflowed += r.Overflowed
	c.virtual += r.Virtual
	c.slowest = max(c.slowest, r.QuietTicks)
	if r.Err != nil {
		c.Errorf("%s\n%v\nReplay it with a readable trace: make simulate SEED=%d", r.Description, r.Err, seed)
	} else if testing.Verbose() {
		c.Logf("SEED=%d %s", seed, r.Description)
	}
}

func (c *campaign) report() {
	fmt.Printf("simulated %s of cluster time in %d runs: %d faults, %d foundings, %d messages acknowledged, %d rewrites, %d half checkpoints lost, %d killed with dead entries, %d copies resumed; all live again within %d ticks of %d\n",
		c.virtual.Round(time.Second), c.runs, c.faults, c.foundings, c.acked, c.rewrites, c.halves, c.undropped, c.resumed, c.slowest, quietTicks)
	fmt.Printf("%d rollups, %d of them made in steps\n", c.rollups, c.pending)
	fmt.Printf("%d messages ended by their own time to live, %d markers, %d clients pinned, %d messages overflowed, %d pauses, %d resets, %d streams refused\n",
		c.expired, c.markers, c.pinned, c.overflowed, c.pauses, c.resets, c.refusals)
}

// fixed is how many seeds, from 1 on, are the same in every test.
const fixed = 32

// freshTime is for how long fresh seeds are tried after them.
const freshTime = 15 * time.Second

func TestClustersComeBackAndLoseNothing(t *testing.T) {
	c := &campaign{TB: t}
	defer c.report()
	for seed := uint64(1); seed <= fixed; seed++ {
		c.run(seed)
	}
	for _, seen := range []struct {
		times int
		what  string
	}{
		{c.rewrites, "live message was written again"},
		{c.halves, "process was killed in the middle of a checkpoint"},
		{c.undropped, "process was killed while it let dead entries go"},
		{c.resumed, "copy went on after its link broke"},
		{c.pending, "rollup was made in steps"},
		{c.expired, "message ended by its own time to live"},
		{c.markers, "marker told of such an end"},
		{c.pauses, "consumer was paused"},
		{c.resets, "consumer was reset"},
		{c.refusals, "stream was refused by a limit of its account"},
		{c.pinned, "client was pinned"},
		{c.overflowed, "message went to a client that wants others to wait"},
	} {
		if seen.times == 0 {
			t.Errorf("no %s", seen.what)
		}
	}
	if testing.Short() {
		return
	}
	began := time.Now()
	fresh := freshSeed()
	fmt.Printf("fresh seeds from %d on\n", fresh)
	for seed := fresh; time.Since(began) < freshTime && !t.Failed(); seed++ {
		c.run(seed)
	}
}

func freshSeed() uint64 { return uint64(time.Now().UnixNano()) % 1_000_000_000 * 1000 }

// TestReplay is `make simulate SEED=…`.
func TestReplay(t *testing.T) {
	if *replay == 0 {
		return // only on demand
	}
	r := Run(Options{Seed: *replay, Folder: folder(t, *replay), Out: os.Stdout})
	fmt.Println(r.Description)
	if r.Err != nil {
		text, _, _ := strings.Cut(r.Err.Error(), "\n")
		t.Fatal(text)
	}
}

// TestHunt is `make simulate-long MINUTES=…`.
func TestHunt(t *testing.T) {
	if *hunt == 0 {
		return // only on demand
	}
	c := &campaign{TB: t}
	defer c.report()
	end := time.Now().Add(*hunt)
	for seed := freshSeed(); time.Now().Before(end); seed++ {
		c.run(seed)
	}
}
