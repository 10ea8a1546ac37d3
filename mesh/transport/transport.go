package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
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

// Transport connects this process with the other members.
type Transport struct {
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Start listens and begins to dial every other member. It fails when the
// options are contradictory, the address cannot be listened on, or an address
// is not a loopback one and there is neither a secret nor a certificate.
func Start(options Options) (*Transport, error) { return nil, errors.New("start transport: not built") }

// Addr is the address that the transport listens on.
func (t *Transport) Addr() net.Addr { return nil }

// Send queues a frame for name and returns at once. It returns false, and
// drops the frame, when the link is down, when the member is unknown, when
// the frame is larger than MaxFrame, or when more than MaxQueued bytes would
// wait (a frame always fits an empty queue). The body must not be changed
// afterwards.
func (t *Transport) Send(name string, kind byte, body []byte) bool { return false }

// Queued is the number of bytes that wait to be sent to name.
func (t *Transport) Queued(name string) int { return 0 }

// Close breaks all connections and waits until every goroutine of the
// transport has ended. No handler method is called after it returned.
func (t *Transport) Close() { t.cancel(); t.tasks.Wait() }
