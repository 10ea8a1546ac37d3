package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

const (
	firstPause   = 20 * time.Millisecond
	longestPause = 500 * time.Millisecond
	connectTime  = 2 * time.Second
)

// backoff is the pause between two dials: doubled at every failure, randomized
// so that members that failed together do not try together.
type backoff struct{ next time.Duration }

// pause returns how long to wait now. A connection that lasted counts as the
// end of the trouble.
func (b *backoff) pause(lasted time.Duration) time.Duration {
	if lasted > longestPause || b.next == 0 {
		b.next = firstPause
	}
	now := b.next
	b.next = min(2*b.next, longestPause)
	return now/2 + rand.N(now/2)
}

// dial keeps the outgoing connection to the peer up until the transport is
// closed.
func (p *peer) dial() {
	var waits backoff
	for p.t.ctx.Err() == nil {
		began := time.Now()
		lasted, err := p.connect()
		p.settle()
		if err != nil {
			p.complain(err)
		}
		if p.rest(waits.pause(lasted), p.hurry) {
			// Two members whose connections break as soon as they are up must
			// not spur each other on without end.
			p.rest(firstPause-time.Since(began), nil)
		}
	}
}

// rest waits; it reports whether hurry ended it.
func (p *peer) rest(pause time.Duration, hurry <-chan struct{}) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-p.t.ctx.Done():
	case <-hurry:
		return true
	case <-timer.C:
	}
	return false
}

// connect dials once, and serves the connection until it breaks. lasted is how
// long it was up.
func (p *peer) connect() (lasted time.Duration, err error) {
	raw, err := p.reach()
	if err != nil {
		return 0, fmt.Errorf("dial: %w", plainCause(err))
	}
	defer p.t.closing(raw)()
	_ = raw.SetDeadline(time.Now().Add(openingTime))
	tune(raw)
	l, err := p.introduce(raw)
	if err != nil {
		return 0, err
	}
	if err := p.setOut(l); err != nil {
		return 0, err
	}
	_ = raw.SetDeadline(time.Time{})
	p.t.tasks.Go(l.writeFrames)
	p.settle()
	l.readFrames(nil)
	return time.Since(l.since), nil
}

// reach opens a TCP connection. An incoming hello of the peer ends the attempt
// at once: it is back, and the attempt may have gone to its dead host.
func (p *peer) reach() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.t.ctx, connectTime)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	p.t.tasks.Go(func() {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
		done <- result{conn, err}
	})
	for {
		select {
		case r := <-done:
			return r.conn, r.err
		case <-p.hurry:
			cancel()
			defer p.soon()
		}
	}
}

// introduce makes the handshake and exchanges hellos.
func (p *peer) introduce(raw net.Conn) (*link, error) {
	conn := raw
	if config := p.t.diallingTLS(p.name); config != nil {
		secure := tls.Client(&recordBuffer{Conn: raw}, config)
		if err := secure.HandshakeContext(p.t.ctx); err != nil {
			return nil, handshakeError(err)
		}
		state := secure.ConnectionState()
		if err := certifies(&state, p.name); err != nil {
			return nil, p.refuse(ReasonIdentity, err.Error())
		}
		conn = secure
	}
	p.attempts++
	body := appendHello(nil, p.t.hello(p.name, p.attempts))
	if _, err := conn.Write(appendOpening(nil, kindHello, body)); err != nil {
		return nil, fmt.Errorf("say hello: %w", plainCause(err))
	}
	ear := &hearing{Conn: conn}
	stream := bufio.NewReaderSize(ear, readBufferBytes)
	h, err := p.answer(stream)
	if err != nil {
		return nil, err
	}
	l := newLink(conn, raw, stream, answerBytes, h)
	ear.link = l
	return l, nil
}

// answerBytes bounds the bodies of what an acceptor sends after its welcome.
const answerBytes = 8

// answer reads the reply to our hello.
func (p *peer) answer(stream *bufio.Reader) (hello, error) {
	f, err := readOpening(stream)
	var other versionError
	var op *net.OpError
	switch {
	case errors.As(err, &other):
		return hello{}, p.t.refusedBy(p.name, ReasonVersion, other.Error())
	case errors.As(err, &op) && op.Op == "remote error":
		return hello{}, handshakeError(err) // TLS 1.3: the acceptor judges our certificate after we are through
	case err != nil:
		return hello{}, fmt.Errorf("no answer to the hello: %w", plainCause(err))
	}
	switch f.kind {
	case kindRefused:
		refused, err := decodeRefusal(f.body, p.t.options.Self)
		if err != nil {
			return hello{}, err
		}
		return hello{}, refused
	case kindWelcome:
	default:
		return hello{}, fmt.Errorf("unexpected answer of kind %#x to the hello", f.kind)
	}
	h, err := decodeHello(f.body)
	switch {
	case err != nil:
		return hello{}, err
	case h.from != p.name || h.cluster != p.t.options.Cluster || h.members != p.t.members:
		return hello{}, p.refuse(ReasonAddress, fmt.Sprintf("%q of cluster %q answers at its address", h.from, h.cluster))
	}
	return h, nil
}

// tune sends small frames at once; the writer joins what can be joined.
func tune(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
	}
}
