package explore

import (
	"os"
	"runtime/debug"
	"testing"
	"time"
)

func TestHunt(t *testing.T) {
	which := os.Getenv("HUNT")
	if which == "" {
		t.Skip()
	}
	debug.SetGCPercent(300)
	d, _ := time.ParseDuration(os.Getenv("FOR"))
	start := Formed(nil, "a", "b", "c")
	switch which {
	case "brisk":
		explore(t, start, Search{Brisk: true, Limits: map[Op]int{Timeout: 3, Beat: 2, Propose: 1, Crash: 1, Wipe: 2, Found: 1, Hold: 2, Park: 1}, Time: d, Recover: 20})
	case "brisk2":
		explore(t, start, Search{Brisk: true, Limits: map[Op]int{Timeout: 2, Beat: 1, Propose: 1, Wipe: 2, Cut: 2, Found: 1, Discard: 1}, Time: d, Recover: 20})
	case "brisk-blank":
		explore(t, NewWorld(nil, "a", "b", "c"), Search{Brisk: true, Limits: map[Op]int{Timeout: 3, Beat: 2, Propose: 1, Crash: 2, Wipe: 2, Found: 1, Hold: 2, Park: 1}, Time: d, Recover: 20})
	case "blank":
		explore(t, NewWorld(nil, "a", "b", "c"), Search{Limits: map[Op]int{Timeout: 3, Beat: 2, Propose: 1, Crash: 1, Wipe: 1}, Time: d, Recover: 50})
	case "batch":
		explore(t, start, Search{Limits: map[Op]int{Timeout: 3, Beat: 2, Propose: 1, Crash: 1, Wipe: 2, Stall: 1}, Time: d, Recover: 50})
	case "wipes":
		explore(t, start, Search{Limits: map[Op]int{Timeout: 2, Propose: 1, Wipe: 2}, Time: d, Recover: 50})
	case "packets":
		explore(t, start, Search{Packets: true, Reorder: 1, Careful: true, Limits: map[Op]int{Timeout: 2, Beat: 1, Propose: 1, Crash: 1, Duplicate: 1, Lose: 1}, Time: d, Recover: 50})
	}
}
