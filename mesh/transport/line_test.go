package transport

import (
	"io"
	"net"
	"sync"
	"testing"
)

// line forwards connections; while it is cut, bytes neither pass nor is
// anything closed, as when a host vanishes.
type line struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	mended sync.Cond
	dead   bool
	closed bool
	conns  []net.Conn
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, target: target}
	l.mended.L = &l.mu
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { l.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.mu.Lock()
		l.closed = true
		for _, c := range l.conns {
			c.Close()
		}
		l.mended.Broadcast()
		l.mu.Unlock()
		tasks.Wait()
	})
	return l
}

func (l *line) address() string { return l.listener.Addr().String() }

func (l *line) serve(near net.Conn) {
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		near.Close()
		return
	}
	l.mu.Lock()
	l.conns = append(l.conns, near, far)
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.copy(near, far) })
	both.Go(func() { l.copy(far, near) })
	both.Wait()
}

// copy passes bytes on, and the end of them, while the line is not cut.
func (l *line) copy(to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.dead && !l.closed {
			l.mended.Wait()
		}
		l.mu.Unlock()
		if n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				err = io.EOF
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = false
	l.mended.Broadcast()
}
