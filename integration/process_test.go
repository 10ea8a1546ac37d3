package integration

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// node is one member and, while it runs, its process.
type node struct {
	name   string
	at     address
	folder string // configuration, log, and the store below it
	args   []string
	// wrapper is a command that runs the binary as its arguments, or nothing.
	wrapper []string
	// elsewhere is where the store is, if it is not below the folder.
	elsewhere string

	process *process // nil before the first start
}

// process is one start of the binary.
type process struct {
	command *exec.Cmd
	exited  chan struct{} // closed when it is gone and reaped
	told    bool          // the test ended it
}

// exitCode is the code of a process that is gone; -1 after a signal.
func (p *process) exitCode() int { return p.command.ProcessState.ExitCode() }

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// launcher starts processes from one thread that never ends: the kernel sends
// the parent-death signal when the thread that forked is gone, not when the
// process is.
var launcher = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range work {
			job()
		}
	}()
	return work
})

// launch starts a command line, logging to the end of a file, as the given user
// or as the one that runs the tests (nil). It dies with the tests.
func launch(folder, log string, user *syscall.Credential, words ...string) (*process, error) {
	noteInputs()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	fmt.Fprintf(out, "--- start at %s: %s\n", time.Now().Format("15:04:05.000"), strings.Join(words, " "))
	command := exec.Command(words[0], words[1:]...)
	command.Dir = folder
	command.Env = append(os.Environ(), "HOME="+folder)
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: user}
	started := make(chan error)
	launcher() <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{command: command, exited: make(chan struct{})}
	go func() {
		command.Wait() // the state is kept in the command
		close(p.exited)
	}()
	return p, nil
}

// start runs the node; it does not wait for anything.
func (n *node) start(t testing.TB) {
	t.Helper()
	if err := n.launch(); err != nil {
		t.Fatal(err)
	}
}

// launch is start for goroutines that are not the test's own.
func (n *node) launch() error {
	if n.running() {
		return fmt.Errorf("%s: already running", n.name)
	}
	p, err := launch(n.folder, n.log(), nil, slices.Concat(n.wrapper, []string{program}, n.args)...)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.process = p
	return nil
}

func (n *node) running() bool { return n.process != nil && n.process.running() }

// kill ends the process as a crash would and returns the moment before the
// signal was sent.
func (n *node) kill(t testing.TB) time.Time {
	t.Helper()
	at := time.Now()
	if err := n.crash(); err != nil {
		t.Fatal(err)
	}
	return at
}

// crash is kill for goroutines that are not the test's own.
func (n *node) crash() error {
	if !n.running() {
		return fmt.Errorf("%s: ended by itself:\n%s", n.name, n.lastLines(20))
	}
	n.process.told = true
	if err := n.process.command.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", n.name, err)
	}
	select {
	case <-n.process.exited:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s: still running 30 s after it was killed", n.name)
	}
}

// stop asks the process to end and expects that it does so cleanly.
func (n *node) stop(t testing.TB) {
	t.Helper()
	n.process.told = true
	n.signal(t, syscall.SIGTERM)
	n.waitExit(t, 30*time.Second)
	if code := n.process.exitCode(); code != 0 && (code != 1 || underTest != natsServer{}) {
		t.Errorf("%s: exit code %d after SIGTERM, want 0", n.name, code)
	}
}

// pause freezes the process; its connections stay open.
func (n *node) pause(t testing.TB) { n.signal(t, syscall.SIGSTOP) }

// resume undoes pause.
func (n *node) resume(t testing.TB) { n.signal(t, syscall.SIGCONT) }

// wipe removes the store of a node that does not run: its memory is gone.
func (n *node) wipe(t testing.TB) {
	t.Helper()
	if n.running() {
		t.Fatalf("%s: wiped while it runs", n.name)
	}
	if err := os.RemoveAll(n.store()); err != nil {
		t.Fatalf("wipe %s: %v", n.name, err)
	}
}

func (n *node) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if !n.running() {
		t.Fatalf("%s: %v, but it is not running", n.name, signal)
	}
	if err := n.process.command.Process.Signal(signal); err != nil {
		t.Fatalf("%s: %v: %v", n.name, signal, err)
	}
}

// waitExit waits for the process to be gone.
func (n *node) waitExit(t testing.TB, limit time.Duration) {
	t.Helper()
	select {
	case <-n.process.exited:
	case <-time.After(limit):
		t.Fatalf("%s: still running %v after it should have ended", n.name, limit)
	}
}

func (n *node) log() string { return n.path("log") }

// lastLines returns the end of the node's log.
func (n *node) lastLines(count int) string {
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	lines := slices.Collect(strings.Lines(string(text)))
	return strings.Join(lines[max(0, len(lines)-count):], "")
}
