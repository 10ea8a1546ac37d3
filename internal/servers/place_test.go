package servers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process that does not want to end is ended, and its output is kept.
func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	folder := t.TempDir()
	log := filepath.Join(folder, "log")
	p, err := Here().Start(folder, log, "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err == nil && strings.TrimSpace(string(text)) == "ready" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("log %q, %v", text, err)
		}
	}
	if !p.Running() {
		t.Fatal("it does not run")
	}
	if p.Stop(50 * time.Millisecond) {
		t.Error("it is said to have ended when it was asked to")
	}
	if p.Running() || p.State().String() != "signal: killed" {
		t.Errorf("running %v, %v", p.Running(), p.State())
	}
}
