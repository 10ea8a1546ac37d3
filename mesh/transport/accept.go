package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// openingTime bounds everything up to the end of the hello, on both ends;
	// it leaves room for asking a rival for a sign of life.
	openingTime = 6 * time.Second

	// maxStrangers bounds the connections that have not yet said hello. The
	// oldest gives way: a member needs milliseconds, an attacker who connects
	// and keeps silent is the oldest.
	maxStrangers = 64

	// acceptPause is the pause after a failed accept (no file descriptors left).
	acceptPause = 50 * time.Millisecond

	// grumblePause is the least time between two log lines about strangers.
	grumblePause = 10 * time.Second
)

var errCrowded = errors.New("too many connections without a hello")

// door is the accepting side: strangers are connections that have not yet
// proven who they are.
type door struct {
	mu        sync.Mutex
	strangers []net.Conn // oldest first; len <= maxStrangers
	grumbled  time.Time
	unsaid    int // complaints since then
}

// enter notes a stranger and reports whether another had to give way.
func (d *door) enter(conn net.Conn) (evicted bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.strangers) == maxStrangers {
		d.strangers[0].Close()
		d.strangers = slices.Delete(d.strangers, 0, 1)
		evicted = true
	}
	d.strangers = append(d.strangers, conn)
	return evicted
}

// leave forgets a stranger that became known, or was closed.
func (d *door) leave(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.strangers, conn); i >= 0 {
		d.strangers = slices.Delete(d.strangers, i, i+1)
	}
}

// mayGrumble reports whether it is time for a log line about strangers, and
// about how many earlier ones none was written.
func (d *door) mayGrumble() (unsaid int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.grumbled.IsZero() && time.Since(d.grumbled) < grumblePause {
		d.unsaid++
		return 0, false
	}
	unsaid, d.unsaid, d.grumbled = d.unsaid, 0, time.Now()
	return unsaid, true
}

// grumble logs, now and then, about connections of nobody we know.
func (t *Transport) grumble(remote net.Addr, cause error) {
	if t.ctx.Err() != nil {
		return
	}
	if unsaid, ok := t.door.mayGrumble(); ok {
		t.log.Warn("mesh: dropped an incoming connection", "remote", remote.String(), "cause", cause, "others_since_last_line", unsaid)
	}
}

// accept serves incoming connections until the listener is closed.
func (t *Transport) accept() {
	for {
		conn, err := t.listener.Accept()
		switch {
		case err == nil:
		case t.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			t.log.Error("mesh: cannot accept connections", "cause", err)
			select {
			case <-t.ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		if t.door.enter(conn) {
			t.grumble(conn.RemoteAddr(), errCrowded)
		}
		t.tasks.Go(func() { t.serve(conn) })
	}
}

// serve brings one incoming connection through the hello and reads it until it
// breaks.
func (t *Transport) serve(raw net.Conn) {
	defer t.door.leave(raw)
	defer t.closing(raw)()
	_ = raw.SetDeadline(time.Now().Add(openingTime))
	tune(raw)
	conn, state, err := t.secureIncoming(raw)
	if err != nil {
		t.grumble(raw.RemoteAddr(), err)
		return
	}
	ear := &hearing{Conn: conn}
	stream := bufio.NewReaderSize(ear, readBufferBytes)
	h, err := t.greet(stream, state)
	if err != nil {
		t.turnAway(raw, conn, err)
		return
	}
	t.door.leave(raw)
	p := t.peers[h.from]
	l := newLink(conn, raw, stream, t.options.MaxFrame, h)
	ear.link = l
	if err := p.admit(l); err != nil {
		t.turnAway(raw, conn, err)
		return
	}
	if err := t.welcome(conn, h); err != nil {
		l.fail(fmt.Errorf("welcome: %w", plainCause(err)))
		return
	}
	_ = raw.SetDeadline(time.Time{})
	t.tasks.Go(l.writeFrames)
	p.soon()
	p.settle()
	l.readFrames(func(f frame) { p.deliver(l, f) })
	p.settle()
}

// secureIncoming makes the TLS handshake; state is nil on a plain connection.
func (t *Transport) secureIncoming(raw net.Conn) (net.Conn, *tls.ConnectionState, error) {
	if t.acceptingTLS == nil {
		return raw, nil, nil
	}
	conn := tls.Server(&recordBuffer{Conn: raw}, t.acceptingTLS)
	if err := conn.HandshakeContext(t.ctx); err != nil {
		return nil, nil, handshakeError(err)
	}
	state := conn.ConnectionState()
	return conn, &state, nil
}

// greet reads the hello and checks all of it that needs no comparison with
// other connections.
func (t *Transport) greet(stream *bufio.Reader, state *tls.ConnectionState) (hello, error) {
	refuse := func(name string, reason Reason, format string, args ...any) (hello, error) {
		return hello{}, &RefusedError{By: t.options.Self, Member: name, Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	f, err := readOpening(stream)
	var other versionError
	if errors.As(err, &other) {
		return refuse("?", ReasonVersion, "it speaks mesh protocol %d, %s speaks %d: run the same release of holdfast on every node", other.theirs, t.options.Self, version)
	}
	if err != nil {
		return hello{}, err
	}
	if f.kind != kindHello {
		return refuse("?", ReasonMalformed, "the first frame is of kind %#x, not a hello", f.kind)
	}
	h, err := decodeHello(f.body)
	if err != nil {
		return refuse("?", ReasonMalformed, "the hello cannot be read")
	}
	name := printable(h.from)
	self := &t.options
	switch {
	case h.cluster != self.Cluster:
		return refuse(name, ReasonCluster, "it belongs to cluster %q, %s to %q: correct the addresses or the cluster name", h.cluster, self.Self, self.Cluster)
	case h.from == self.Self && h.incarnation == self.Incarnation:
		return refuse(name, ReasonAddress, "it reached itself under the address of %q: correct that address in its member list", h.to)
	case h.from == self.Self:
		return refuse(name, ReasonDuplicate, "another live process calls itself %s; give each node its own name", self.Self)
	case t.peers[h.from] == nil:
		return refuse(name, ReasonUnknown, "%q is not among the members of %s: use the same member list on every node", h.from, self.Self)
	case h.to != self.Self:
		return refuse(name, ReasonAddress, "it wanted %q and reached %s: correct that address in its member list", h.to, self.Self)
	case h.members != t.members:
		return refuse(name, ReasonMembers, "its list of names and mesh addresses differs from that of %s: use the same member list on every node", self.Self)
	}
	if err := certifies(state, h.from); err != nil {
		return refuse(name, ReasonIdentity, "%v", err)
	}
	return h, nil
}

// welcome answers an admitted hello.
func (t *Transport) welcome(conn net.Conn, h hello) error {
	body := appendHello(nil, t.hello(h.from, h.attempt))
	_, err := conn.Write(appendOpening(nil, kindWelcome, body))
	return err
}

// turnAway tells a refused process why, and the log.
func (t *Transport) turnAway(raw, conn net.Conn, cause error) {
	var refused *RefusedError
	if !errors.As(cause, &refused) {
		if !errors.Is(cause, errReplaced) && !errors.Is(cause, io.EOF) {
			t.grumble(raw.RemoteAddr(), plainCause(cause))
		}
		return
	}
	if p := t.peers[refused.Member]; p != nil {
		p.complain(refused)
	} else {
		t.reportRefusal(refused)
		t.grumble(raw.RemoteAddr(), refused)
	}
	_ = raw.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(appendOpening(nil, kindRefused, appendRefusal(nil, refused))); err == nil {
		hangUp(raw)
	}
}

// hangUp closes the sending side and waits until the other end has read what
// was sent: closing at once would reset the connection, and take the last
// words with it, if bytes from the other end are still unread.
func hangUp(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, raw, 2*maxOpening)
	}
}

// handshakeError says what a failed TLS handshake most likely means. A connection
// that broke meanwhile says nothing about the secret: where that differs, at least one of
// the two ends finds a certificate that it does not trust.
func handshakeError(err error) error {
	var plain tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, io.EOF):
		return plainCause(err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("TLS handshake: %w", plainCause(err))
	case errors.As(err, &plain):
		return errors.New("TLS handshake: the other end does not speak TLS: set the cluster secret on every node")
	}
	return fmt.Errorf("TLS handshake: is the cluster secret (or the certificate authority) the same on every node? %w", plainCause(err))
}
