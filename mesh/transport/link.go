package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Each end of a connection shows a sign of life at every heartbeat, and
	// takes the other end for dead after silentBeats without one: 1.6 to 2.0
	// seconds. Beats are counted, not seconds, so that a process that was
	// stopped for a while does not take the whole world for dead.
	heartbeatInterval = 400 * time.Millisecond
	silentBeats       = 5

	// writeAtOnce bounds the bytes of the frames that the writer takes at a
	// time (at least one frame), and thereby how long an answer has to wait.
	writeAtOnce = 1 << 20

	readBufferBytes = 64 << 10
)

var (
	errSilent   = errors.New("no sign of life")
	errReplaced = errors.New("replaced by a newer connection")
	errClosed   = errors.New("the transport is closed")
)

// link is one connection after its hello, in either direction. One goroutine
// reads it, one writes it; anybody may queue frames and break it.
type link struct {
	raw     net.Conn // what to close; never blocks, as closing a TLS connection can
	conn    net.Conn // what to write to: raw, or TLS over it
	frames  frameReader
	hello   Hello // of the other end
	attempt uint64
	since   time.Time // of the hello

	done chan struct{} // closed when the link is broken

	silent atomic.Int32 // heartbeats since the other end was last heard
	held   atomic.Bool  // the reader waits and hears nothing: silence is no sign of death
	nonces chan uint64  // answers to ask

	mu      sync.Mutex
	wake    sync.Cond // the writer's: something to write, or broken
	urgent  []frame   // the transport's own frames: written before queue
	queue   []frame   // queue[head:] are the owner's frames that wait
	head    int
	waiting int  // bytes in queue and in the batch that is being written
	writing bool // a batch is being written
	nonce   uint64
	broken  bool
	cause   error // set once, when broken
}

// newLink makes a link of a connection whose hello was read from stream;
// frames larger than limit break it.
func newLink(conn net.Conn, raw net.Conn, stream *bufio.Reader, limit int, h hello) *link {
	l := &link{
		raw:     raw,
		conn:    conn,
		frames:  frameReader{stream: stream, limit: limit, authentic: conn != raw},
		hello:   Hello{Incarnation: h.incarnation, Presence: h.presence},
		attempt: h.attempt,
		since:   time.Now(),
		done:    make(chan struct{}),
		nonces:  make(chan uint64, 1),
	}
	l.wake.L = &l.mu
	return l
}

// fail breaks the link; only the first cause counts. It does not block and may
// be called by anybody.
func (l *link) fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return
	}
	l.broken = true
	l.cause = cause
	close(l.done)
	l.raw.Close()
	l.wake.Signal()
}

func (l *link) isBroken() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// why is the cause for which the link broke.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// send queues a frame of the owner; false when it does not fit or the link is
// broken.
func (l *link) send(f frame, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken || l.waiting > 0 && l.waiting+f.size() > limit {
		return false
	}
	l.queue = append(l.queue, f)
	l.waiting += f.size()
	l.wake.Signal()
	return true
}

// sendUrgent queues a frame of the transport before those of the owner.
func (l *link) sendUrgent(kind byte, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.broken {
		l.urgent = append(l.urgent, frame{kind: kind, body: body})
		l.wake.Signal()
	}
}

// forget drops the owner's frames that the writer has not yet taken.
func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.queue[l.head:] {
		l.waiting -= f.size()
	}
	clear(l.queue)
	l.queue, l.head = l.queue[:0], 0
}

// queued is the number of the owner's bytes that are not yet written.
func (l *link) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

// beat is called at every heartbeat: it shows a sign of life unless bytes are
// on their way anyhow, and breaks the link when the other end is silent.
func (l *link) beat() {
	if !l.held.Load() && l.silent.Add(1) > silentBeats {
		l.fail(errSilent)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := !l.broken && !l.writing && len(l.urgent) == 0 && l.head == len(l.queue)
	if idle {
		l.urgent = append(l.urgent, frame{kind: kindBeat})
		l.wake.Signal()
	}
}

// ask reports whether the process at the other end is alive after the call.
func (l *link) ask(patience time.Duration) bool {
	l.mu.Lock()
	l.nonce++
	nonce := l.nonce
	l.mu.Unlock()
	l.sendUrgent(kindAsk, binary.LittleEndian.AppendUint64(nil, nonce))
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case answered := <-l.nonces:
			if answered == nonce {
				return true
			}
		case <-l.done:
			return false
		case <-timeout.C:
			return false
		}
	}
}

// writeFrames writes what is queued until the link breaks.
func (l *link) writeFrames() {
	w := newFrameWriter(l.conn)
	var batch []frame
	for {
		var owned int
		batch, owned = l.take(batch)
		if len(batch) == 0 {
			return
		}
		err := w.write(batch)
		clear(batch)
		l.wrote(owned)
		if err != nil {
			l.fail(fmt.Errorf("write: %w", plainCause(err)))
		}
	}
}

// take waits for frames and moves some of them to batch; none when the link is
// broken. owned is the number of bytes among them that are the owner's.
func (l *link) take(batch []frame) (taken []frame, owned int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.broken && len(l.urgent) == 0 && l.head == len(l.queue) {
		l.wake.Wait()
	}
	if l.broken {
		return nil, 0
	}
	l.writing = true
	batch = append(batch[:0], l.urgent...)
	clear(l.urgent)
	l.urgent = l.urgent[:0]
	for l.head < len(l.queue) && (owned == 0 || owned+l.queue[l.head].size() <= writeAtOnce) {
		f := l.queue[l.head]
		l.queue[l.head] = frame{}
		l.head++
		batch = append(batch, f)
		owned += f.size()
	}
	if l.head > len(l.queue)/2 { // move the rest down once half is free: constant cost per frame
		rest := copy(l.queue, l.queue[l.head:])
		clear(l.queue[rest:])
		l.queue, l.head = l.queue[:rest], 0
	}
	return batch, owned
}

func (l *link) wrote(owned int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = false
	l.waiting -= owned
}

// readFrames reads until the link breaks, answers the transport's own frames
// and hands the owner's to deliver; without deliver they break the link.
func (l *link) readFrames(deliver func(frame)) {
	for {
		f, err := l.frames.next()
		if err != nil {
			l.fail(fmt.Errorf("read: %w", plainCause(err)))
			return
		}
		switch {
		case f.kind <= MaxKind && deliver != nil:
			deliver(f)
		case f.kind == kindBeat:
		case f.kind == kindAsk && len(f.body) == 8:
			l.sendUrgent(kindAnswer, f.body)
		case f.kind == kindAnswer && len(f.body) == 8:
			select {
			case l.nonces <- binary.LittleEndian.Uint64(f.body):
			default:
			}
		default:
			l.fail(fmt.Errorf("read: unexpected frame of kind %#x with %d bytes", f.kind, len(f.body)))
			return
		}
	}
}

// hearing notes a sign of life at every read that brings bytes, so that a large
// frame on a slow line is not taken for silence.
type hearing struct {
	net.Conn
	link *link // nil until the hello is through
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 && h.link != nil {
		h.link.silent.Store(0)
	}
	return n, err
}

// plainCause leaves out of a network error the addresses, which differ at
// every attempt and are known anyhow.
func plainCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
