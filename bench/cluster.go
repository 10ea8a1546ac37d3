package main

import (
	"errors"
	"fmt"
	"os"
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

// node is one member and, after Start, its process.
type node struct {
	*servers.Node
	told bool // it was asked to end
}

// newCluster makes folders, ports and configurations; nothing runs yet.
func newCluster(t *servers.Target, program, dir, secret string) (*cluster, error) {
	folder, err := os.MkdirTemp(dir, t.Name+"-")
	if err != nil {
		return nil, err
	}
	c := &cluster{Cluster: servers.Cluster{Name: "bench", Folder: folder, Secret: secret}}
	nodes, err := c.OnLoopback(t, program, 3)
	for _, n := range nodes {
		c.nodes = append(c.nodes, &node{Node: n})
	}
	return c, err
}

// stop asks all processes to end and kills those that do not.
func (c *cluster) stop() {
	var ended sync.WaitGroup
	for _, n := range c.nodes {
		ended.Go(func() { n.Process.Stop(stopTime) })
	}
	ended.Wait()
}

// dead names the nodes whose processes ended although nobody asked them to,
// with the end of their logs.
func (c *cluster) dead() error {
	var err error
	for _, n := range c.nodes {
		if n.Process != nil && !n.told {
			err = errors.Join(err, n.Ended())
		}
	}
	return err
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
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.Process.PID()))
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
