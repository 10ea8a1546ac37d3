package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/servers"
)

func TestParseChoosesTargetsAndLoads(t *testing.T) {
	for _, c := range []struct{ args, targets, loads string }{
		{"", "holdfast always default", strings.Join(loadNames, " ")},
		{"-only holdfast", "holdfast", strings.Join(loadNames, " ")},
		{"-only fetch,async128", "holdfast always default", "fetch async128"},
		{"-only default,start,holdfast", "default holdfast", "start"},
	} {
		o, err := parse(strings.Fields(c.args))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, target := range o.targets {
			names = append(names, target.Name)
		}
		if got := strings.Join(names, " "); got != c.targets {
			t.Errorf("%q: targets %s", c.args, got)
		}
		if got := strings.Join(o.loads, " "); got != c.loads {
			t.Errorf("%q: loads %s", c.args, got)
		}
	}
	if o, err := parse([]string{"-seconds", "0.5", "-rounds", "2", "-dir", "/x"}); err != nil || o.load != 500*time.Millisecond || o.rounds != 2 || o.dir != "/x" {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	old := os.Stderr
	defer func() { os.Stderr = old }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stderr = null
	for _, args := range []string{"-only kafka", "-seconds 0", "-rounds 0", "extra", "-nope"} {
		if _, err := parse(strings.Fields(args)); err == nil || errors.Is(err, flag.ErrHelp) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestTableShowsMediansAndRatios(t *testing.T) {
	r := newResults(servers.Targets)
	for i, target := range servers.Targets {
		for _, v := range []float64{3000, 1000, 2000} {
			r.add(target, async128Figure, v/float64(i+1))
		}
		r.add(target, failoverFigure, float64(i))
		r.add(target, failoverFigure, float64(i)+0.5)
	}
	r.add(servers.Targets[0], fetchFigure, 10)
	want := "| | Holdfast | JetStream, `sync_interval: always` | JetStream, default sync | × always | × default |\n" +
		"| --- | ---: | ---: | ---: | ---: | ---: |\n" +
		"| publish async, 128 B | 2000/s | 1000/s | 667/s | 2.00× | 3.00× |\n" +
		"| fetch with acks, 128 B | 10/s | – | – | – | – |\n" +
		"| silence after SIGKILL of the leader | 0.25 s | 1.25 s | 2.25 s | 5.00× | 9.00× |\n"
	if got := r.table(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Whatever a turn does, its processes and files are gone afterwards.
func TestNothingOfAClusterIsLeft(t *testing.T) {
	dir := t.TempDir()
	stubborn := &servers.Target{Name: "stubborn", Configure: func(*servers.Cluster, *servers.Member) ([]string, error) {
		return []string{"-c", "trap '' TERM; exec sleep 600"}, nil
	}}
	var processes []*node
	c, err := newCluster(stubborn, "/bin/sh", dir, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		processes = append(processes, n)
	}
	if written, err := c.written(); err != nil || written < 0 {
		t.Fatal(written, err)
	}
	c.nodes[0].Process.Kill()
	if err := c.dead(); err == nil || !strings.Contains(err.Error(), "n1 ended: signal: killed") {
		t.Fatalf("got %v", err)
	}
	for _, n := range c.nodes {
		n.Process.Kill()
	}
	if slices.ContainsFunc(processes, func(n *node) bool { return n.Process.Running() }) {
		t.Fatal("a process still runs")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "stubborn-*")); err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
}
