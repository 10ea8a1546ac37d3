package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestForgottenThingsAreFound runs the whole program for some seconds with clients
// that never close a connection and never delete a stream: on every node the judge
// sees more goroutines, descriptors and streams' memory than before. Nothing is
// left of it then.
func TestForgottenThingsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	folder := t.TempDir()
	var out bytes.Buffer
	code := command(t.Context(), []string{"-minutes", "0.1", "-leak", "-dir", folder}, &out)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		for _, m := range []measure{goroutines, descriptors} {
			if !hasVerdict(out.String(), kinds[m].name, name) {
				t.Errorf("%s of %s are not said to have grown", kinds[m].name, name)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", out.String())
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// hasVerdict tells whether the table says of a measure of a node that it grew.
func hasVerdict(table, measure, node string) bool {
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		rest, found := strings.CutPrefix(line, measure)
		if found && strings.HasPrefix(strings.TrimSpace(rest), node+" ") {
			return strings.HasSuffix(line, "GREW") || strings.HasSuffix(line, "STAYED")
		}
	}
	return false
}

// series are samples of ten minutes, every two seconds.
func series(value func(at time.Duration) float64) (all []sample) {
	for at := time.Duration(0); at < 10*time.Minute; at += 2 * time.Second {
		s := sample{at: at}
		for m := range measureCount {
			s.values[m] = value(at)
		}
		all = append(all, s)
	}
	return all
}

func TestJudge(t *testing.T) {
	const level = 50 << 20
	random := rand.New(rand.NewPCG(1, 2))
	noise := func() float64 { return level * random.Float64() / 2 }
	for _, c := range []struct {
		name        string
		value       func(at time.Duration) float64
		restedLater float64
		want        string
	}{
		{"flat", func(time.Duration) float64 { return level }, level, ""},
		{"noisy", func(time.Duration) float64 { return level + noise() }, level, ""},
		{"warms up", func(at time.Duration) float64 { return level * min(1, at.Minutes()/4) }, level, ""},
		{"grows a little, within bounds", func(at time.Duration) float64 { return level + at.Minutes()*(200<<10) }, level, ""},
		{"grows", func(at time.Duration) float64 { return level + at.Minutes()*(2<<20) }, level, "GREW"},
		{"grows under noise", func(at time.Duration) float64 { return level + noise() + at.Minutes()*(4<<20) }, level, "GREW"},
		{"has peaks of a leader", func(at time.Duration) float64 {
			if int(at.Seconds())%10 < 4 {
				return 2 * level
			}
			return level
		}, level, ""},
		{"falls", func(at time.Duration) float64 { return 2*level - at.Minutes()*(2<<20) }, level, ""},
		{"does not go when all is deleted", func(time.Duration) float64 { return level }, 1.2 * level, "STAYED"},
	} {
		half := secondHalf(series(c.value))
		if half[0].at != 5*time.Minute {
			t.Fatalf("the second half begins at %v", half[0].at)
		}
		slope, median := trend(half, liveHeap)
		f := finding{measure: liveHeap, level: median, rise: slope * (5 * time.Minute).Seconds(), rested: level, later: c.restedLater}
		if got := f.grew(); got != c.want {
			t.Errorf("%s: %q, want %q; %+v", c.name, got, c.want, f)
		}
	}
}

func TestReportNamesWhatGrew(t *testing.T) {
	var out bytes.Buffer
	all := []finding{
		{node: "n1", measure: goroutines, level: 40, rise: 13, perHour: 200, rested: 30, later: 30},
		{node: "n2", measure: storeBytes, level: 1 << 30, rise: 0, rested: 0, later: 1 << 30},
	}
	if grew := report(&out, all); grew != 1 || !hasVerdict(out.String(), "goroutines", "n1") || hasVerdict(out.String(), "store files", "n2") {
		t.Errorf("%d grew:\n%s", grew, out.String())
	}
}

func TestParse(t *testing.T) {
	o, err := parse(strings.Fields("-minutes 0.5 -dir /x -profiles /y -leak -only keys,objects"))
	if err != nil || o.length != 30*time.Second || o.folder != "/x" || o.profiles != "/y" || !o.leak || len(o.only) != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, bad := range []string{"-minutes 0", "extra", "-only cakes"} {
		if code := command(context.Background(), strings.Fields(bad), &bytes.Buffer{}); code != 2 {
			t.Errorf("%q: exit code %d", bad, code)
		}
	}
}
