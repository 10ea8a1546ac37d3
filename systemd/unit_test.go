// Package systemd holds the service unit; the tests keep it valid, hardened and
// in step with what the binary does.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const unitFile = "holdfast.service"

// maxExposure is the worst score that systemd-analyze security may give, in
// tenths. The NATS project's own hardened unit scores 17.
const maxExposure = "15"

// TestUnitSettings pins the settings that the binary relies on, or that rely on
// the binary: a change of one needs a change of the other.
func TestUnitSettings(t *testing.T) {
	settings := readUnit(t)
	for _, want := range []struct{ key, value, why string }{
		{"Type", "notify", "the process reports readiness"},
		{"NotifyAccess", "main", "nobody else may report it"},
		{"Restart", "always", "the cluster comes back by itself"},
		{"RestartPreventExitStatus", "78", "the exit code of a refusal"},
		{"StartLimitIntervalSec", "0", "systemd must not give up on a node"},
		{"StateDirectory", "holdfast", "the store of the example configuration"},
		{"WatchdogSec", "20", "a hung loop is noticed"},
		{"TimeoutStartSec", "60", "finite, or EXTEND_TIMEOUT_USEC has no meaning"},
		{"ExecStart", "/usr/local/bin/holdfast run --config /etc/holdfast/holdfast.toml", "the documented command line"},
	} {
		if got := settings[want.key]; !slices.Equal(got, []string{want.value}) {
			t.Errorf("%s: %s=%q, want %q (%s)", unitFile, want.key, got, want.value, want.why)
		}
	}
	if got := strings.Join(settings["RestrictAddressFamilies"], " "); !strings.Contains(got, "AF_UNIX") {
		t.Errorf("%s: RestrictAddressFamilies=%q: readiness cannot be reported without AF_UNIX", unitFile, got)
	}
}

// TestAnalyzeVerify has systemd itself read the unit: unknown keys, bad values.
func TestAnalyzeVerify(t *testing.T) {
	analyze := requireAnalyze(t)
	// verify wants the program to exist; any executable stands in for it.
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), unitFile)
	text = []byte(strings.Replace(string(text), "/usr/local/bin/holdfast", program, 1))
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestAnalyzeSecurity bounds what a taken-over process could reach.
func TestAnalyzeSecurity(t *testing.T) {
	analyze := requireAnalyze(t)
	out, err := exec.Command(analyze, "security", "--offline=yes", "--no-pager", "--threshold="+maxExposure, unitFile).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: exposure above %s tenths: %v\n%s", maxExposure, err, out)
	}
	if strings.Contains(string(out), "ignoring") {
		t.Errorf("systemd-analyze security ignored a line of the unit:\n%s", out)
	}
}

// requireAnalyze returns the path of systemd-analyze. A machine without systemd
// cannot run the unit either, so there is nothing to check on it.
func requireAnalyze(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("this machine has no systemd-analyze")
	}
	return path
}

// readUnit returns the values of every key, in order.
func readUnit(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s: not a setting: %q", unitFile, line)
		}
		settings[key] = append(settings[key], value)
	}
	return settings
}
