package transport

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/internal/servers"
	"holdfast/protocol"
)

// deadline is how long a test waits for what must happen; it is only reached
// when something is wrong.
const deadline = 20 * time.Second

// recorder is a handler that checks the order of calls and lets a test wait.
type recorder struct {
	t *testing.T

	mu      sync.Mutex
	changed chan struct{}
	up      map[string]Hello
	ups     map[string]int // Connected calls
	frames  map[string][]frame
	refused []*RefusedError
}

func newRecorder(t *testing.T) *recorder {
	return &recorder{t: t, changed: make(chan struct{}), up: map[string]Hello{}, ups: map[string]int{}, frames: map[string][]frame{}}
}

func (r *recorder) change(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Connected(name string, h Hello) {
	r.change(func() {
		if _, up := r.up[name]; up {
			r.t.Errorf("Connected(%s) twice", name)
		}
		r.up[name] = h
		r.ups[name]++
	})
}

func (r *recorder) Disconnected(name string, cause error) {
	r.change(func() {
		if _, up := r.up[name]; !up {
			r.t.Errorf("Disconnected(%s) without Connected", name)
		}
		if cause == nil {
			r.t.Errorf("Disconnected(%s) without a cause", name)
		}
		delete(r.up, name)
	})
}

func (r *recorder) Frame(name string, kind byte, body []byte) {
	r.change(func() {
		if _, up := r.up[name]; !up {
			r.t.Errorf("Frame of %s while it is not connected", name)
		}
		r.frames[name] = append(r.frames[name], frame{kind: kind, body: body})
	})
}

func (r *recorder) onRefused(e *RefusedError) {
	r.change(func() { r.refused = append(r.refused, e) })
}

// await waits until the condition holds; it is evaluated under the lock.
func (r *recorder) await(what string, condition func() bool) {
	r.t.Helper()
	timeout := time.After(deadline)
	for {
		r.mu.Lock()
		held, changed := condition(), r.changed
		r.mu.Unlock()
		if held {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (r *recorder) awaitUp(name string, incarnation uint64) {
	r.t.Helper()
	r.await(fmt.Sprintf("%s up as %d", name, incarnation), func() bool { return r.up[name].Incarnation == incarnation })
}

// links is how often the link to name came up.
func (r *recorder) links(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ups[name]
}

func (r *recorder) awaitDown(name string) {
	r.t.Helper()
	r.await(name+" down", func() bool { _, up := r.up[name]; return !up })
}

func (r *recorder) awaitRefusal(member string, reason Reason) {
	r.t.Helper()
	r.await(fmt.Sprintf("%s refused for %s", member, reason), func() bool {
		return slices.ContainsFunc(r.refused, func(e *RefusedError) bool { return e.Member == member && e.Reason == reason })
	})
}

// town is a member list with a free loopback address for each name. Its
// addresses stay the same when a member restarts.
type town struct {
	t       *testing.T
	members []Member
}

func newTown(t *testing.T, names ...string) *town {
	town := &town{t: t}
	for _, name := range names {
		town.members = append(town.members, Member{Name: name, Address: freeAddress(t)})
	}
	return town
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := servers.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// node is one process of a member.
type node struct {
	*Transport
	*recorder
	incarnation uint64
}

var secret = []byte("a secret of the tests, long enough")

// options are those of a process whose store has the number of its name, and
// whose boot counter is its incarnation.
func (w *town) options(name string, incarnation uint64, r *recorder) Options {
	store := protocol.StoreID(1 + slices.IndexFunc(w.members, func(m Member) bool { return m.Name == name }))
	return Options{
		Cluster: "town", Self: name, Members: w.members, Secret: secret,
		Incarnation: incarnation,
		Hello: func() Presence {
			return Presence{Store: store, Boot: incarnation, Status: []byte(name)}
		},
		Handler: r,
		Refused: r.onRefused,
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// start starts a process; adjust changes its options.
func (w *town) start(name string, incarnation uint64, adjust ...func(*Options)) *node {
	w.t.Helper()
	r := newRecorder(w.t)
	options := w.options(name, incarnation, r)
	for _, a := range adjust {
		a(&options)
	}
	transport, err := Start(options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(transport.Close)
	return &node{Transport: transport, recorder: r, incarnation: incarnation}
}

func plain(o *Options) { o.Secret = nil }

func withPresence(store protocol.StoreID, boot uint64) func(*Options) {
	return func(o *Options) { o.Hello = func() Presence { return Presence{Store: store, Boot: boot} } }
}

func elsewhere(o *Options) { o.Listen = "127.0.0.1:0" }

// stranger is a hand-made dialler on a plain connection.
type stranger struct {
	net.Conn
	stream *bufio.Reader
}

func knock(t *testing.T, address string) *stranger {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	return &stranger{Conn: conn, stream: bufio.NewReader(conn)}
}

// say writes a hello and returns the first frame of the answer.
func (s *stranger) say(t *testing.T, h hello) frame {
	t.Helper()
	if _, err := s.Write(appendOpening(nil, kindHello, appendHello(nil, h))); err != nil {
		t.Fatal(err)
	}
	f, err := readOpening(s.stream)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// awaitEnd reads until the other end closes the connection.
func (s *stranger) awaitEnd(t *testing.T) {
	t.Helper()
	buffer := make([]byte, 4096)
	for {
		if _, err := s.stream.Read(buffer); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Fatal("the connection stays open")
			}
			return
		}
	}
}

func (w *town) hello(from, to string, incarnation uint64, p Presence) hello {
	return hello{cluster: "town", from: from, to: to, members: digestOf(w.members), incarnation: incarnation, attempt: 1, presence: p}
}

func (w *town) address(name string) string {
	for _, m := range w.members {
		if m.Name == name {
			return m.Address
		}
	}
	w.t.Fatalf("no member %s", name)
	return ""
}
