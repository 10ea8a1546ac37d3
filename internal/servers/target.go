package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Target is one kind of server.
type Target struct {
	Name   string // on command lines
	Title  string // in tables
	Source string // the package that its binary is built from

	// Configure writes the configuration of a member and returns the arguments
	// that make the binary run it.
	Configure func(*Cluster, *Member) ([]string, error)
}

const natsSource = "github.com/nats-io/nats-server/v2"

// Targets are all of them, Holdfast first.
var Targets = []*Target{
	{"holdfast", "Holdfast", "holdfast", configureHoldfast},
	{"always", "JetStream, `sync_interval: always`", natsSource, configureNATS("always")},
	{"default", "JetStream, default sync", natsSource, configureNATS("")},
}

// Named is the target of that name, nil if there is none.
func Named(name string) *Target {
	for _, t := range Targets {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Names are the names of all targets.
func Names() []string {
	var names []string
	for _, t := range Targets {
		names = append(names, t.Name)
	}
	return names
}

// Build makes a binary of a package, statically linked as it is shipped, of the
// module in a folder ("": the one around us). Flags are further ones of `go build`.
// In a program with the race detector, Holdfast gets it too; see [Races].
func Build(ctx context.Context, module, program, source string, flags ...string) error {
	arguments, cgo := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", program}, flags...), "CGO_ENABLED=0"
	if RaceDetector && source == Targets[0].Source {
		if err := watchRaces(program); err != nil {
			return err
		}
		arguments, cgo = append(arguments, "-race"), "CGO_ENABLED=1"
	}
	command := exec.CommandContext(ctx, "go", append(arguments, source)...)
	command.Dir = module
	command.Env = append(os.Environ(), cgo)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return nil
}

// BuildAll makes the binaries of the targets in a folder and returns their paths
// by source.
func BuildAll(ctx context.Context, folder string, targets []*Target) (map[string]string, error) {
	programs := map[string]string{}
	for _, t := range targets {
		if programs[t.Source] != "" {
			continue
		}
		program := filepath.Join(folder, fmt.Sprintf("program%d", len(programs)))
		if err := Build(ctx, "", program, t.Source); err != nil {
			return nil, err
		}
		programs[t.Source] = program
	}
	return programs, nil
}

// configureHoldfast writes what a user would write.
func configureHoldfast(c *Cluster, m *Member) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "name  = %q\nstore = %q\n\n", m.Name, m.Store)
	fmt.Fprintf(&b, "[nats]\nlisten = %q\nroutes = %q\n\n", m.Address(ClientPort), m.Address(RoutePort))
	fmt.Fprintf(&b, "[monitor]\nlisten = %q\n\n", m.Address(MonitorPort))
	fmt.Fprintf(&b, "[cluster]\nname = %q\n", c.Name)
	if c.Secret != "" {
		secret := filepath.Join(c.Folder, "cluster.secret")
		if err := os.WriteFile(secret, []byte(c.Secret+"\n"), 0o600); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "secret_file = %q\n", secret)
	}
	if c.WhenMajorityLost != "" {
		fmt.Fprintf(&b, "when_majority_lost = %q\n", c.WhenMajorityLost)
	}
	for _, other := range c.Members {
		fmt.Fprintf(&b, "\n[[cluster.member]]\nname   = %q\nmesh   = %q\nroutes = %q\n",
			other.Name, other.Address(MeshPort), other.Address(RoutePort))
	}
	file := filepath.Join(m.Folder, "holdfast.toml")
	return []string{"run", "--config", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}

// configureNATS writes a JetStream cluster's configuration; sync is the value
// of sync_interval, empty for the server's default.
func configureNATS(sync string) func(*Cluster, *Member) ([]string, error) {
	return func(c *Cluster, m *Member) ([]string, error) {
		var b strings.Builder
		fmt.Fprintf(&b, "server_name: %s\nlisten: %q\nhttp: %q\n", m.Name, m.Address(ClientPort), m.Address(MonitorPort))
		fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n", m.Store)
		if sync != "" {
			fmt.Fprintf(&b, "  sync_interval: %s\n", sync)
		}
		fmt.Fprintf(&b, "}\ncluster {\n  name: %s\n  listen: %q\n  routes: [\n", c.Name, m.Address(RoutePort))
		for _, other := range c.Members {
			if other != m {
				fmt.Fprintf(&b, "    \"nats-route://%s\"\n", other.Address(RoutePort))
			}
		}
		b.WriteString("  ]\n}\n")
		file := filepath.Join(m.Folder, "nats.conf")
		return []string{"-c", file}, os.WriteFile(file, []byte(b.String()), 0o600)
	}
}
