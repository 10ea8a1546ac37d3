package config

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// Defaults of keys that are left out.
const (
	DefaultName    = "n1" // with no member list
	DefaultStore   = "holdfast-data"
	DefaultListen  = "127.0.0.1:4222"
	DefaultMonitor = "127.0.0.1:8222"
	DefaultCluster = "holdfast" // with no member list

	DefaultScrubMBPerSecond = 8
	DefaultQuarantineStores = 4
	DefaultQuarantineMB     = 1024
)

// Values of Cluster.WhenMajorityLost.
const (
	Continue = "continue"
	Wait     = "wait"
)

// Config is the configuration of one node. Its fields are the keys of the file.
type Config struct {
	Name  string `toml:"name"`
	Store string `toml:"store"`
	// StoreLimitMB bounds the store's file; 1 MB: 2^20 bytes. Zero: the disk does.
	StoreLimitMB int `toml:"store_limit_mb"`
	// ScrubMBPerSecond is how fast the store is read in the background to find
	// damage; 1 MB: 2^20 bytes.
	ScrubMBPerSecond int `toml:"scrub_mb_per_s"`

	NATS    NATS    `toml:"nats"`
	Monitor Monitor `toml:"monitor"`
	Cluster Cluster `toml:"cluster"`

	Quarantine Quarantine `toml:"quarantine"`

	source source
}

// NATS configures the embedded NATS server. Addresses are host:port.
type NATS struct {
	Listen  string `toml:"listen"`  // for clients; port 0: a free one
	Routes  string `toml:"routes"`  // for the other members' NATS servers; unused with one member
	Include string `toml:"include"` // a file in the NATS server's own syntax; empty: none
}

// Monitor configures the HTTP endpoint for health, metrics and status.
type Monitor struct {
	Listen string `toml:"listen"` // host:port; port 0: a free one
}

// Quarantine bounds what is kept without a word of stores that were set aside.
// Beyond it the node warns; it removes nothing by itself.
type Quarantine struct {
	Stores int `toml:"stores"`
	MB     int `toml:"mb"` // 1 MB: 2^20 bytes
}

// Cluster says who belongs together.
type Cluster struct {
	Name             string `toml:"name"`
	SecretFile       string `toml:"secret_file"`
	WhenMajorityLost string `toml:"when_majority_lost"` // Continue, Wait, or empty: see ContinueWhenLost
	TLS              TLS    `toml:"tls"`
	// Members is the same list on every node. It always contains this node.
	Members []Member `toml:"member"`
}

// TLS names the files (PEM) of operator certificates, in the place of a secret:
// all of them or none.
type TLS struct {
	Cert string `toml:"cert"` // this node's certificate; it has the member's name as a DNS name
	Key  string `toml:"key"`
	CA   string `toml:"ca"` // the authority that signed every member's certificate
}

// Member is one line of the member list.
type Member struct {
	Name   string `toml:"name"`
	Mesh   string `toml:"mesh"`   // host:port at which the others reach its mesh
	Routes string `toml:"routes"` // host:port at which the others reach its NATS routes
}

// Overrides are the values of command line flags; an empty one changes nothing.
type Overrides struct {
	Store   string
	Listen  string
	Monitor string
}

// Default is the configuration of a node without a file: a durable one-node
// cluster on loopback. The store is the folder that systemd made for the
// service ($STATE_DIRECTORY), or else DefaultStore in the working directory.
func Default() *Config {
	c := &Config{}
	c.complete()
	return c
}

// Load reads the file (none when path is empty), puts the overrides over it,
// fills in what is left out and checks the result. The error is of type Errors
// unless the file cannot be read.
func Load(path string, overrides Overrides) (*Config, error) {
	c := &Config{}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		c.source.file = path
		if !c.decode(string(text)) {
			return nil, c.source.errors()
		}
		c.locate(filepath.Dir(path))
	}
	c.override(overrides)
	c.complete()
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// locate makes relative paths relative to the folder of the file that names
// them.
func (c *Config) locate(folder string) {
	tls := &c.Cluster.TLS
	for _, path := range []*string{&c.Store, &c.NATS.Include, &c.Cluster.SecretFile, &tls.Cert, &tls.Key, &tls.CA} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}

func (c *Config) override(o Overrides) {
	for _, flag := range []struct {
		name, key, value string
		target           *string
	}{
		{"--store", "store", o.Store, &c.Store},
		{"--listen", "nats.listen", o.Listen, &c.NATS.Listen},
		{"--monitor", "monitor.listen", o.Monitor, &c.Monitor.Listen},
	} {
		if flag.value != "" {
			*flag.target = flag.value
			c.source.setByFlag(flag.key, flag.name)
		}
	}
}

// complete fills in what was left out.
func (c *Config) complete() {
	fill := func(target *string, value string) {
		if *target == "" {
			*target = value
		}
	}
	fill(&c.Store, defaultStore())
	fill(&c.NATS.Listen, DefaultListen)
	fill(&c.Monitor.Listen, DefaultMonitor)
	c.ScrubMBPerSecond = cmp.Or(c.ScrubMBPerSecond, DefaultScrubMBPerSecond)
	c.Quarantine.Stores = cmp.Or(c.Quarantine.Stores, DefaultQuarantineStores)
	c.Quarantine.MB = cmp.Or(c.Quarantine.MB, DefaultQuarantineMB)
	if len(c.Cluster.Members) == 0 {
		fill(&c.Name, DefaultName)
		fill(&c.Cluster.Name, DefaultCluster)
		c.Cluster.Members = []Member{{Name: c.Name, Mesh: "127.0.0.1:0", Routes: "127.0.0.1:0"}}
	}
	if self := c.self(); self != nil {
		fill(&c.NATS.Routes, self.Routes)
	}
}

func defaultStore() string {
	// systemd: absolute paths, separated by colons.
	if first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); first != "" {
		return first
	}
	return DefaultStore
}

// self is this node's line of the member list, or nil.
func (c *Config) self() *Member {
	for i := range c.Cluster.Members {
		if c.Cluster.Members[i].Name == c.Name {
			return &c.Cluster.Members[i]
		}
	}
	return nil
}

// ContinueWhenLost reports whether a new lineage may be founded from the
// survivors of a lost majority without an operator. Left to itself a node
// continues when its store lies in memory, because every power failure takes
// such a store away, and waits when it lies on a disk, because a disk that is
// missing may come back.
func (c *Config) ContinueWhenLost() bool {
	switch c.Cluster.WhenMajorityLost {
	case Continue:
		return true
	case Wait:
		return false
	}
	return volatile(c.Store)
}
