package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A node listens on these ports, counted from its first.
const (
	clientPort = iota
	routePort
	meshPort
	monitorPort
	portCount
)

// stopTime is how long a node may take to stop before it is killed.
const stopTime = 15 * time.Second

// cluster is three nodes of one target, in a folder of their own.
type cluster struct {
	folder string
	secret string
	nodes  []*node
}

// node is one member and, after start, its process.
type node struct {
	name   string
	folder string
	host   string
	port   int // the first of its ports

	command *exec.Cmd
	exited  chan struct{} // closed when the process is gone and reaped
}

func (n *node) address(port int) string { return net.JoinHostPort(n.host, strconv.Itoa(n.port+port)) }
func (n *node) url() string             { return "nats://" + n.address(clientPort) }

// newCluster makes folders, ports and configurations; nothing runs yet.
func newCluster(t *target, dir string) (*cluster, [][]string, error) {
	folder, err := os.MkdirTemp(dir, t.name+"-")
	if err != nil {
		return nil, nil, err
	}
	c := &cluster{folder: folder, secret: rand.Text() + rand.Text()}
	for i := range 3 {
		n := &node{name: fmt.Sprintf("n%d", i+1)}
		n.folder = filepath.Join(folder, n.name)
		if err := errors.Join(os.Mkdir(n.folder, 0o700), n.choosePorts()); err != nil {
			return nil, nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	var arguments [][]string
	for _, n := range c.nodes {
		args, err := t.configure(c, n)
		if err != nil {
			return nil, nil, fmt.Errorf("configure %s: %w", n.name, err)
		}
		arguments = append(arguments, args)
	}
	return c, arguments, nil
}

// choosePorts draws a loopback address (all of 127.0.0.0/8 is) and ports below
// those of outgoing connections, until nobody listens there.
func (n *node) choosePorts() error {
	for range 100 {
		n.host = fmt.Sprintf("127.%d.%d.%d", 16+mathrand.IntN(200), mathrand.IntN(256), 1+mathrand.IntN(254))
		n.port = 10_000 + mathrand.IntN(20_000)
		free := true
		for port := range portCount {
			listener, err := net.Listen("tcp", n.address(port))
			if free = free && err == nil; err == nil {
				_ = listener.Close()
			}
		}
		if free {
			return nil
		}
	}
	return errors.New("no free loopback ports after 100 tries")
}

// launcher runs jobs on one thread that never ends: the kernel sends the
// parent-death signal when the thread that forked is gone.
var launcher = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// start runs the node's process, in a process group of its own so that an
// interrupt of ours does not stop it before us. It dies with us.
func (n *node) start(program string, args []string) error {
	log, err := os.Create(filepath.Join(n.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	n.command = exec.Command(program, args...)
	n.command.Dir = n.folder
	n.command.Stdout, n.command.Stderr = log, log
	n.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	launcher() <- func() { started <- n.command.Start() }
	if err := <-started; err != nil {
		n.command = nil
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.exited = make(chan struct{})
	go func() {
		_ = n.command.Wait() // the state is kept in the command
		close(n.exited)
	}()
	return nil
}

// running reports whether the process was started and is not gone.
func (n *node) running() bool {
	if n.command == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash would, and waits until it is gone.
func (n *node) kill() {
	if n.running() {
		_ = n.command.Process.Kill()
		<-n.exited
	}
}

// stop asks all processes to end and kills those that do not.
func (c *cluster) stop() {
	for _, n := range c.nodes {
		if n.running() {
			_ = n.command.Process.Signal(syscall.SIGTERM)
		}
	}
	patience := time.After(stopTime)
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		select {
		case <-n.exited:
		case <-patience:
		}
	}
	c.kill()
}

// kill ends what is left of the cluster.
func (c *cluster) kill() {
	for _, n := range c.nodes {
		n.kill()
	}
}

// dead names the nodes whose processes ended although nobody asked them to,
// with the end of their logs.
func (c *cluster) dead() error {
	var err error
	for _, n := range c.nodes {
		if n.command != nil && !n.running() {
			err = errors.Join(err, fmt.Errorf("%s ended: %v\n%s", n.name, n.command.ProcessState, n.logTail()))
		}
	}
	return err
}

// logTail is the end of a node's log.
func (n *node) logTail() string {
	text, err := os.ReadFile(filepath.Join(n.folder, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// named is the node of that name, nil if there is none.
func (c *cluster) named(name string) *node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// written is how many bytes the processes have caused to be written to disk.
func (c *cluster) written() (int64, error) {
	var sum int64
	for _, n := range c.nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.command.Process.Pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(text), "\nwrite_bytes:")
		line, _, _ := strings.Cut(rest, "\n")
		bytes, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read what %s has written: %w", n.name, err)
		}
		sum += bytes
	}
	return sum, nil
}
