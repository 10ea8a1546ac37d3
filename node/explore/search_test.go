package explore

import (
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"time"
)

// searches are the explorations of the rules as they are. In a bounded run each
// stops at states; `make check-long` gives them time instead.
var searches = []struct {
	name   string
	start  func() *World
	states int
	search Search
}{
	{"formed: the order of deliveries, clocks, a crash, two wipes", formed, 40_000,
		Search{Limits: map[Op]int{Timeout: 2, Propose: 1, Crash: 1, Wipe: 2}}},
	{"formed: wipes alone, further", formed, 24_000,
		Search{Limits: map[Op]int{Timeout: 1, Propose: 1, Wipe: 2}}},
	{"formed: two wipes, a cut and a write, all there is", formed, 0,
		Search{Brisk: true, Limits: map[Op]int{Propose: 1, Wipe: 2, Cut: 1, Timeout: 1}}},
	{"blank: an operator, a wipe and a late link, all there is", blank, 0,
		Search{Brisk: true, Limits: map[Op]int{Wipe: 1, Found: 1, Timeout: 1, Hold: 1}}},
	{"formed: packets one by one, reordered, doubled, lost, writes one by one", formed, 30_000,
		Search{Packets: true, Careful: true, Reorder: 1,
			Limits: map[Op]int{Timeout: 2, Beat: 1, Propose: 1, Crash: 1, Duplicate: 1, Lose: 1}}},
	{"formed: faults, late links and an operator", formed, 10_000,
		Search{Brisk: true, Limits: map[Op]int{Timeout: 3, Beat: 2, Propose: 1, Crash: 1, Wipe: 2, Found: 1, Hold: 2, Park: 1}}},
	{"formed: partitions, an override, a discard", formed, 10_000,
		Search{Brisk: true, Limits: map[Op]int{Timeout: 3, Beat: 1, Propose: 1, Wipe: 2, Cut: 2, Found: 1, Discard: 1}}},
	{"formed: an old store returns", formed, 8_000,
		Search{Brisk: true, Limits: map[Op]int{Timeout: 2, Propose: 1, Wipe: 2, Return: 1, Hold: 1}, Ignore: []string{"S2", "S3"}}},
	{"formed: a disk goes back, and all who are there remember", formed, 10_000,
		Search{Brisk: true, Limits: map[Op]int{Timeout: 4, Beat: 2, Propose: 2, Image: 1, Rollback: 1}}},
	{"formed: logs are trimmed, copies made in steps, a member cut off", formed, 3_000,
		Search{Brisk: true, Steps: true, Limits: map[Op]int{Timeout: 2, Propose: 2, Compact: 2, Wipe: 1, Crash: 1, Cut: 2}}},
	{"trimmed: a voter needs a copy, made in steps, while others crash and lead", trimmed, 2_000,
		Search{Brisk: true, Steps: true, Limits: map[Op]int{Timeout: 3, Beat: 1, Propose: 1, Compact: 2, Wipe: 1, Crash: 2, Cut: 1}}},
	{"trimmed: the order of deliveries, a copy made in steps, a crash, a wipe", trimmed, 4_000,
		Search{Steps: true, Limits: map[Op]int{Timeout: 2, Propose: 1, Compact: 1, Crash: 1, Wipe: 1}}},
	{"blank: the order of deliveries, a crash, a wipe", blank, 24_000,
		Search{Limits: map[Op]int{Timeout: 2, Propose: 1, Crash: 1, Wipe: 1}}},
	{"blank: packets and writes one by one", blank, 24_000,
		Search{Packets: true, Careful: true, Limits: map[Op]int{Timeout: 1, Crash: 1, Lose: 1}}},
	{"blank: faults, late links and an operator", blank, 8_000,
		Search{Brisk: true, Limits: map[Op]int{Timeout: 3, Propose: 1, Crash: 1, Wipe: 2, Found: 1, Hold: 2, Park: 1}}},
}

func formed() *World { return Formed(nil, "a", "b", "c") }

func blank() *World { return NewWorld(nil, "a", "b", "c") }

// trimmed is the formed state in which c was cut off while a wrote, and a did not
// wait for it when it trimmed its log.
func trimmed() *World {
	w := formed()
	for i := range w.nodes[:2] {
		w.applyFault(Action{Op: Cut, A: int8(i), B: 2})
	}
	w.Propose(0)
	w.quiet()
	if !w.Compact(0, true) || w.nodes[0].store.First() <= w.nodes[2].store.Last()+1 {
		panic("explore: the log of a is not trimmed")
	}
	w.linkAgain()
	return w
}

func TestEveryReachedStateKeepsTheRules(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	minutes, memory := environment(t, "EXPLORE_MINUTES"), environment(t, "EXPLORE_MEMORY_MB")
	for _, e := range searches {
		t.Run(e.name, func(t *testing.T) {
			start := e.start()
			s := e.search
			s.States, s.Recover, s.Memory = e.states, 200, uint64(memory)<<20
			if minutes > 0 {
				s.States, s.Recover = 0, 100
				if e.states == 0 { // few enough to look at the liveness of each
					s.Recover = 1
				}
				s.Time = time.Duration(minutes) * time.Minute / time.Duration(2*len(searches))
			}
			r := s.Run(start)
			t.Logf("%s", &r)
			if f := r.Finding; f != nil {
				t.Errorf("%s: %s\n%s", f.Check, f.What, s.Story(start, f.Path))
			}
		})
	}
}

// environment reads a whole number; 0 when it is not set.
func environment(t *testing.T, name string) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q: want a whole number", name, text)
	}
	return n
}

// Random walks go on for hundreds of steps, where breadth-first search ends
// after a few, and end with the check of liveness.
func TestWalksKeepTheRules(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	walks := uint64(300)
	until := time.Time{}
	if minutes := environment(t, "EXPLORE_MINUTES"); minutes > 0 {
		walks, until = 1<<40, time.Now().Add(time.Duration(minutes)*time.Minute/2)
	}
	walked := 0
	for seed := uint64(1); seed <= walks && (until.IsZero() || time.Now().Before(until)); seed++ {
		start, s := wander(seed)
		walked++
		if f := s.Walk(start, seed, 400); f != nil {
			f = s.Shorten(start, f)
			t.Fatalf("seed %d: %s: %s\n%s", seed, f.Check, f.What, s.Story(start, f.Path))
		}
	}
	t.Logf("%d walks of 400 steps", walked)
}

// What long walks have found: a copy of a disk was put back after its store had been
// replaced and all who remembered it had lost their memory. That is a store that
// returns (R3), and a person has to give it up.
func TestWalkThatFoundSomething(t *testing.T) {
	const seed = 607
	start, s := wander(seed)
	if f := s.Walk(start, seed, 400); f != nil {
		t.Fatalf("%s: %s", f.Check, f.What)
	}
}

// wander gives each seed its own mixture of grain and faults.
func wander(seed uint64) (*World, Search) {
	s := Search{Packets: seed%2 == 0, Reorder: int(seed % 3), Careful: seed%5 == 0, Limits: map[Op]int{
		Timeout: 40, Beat: 100, Propose: 4, Crash: 3, Wipe: 1 + int(seed%4), Cut: 3, Stall: int(seed % 3), Duplicate: 3, Lose: 5, Park: 2,
	}}
	if seed%4 == 1 {
		s.Limits[Found], s.Limits[Discard] = 1+int(seed/4%2), 1
	}
	if seed%4 == 3 {
		s.Steps, s.Limits[Compact] = true, 6
	}
	if seed%5 == 3 { // R1 and R2 are known; liveness and the rest hold
		s.Limits[Return] = 2
		s.Ignore = []string{"S1", "S2", "S3"}
	}
	if seed%5 == 2 { // who does not remember lets a disk go back (R6)
		s.Limits[Image], s.Limits[Rollback] = 2, 2
		s.Ignore = []string{"S1", "S2", "S3", "election", "promise", "identity"}
	}
	names := []string{"a", "b", "c"}
	if seed%7 == 0 {
		names = append(names, "d", "e")
	}
	if seed%3 == 0 {
		return NewWorld(nil, names...), s
	}
	return Formed(nil, names...), s
}
