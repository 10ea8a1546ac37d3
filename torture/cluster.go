package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/internal/servers"
)

const (
	// firstPort is the first port of every node that has an address of its own.
	firstPort = 4000
	// stopTime bounds an ordered stop.
	stopTime = 30 * time.Second
	// restartDelay is how long a process that ended by itself stays away, as a
	// service manager would have it.
	restartDelay = 200 * time.Millisecond
)

// cluster is the nodes under torture.
type cluster struct {
	servers.Cluster
	target   *servers.Target
	programs []string // builds of the same target, one or two
	nodes    []*node
	network  *network // nil: on loopback

	deaths noted[string] // processes that ended by themselves
}

// node is one member with its process.
type node struct {
	*servers.Member
	cluster *cluster
	index   int
	place   *servers.Place
	disk    disk // nil: that of everybody
	args    []string

	mu      sync.Mutex
	build   int // of the cluster's programs
	process *servers.Process
	// told is the process that was last meant to end; one that ends and is not this
	// ended by itself.
	told *servers.Process
}

// newCluster prepares folders, disks, network and configurations; nothing runs yet.
func newCluster(folder string, target *servers.Target, programs []string, size int, sandboxed, inFiles bool) (c *cluster, err error) {
	c = &cluster{target: target, programs: programs}
	c.Cluster = servers.Cluster{Name: "torture", Folder: folder, Secret: rand.Text() + rand.Text(), WhenMajorityLost: "wait"}
	if sandboxed {
		if c.network, err = newNetwork(size); err != nil {
			return nil, err
		}
	}
	for i := range size {
		n := &node{cluster: c, index: i, place: servers.Here()}
		n.Member = &servers.Member{Name: fmt.Sprintf("n%d", i+1)}
		n.Folder = filepath.Join(folder, n.Name)
		medium := filepath.Join(n.Folder, "disk")
		n.Store = filepath.Join(medium, "store")
		if err := os.MkdirAll(medium, 0o755); err != nil {
			return nil, err
		}
		if c.network != nil {
			n.place, n.Host, n.Port = c.network.hosts[i].place, c.network.hosts[i].address, firstPort
			n.disk, err = newDisk(medium, inFiles)
		} else {
			err = n.ChooseLoopback()
		}
		if err != nil {
			return nil, err
		}
		c.Members, c.nodes = append(c.Members, n.Member), append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if n.args, err = target.Configure(&c.Cluster, n.Member); err != nil {
			return nil, fmt.Errorf("configure %s: %w", n.Name, err)
		}
	}
	return c, nil
}

// end kills every process and gives disks and network back.
func (c *cluster) end() error {
	var err error
	for _, n := range c.nodes {
		n.kill()
		if n.disk != nil {
			err = errors.Join(err, n.disk.unmount())
		}
	}
	if c.network != nil {
		err = errors.Join(err, c.network.end())
	}
	return err
}

// start runs the node's process, and again whenever it ends by itself.
func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run()
}

func (n *node) run() error {
	words := append([]string{n.cluster.programs[n.build]}, n.args...)
	process, err := n.place.Start(n.Folder, n.Log(), words...)
	if err != nil {
		return err
	}
	n.process = process
	go n.watch(process)
	return nil
}

// watch starts the node again when its process ends by itself.
func (n *node) watch(process *servers.Process) {
	for !process.Wait(time.Hour) {
	}
	n.mu.Lock()
	told := n.told
	n.mu.Unlock()
	if told == process {
		return
	}
	n.cluster.deaths.add(fmt.Sprintf("%s: %v\n%s", n.Name, process.State(), n.LastLines(15)))
	time.Sleep(restartDelay)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told != process && n.process == process {
		if err := n.run(); err != nil {
			n.cluster.deaths.add(err.Error())
		}
	}
}

// kill ends the node's process as a crash would.
func (n *node) kill() { n.tell().Kill() }

// stop ends it in order; an error means that it had to be killed.
func (n *node) stop() error {
	if !n.tell().Stop(stopTime) {
		return fmt.Errorf("%s did not stop within %v", n.Name, stopTime)
	}
	return nil
}

// tell notes that the node's process is meant to end, and returns it.
func (n *node) tell() *servers.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = n.process
	return n.process
}

// current returns the node's process, which may have ended.
func (n *node) current() *servers.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// healthy asks nats-servers whether all that they keep is up to date. What one of
// them does not know it is to keep, it does not miss; so each has to name as many
// streams as the others.
func (c *cluster) healthy() error {
	streams := 0
	for i, m := range c.Members {
		var health struct{ Status string }
		if err := m.Get("/healthz", &health); err != nil {
			return err
		}
		var info server.JSInfo
		if err := m.Get("/jsz", &info); err != nil {
			return err
		}
		if info.Meta == nil || info.Meta.Leader == "" {
			return fmt.Errorf("%s knows no leader", m.Name)
		}
		if i == 0 {
			streams = info.Streams
		} else if info.Streams != streams {
			return fmt.Errorf("%s has %d streams, %s has %d", m.Name, info.Streams, c.Members[0].Name, streams)
		}
	}
	return nil
}

// waitWhole waits until the cluster is whole, for at most limit, and returns what
// is missing then.
func (c *cluster) waitWhole(ctx context.Context, limit time.Duration) error {
	if c.isHoldfast() {
		return c.WaitWhole(ctx, limit)
	}
	return servers.Await(ctx, limit, healthPause, c.healthy)
}

// healthPause is longer than for Holdfast: nats-server logs each time that it is
// not well.
const healthPause = 200 * time.Millisecond

func (c *cluster) isHoldfast() bool { return c.target == servers.Targets[0] }
