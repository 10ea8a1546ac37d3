package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Node is a member with what its binary is started with and, after Start, its
// process.
type Node struct {
	*Member
	Program   string
	Arguments []string
	Process   *Process
}

// OnLoopback gives a cluster as many members as size says, n1 first, each on a
// loopback address and in a folder below the cluster's, and configures them.
// Nothing runs yet.
func (c *Cluster) OnLoopback(t *Target, program string, size int) ([]*Node, error) {
	for i := range size {
		m := &Member{Name: fmt.Sprintf("n%d", i+1)}
		m.Folder = filepath.Join(c.Folder, m.Name)
		m.Store = filepath.Join(m.Folder, "store")
		if err := errors.Join(os.Mkdir(m.Folder, 0o755), m.ChooseLoopback()); err != nil {
			return nil, err
		}
		c.Members = append(c.Members, m)
	}
	var nodes []*Node
	for _, m := range c.Members {
		arguments, err := t.Configure(c, m)
		if err != nil {
			return nil, fmt.Errorf("configure %s: %w", m.Name, err)
		}
		nodes = append(nodes, &Node{Member: m, Program: program, Arguments: arguments})
	}
	return nodes, nil
}

// Start runs the node's binary. It dies with us.
func (n *Node) Start() (err error) {
	n.Process, err = Here().Start(n.Folder, n.Log(), append([]string{n.Program}, n.Arguments...)...)
	return err
}

// Ended tells how the node's process ended, with the end of its log; nil while it
// runs.
func (n *Node) Ended() error {
	if n.Process.Running() {
		return nil
	}
	return fmt.Errorf("%s ended: %v\n%s", n.Name, n.Process.State(), n.LastLines(15))
}

// LastLines is the end of what the member has logged.
func (m *Member) LastLines(count int) string {
	text, err := os.ReadFile(m.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count-1):], "")
}
