package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/protocol"
)

// rememberedStores bounds how many stores of one name are remembered with
// their boot counters; a node that loses its memory again and again has a new
// store each time.
const rememberedStores = 64

// maxTold bounds the complaints that are remembered to log them only once.
const maxTold = 64

// peer is another member as this process sees it.
type peer struct {
	t       *Transport
	name    string
	address string
	log     *slog.Logger

	hurry    chan struct{} // dial now
	attempts uint64        // dials begun; the dialler's alone

	// admission is held while a newcomer is judged: one at a time.
	admission sync.Mutex

	mu     sync.Mutex
	closed bool
	in     *link // admitted, may be broken
	out    *link // accepted, may be broken
	stores []seenStore
	// told holds what was complained of since the link was last up, so that a
	// retry every 500 ms does not fill the log.
	told map[string]bool

	// call is held while a handler method runs: calls never overlap.
	call    sync.Mutex
	up      pair          // under call: the pair that Connected was called for; zero when down
	changed chan struct{} // under call: closed when up changes
	live    atomic.Pointer[link]
}

// pair is the two directions of a link. Invariant when not zero: both ends are
// the same incarnation.
type pair struct{ in, out *link }

// seenStore is the newest process that was seen with a store.
type seenStore struct {
	store       protocol.StoreID
	boot        uint64
	incarnation uint64
}

func newPeer(t *Transport, m Member) *peer {
	return &peer{
		t:       t,
		name:    m.Name,
		address: m.Address,
		log:     t.log.With("member", m.Name, "address", m.Address),
		hurry:   make(chan struct{}, 1),
		told:    map[string]bool{},
		changed: make(chan struct{}),
	}
}

// admit makes l the incoming connection, or returns why not: a RefusedError
// for the other end to hear, or another error for a connection to drop.
func (p *peer) admit(l *link) error {
	p.admission.Lock()
	defer p.admission.Unlock()
	p.mu.Lock()
	err := p.regressed(l.hello)
	rival := p.rival(l.hello)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if rival != nil {
		if rival.ask(p.t.patience()) {
			return p.refuse(ReasonDuplicate, fmt.Sprintf(
				"another live process calls itself %s (store %s, incarnation %016x); give each node its own name and stop one of the two",
				p.name, rival.hello.Store, rival.hello.Incarnation))
		}
		rival.fail(errReplaced)
	}
	return p.setIn(l)
}

// rival returns a connection of the process that h cannot replace without
// knowing it dead; nil when there is none. p.mu is held.
func (p *peer) rival(h Hello) *link {
	alive := func(l *link) bool { return l != nil && !l.isBroken() }
	if alive(p.out) && p.out.hello.Incarnation == h.Incarnation {
		return nil // it answers at the member's own address
	}
	for _, l := range []*link{p.in, p.out} {
		switch {
		case !alive(l) || l.held.Load():
		case l.hello.Incarnation == h.Incarnation:
		case l.hello.Store == h.Store && h.Store != 0: // ordered by the boot counter
		default:
			return l
		}
	}
	return nil
}

// setIn puts l in the place of any older incoming connection.
func (p *peer) setIn(l *link) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	old := p.in
	if old != nil && old.hello.Incarnation == l.hello.Incarnation && old.attempt >= l.attempt {
		return errReplaced // overtaken by a later dial of the same process
	}
	if err := p.regressed(l.hello); err != nil {
		return err
	}
	p.remember(l.hello)
	p.in = l
	if old != nil {
		old.fail(errReplaced)
	}
	if p.out != nil && p.out.hello.Incarnation != l.hello.Incarnation {
		p.out.fail(errReplaced)
	}
	return nil
}

// setOut makes l the outgoing connection. Only the dialler calls it, after its
// last connection broke.
func (p *peer) setOut(l *link) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if err := p.regressed(l.hello); err != nil {
		return err
	}
	p.remember(l.hello)
	p.out = l
	return nil
}

// regressed refuses a process whose store was already seen with a later boot,
// or with the same boot in another process. p.mu is held.
func (p *peer) regressed(h Hello) error {
	for _, seen := range p.stores {
		if seen.store != h.Store || seen.incarnation == h.Incarnation || seen.boot < h.Boot {
			continue
		}
		return p.refuse(ReasonRegressed, fmt.Sprintf(
			"store %s comes with boot counter %d but was already seen with %d in another process: it is an old process, a copy, or a disk that was rolled back",
			h.Store, h.Boot, seen.boot))
	}
	return nil
}

// remember notes who was seen with a store. p.mu is held.
func (p *peer) remember(h Hello) {
	if h.Store == 0 {
		return
	}
	p.stores = slices.DeleteFunc(p.stores, func(s seenStore) bool { return s.store == h.Store })
	if len(p.stores) == rememberedStores {
		p.stores = slices.Delete(p.stores, 0, 1)
	}
	p.stores = append(p.stores, seenStore{store: h.Store, boot: h.Boot, incarnation: h.Incarnation})
}

func (p *peer) refuse(reason Reason, detail string) *RefusedError {
	return &RefusedError{By: p.t.options.Self, Member: p.name, Reason: reason, Detail: detail}
}

// present returns the link as it is, and the hello that is the younger; or,
// when it is down, why.
func (p *peer) present() (up pair, h Hello, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.in == nil || p.out == nil:
		return pair{}, Hello{}, errSilent
	case p.in.isBroken():
		return pair{}, Hello{}, fmt.Errorf("incoming connection: %w", p.in.why())
	case p.out.isBroken():
		return pair{}, Hello{}, fmt.Errorf("outgoing connection: %w", p.out.why())
	case p.in.hello.Incarnation != p.out.hello.Incarnation:
		return pair{}, Hello{}, errReplaced
	}
	h = p.in.hello
	if p.out.since.After(p.in.since) {
		h = p.out.hello
	}
	return pair{in: p.in, out: p.out}, h, nil
}

// settle tells the handler until it knows the present state. Whoever changed
// the state calls it afterwards, holding no lock.
func (p *peer) settle() {
	p.call.Lock()
	defer p.call.Unlock()
	for {
		up, hello, cause := p.present()
		if up == p.up || p.t.ctx.Err() != nil {
			return
		}
		close(p.changed)
		p.changed = make(chan struct{})
		if p.up != (pair{}) {
			p.live.Store(nil)
			p.up.out.forget()
			p.up = pair{}
			if cause == nil {
				cause = errReplaced
			}
			p.log.Debug("mesh: link down", "cause", cause)
			p.t.options.Handler.Disconnected(p.name, cause)
			continue
		}
		p.up = up
		p.live.Store(up.out)
		p.log.Debug("mesh: link up", "incarnation", fmt.Sprintf("%016x", hello.Incarnation), "boot", hello.Boot)
		p.mu.Lock()
		clear(p.told)
		p.mu.Unlock()
		p.t.options.Handler.Connected(p.name, hello)
	}
}

// deliver hands a frame that came over l to the handler. When the link is not
// up, it waits: the other end may know a moment earlier that it is.
func (p *peer) deliver(l *link, f frame) {
	for {
		p.call.Lock()
		if p.up.in == l {
			if p.t.ctx.Err() == nil {
				p.t.options.Handler.Frame(p.name, f.kind, f.body)
			}
			p.call.Unlock()
			l.silent.Store(0)
			l.held.Store(false)
			return
		}
		changed := p.changed
		p.call.Unlock()
		l.held.Store(true)
		select {
		case <-changed:
		case <-l.done:
			return
		}
	}
}

// soon makes the dialler dial at once.
func (p *peer) soon() {
	select {
	case p.hurry <- struct{}{}:
	default:
	}
}

// beat keeps both connections alive, or breaks those whose other end is silent.
func (p *peer) beat() {
	p.mu.Lock()
	in, out := p.in, p.out
	p.mu.Unlock()
	for _, l := range []*link{in, out} {
		if l != nil {
			l.beat()
		}
	}
}

// close breaks both connections and lets no new one in.
func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range []*link{p.in, p.out} {
		if l != nil {
			l.fail(errClosed)
		}
	}
}

// complain logs what went wrong with the member, once until the link was up.
func (p *peer) complain(err error) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		p.t.reportRefusal(refused)
	}
	if errors.Is(err, context.Canceled) || p.t.ctx.Err() != nil {
		return
	}
	text := err.Error()
	p.mu.Lock()
	again := p.told[text]
	if len(p.told) == maxTold {
		clear(p.told)
	}
	p.told[text] = true
	p.mu.Unlock()
	if !again {
		p.log.Warn("mesh: no connection", "cause", text)
	}
}

// patience is how long a process may take to give a sign of life.
func (t *Transport) patience() time.Duration { return silentBeats * t.options.heartbeat }
