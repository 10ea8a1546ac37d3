package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Transport connects this process with the other members.
type Transport struct {
	options  Options
	log      *slog.Logger
	members  digest
	listener net.Listener

	acceptingTLS *tls.Config              // nil: plain
	diallingTLS  func(string) *tls.Config // returns nil: plain

	peers map[string]*peer // every member but this one; never changed
	order []*peer          // the same by name
	door  door

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // every goroutine
	once   sync.Once      // Close
}

// Start listens and begins to dial every other member. It fails when the
// options are contradictory, the address cannot be listened on, or an address
// is not a loopback one and there is neither a secret nor a certificate. It
// closes Options.Listener when it fails.
func Start(options Options) (*Transport, error) {
	t, err := newTransport(options)
	if err != nil {
		if options.Listener != nil {
			options.Listener.Close()
		}
		return nil, fmt.Errorf("start mesh: %w", err)
	}
	t.tasks.Go(t.accept)
	t.tasks.Go(t.beat)
	for _, p := range t.order {
		t.tasks.Go(p.dial)
	}
	return t, nil
}

func newTransport(options Options) (*Transport, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	accepting, dialling, err := prepareTLS(&options)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		options:      options,
		log:          options.Logger,
		members:      digestOf(options.Members),
		listener:     options.Listener,
		acceptingTLS: accepting,
		diallingTLS:  dialling,
		peers:        map[string]*peer{},
	}
	if t.listener == nil {
		if t.listener, err = net.Listen("tcp", options.Listen); err != nil {
			return nil, err
		}
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	for _, m := range options.Members {
		if m.Name != options.Self {
			p := newPeer(t, m)
			t.peers[m.Name] = p
			t.order = append(t.order, p)
		}
	}
	slices.SortFunc(t.order, func(a, b *peer) int { return strings.Compare(a.name, b.name) })
	return t, nil
}

// Addr is the address that the transport listens on.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// Send queues a frame for name and returns at once. It returns false, and
// drops the frame, when the link is down, when the member is unknown, when
// the body is larger than MaxFrame or the kind above MaxKind, or when more than
// MaxQueued bytes would wait (a frame always fits an empty queue). The body
// may come in parts; none may be changed afterwards.
func (t *Transport) Send(name string, kind byte, body []byte, rest ...[]byte) bool {
	f := frame{kind: kind, body: body, rest: rest}
	p := t.peers[name]
	if p == nil || kind > MaxKind || f.bodyBytes() > t.options.MaxFrame {
		return false
	}
	l := p.live.Load()
	return l != nil && l.send(f, t.options.MaxQueued)
}

// Queued is the number of bytes that wait to be sent to name.
func (t *Transport) Queued(name string) int {
	if p := t.peers[name]; p != nil {
		if l := p.live.Load(); l != nil {
			return l.queued()
		}
	}
	return 0
}

// Close breaks all connections and waits until every goroutine of the
// transport has ended. No handler method is called after it returned; it does
// not report the links that it breaks.
func (t *Transport) Close() {
	t.once.Do(func() {
		t.cancel()
		t.listener.Close()
		for _, p := range t.order {
			p.close()
		}
	})
	t.tasks.Wait()
}

// beat keeps the connections alive and finds the dead ones.
func (t *Transport) beat() {
	ticker := time.NewTicker(t.options.heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, p := range t.order {
			p.beat()
		}
	}
}

// closing ties a connection to a piece of work: it is closed when the work ends
// (the function returned) or the transport is closed, whichever is first.
func (t *Transport) closing(conn net.Conn) (end func()) {
	stop := context.AfterFunc(t.ctx, func() { conn.Close() })
	return func() {
		stop()
		conn.Close()
	}
}

// hello is what this process says of itself to a member.
func (t *Transport) hello(to string, attempt uint64) hello {
	h := hello{
		cluster:     t.options.Cluster,
		from:        t.options.Self,
		to:          to,
		members:     t.members,
		incarnation: t.options.Incarnation,
		attempt:     attempt,
		presence:    t.options.Hello(),
	}
	if len(h.presence.Status) > MaxStatus {
		panic(fmt.Sprintf("mesh: status of %d bytes in a hello, at most %d are allowed", len(h.presence.Status), MaxStatus))
	}
	return h
}

// refusedBy is a refusal of this process by another.
func (t *Transport) refusedBy(name string, reason Reason, detail string) *RefusedError {
	return &RefusedError{By: name, Member: t.options.Self, Reason: reason, Detail: detail}
}

// reportRefusal tells the owner.
func (t *Transport) reportRefusal(refused *RefusedError) {
	if t.options.Refused != nil && t.ctx.Err() == nil {
		t.options.Refused(refused)
	}
}
