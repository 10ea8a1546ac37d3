package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"holdfast/mesh/transport"
	"holdfast/protocol"
)

// Check reports everything that is wrong with a complete configuration, as
// Errors, or nil. It reads the files that the configuration names; it does not
// try whether an address is free or the store can be opened.
func (c *Config) Check() error {
	c.source.problems = nil
	c.checkNames()
	c.checkStore()
	c.checkAddresses()
	c.checkOwnPorts()
	c.checkMemberAddresses()
	c.checkInclude()
	c.checkWhenMajorityLost()
	c.checkCredentials()
	return c.source.errors()
}

func (c *Config) checkNames() {
	members := c.Cluster.Members
	if c.Cluster.Name == "" {
		c.source.complain("cluster", "cluster.name is missing: give all nodes of this cluster the same, and every cluster its own")
	} else if why := badName(c.Cluster.Name); why != "" {
		c.source.complain("cluster.name", "cluster.name = %q: %s", c.Cluster.Name, why)
	}
	first := map[string]int{} // by lower-case name
	for i, m := range members {
		key := fmt.Sprintf("cluster.member[%d]", i)
		if m.Name == "" {
			c.source.complain(key, "the name of this member is missing")
			continue
		}
		if why := badName(m.Name); why != "" {
			c.source.complain(key+".name", "member name %q: %s", m.Name, why)
		}
		lower := strings.ToLower(m.Name)
		if j, taken := first[lower]; taken {
			c.source.complain(key+".name", "member name %q is already taken by member %d; names must differ in more than case", m.Name, j+1)
			continue
		}
		first[lower] = i
	}
	switch {
	case c.Name == "":
		c.source.complain("name", "name is missing: which of the members is this node?")
	case c.self() == nil:
		names := make([]string, len(members))
		for i, m := range members {
			names[i] = m.Name
		}
		c.source.complain("name", "name = %q is not among the members (%s)%s", c.Name, strings.Join(names, ", "), suggestion(c.Name, names))
	}
}

// badName says what is wrong with the name of a member or cluster. Names occur
// in file names, certificates and subjects.
func badName(name string) string {
	if len(name) > protocol.MaxNameBytes {
		return fmt.Sprintf("at most %d letters are allowed", protocol.MaxNameBytes)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '-' && r != '_') {
			return "letters (a-z), digits, - and _ are allowed, a letter or digit first"
		}
	}
	return ""
}

// Below the smallest limit of a store there is no room for messages beside what
// is kept in reserve; the largest is 1 EiB.
const (
	smallestStoreLimitMB = 16
	largestStoreLimitMB  = 1 << 40
)

// largestScrubMBPerSecond is more than any disk gives.
const largestScrubMBPerSecond = 1000

func (c *Config) checkStore() {
	if info, err := os.Stat(c.Store); err == nil && !info.IsDir() {
		c.source.complain("store", "store = %q is a file, a folder is needed", c.Store)
	}
	if rate := c.ScrubMBPerSecond; rate < 1 || rate > largestScrubMBPerSecond {
		c.source.complain("scrub_mb_per_s", "scrub_mb_per_s = %d: from 1 to %d", rate, largestScrubMBPerSecond)
	}
	if limit := c.StoreLimitMB; limit != 0 && (limit < smallestStoreLimitMB || limit > largestStoreLimitMB) {
		c.source.complain("store_limit_mb", "store_limit_mb = %d: from %d to %d; leave it out for no limit", limit, smallestStoreLimitMB, largestStoreLimitMB)
	}
}

// checkAddresses checks each address for itself.
func (c *Config) checkAddresses() {
	c.checkListen("nats.listen", c.NATS.Listen)
	c.checkListen("monitor.listen", c.Monitor.Listen)
	if c.alone() {
		if self := c.self(); self != nil && self.Mesh != "" {
			c.checkListen(c.memberKey(self.Name, "mesh"), self.Mesh)
		}
		return // nobody dials it
	}
	if c.NATS.Routes != "" {
		c.checkListen("nats.routes", c.NATS.Routes)
	}
	for i, m := range c.Cluster.Members {
		for _, a := range m.addresses() {
			key := fmt.Sprintf("cluster.member[%d].%s", i, a.key)
			if a.address == "" {
				c.source.complain(key, "%s of %s is missing: the HOST:PORT at which the other members reach it", a.key, c.label(i))
			} else if why := notDiallable(a.address); why != "" {
				c.source.complain(key, "%s = %q of %s: %s", a.key, a.address, c.label(i), why)
			}
		}
	}
}

// alone reports whether this is a one-node cluster.
func (c *Config) alone() bool { return len(c.Cluster.Members) == 1 }

// label names a line of the member list.
func (c *Config) label(i int) string {
	if name := c.Cluster.Members[i].Name; name != "" {
		return fmt.Sprintf("member %q", name)
	}
	return fmt.Sprintf("member %d of the list", i+1)
}

// memberKey is the path of a key of the first member of that name.
func (c *Config) memberKey(name, key string) string {
	i := slices.IndexFunc(c.Cluster.Members, func(m Member) bool { return m.Name == name })
	return fmt.Sprintf("cluster.member[%d].%s", i, key)
}

// notDiallable says why other machines cannot dial an address.
func notDiallable(address string) (why string) {
	host, port, why := splitAddress(address)
	switch {
	case why != "":
		return why
	case everyInterface(host):
		return "the others need an address that they can dial, such as 10.0.0.1:7422"
	case port == 0:
		return "the others need a fixed port"
	}
	return ""
}

func everyInterface(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

type memberAddress struct{ key, address string }

func (m *Member) addresses() []memberAddress {
	return []memberAddress{{"mesh", m.Mesh}, {"routes", m.Routes}}
}

func (c *Config) checkListen(key, address string) {
	if _, _, why := splitAddress(address); why != "" {
		c.source.complain(key, "%s = %q: %s", key, address, why)
	}
}

// splitAddress takes host:port apart or says what is wrong with it.
func splitAddress(address string) (host string, port int, why string) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, "an address is HOST:PORT, such as 127.0.0.1:4222 or [::1]:4222"
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Sprintf("port %q is not a number from 0 to 65535", text)
	}
	return host, int(number), ""
}

// checkOwnPorts finds two of this node's listeners on one port.
func (c *Config) checkOwnPorts() {
	type listener struct{ key, label, address string }
	listeners := []listener{
		{"nats.listen", "nats.listen", c.NATS.Listen},
		{"monitor.listen", "monitor.listen", c.Monitor.Listen},
	}
	if self := c.self(); self != nil && !c.alone() {
		listeners = append(listeners,
			listener{"nats.routes", "nats.routes", c.NATS.Routes},
			listener{c.memberKey(self.Name, "mesh"), "its own mesh address", self.Mesh})
	}
	for i, b := range listeners {
		for _, a := range listeners[:i] {
			if !sameSocket(a.address, b.address) {
				continue
			}
			later := b.key
			if c.source.lines.of(a.key) > c.source.lines.of(b.key) || c.source.flags[a.key] != "" {
				later = a.key
			}
			c.source.complain(later, "%s (%s) and %s (%s) are the same port: this node needs both", a.label, a.address, b.label, b.address)
		}
	}
}

// sameSocket reports whether two addresses cannot both be listened on.
func sameSocket(a, b string) bool {
	hostA, portA, whyA := splitAddress(a)
	hostB, portB, whyB := splitAddress(b)
	if whyA != "" || whyB != "" || portA != portB || portA == 0 {
		return false
	}
	return hostA == hostB || everyInterface(hostA) || everyInterface(hostB)
}

// checkMemberAddresses finds an address that two members, or one member twice,
// would have.
func (c *Config) checkMemberAddresses() {
	owner := map[string]string{}
	for i, m := range c.Cluster.Members {
		for _, a := range m.addresses() {
			_, port, why := splitAddress(a.address)
			if why != "" || port == 0 {
				continue
			}
			if other, taken := owner[a.address]; taken {
				c.source.complain(fmt.Sprintf("cluster.member[%d].%s", i, a.key),
					"%s = %q of %s is already %s", a.key, a.address, c.label(i), other)
				continue
			}
			owner[a.address] = fmt.Sprintf("the %s address of %s", a.key, c.label(i))
		}
	}
}

func (c *Config) checkInclude() {
	if c.NATS.Include == "" {
		return
	}
	file, err := os.Open(c.NATS.Include)
	if err != nil {
		c.source.complain("nats.include", "nats.include: %v", err)
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		c.source.complain("nats.include", "nats.include = %q is a folder, a file is needed", c.NATS.Include)
	}
}

func (c *Config) checkWhenMajorityLost() {
	switch value := c.Cluster.WhenMajorityLost; value {
	case "", Continue, Wait:
	default:
		c.source.complain("cluster.when_majority_lost", "cluster.when_majority_lost = %q: it is %q or %q%s",
			value, Continue, Wait, suggestion(value, []string{Continue, Wait}))
	}
}

// checkCredentials checks that others cannot read along or join.
func (c *Config) checkCredentials() {
	tls := &c.Cluster.TLS
	secret, operator := c.Cluster.SecretFile != "", *tls != TLS{}
	if secret && operator {
		c.source.complain("cluster.tls", "cluster.secret_file and [cluster.tls] exclude each other: remove one")
	}
	if secret {
		if _, err := c.Secret(); err != nil {
			c.source.complain("cluster.secret_file", "cluster.secret_file: %v", err)
		}
	}
	if operator {
		if _, err := c.MeshTLS(); err != nil {
			c.source.complain("cluster.tls", "cluster.tls: %v", err)
		}
	}
	if !secret && !operator {
		c.checkUnprotected()
	}
}

// checkUnprotected finds an address that is not on loopback alone, for which
// a cluster needs a secret or certificates. One complaint is enough: the cure
// is the same for all.
func (c *Config) checkUnprotected() {
	const cure = "can be reached from other machines, so the cluster needs a secret: set cluster.secret_file on every node (make the file with: openssl rand -base64 32)"
	for i, m := range c.Cluster.Members {
		for _, a := range m.addresses() {
			if exposed(a.address) {
				c.source.complain(fmt.Sprintf("cluster.member[%d].%s", i, a.key),
					"%s = %q of %s %s", a.key, a.address, c.label(i), cure)
				return
			}
		}
	}
	if !c.alone() && exposed(c.NATS.Routes) {
		c.source.complain("nats.routes", "nats.routes = %q %s", c.NATS.Routes, cure)
	}
}

// exposed reports whether an address is valid and not on loopback alone.
func exposed(address string) bool {
	_, _, why := splitAddress(address)
	return why == "" && !transport.Loopback(address)
}
