package integration

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Exit codes of the binary.
const (
	exitFailed  = 1  // systemd tries again
	exitRefused = 78 // systemd does not: see RestartPreventExitStatus
)

// ending is what a process that could not run left behind.
type ending struct {
	code   int
	output string
}

// runToEnd runs the binary and expects that it ends by itself.
func runToEnd(t *testing.T, user *syscall.Credential, args ...string) ending {
	t.Helper()
	folder := publicFolder(t)
	log := filepath.Join(folder, "log")
	p, err := launch(folder, log, user, append([]string{program}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		p.command.Process.Kill()
		<-p.exited
		text, _ := os.ReadFile(log)
		t.Fatalf("holdfast %s: still running\n%s", strings.Join(args, " "), text)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	_, output, _ := strings.Cut(string(text), "\n") // without our own first line
	return ending{code: p.exitCode(), output: output}
}

// publicFolder is a temporary folder that another user can reach.
func publicFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// want expects an exit code and one clear line that mentions all of these.
func (e ending) want(t *testing.T, code int, mentions ...string) {
	t.Helper()
	if e.code != code {
		t.Errorf("exit code %d, want %d:\n%s", e.code, code, e.output)
	}
	var said []string
	for line := range strings.Lines(e.output) {
		if strings.HasPrefix(line, "holdfast: ") {
			said = append(said, line)
		}
	}
	if len(said) != 1 || strings.Contains(e.output, "goroutine ") {
		t.Errorf("want one line that says why, got:\n%s", e.output)
		return
	}
	for _, mention := range mentions {
		if !strings.Contains(said[0], mention) {
			t.Errorf("%q does not mention %q", said[0], mention)
		}
	}
}

// TestForeignStore hands a node the store of another cluster and of another
// member: it refuses by name and touches nothing.
func TestForeignStore(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 1)
	n := c.nodes[0]
	newClient(t, n).create(jetstream.StreamConfig{})
	n.stop(t)
	before := fingerprint(t, n.store())

	stranger := &cluster{name: "stranger", nodes: c.nodes, secretFile: c.secretFile}
	file := filepath.Join(t.TempDir(), "stranger.toml")
	write(t, file, stranger.toml(n))
	runToEnd(t, nil, "run", "--config", file).want(t, exitRefused, "stranger", c.name)

	renamed := &node{name: "other", at: n.at, folder: n.folder}
	namesake := &cluster{name: c.name, nodes: []*node{renamed}, secretFile: c.secretFile}
	write(t, file, namesake.toml(renamed))
	runToEnd(t, nil, "run", "--config", file).want(t, exitRefused, "other", n.name)

	if after := fingerprint(t, n.store()); after != before {
		t.Errorf("a refused store was changed:\n%s\nbefore:\n%s", after, before)
	}
	n.start(t)
	c.waitReady(t)
}

// fingerprint lists the files below a folder with their contents' sums. The
// lock is no content.
func fingerprint(t *testing.T, folder string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(entry.Name(), "lock") {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestStoreInUse starts a second process on the store of a running one.
func TestStoreInUse(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 1)
	n := c.nodes[0]
	second := &node{name: n.name, at: freeAddress(t), folder: n.folder}
	file := filepath.Join(t.TempDir(), "second.toml")
	write(t, file, (&cluster{name: c.name, nodes: []*node{second}, secretFile: c.secretFile}).toml(second))
	runToEnd(t, nil, "run", "--config", file).want(t, exitFailed, n.store())
	newClient(t, n).create(jetstream.StreamConfig{}) // the first is unharmed
}

// TestPortInUse takes one port after the other from a node before it starts.
func TestPortInUse(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := newCluster(t, 3)
	n := c.nodes[0]
	for _, taken := range []string{n.clientAddress(), n.routesAddress(), n.meshAddress(), n.monitorAddress()} {
		listener, err := net.Listen("tcp", taken)
		if err != nil {
			t.Fatal(err)
		}
		runToEnd(t, nil, n.args...).want(t, exitFailed, taken)
		listener.Close()
	}
}

// TestStoreNotWritable gives a node a store folder that it cannot use.
func TestStoreNotWritable(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	at := freeAddress(t)
	run := func(user *syscall.Credential, store string) ending {
		return runToEnd(t, user, "run", "--store", store, "--listen", at.join(at.client), "--monitor", at.join(at.monitor))
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "not a folder")
	run(nil, file).want(t, exitFailed, file)
	run(nil, filepath.Join(file, "below")).want(t, exitFailed, file)

	folder := publicFolder(t)
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	var user *syscall.Credential
	if os.Geteuid() == 0 { // whom no permission stops
		user = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	run(user, filepath.Join(folder, "store")).want(t, exitFailed, folder)
}

// TestBadConfiguration feeds every command configurations with one mistake
// each; the answer names the key and its line.
func TestBadConfiguration(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := newCluster(t, 3)
	n := c.nodes[0]
	good := c.toml(n)
	file := filepath.Join(t.TempDir(), "holdfast.toml")
	write(t, file, good)
	if e := runToEnd(t, nil, "check", "--config", file); e.code != 0 {
		t.Fatalf("check of a good configuration: exit code %d\n%s", e.code, e.output)
	}
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in:\n%s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, test := range []struct {
		name, text string
		mentions   []string
	}{
		{"unknown key", replace("[nats]\n", "[nats]\nlissten = \"x\"\n"), []string{"lissten"}},
		{"unknown table", good + "\n[clutser]\nname = \"x\"\n", []string{"clutser"}},
		{"wrong type", replace("[nats]\nlisten = ", "[nats]\nlisten = 4222\n# "), []string{"listen"}},
		{"no address", replace(n.clientAddress(), "nowhere"), []string{"nats.listen", "nowhere"}},
		{"bad choice", replace("when_majority_lost = \"wait\"", "when_majority_lost = \"panic\""), []string{"when_majority_lost", "panic"}},
		{"name not among the members", replace("name  = \"n1\"", "name  = \"n9\""), []string{"n9"}},
		{"the same member twice", replace("name   = \"n3\"", "name   = \"n2\""), []string{"n2"}},
		{"the same port twice", replace(n.monitorAddress(), n.clientAddress()), []string{n.clientAddress()}},
		{"the same mesh address twice", replace(c.nodes[2].meshAddress(), c.nodes[1].meshAddress()), []string{c.nodes[1].meshAddress()}},
		{"no secret on a public address", strings.ReplaceAll(replace("secret_file", "# "), n.at.host, "192.0.2.1"), []string{"secret"}},
		{"secret is not there", replace(c.secretFile, "/nonexistent/secret"), []string{"/nonexistent/secret"}},
		{"not TOML", good + "\n[[[\n", []string{file}},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, file, test.text)
			for _, command := range []string{"check", "run"} {
				runToEnd(t, nil, command, "--config", file).want(t, exitFailed, test.mentions...)
			}
		})
	}
	t.Run("line numbers", func(t *testing.T) {
		write(t, file, replace("[monitor]\n", "[monitor]\ncolour = \"red\"\n"))
		line := 1 + strings.Count(good[:strings.Index(good, "[monitor]\n")+len("[monitor]\n")], "\n")
		e := runToEnd(t, nil, "check", "--config", file)
		if !regexp.MustCompile(fmt.Sprintf(`\b%d\b`, line)).MatchString(e.output) {
			t.Errorf("%q does not mention line %d", e.output, line)
		}
	})
	t.Run("no such file", func(t *testing.T) {
		runToEnd(t, nil, "run", "--config", file+".none").want(t, exitFailed, file+".none")
	})
}

// TestStatusCommand asks a running cluster, and one that does not run.
func TestStatusCommand(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	n := c.nodes[1]
	e := runToEnd(t, nil, "status", "--monitor", n.monitorAddress())
	for _, word := range []string{c.name, "n1", "n2", "n3", "leader", n.mustStatus(t).Store} {
		if e.code != 0 || !strings.Contains(e.output, word) {
			t.Errorf("status (exit code %d) does not mention %q:\n%s", e.code, word, e.output)
		}
	}
	e = runToEnd(t, nil, "status", "--json", "--monitor", n.monitorAddress())
	if e.code != 0 || !strings.Contains(e.output, `"lineage"`) {
		t.Errorf("status --json (exit code %d):\n%s", e.code, e.output)
	}
	idle := freeAddress(t)
	runToEnd(t, nil, "status", "--monitor", idle.join(idle.monitor)).want(t, exitFailed, idle.join(idle.monitor))
}

// TestNoise sends bytes that mean nothing to every port of a node. It goes on.
func TestNoise(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	n := c.waitReady(t)
	client := newClient(t, n)
	client.create(jetstream.StreamConfig{})
	noise := []string{
		"\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("\xff", 4096), "GET / HTTP/1.1\r\n\r\n",
		"CONNECT {\r\n", "PUB a 99999999999999999999\r\n", "LMSG x\r\n", "RS+ \r\n", "INFO {\"leafnode_urls\":7}\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x01\x00\x00\x00\x01",
	}
	for _, address := range []string{n.clientAddress(), n.routesAddress(), n.meshAddress(), n.monitorAddress()} {
		for _, bytes := range noise {
			connection, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := connection.Write([]byte(bytes)); err != nil {
				t.Logf("%s closed the connection: %v", address, err)
			}
			connection.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			connection.Read(make([]byte, 512)) // whatever it says, if anything
			connection.Close()
		}
	}
	client.publish("a", "still here")
	if !n.running() {
		t.Errorf("%s ended with code %d", n.name, n.process.exitCode())
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
