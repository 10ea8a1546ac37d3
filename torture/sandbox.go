package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/servers"
)

// insideVariable tells a copy of this program that it runs inside: its value is
// the folder to work in, or insideProbe.
const (
	insideVariable = "HOLDFAST_TORTURE_INSIDE"
	insideProbe    = "probe"
)

// endTime is how long the copy inside may take to end when it is asked to.
const endTime = 20 * time.Second

// sandbox is what this program runs in: user, mount, network and process
// namespaces of a copy of itself. The copy is the first process of its process
// namespace; when it ends, however that happens, the kernel ends every process in
// there, and with the last one every mount and network device.
type sandbox struct {
	command *exec.Cmd
}

// newSandbox prepares a copy of this program with arguments; inside is for
// insideVariable.
func newSandbox(inside string, arguments []string) *sandbox {
	command := exec.Command("/proc/self/exe", arguments...)
	command.Env = append(os.Environ(), insideVariable+"="+inside)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // an interrupt on the terminal is passed on by us, once
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
	}
	if user := os.Geteuid(); user != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return &sandbox{command}
}

// probeSandbox tells why this machine does not let us have namespaces, mounts and
// a network of our own; nil: it does.
func probeSandbox() error {
	var said bytes.Buffer
	s := newSandbox(insideProbe, nil)
	s.command.Stdout, s.command.Stderr = &said, &said
	if _, err := s.run(context.Background()); err != nil {
		return err
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		return errors.New(text)
	}
	return nil
}

// run waits until the copy has ended and returns its exit code. When the context
// ends the copy is asked to, and killed when it does not.
func (s *sandbox) run(ctx context.Context) (code int, err error) {
	if err := servers.Here().Do(s.command.Start); err != nil {
		return 0, fmt.Errorf("start in namespaces of its own: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = s.command.Wait() // the state is kept in the command
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		_ = s.command.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(endTime):
			_ = s.command.Process.Kill()
			<-ended
		}
	}
	return s.command.ProcessState.ExitCode(), nil
}

// furnish makes the namespaces that this process was started in usable: no mount
// is seen outside, and /proc shows the processes that are in here.
func furnish() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	// Where that is not allowed, numbers of processes are those of outside, and
	// nothing here reads them.
	_ = syscall.Mount("proc", "/proc", "proc", 0, "")
	return nil
}

// probe tries everything that a run in a sandbox needs.
func probe() error {
	if err := furnish(); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "holdfast-torture-")
	if err != nil {
		return err
	}
	defer os.Remove(folder)
	d, err := newRAMDisk(folder)
	if err != nil {
		return err
	}
	defer d.unmount()
	_, err = newNetwork(2)
	return err
}

// dieWithParent ends this process when the one that started it is gone, `go run`
// say, of which nothing would be heard otherwise.
func dieWithParent() {
	const setDeathSignal = 1 // PR_SET_PDEATHSIG of prctl(2)
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setDeathSignal, uintptr(syscall.SIGTERM), 0)
}
