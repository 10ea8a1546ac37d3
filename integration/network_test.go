package integration

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// network carries what the members of one cluster say to each other, so that a
// test can cut a member off whose process goes on. The member list names hosts.
// Each process resolves them by a hosts file of its own, in a mount namespace of
// its own: its own name to where it listens, another member's name to the wire
// that leads there. Clients and monitors are reached as ever.
type network struct {
	wires map[direction]*wire
}

// direction is who dials whom.
type direction struct{ from, to string }

// newNetwork lays the wires between the members of a cluster that has not
// started, and changes their configurations.
func newNetwork(t *testing.T, c *cluster) *network {
	t.Helper()
	requireNamespaces(t)
	w := &network{wires: make(map[direction]*wire)}
	c.network = w
	for _, from := range c.nodes {
		for _, to := range c.nodes {
			if from != to {
				w.wires[direction{from.name, to.name}] = newWire(t, to)
			}
		}
	}
	for _, n := range c.nodes {
		n.configure(t, c)
		w.attach(t, n)
	}
	return w
}

// attach makes a member's process see the network when it starts.
func (w *network) attach(t *testing.T, n *node) {
	t.Helper()
	hosts := fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", n.at.host, hostName(n.name))
	for way, wire := range w.wires {
		if way.from == n.name {
			hosts += fmt.Sprintf("%s %s\n", wire.host, hostName(way.to))
		}
	}
	file := n.path("hosts")
	write(t, file, hosts)
	n.wrapper = []string{"unshare", "-r", "-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec setpriv --pdeathsig KILL "$@"`, file}
}

// hostName is the host of a member in a member list.
func hostName(member string) string { return member + ".test" }

// isolate cuts a member off from all others: nothing arrives in either
// direction, and no connection breaks because of that.
func (w *network) isolate(n *node) { w.set(n, true) }

// rejoin undoes isolate. What was on its way arrives now, as TCP would have it.
func (w *network) rejoin(n *node) { w.set(n, false) }

func (w *network) set(n *node, cut bool) {
	for way, wire := range w.wires {
		if way.from == n.name || way.to == n.name {
			wire.set(cut)
		}
	}
}

// redirect makes new connections to a member reach another address, as they do
// when a machine takes over the address of another.
func (w *network) redirect(member string, to address) {
	for way, wire := range w.wires {
		if way.to == member {
			wire.mu.Lock()
			wire.target = to.host
			wire.mu.Unlock()
		}
	}
}

// wire leads from one member to another, for the mesh and for routes.
type wire struct {
	host string // where the dialling member finds it

	mu     sync.Mutex
	change sync.Cond // cut or ended changed
	target string    // host of the member that is dialled
	cut    bool
	ended  bool
	left   int           // bytes until it is cut by itself; zero: it is not
	full   chan struct{} // closed then
	open   map[net.Conn]bool
	tasks  sync.WaitGroup
}

// newWire listens where nobody else does, on the ports of the member.
func newWire(t *testing.T, to *node) *wire {
	t.Helper()
	w := &wire{target: to.at.host, open: make(map[net.Conn]bool)}
	w.change.L = &w.mu
	var listeners []net.Listener
	for range 100 {
		w.host = fmt.Sprintf("127.%d.%d.%d", 16+rand.IntN(200), rand.IntN(256), 1+rand.IntN(254))
		if listeners = listenAll(w.host, to.at.mesh, to.at.routes); listeners != nil {
			break
		}
	}
	if listeners == nil {
		t.Fatal("no free loopback address after 100 tries")
	}
	for i, port := range []int{to.at.mesh, to.at.routes} {
		w.tasks.Go(func() { w.serve(listeners[i], port) })
	}
	t.Cleanup(func() {
		for _, l := range listeners {
			l.Close()
		}
		w.end()
	})
	return w
}

func listenAll(host string, ports ...int) []net.Listener {
	var listeners []net.Listener
	for _, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			for _, other := range listeners {
				other.Close()
			}
			return nil
		}
		listeners = append(listeners, l)
	}
	return listeners
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	w.cut = cut
	w.mu.Unlock()
	w.change.Broadcast()
}

// stopAfter cuts the wire once it has carried so many bytes more, and then closes
// the channel.
func (w *wire) stopAfter(bytes int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.full = bytes, make(chan struct{})
	return w.full
}

// counted takes note of what came.
func (w *wire) counted(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 {
		return
	}
	if w.left = max(0, w.left-n); w.left == 0 {
		w.cut = true
		close(w.full)
	}
}

// reset breaks every connection. What is dialled next is carried.
func (w *wire) reset() {
	w.mu.Lock()
	for conn := range w.open {
		conn.Close()
	}
	w.mu.Unlock()
	w.set(false)
}

// end breaks every connection and waits until nothing is carried any more.
func (w *wire) end() {
	w.mu.Lock()
	w.ended = true
	for conn := range w.open {
		conn.Close()
	}
	w.mu.Unlock()
	w.change.Broadcast()
	w.tasks.Wait()
}

// pass waits until the wire is not cut and returns where it leads; false when
// the test is over.
func (w *wire) pass() (host string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.cut && !w.ended {
		w.change.Wait()
	}
	return w.target, !w.ended
}

// hold notes a connection to be closed at the end; release closes it.
func (w *wire) hold(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[conn] = true; w.ended {
		conn.Close()
	}
}

func (w *wire) release(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, conn)
	conn.Close()
}

// serve carries every connection that comes in.
func (w *wire) serve(listener net.Listener, port int) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		w.tasks.Go(func() { w.connect(near, port) })
	}
}

// connect dials the member for a connection that came in, and carries what both
// ends say until both have finished or one connection breaks.
func (w *wire) connect(near net.Conn, port int) {
	w.hold(near)
	defer w.release(near)
	host, ok := w.pass()
	if !ok {
		return
	}
	far, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return // the dialling member sees its connection end
	}
	w.hold(far)
	defer w.release(far)
	var ways sync.WaitGroup
	ways.Go(func() { w.carry(far, near) })
	ways.Go(func() { w.carry(near, far) })
	ways.Wait()
}

// carry copies one way. While the wire is cut, what was read last waits, and the
// rest waits with its sender.
func (w *wire) carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.counted(n)
		if _, ok := w.pass(); !ok {
			return
		}
		if _, failed := to.Write(buffer[:n]); failed != nil {
			from.Close()
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			to.(*net.TCPConn).CloseWrite() // the last words get there
			return
		case err != nil:
			to.Close()
			return
		}
	}
}
