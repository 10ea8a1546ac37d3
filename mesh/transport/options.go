package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"holdfast/protocol"
)

// Limits that an Options field of zero stands for.
const (
	// DefaultMaxFrame is the largest frame body: the largest payload that a
	// NATS server can be configured for (64 MiB) with room for what surrounds it.
	DefaultMaxFrame = 72 << 20
	// DefaultMaxQueued bounds the bytes that wait to be sent to one member.
	DefaultMaxQueued = 16 << 20
)

// MaxStatus is the largest status in a hello, in bytes.
const MaxStatus = 48 << 10

// MaxKind is the largest frame kind that an owner may use.
const MaxKind = 0xEF

// Member is one line of the member list.
type Member struct {
	Name    string
	Address string // host:port
}

// Presence is what a node says of itself in a hello.
type Presence struct {
	Store  protocol.StoreID // zero: not known, boot counters are not compared
	Boot   uint64           // how often the store was opened
	Status []byte           // for the other owner; at most MaxStatus bytes
}

// Hello is what another process said of itself when a link to it came up.
type Hello struct {
	Incarnation uint64
	Presence
}

// Handler is told what happens. See the package comment for the order of calls
// and for what a handler may do.
type Handler interface {
	// Connected reports that the link to name is up: frames can be sent.
	Connected(name string, hello Hello)
	// Disconnected reports that it is down, and why.
	Disconnected(name string, cause error)
	// Frame hands over a frame. The receiver owns body; a small one may share
	// its memory block (64 KiB) with others.
	Frame(name string, kind byte, body []byte)
}

// Options configure a transport.
type Options struct {
	Cluster string
	Self    string   // this member's name
	Members []Member // the same list on every node, this one included; the order does not matter

	// Listen is the own mesh address; empty for the one in Members.
	Listen string
	// Listener is used in the place of Listen when it is not nil. The transport
	// closes it.
	Listener net.Listener

	// Secret is the cluster secret (at least MinSecret bytes), from which the
	// members' certificates are derived. Ignored when TLS is set.
	Secret []byte
	// TLS carries the operator's certificates: Certificates, RootCAs and
	// ClientCAs. A certificate must have the member's name as a DNS name.
	// With neither Secret nor TLS connections are plain, which is refused
	// unless every address is a loopback address.
	TLS *tls.Config

	// Incarnation names this process: drawn at random at every start, not zero.
	Incarnation uint64
	// Hello returns what to say of this node, at every hello; it is called
	// from the transport's goroutines.
	Hello   func() Presence
	Handler Handler
	// Refused, when set, is told of every refusal, by others of this process
	// (Member is Self) and by this process of others (By is Self). It is called
	// again whenever a refused process tries again.
	Refused func(*RefusedError)
	Logger  *slog.Logger // nil: no log

	MaxFrame  int // bytes of a frame's body; zero for DefaultMaxFrame; the same on every node
	MaxQueued int // bytes; zero for DefaultMaxQueued

	heartbeat time.Duration // zero for heartbeatInterval; tests shorten it
}

// complete checks the options and fills in what was left out.
func (o *Options) complete() error {
	switch {
	case o.Cluster == "" || len(o.Cluster) > maxClusterBytes:
		return fmt.Errorf("the cluster's name %q must have 1 to %d bytes", o.Cluster, maxClusterBytes)
	case o.Incarnation == 0:
		return errors.New("the incarnation must not be zero")
	case o.Hello == nil || o.Handler == nil:
		return errors.New("a handler and a hello are needed")
	}
	own, err := o.checkMembers()
	if err != nil {
		return err
	}
	if o.Listen == "" {
		o.Listen = own.Address
	}
	if o.Secret == nil && o.TLS == nil {
		if err := o.requireLoopback(); err != nil {
			return err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = DefaultMaxQueued
	}
	if o.heartbeat == 0 {
		o.heartbeat = heartbeatInterval
	}
	return nil
}

// checkMembers returns the member that is this process.
func (o *Options) checkMembers() (own Member, err error) {
	names := map[string]bool{}
	for _, m := range o.Members {
		switch {
		case m.Name == "" || len(m.Name) > protocol.MaxNameBytes:
			return own, fmt.Errorf("the member name %q must have 1 to %d bytes", m.Name, protocol.MaxNameBytes)
		case names[m.Name]:
			return own, fmt.Errorf("the member name %s occurs twice", m.Name)
		case m.Name == o.Self:
			own = m
		}
		names[m.Name] = true
	}
	if !names[o.Self] {
		return own, fmt.Errorf("%q is not among the members", o.Self)
	}
	return own, nil
}

// requireLoopback refuses addresses that a plain connection must not have.
func (o *Options) requireLoopback() error {
	addresses := []string{o.Listen}
	if o.Listener != nil {
		addresses[0] = o.Listener.Addr().String()
	}
	for _, m := range o.Members {
		addresses = append(addresses, m.Address)
	}
	for _, address := range addresses {
		if !Loopback(address) {
			return fmt.Errorf("%s is not a loopback address: set a cluster secret or certificates, or use 127.0.0.1", address)
		}
	}
	return nil
}

// Loopback reports whether a host:port address is on this machine's loopback
// interface alone. Of host names only "localhost" is taken for it.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
