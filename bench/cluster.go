package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/servers"
)

// stopTime is how long a node may take to stop before it is killed.
const stopTime = 15 * time.Second

// cluster is three nodes of one target, in a folder of their own.
type cluster struct {
	servers.Cluster
	nodes []*node
}

// node is one member and, after start, its process.
type node struct {
	*servers.Member
	process *servers.Process
	told    bool // it was asked to end
}

// newCluster makes folders, ports and configurations; nothing runs yet.
func newCluster(t *servers.Target, dir string) (*cluster, [][]string, error) {
	folder, err := os.MkdirTemp(dir, t.Name+"-")
	if err != nil {
		return nil, nil, err
	}
	c := &cluster{Cluster: servers.Cluster{Name: "bench", Folder: folder, Secret: rand.Text() + rand.Text()}}
	for i := range 3 {
		m := &servers.Member{Name: fmt.Sprintf("n%d", i+1)}
		m.Folder = filepath.Join(folder, m.Name)
		m.Store = filepath.Join(m.Folder, "store")
		if err := errors.Join(os.Mkdir(m.Folder, 0o700), m.ChooseLoopback()); err != nil {
			return nil, nil, err
		}
		c.Members = append(c.Members, m)
		c.nodes = append(c.nodes, &node{Member: m})
	}
	var arguments [][]string
	for _, n := range c.nodes {
		args, err := t.Configure(&c.Cluster, n.Member)
		if err != nil {
			return nil, nil, fmt.Errorf("configure %s: %w", n.Name, err)
		}
		arguments = append(arguments, args)
	}
	return c, arguments, nil
}

// start runs the node's process. It dies with us.
func (n *node) start(program string, args []string) (err error) {
	n.process, err = servers.Here().Start(n.Folder, n.Log(), append([]string{program}, args...)...)
	return err
}

// kill ends the process as a crash would, and waits until it is gone.
func (n *node) kill() { n.process.Kill() }

// stop asks all processes to end and kills those that do not.
func (c *cluster) stop() {
	var ended sync.WaitGroup
	for _, n := range c.nodes {
		ended.Go(func() { n.process.Stop(stopTime) })
	}
	ended.Wait()
}

// dead names the nodes whose processes ended although nobody asked them to,
// with the end of their logs.
func (c *cluster) dead() error {
	var err error
	for _, n := range c.nodes {
		if n.process != nil && !n.told && !n.process.Running() {
			err = errors.Join(err, fmt.Errorf("%s ended: %v\n%s", n.Name, n.process.State(), n.logTail()))
		}
	}
	return err
}

// logTail is the end of a node's log.
func (n *node) logTail() string {
	text, err := os.ReadFile(n.Log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// named is the node of that name, nil if there is none.
func (c *cluster) named(name string) *node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// written is how many bytes the processes have caused to be written to disk.
func (c *cluster) written() (int64, error) {
	var sum int64
	for _, n := range c.nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.process.PID()))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(text), "\nwrite_bytes:")
		line, _, _ := strings.Cut(rest, "\n")
		bytes, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read what %s has written: %w", n.Name, err)
		}
		sum += bytes
	}
	return sum, nil
}
