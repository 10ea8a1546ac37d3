package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// target is one kind of cluster.
type target struct {
	name   string // for -only
	title  string // in the table
	source string // the package that its binary is built from

	// configure writes the configuration of a node and returns the arguments
	// that make the binary run it.
	configure func(c *cluster, n *node) ([]string, error)
}

// targets in the order of their turns; the first is compared with the others.
var targets = []*target{
	{"holdfast", "Holdfast", "holdfast", configureHoldfast},
	{"always", "JetStream, `sync_interval: always`", natsSource, configureNATS("always")},
	{"default", "JetStream, default sync", natsSource, configureNATS("")},
}

const natsSource = "github.com/nats-io/nats-server/v2"

func targetOf(name string) *target {
	for _, t := range targets {
		if t.name == name {
			return t
		}
	}
	return nil
}

func targetNames() []string {
	var names []string
	for _, t := range targets {
		names = append(names, t.name)
	}
	return names
}

// build makes the binaries of the targets, statically linked as they are
// shipped, and returns their paths by source.
func build(ctx context.Context, dir string, targets []*target) (map[string]string, error) {
	programs := map[string]string{}
	for _, t := range targets {
		if programs[t.source] != "" {
			continue
		}
		program := filepath.Join(dir, fmt.Sprintf("program%d", len(programs)))
		command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, t.source)
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", t.source, err, out)
		}
		programs[t.source] = program
	}
	return programs, nil
}

// configureHoldfast writes what a user would write for three nodes.
func configureHoldfast(c *cluster, n *node) ([]string, error) {
	secret := filepath.Join(c.folder, "cluster.secret")
	if err := os.WriteFile(secret, []byte(c.secret+"\n"), 0o600); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name  = %q\nstore = %q\n\n", n.name, filepath.Join(n.folder, "store"))
	fmt.Fprintf(&b, "[nats]\nlisten = %q\nroutes = %q\n\n", n.address(clientPort), n.address(routePort))
	fmt.Fprintf(&b, "[monitor]\nlisten = %q\n\n", n.address(monitorPort))
	fmt.Fprintf(&b, "[cluster]\nname = \"bench\"\nsecret_file = %q\n", secret)
	for _, m := range c.nodes {
		fmt.Fprintf(&b, "\n[[cluster.member]]\nname   = %q\nmesh   = %q\nroutes = %q\n", m.name, m.address(meshPort), m.address(routePort))
	}
	file := filepath.Join(n.folder, "holdfast.toml")
	return []string{"run", "--config", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}

// configureNATS writes a JetStream cluster's configuration; sync is the value
// of sync_interval, empty for the server's default.
func configureNATS(sync string) func(*cluster, *node) ([]string, error) {
	return func(c *cluster, n *node) ([]string, error) {
		var b strings.Builder
		fmt.Fprintf(&b, "server_name: %s\nlisten: %q\n", n.name, n.address(clientPort))
		fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n", filepath.Join(n.folder, "store"))
		if sync != "" {
			fmt.Fprintf(&b, "  sync_interval: %s\n", sync)
		}
		fmt.Fprintf(&b, "}\ncluster {\n  name: bench\n  listen: %q\n  routes: [\n", n.address(routePort))
		for _, m := range c.nodes {
			if m != n {
				fmt.Fprintf(&b, "    \"nats-route://%s\"\n", m.address(routePort))
			}
		}
		b.WriteString("  ]\n}\n")
		file := filepath.Join(n.folder, "nats.conf")
		return []string{"-c", file}, os.WriteFile(file, []byte(b.String()), 0o600)
	}
}
