package node

import (
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"holdfast/node/config"
)

// crossing keeps two members whose NATS servers dial each other at the same
// moment from losing both connections: each server keeps its own and closes the
// other one as a duplicate, and tries again a second later. Of two members the
// one that is first by name decides: it lets the connection pass whose handshake
// is over first, and holds one in the other direction until both servers have
// registered the first. Then they agree which one is too many.
type crossing struct {
	self    string
	members []string
	time    time.Duration // how long registering takes at most

	mu     sync.Mutex
	passed map[string]passage // the last that was not held, by member
}

// passage is a handshake that went well.
type passage struct {
	dialled bool // by this member
	at      time.Time
}

// crossingTime is some round trips and a pause of a busy machine.
const crossingTime = 400 * time.Millisecond

func newCrossing(cfg *config.Config) *crossing {
	c := &crossing{self: cfg.Name, time: crossingTime, passed: make(map[string]passage)}
	for _, m := range cfg.Cluster.Members {
		c.members = append(c.members, m.Name)
	}
	return c
}

// guard returns a configuration that asks the crossing once a handshake, in
// either direction, is verified.
func (c *crossing) guard(base *tls.Config) *tls.Config {
	asking := func(dialled bool) *tls.Config {
		guarded := base.Clone()
		guarded.VerifyConnection = func(state tls.ConnectionState) error {
			if err := base.VerifyConnection(state); err != nil {
				return err
			}
			time.Sleep(c.hold(c.nameOf(state), dialled, time.Now()))
			return nil
		}
		return guarded
	}
	dialling, accepting := asking(true), asking(false)
	dialling.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return accepting, nil }
	return dialling
}

// nameOf is the member that a certificate is for, "" if it names none.
func (c *crossing) nameOf(state tls.ConnectionState) string {
	for _, name := range state.PeerCertificates[0].DNSNames {
		if slices.Contains(c.members, name) {
			return name
		}
	}
	return ""
}

// hold says how long a connection with a member has to wait.
func (c *crossing) hold(member string, dialled bool, now time.Time) time.Duration {
	if member < c.self {
		return 0 // it decides, or is nobody
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.passed[member]
	if over := before.at.Add(c.time); before.dialled != dialled && now.Before(over) {
		return over.Sub(now)
	}
	c.passed[member] = passage{dialled, now}
	return 0
}
