package bus

import (
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// patience bounds every wait of a test; nothing is expected to take that long.
const patience = 10 * time.Second

// node is a server with a link, and what arrived over it.
type node struct {
	t      testing.TB
	server *server.Server
	link   *Link
	events chan event
}

// event is a copy of one message, or a fence.
type event struct {
	subject, reply, header, payload string

	fence uint64
}

// inbox copies chunks into a channel that is wide enough for a test.
func inbox() (chan event, func(*Chunk)) {
	events := make(chan event, 1<<16)
	return events, func(c *Chunk) {
		for _, m := range c.Messages {
			events <- event{subject: string(m.Subject), reply: string(m.Reply), header: string(m.Header), payload: string(m.Payload)}
		}
		if c.Fence > 0 {
			events <- event{fence: c.Fence}
		}
		c.Release()
	}
}

// quiet is a logger that shows only what -v asks for.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serverOptions are those of a server on a free loopback port, with links.
func serverOptions(links ...*Link) *server.Options {
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}
	for _, l := range links {
		o.LeafNode.Remotes = append(o.LeafNode.Remotes, l.Remote())
	}
	o.LeafNode.ReconnectInterval = 20 * time.Millisecond
	return o
}

// listen opens a link whose chunks go to handler.
func listen(t testing.TB, handler func(*Chunk), edit func(*Options)) *Link {
	t.Helper()
	options := Options{LeafCluster: "holdfast-bus", Handler: handler, Logger: quiet()}
	if edit != nil {
		edit(&options)
	}
	link, err := Listen(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	return link
}

// run starts a server and attaches its link.
func run(t testing.TB, o *server.Options, link *Link) *server.Server {
	t.Helper()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not accept connections")
	}
	if err := link.Attach(s, patience); err != nil {
		t.Fatal(err)
	}
	return s
}

// single is one server with one link.
func single(t testing.TB) *node {
	t.Helper()
	events, handler := inbox()
	link := listen(t, handler, nil)
	return &node{t: t, server: run(t, serverOptions(link), link), link: link, events: events}
}

// clustered are three servers that route to each other, each with a link.
func clustered(t testing.TB) []*node {
	t.Helper()
	nodes := make([]*node, 3)
	var routes []*url.URL
	for i := range nodes {
		events, handler := inbox()
		link := listen(t, handler, nil)
		o := serverOptions(link)
		o.ServerName = fmt.Sprintf("n%d", i+1)
		o.Cluster = server.ClusterOpts{Name: "routes", Host: "127.0.0.1", Port: server.RANDOM_PORT}
		o.Routes = routes
		s := run(t, o, link)
		route := &url.URL{Scheme: "nats-route", Host: s.ClusterAddr().String()}
		routes = append(routes, route)
		nodes[i] = &node{t: t, server: s, link: link, events: events}
	}
	for _, n := range nodes {
		eventually(t, "a full mesh of routes", func() bool { return n.server.NumRoutes() >= 2*4 })
	}
	return nodes
}

// eventually waits until a state that other goroutines bring about is reached.
func eventually(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
	}
}

// client connects an ordinary NATS client to the node's server.
func (n *node) client(options ...nats.Option) *nats.Conn {
	n.t.Helper()
	nc, err := nats.Connect(n.server.ClientURL(), options...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(nc.Close)
	return nc
}

// next is the next message or fence that arrived.
func (n *node) next() event {
	n.t.Helper()
	select {
	case e := <-n.events:
		return e
	case <-time.After(patience):
		n.t.Fatal("nothing arrived over the link")
		panic("unreachable")
	}
}

// settle waits until the server has acted on everything that the link was told
// so far, and returns the messages that arrived until then.
func (n *node) settle() []event {
	n.t.Helper()
	fence := n.link.Fence()
	var arrived []event
	for {
		e := n.next()
		if e.fence >= fence {
			return arrived
		}
		if e.fence == 0 {
			arrived = append(arrived, e)
		}
	}
}

// interested waits until the node's server knows of a subscription.
func (n *node) interested(subject string) {
	n.t.Helper()
	eventually(n.t, "interest in "+subject, func() bool { return n.link.Interest(subject) })
}

// serve answers every request on the link until the test ends, on a goroutine
// that owns the link from now on. do runs other calls on that goroutine.
type owner struct {
	calls chan func()
	done  chan struct{}
	once  sync.Once
}

// own starts a goroutine that owns the link: it gives every chunk to handle,
// and flushes behind it.
func own(t testing.TB, chunks <-chan *Chunk, link *Link, handle func(*Chunk)) *owner {
	o := &owner{calls: make(chan func()), done: make(chan struct{})}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case c := <-chunks:
				handle(c)
				c.Release()
			case call := <-o.calls:
				call()
			case <-o.done:
				return
			}
			link.Flush()
		}
	}()
	t.Cleanup(func() {
		o.once.Do(func() { close(o.done) })
		<-stopped
	})
	return o
}

// do runs a call on the goroutine that owns the link and waits for it.
func (o *owner) do(call func()) {
	ran := make(chan struct{})
	o.calls <- func() { call(); close(ran) }
	<-ran
}
