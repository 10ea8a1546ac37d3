package integration

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/servers"
)

// cluster is a set of members and their processes on this machine.
type cluster struct {
	name       string
	nodes      []*node // in the order of their names, n1 first
	retired    []*node // processes whose name another one in nodes has now
	secretFile string
	// whenLost is the configured when_majority_lost; empty for the product's own
	// choice, which depends on the store's file system.
	whenLost string
	// include is in every node's configuration of the NATS server; empty: nothing.
	include string
	network *network // nil: the members reach each other directly
}

// newCluster prepares the configurations of a cluster without starting it.
func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	folder := t.TempDir()
	c := &cluster{name: "test-" + randomWord(), whenLost: "wait", secretFile: filepath.Join(folder, "secret")}
	if err := os.WriteFile(c.secretFile, []byte(randomWord()+randomWord()+randomWord()+randomWord()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range size {
		n := &node{name: fmt.Sprintf("n%d", i+1), at: freeAddress(t)}
		n.folder = filepath.Join(folder, n.name)
		if err := os.Mkdir(n.folder, 0o755); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.configure(t, c)
	}
	t.Cleanup(func() { c.end(t) })
	return c
}

// newRAMDiskCluster prepares a cluster whose stores are on a RAM disk, which
// decides what a lost majority means: nothing is configured about that. Where
// the tests are told to use a disk, it stands in for one.
func newRAMDiskCluster(t *testing.T, size int) *cluster {
	t.Helper()
	const tmpfs = 0x01021994 // statfs(2)
	c := newCluster(t, size)
	c.whenLost = ""
	var disk syscall.Statfs_t
	if err := syscall.Statfs(c.nodes[0].folder, &disk); err != nil || disk.Type != tmpfs {
		c.whenLost = "continue"
	}
	for _, n := range c.nodes {
		n.configure(t, c)
	}
	return c
}

// startCluster starts a cluster and waits until every node serves.
func startCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c := newCluster(t, size)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	return c
}

// startUnconfigured starts one node as `holdfast run` does without any
// configuration; only where it listens is given. It stores below the folder
// that it is started in.
func startUnconfigured(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, 1)
	n := c.nodes[0]
	n.args = []string{"run", "--listen", n.clientAddress(), "--monitor", n.monitorAddress()}
	n.start(t)
	eventually(t, readyLimit, "node does not answer", func() error {
		s, err := n.status()
		n.name = s.Name // its own choice
		return err
	})
	c.waitReady(t)
	return c
}

// startSingle starts one node in the simplest way that the target has.
func startSingle(t *testing.T) *cluster {
	t.Helper()
	if _, ok := underTest.(holdfast); ok {
		return startUnconfigured(t)
	}
	return startCluster(t, 1)
}

// configure writes the node's configuration as a member of c.
func (n *node) configure(t *testing.T, c *cluster) {
	t.Helper()
	args, err := underTest.arguments(c, n)
	if err != nil {
		t.Fatalf("configure %s: %v", n.name, err)
	}
	n.args = args
}

// end kills what still runs and, when the test failed, says what each node
// had to say.
func (c *cluster) end(t *testing.T) {
	all := slices.Concat(c.nodes, c.retired)
	for _, n := range all {
		if n.running() {
			n.process.command.Process.Kill()
			<-n.process.exited
		}
	}
	if !t.Failed() {
		return
	}
	for _, n := range all {
		t.Logf("last lines of %s (%s):\n%s", n.name, n.clientAddress(), n.lastLines(60))
	}
}

// speedLimit is how long something may take that is to be quick. Nodes with the race
// detector are some ten times slower than what users get.
func speedLimit(limit time.Duration) time.Duration {
	if servers.RaceDetector {
		return 10 * limit
	}
	return limit
}

// readyLimit bounds a start on a busy machine. It is about wedges, not speed.
const readyLimit = 2 * time.Minute

// waitReady waits until every running node serves, all agree who leads, and a
// client of each is answered. It returns the leader.
func (c *cluster) waitReady(t testing.TB) *node {
	t.Helper()
	var leader *node
	eventually(t, readyLimit, "cluster is not ready", func() error {
		name := ""
		for _, n := range c.nodes {
			if n.process == nil {
				continue
			}
			if !n.running() {
				if !n.process.told {
					t.Fatalf("%s: ended with exit code %d:\n%s", n.name, n.process.exitCode(), n.lastLines(20))
				}
				continue
			}
			v, err := underTest.view(n)
			switch {
			case err != nil:
				return err
			case !v.ready:
				return fmt.Errorf("%s is not ready", n.name)
			case v.leader == "":
				return fmt.Errorf("%s knows no leader", n.name)
			case name != "" && name != v.leader:
				return fmt.Errorf("%s says that %s leads, another says %s", n.name, v.leader, name)
			}
			name = v.leader
		}
		leader = c.node(name)
		if leader == nil || !leader.running() {
			return fmt.Errorf("the leader %q is not running", name)
		}
		return c.answered()
	})
	return leader
}

// answered reports whether a client of every running node gets an answer from the
// leader. That needs a route of the NATS servers, and that the leader's
// subscriptions have come over it: a node can serve a moment before.
func (c *cluster) answered() error {
	if c.include != "" {
		return nil // its accounts have clients of their own
	}
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		if err := n.answers(); err != nil {
			return fmt.Errorf("a client of %s: %w", n.name, err)
		}
	}
	return nil
}

func (n *node) answers() error {
	nc, err := nats.Connect(n.clientURL(), nats.IgnoreDiscoveredServers(), nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	_, err = nc.Request("$JS.API.INFO", nil, callLimit)
	return err
}

// node returns the member of that name, nil for none.
func (c *cluster) node(name string) *node {
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		return nil
	}
	return c.nodes[i]
}

// others returns every member but these.
func (c *cluster) others(not ...*node) []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return slices.Contains(not, n) })
}

// eventually probes until it gets no error; the last error tells why it gave up.
func eventually(t testing.TB, limit time.Duration, what string, probe func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := probe()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s after %v: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// randomWord is 16 hexadecimal digits.
func randomWord() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
