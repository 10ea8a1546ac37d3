package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Place is where processes are started: one thread that never ends. The kernel
// sends the parent-death signal when the thread that forked is gone, not when its
// process is; and what a thread has of its own, a network namespace say, its
// children inherit.
type Place struct{ jobs chan func() }

// NewPlace makes a place whose thread first does prepare.
func NewPlace(prepare func() error) (*Place, error) {
	p := &Place{jobs: make(chan func())}
	prepared := make(chan error)
	go func() {
		runtime.LockOSThread()
		prepared <- prepare()
		for job := range p.jobs {
			job()
		}
	}()
	return p, <-prepared
}

// Here is the place that shares everything with this process.
var Here = sync.OnceValue(func() *Place {
	p, err := NewPlace(func() error { return nil })
	if err != nil {
		panic(err) // it prepares nothing
	}
	return p
})

// Do runs a job on the place's thread and waits for it.
func (p *Place) Do(job func() error) error {
	done := make(chan error)
	p.jobs <- func() { done <- job() }
	return <-done
}

// End ends the thread, and with it what it started and what nobody else has of its
// namespaces.
func (p *Place) End() { close(p.jobs) }

// Process is one start of a binary.
type Process struct {
	command *exec.Cmd
	exited  chan struct{} // closed when it is gone and reaped
}

// Start runs a command line in a folder, its output going to the end of a file.
// It is in a process group of its own, so that an interrupt on the terminal does
// not stop it before us.
func (p *Place) Start(folder, log string, words ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	command := exec.Command(words[0], words[1:]...)
	command.Dir = folder
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.Do(command.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", words[0], err)
	}
	started := &Process{command: command, exited: make(chan struct{})}
	go func() {
		_ = command.Wait() // the state is kept in the command
		close(started.exited)
	}()
	return started, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.command.Process.Pid }

// Running reports whether the process is not gone; a nil process is.
func (p *Process) Running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// State tells how a process ended that is gone.
func (p *Process) State() *os.ProcessState { return p.command.ProcessState }

// Signal sends a signal to a process that may have ended meanwhile.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the process as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	if p.Running() {
		_ = p.command.Process.Kill()
		<-p.exited
	}
}

// Wait waits until the process is gone, for at most limit, and reports whether it
// is.
func (p *Process) Wait(limit time.Duration) bool {
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select {
	case <-p.exited:
		return true
	case <-patience.C:
		return false
	}
}

// Stop asks the process to end, and kills it when it does not within limit.
func (p *Process) Stop(limit time.Duration) (asked bool) {
	if !p.Running() {
		return true
	}
	_ = p.Signal(syscall.SIGTERM)
	if p.Wait(limit) {
		return true
	}
	p.Kill()
	return false
}
