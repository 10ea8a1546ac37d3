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

func folder(t testing.TB, seed uint64) string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = t.TempDir()
	}
	return filepath.Join(base, fmt.Sprintf("holdfast-simulation-%d-%d", os.Getpid(), seed))
}

var (
	replay = flag.Uint64("seed", 0, "replay this seed with a readable trace")
	hunt   = flag.Duration("hunt", 0, "try fresh seeds for so long")
)

func TestReplay(t *testing.T) {
	if *replay == 0 {
		t.Skip("no -seed")
	}
	r := Run(Options{Seed: *replay, Folder: folder(t, *replay), Out: os.Stdout})
	t.Log(r.Description)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
}

func TestHunt(t *testing.T) {
	if *hunt == 0 {
		t.Skip("no -hunt")
	}
	end := time.Now().Add(*hunt)
	var total time.Duration
	for seed := uint64(time.Now().UnixNano()) % 1_000_000 * 1000; time.Now().Before(end); seed++ {
		r := Run(Options{Seed: seed, Folder: folder(t, seed)})
		total += r.Virtual
		if r.Err != nil {
			text, _, _ := strings.Cut(r.Err.Error(), "\n")
			t.Errorf("SEED=%d %s\n%s", seed, r.Description, text)
		} else if testing.Verbose() {
			t.Logf("SEED=%d %s", seed, r.Description)
		}
	}
	t.Logf("%s of cluster time", total)
}
