package transport

import (
	"crypto/tls"
	"net"
	"sync"
)

// frameWriter writes batches of frames with few system calls.
type frameWriter struct {
	conn net.Conn
	// records: conn is encrypted, and its records go through here; nil: conn is
	// a plain TCP connection, to which memory of several places can be handed in
	// one system call.
	records *recordBuffer
	// Invariant: what is to be written is vectors followed by gather[open:].
	gather  []byte // never grows beyond its capacity: vectors point into it
	open    int
	vectors net.Buffers
}

func newFrameWriter(conn net.Conn) *frameWriter {
	w := &frameWriter{conn: conn, gather: make([]byte, 0, gatherBytes)}
	if secure, ok := conn.(*tls.Conn); ok {
		w.records, _ = secure.NetConn().(*recordBuffer)
	}
	return w
}

// write writes the frames in their order; when it returns, none of their
// memory is referred to.
func (w *frameWriter) write(batch []frame) error {
	for _, f := range batch {
		if err := w.add(f); err != nil {
			return err
		}
	}
	return w.flush()
}

func (w *frameWriter) add(f frame) error {
	if err := w.reserve(headerBytes); err != nil {
		return err
	}
	w.gather = appendHeader(w.gather, f, w.records == nil)
	if err := w.part(f.body); err != nil {
		return err
	}
	for _, part := range f.rest {
		if err := w.part(part); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes room for so many bytes in gather.
func (w *frameWriter) reserve(n int) error {
	if len(w.gather)+n > cap(w.gather) {
		return w.flush()
	}
	return nil
}

// part adds a part of a body: a small one by its bytes, a large one by its place.
func (w *frameWriter) part(p []byte) error {
	if len(p) >= gatheredBody {
		w.vectors = append(w.vectors, w.gather[w.open:], p)
		w.open = len(w.gather)
		return nil
	}
	if err := w.reserve(len(p)); err != nil {
		return err
	}
	w.gather = append(w.gather, p...)
	return nil
}

func (w *frameWriter) flush() error {
	var err error
	switch {
	case len(w.vectors) == 0:
		if len(w.gather) > 0 {
			_, err = w.conn.Write(w.gather)
		}
	case w.records == nil:
		w.vectors = append(w.vectors, w.gather[w.open:])
		pending := w.vectors
		_, err = pending.WriteTo(w.conn)
	default:
		w.vectors = append(w.vectors, w.gather[w.open:])
		err = w.encrypt()
	}
	clear(w.vectors)
	w.vectors = w.vectors[:0]
	w.gather, w.open = w.gather[:0], 0
	return err
}

// encrypt writes the vectors through TLS, and what comes of them at once.
func (w *frameWriter) encrypt() error {
	w.records.hold()
	for _, part := range w.vectors {
		if len(part) == 0 {
			continue
		}
		if _, err := w.conn.Write(part); err != nil {
			return err
		}
	}
	return w.records.release()
}

// recordBuffer is below a TLS connection, which writes each record of 16 KiB by
// itself. While it holds, records are written many at a time.
type recordBuffer struct {
	net.Conn
	mu      sync.Mutex
	holding bool
	held    []byte
}

// Write takes a record of the TLS connection.
func (b *recordBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holding {
		return b.Conn.Write(p)
	}
	if len(b.held)+len(p) > gatherBytes {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	b.held = append(b.held, p...)
	return len(p), nil
}

// hold begins to hold records back.
func (b *recordBuffer) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = true
}

// release writes what was held back.
func (b *recordBuffer) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = false
	return b.flush()
}

func (b *recordBuffer) flush() error {
	if len(b.held) == 0 {
		return nil
	}
	_, err := b.Conn.Write(b.held)
	b.held = b.held[:0]
	return err
}
