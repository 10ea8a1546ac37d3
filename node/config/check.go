package config

import (
	"fmt"
	"net"
	"os"
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

func (c *Config) checkStore() {
	if info, err := os.Stat(c.Store); err == nil && !info.IsDir() {
		c.source.complain("store", "store = %q is a file, a folder is needed", c.Store)
	}
}

// checkAddresses checks each address for itself.
func (c *Config) checkAddresses() {
	c.checkListen("nats.listen", c.NATS.Listen)
	c.checkListen("monitor.listen", c.Monitor.Listen)
	if len(c.Cluster.Members) > 1 && c.NATS.Routes != "" {
		c.checkListen("nats.routes", c.NATS.Routes)
	}
	alone := len(c.Cluster.Members) == 1
	for i, m := range c.Cluster.Members {
		for _, a := range m.addresses() {
			key := fmt.Sprintf("cluster.member[%d].%s", i, a.key)
			host, port, why := splitAddress(a.address)
			ip := net.ParseIP(host)
			switch {
			case alone && (a.address == "" || why == ""): // nobody dials it
				continue
			case a.address == "":
				why = fmt.Sprintf("%s of member %q is missing: the host:port at which the other members reach it", a.key, m.Name)
				c.source.complain(key, "%s", why)
				continue
			case why != "":
			case host == "" || ip != nil && ip.IsUnspecified():
				why = "the others need an address that they can dial, such as 10.0.0.1:7422"
			case port == 0:
				why = "the others need a fixed port"
			}
			if why != "" {
				c.source.complain(key, "%s = %q of member %q: %s", a.key, a.address, m.Name, why)
			}
		}
	}
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
	type listener struct{ key, address string }
	listeners := []listener{{"nats.listen", c.NATS.Listen}, {"monitor.listen", c.Monitor.Listen}}
	if self := c.self(); self != nil && len(c.Cluster.Members) > 1 {
		listeners = append(listeners, listener{"nats.routes", c.NATS.Routes}, listener{"its mesh address", self.Mesh})
	}
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if !sameSocket(a.address, b.address) {
				continue
			}
			key := a.key
			if i == len(listeners)-1 || c.source.lines.of(b.key) > c.source.lines.of(key) {
				key = b.key // the later line, and never that of the shared member list
			}
			c.source.complain(key, "%s (%s) and %s (%s) are the same port: this node needs both", b.key, b.address, a.key, a.address)
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
	everywhere := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
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
					"%s = %q of member %q is already %s", a.key, a.address, m.Name, other)
				continue
			}
			owner[a.address] = fmt.Sprintf("the %s address of member %q", a.key, m.Name)
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
	if secret || operator {
		return
	}
	for i, m := range c.Cluster.Members {
		for _, a := range m.addresses() {
			if c.exposed(a.address) {
				c.source.complain(fmt.Sprintf("cluster.member[%d].%s", i, a.key),
					"%s = %q of member %q can be reached from other machines, so the cluster needs a secret: set cluster.secret_file on every node (make the file with: openssl rand -base64 32)",
					a.key, a.address, m.Name)
				return // once: the cure is the same for all
			}
		}
	}
	if len(c.Cluster.Members) > 1 && c.exposed(c.NATS.Routes) {
		c.source.complain("nats.routes", "nats.routes = %q can be reached from other machines, so the cluster needs a secret: set cluster.secret_file on every node (make the file with: openssl rand -base64 32)", c.NATS.Routes)
	}
}

// exposed reports whether an address is valid and not on loopback alone.
func (c *Config) exposed(address string) bool {
	_, _, why := splitAddress(address)
	return why == "" && !transport.Loopback(address)
}
