package bus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Defaults and bounds of Options.
const (
	DefaultAccount    = "$G"
	DefaultMaxPending = 64 << 20
	DefaultMaxUnread  = 64 << 20
)

// ErrClosed is returned once the link was closed.
var ErrClosed = errors.New("bus: the link is closed")

// Options says what a Link attaches to and whom it calls.
type Options struct {
	// Account is the account of the NATS server that the link joins. Default "$G".
	Account string
	// LeafCluster is the leaf cluster name that the links of all nodes share, so
	// that no link gets what another one sent. It must differ from the name of
	// the NATS cluster. Required.
	LeafCluster string
	// User and Password, or Token, are those of a client of Account. The self-test
	// connects with them; all stay empty for a server without authorization.
	User, Password, Token string
	// Closed says that no client can be in Account, because the server knows no
	// user of it; its messages come from other accounts. There is no self-test.
	Closed bool

	// Handler gets every chunk of messages, in order. It is called by the reading
	// goroutine, must not block and must see to the chunk's Release. Required.
	Handler func(*Chunk)
	// Refuse answers a message that arrives while MaxUnread bytes wait for their
	// Release: the header and payload that it returns go to the message's reply.
	// Both nil: no answer. It is called by the reading goroutine with memory that
	// is valid only during the call. Nil: such messages are dropped unanswered.
	Refuse func(Message) (header, payload []byte)
	// Up is called whenever the link was attached, after its subscriptions were
	// sent and before the first chunk; Down when the attachment was lost. Both
	// are called by the reading goroutine and must not block. Nil: no call.
	Up   func()
	Down func(error)

	// MaxPending is how many bytes may wait to be written to the server: while
	// there are more, messages are dropped and counted. Default 64 MiB.
	MaxPending int
	// MaxUnread bounds the bytes of chunks that were not released yet. Default 64 MiB.
	MaxUnread int

	Logger *slog.Logger // default slog.Default()
}

// Stats counts what went over the link since Listen.
type Stats struct {
	In, Out  uint64 // messages from and to the server
	Refused  uint64 // messages from the server beyond MaxUnread
	Dropped  uint64 // messages to the server that were not written: not attached, too large, invalid or beyond MaxPending
	Attached uint64 // times that the link was attached; more than 1: the connection was lost
}

// Link is the attachment of this process to its embedded NATS server. See the
// package documentation for who may call what.
type Link struct {
	options  Options
	log      *slog.Logger
	listener net.Listener
	password string // what the server proves its identity with

	unread  atomic.Int64  // bytes in chunks that were handed out and not released
	in      atomic.Uint64 // Stats
	refused atomic.Uint64
	times   atomic.Uint64

	// generation is the number of the attached connection, 0 while there is
	// none. It changes only under mu.
	generation atomic.Uint64

	out        outbox // what the owner's goroutine appends to; see outbox.go
	maxPayload int    // set by Attach, before attached is closed

	mu            sync.Mutex
	subscriptions subscriptions
	rank          int      // see SetRank
	fences        uint64   // fences asked for so far
	lastError     error    // why the last attempt to attach failed
	current       net.Conn // the newest authenticated connection
	up            chan struct{}
	account       *server.Account // set with host

	host     *server.Server // set by Attach, before attached is closed
	attached chan struct{}
	incoming chan *reader // authenticated connections
	closed   chan struct{}
	group    sync.WaitGroup
}

// Listen opens the loopback listener that the embedded server will dial. Call
// it before the server starts, so that Remote can be part of its options.
func Listen(options Options) (*Link, error) {
	if options.LeafCluster == "" {
		return nil, errors.New("listen for the embedded NATS server: no leaf cluster name")
	}
	if options.Handler == nil {
		return nil, errors.New("listen for the embedded NATS server: no handler")
	}
	if options.Account == "" {
		options.Account = DefaultAccount
	}
	if options.MaxPending <= 0 {
		options.MaxPending = DefaultMaxPending
	}
	if options.MaxUnread <= 0 {
		options.MaxUnread = DefaultMaxUnread
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the embedded NATS server: %w", err)
	}
	l := &Link{
		options:  options,
		log:      options.Logger,
		listener: listener,
		password: rand.Text(),
		up:       make(chan struct{}),
		attached: make(chan struct{}),
		incoming: make(chan *reader),
		closed:   make(chan struct{}),
	}
	l.out.init(l)
	l.group.Go(l.accept)
	l.group.Go(l.serve)
	return l, nil
}

// Remote is the entry for server.Options.LeafNode.Remotes that makes the server
// dial this link. It contains the link's credential: do not log it.
func (l *Link) Remote() *server.RemoteLeafOpts {
	return &server.RemoteLeafOpts{
		LocalAccount: l.options.Account,
		URLs: []*url.URL{{
			Scheme: "nats-leaf",
			User:   url.UserPassword(linkUser, l.password),
			Host:   l.listener.Addr().String(),
		}},
		Hub:                     true,
		NoRandomize:             true,
		IgnoreDiscoveredServers: true,
		FirstInfoTimeout:        handshakeTimeout,
		Compression:             server.CompressionOpts{Mode: server.CompressionNotSupported},
	}
}

// Attach tells the link which server it belongs to, once that server runs, and
// waits until the link is attached and its self-test passed. From then on the
// link attaches again by itself whenever the connection is lost. When Attach
// fails, the link goes on trying; close it. Attach must be called once.
func (l *Link) Attach(host *server.Server, timeout time.Duration) error {
	account, err := host.LookupAccount(l.options.Account)
	if err != nil {
		return fmt.Errorf("attach to the NATS server: look up account %q: %w", l.options.Account, err)
	}
	limits, err := host.Varz(nil)
	if err != nil {
		return fmt.Errorf("attach to the NATS server: read its limits: %w", err)
	}
	l.maxPayload = limits.MaxPayload
	l.out.limit(int(limits.MaxControlLine))
	l.mu.Lock()
	l.host, l.account = host, account
	up := l.up
	l.mu.Unlock()
	close(l.attached)

	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-up:
		return nil
	case <-l.closed:
		return ErrClosed
	case <-timer.C:
	}
	l.mu.Lock()
	cause := l.lastError
	l.mu.Unlock()
	if cause == nil {
		cause = errors.New("the server did not dial the link; is Remote() among its leaf node remotes?")
	}
	return fmt.Errorf("attach to the NATS server within %v: %w", timeout, cause)
}

// Interest reports whether any client anywhere in the NATS cluster subscribes
// to subject. It is false before Attach.
func (l *Link) Interest(subject string) bool {
	select {
	case <-l.attached:
		return l.account.Interest(subject) > 0
	default:
		return false
	}
}

// MaxPayload is the most that the header and payload of a client's message may
// have together, in bytes; what the link sends may be larger. It is 0 before
// Attach.
func (l *Link) MaxPayload() int {
	select {
	case <-l.attached:
		return l.maxPayload
	default:
		return 0
	}
}

// Stats may be called from any goroutine.
func (l *Link) Stats() Stats {
	return Stats{
		In:       l.in.Load(),
		Out:      l.out.messages.Load(),
		Refused:  l.refused.Load(),
		Dropped:  l.out.dropped.Load(),
		Attached: l.times.Load(),
	}
}

// Close drops the connection and waits until no callback runs any more. Shut
// the server down first, otherwise it goes on dialling and complains.
func (l *Link) Close() error {
	l.mu.Lock()
	select {
	case <-l.closed:
		l.mu.Unlock()
		return ErrClosed
	default:
	}
	close(l.closed)
	if l.current != nil {
		_ = l.current.Close()
	}
	l.mu.Unlock()
	err := l.listener.Close()
	l.group.Wait()
	if err != nil {
		return fmt.Errorf("close the link's listener: %w", err)
	}
	return nil
}

// isClosed reports whether Close was called.
func (l *Link) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}
