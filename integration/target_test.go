package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// target is the kind of server that the tests talk to.
type target interface {
	// source is what `go build` makes the binary of.
	source() string
	// arguments writes the configuration of a node and returns the command
	// line that uses it.
	arguments(c *cluster, n *node) ([]string, error)
	// view asks a running node for its opinion of the cluster.
	view(n *node) (view, error)
	// settle waits after a stream or consumer was created, changed or deleted
	// until clients of every node see the difference.
	settle()
}

// view is one node's opinion.
type view struct {
	ready  bool   // serves clients
	leader string // name of the node that leads; empty when unknown
}

// holdfast is the binary of this module.
type holdfast struct{}

func (holdfast) source() string { return "holdfast" }

func (holdfast) arguments(c *cluster, n *node) ([]string, error) {
	if c.include != "" {
		if err := os.WriteFile(n.path("nats.conf"), []byte(c.include), 0o600); err != nil {
			return nil, err
		}
	}
	file := n.path("holdfast.toml")
	if err := os.WriteFile(file, []byte(c.toml(n)), 0o644); err != nil {
		return nil, err
	}
	return []string{"run", "--config", file}, nil
}

func (holdfast) view(n *node) (view, error) {
	s, err := n.status()
	if err != nil {
		return view{}, err
	}
	code, _, err := get(n.monitorURL("/healthz"))
	if err != nil {
		return view{}, err
	}
	return view{ready: code == http.StatusOK, leader: s.Leader}, nil
}

// settle has nothing to wait for: what is answered can be used.
func (holdfast) settle() {}

// toml is the configuration of one member, keys as documented.
func (c *cluster) toml(n *node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name  = %q\nstore = %q\n\n", n.name, n.store())
	fmt.Fprintf(&b, "[nats]\nlisten = %q\nroutes = %q\n", n.clientAddress(), n.routesAddress())
	if c.include != "" {
		b.WriteString("include = \"nats.conf\"\n\n")
	}
	fmt.Fprintf(&b, "[monitor]\nlisten = %q\n\n", n.monitorAddress())
	fmt.Fprintf(&b, "[cluster]\nname = %q\nsecret_file = %q\n", c.name, c.secretFile)
	if c.whenLost != "" {
		fmt.Fprintf(&b, "when_majority_lost = %q\n", c.whenLost)
	}
	for _, m := range c.nodes {
		at := m.at
		if c.network != nil {
			at.host = hostName(m.name)
		}
		fmt.Fprintf(&b, "\n[[cluster.member]]\nname   = %q\nmesh   = %q\nroutes = %q\n", m.name, at.join(at.mesh), at.join(at.routes))
	}
	return b.String()
}

// status is the answer of /status.
type status struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	Store   string `json:"store"`
	Lineage string `json:"lineage"`
	Epoch   uint64 `json:"epoch"`
	Term    uint64 `json:"term"`
	Role    string `json:"role"`
	Leader  string `json:"leader"`
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	Last    uint64 `json:"last"`
	Serving bool   `json:"serving"`
	Waiting string `json:"waiting"`
	Members []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Store   string `json:"store"`
		Reason  string `json:"reason"`
		Joining *struct {
			Bytes int64 `json:"bytes"`
			Total int64 `json:"total"`
		} `json:"joining"`
	} `json:"members"`
	Alarms    []string `json:"alarms"`
	Foundings []string `json:"foundings"`
	Shortage  string   `json:"shortage"`
}

// status asks Holdfast's monitor.
func (n *node) status() (status, error) {
	var s status
	code, body, err := get(n.monitorURL("/status"))
	if err != nil {
		return s, err
	}
	if code != http.StatusOK {
		return s, fmt.Errorf("%s: /status answers %d: %s", n.name, code, body)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("%s: read /status: %w", n.name, err)
	}
	return s, nil
}

// natsServer is the server that the API comes from.
type natsServer struct{}

func (natsServer) source() string { return "github.com/nats-io/nats-server/v2" }

func (natsServer) arguments(c *cluster, n *node) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %s\nlisten: %q\nhttp: %q\njetstream: {store_dir: %q, sync_interval: always}\n",
		n.name, n.clientAddress(), n.monitorAddress(), n.store())
	if len(c.nodes) > 1 {
		routes := make([]string, len(c.nodes))
		for i, m := range c.nodes {
			routes[i] = fmt.Sprintf("%q", "nats://"+m.routesAddress())
		}
		fmt.Fprintf(&b, "cluster: {name: %s, listen: %q, routes: [%s]}\n", c.name, n.routesAddress(), strings.Join(routes, ", "))
	}
	b.WriteString(c.include)
	file := n.path("nats.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return nil, err
	}
	return []string{"-c", file}, nil
}

func (natsServer) view(n *node) (view, error) {
	code, _, err := get(n.monitorURL("/healthz"))
	if err != nil || code != http.StatusOK {
		return view{}, err
	}
	_, body, err := get(n.monitorURL("/jsz"))
	if err != nil {
		return view{}, err
	}
	var jsz struct {
		Meta *struct {
			Leader string `json:"leader"`
		} `json:"meta_cluster"`
	}
	if err := json.Unmarshal(body, &jsz); err != nil {
		return view{}, fmt.Errorf("%s: read /jsz: %w", n.name, err)
	}
	if jsz.Meta == nil {
		return view{ready: true, leader: n.name}, nil
	}
	return view{ready: true, leader: jsz.Meta.Leader}, nil
}

// settle gives the routes time to tell every server of the new subscriptions,
// which JetStream does not wait for before it answers.
func (natsServer) settle() { time.Sleep(300 * time.Millisecond) }

var monitorClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get fetches a page of a monitor; the body is bounded.
func get(url string) (code int, body []byte, err error) {
	response, err := monitorClient.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 4<<20))
	return response.StatusCode, body, err
}

func (n *node) path(name string) string { return filepath.Join(n.folder, name) }

// store is the folder that the node keeps everything in that must survive.
func (n *node) store() string { return cmp.Or(n.elsewhere, n.path("store")) }
