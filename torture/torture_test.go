package main

import (
	"os"
	"strings"
	"testing"
)

// TestMain lets the copy of this program that runs inside namespaces be one.
func TestMain(m *testing.M) {
	if os.Getenv(insideVariable) != "" {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestTorture tortures three nodes and then five, for a minute each, always with the
// same plan, and leaves nothing behind.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	folder := t.TempDir()
	if code := command([]string{"-minutes", "1", "-nodes", "3,5", "-seed", "1", "-dir", folder}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), folder) {
		t.Errorf("a mount is left, or nobody knows: %v", err)
	}
}

func TestParse(t *testing.T) {
	o, err := parse(strings.Fields("-minutes 0.5 -nodes 5 -targets default,holdfast -seed 7 -previous v1 -stores disk"))
	if err != nil || o.length.Seconds() != 30 || o.seed != 7 || len(o.sizes) != 1 || o.sizes[0] != 5 || len(o.targets) != 2 || o.previous != "v1" || !o.inFiles {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.seed == 0 || len(o.sizes) != 2 || len(o.targets) != 1 {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, bad := range []string{"-minutes 0", "-nodes 4", "-targets kafka", "-stores paper", "extra"} {
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
