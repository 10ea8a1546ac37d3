package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/internal/servers"
)

// figure is one line of the table.
type figure struct {
	title  string
	format func(float64) string
	lower  bool // less is better
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }
func seconds(v float64) string   { return fmt.Sprintf("%.2f s", v) }
func plain(v float64) string     { return fmt.Sprintf("%.2f", v) }

var (
	async128Figure   = &figure{"publish async, 128 B", perSecond, false}
	async1kFigure    = &figure{"publish async, 1 KiB", perSecond, false}
	sync128Figure    = &figure{"publish sync, 128 B", perSecond, false}
	fetchFigure      = &figure{"fetch with acks, 128 B", perSecond, false}
	written128Figure = &figure{"bytes written per byte, 128 B", plain, true}
	written1kFigure  = &figure{"bytes written per byte, 1 KiB", plain, true}
	failoverFigure   = &figure{"silence after SIGKILL of the leader", seconds, true}
	startFigure      = &figure{"start to first stream", seconds, true}

	// figures in the order of the table.
	figures = []*figure{
		async128Figure, async1kFigure, sync128Figure, fetchFigure,
		written128Figure, written1kFigure, failoverFigure, startFigure,
	}
)

// results are the figures of all turns.
type results struct {
	targets []*servers.Target
	values  map[*servers.Target]map[*figure][]float64
}

func newResults(targets []*servers.Target) *results {
	r := &results{targets: targets, values: map[*servers.Target]map[*figure][]float64{}}
	for _, t := range targets {
		r.values[t] = map[*figure][]float64{}
	}
	return r
}

func (r *results) add(t *servers.Target, f *figure, value float64) {
	r.values[t][f] = append(r.values[t][f], value)
}

// table is Markdown: a column of medians for each target, and for all but the
// first a column that says how many times better the first one is (more messages
// a second, less of everything else).
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, t := range r.targets {
		fmt.Fprintf(&b, " %s |", t.Title)
	}
	for _, t := range r.targets[1:] {
		fmt.Fprintf(&b, " × %s |", t.Name)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", 2*len(r.targets)-1) + "\n")
	for _, f := range figures {
		if !slices.ContainsFunc(r.targets, func(t *servers.Target) bool { return len(r.values[t][f]) > 0 }) {
			continue
		}
		fmt.Fprintf(&b, "| %s |", f.title)
		for _, t := range r.targets {
			fmt.Fprintf(&b, " %s |", f.median(r.values[t][f]))
		}
		for _, t := range r.targets[1:] {
			fmt.Fprintf(&b, " %s |", f.ratio(r.values[r.targets[0]][f], r.values[t][f]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// median is how the figure is shown.
func (f *figure) median(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return f.format(median(values))
}

// ratio is how many times better ours is than theirs; less than 1: worse.
func (f *figure) ratio(ours, theirs []float64) string {
	if len(ours) == 0 || len(theirs) == 0 {
		return "–"
	}
	a, b := median(ours), median(theirs)
	if f.lower {
		a, b = b, a
	}
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f×", a/b)
}

// median of at least one value; of an even number, the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// machine describes what all this ran on.
func machine(dir string) string {
	return fmt.Sprintf("%d × %s, %s of memory, stores on %s; Linux %s, %s, nats-server %s; three nodes and the client on this machine",
		runtime.NumCPU(), field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"), fileSystem(dir),
		strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")), runtime.Version(), server.VERSION)
}

// field is the first value of a key in a file of "key : value" lines.
func field(file, key string) string {
	lines := bufio.NewScanner(strings.NewReader(readFile(file)))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func readFile(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return "unknown"
	}
	return string(text)
}

// fileSystems are names of magic numbers of statfs(2).
var fileSystems = map[int64]string{
	0xef53: "ext4", 0x58465342: "XFS", 0x9123683e: "Btrfs", 0x2fc12fc1: "ZFS",
	0x794c7630: "overlayfs", 0x01021994: "tmpfs (bytes written are not counted)",
}

func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	if name := fileSystems[int64(s.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
