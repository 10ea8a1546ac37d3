package bus

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"
)

// minRead is the least room that a read is given.
const minRead = 4 << 10

// reader is one connection from the server. It is used by one goroutine at a
// time: welcome's until it is handed over to serve's.
type reader struct {
	link   *Link
	conn   net.Conn
	name   string // what the server lists the connection under
	parser parser

	// block.buf[start:end] was read and is not parsed yet; what is before
	// start belongs to the chunks that were cut out of the block.
	block      *block
	start, end int

	fence  uint64 // the last fence that was answered
	fenced bool   // fence has not been handed over yet

	announced []groupChange // what the server announced before attach
}

func newReader(l *Link, conn net.Conn) *reader {
	return &reader{link: l, conn: conn, block: newBlock(blockSize)}
}

// close closes the connection and gives the buffer back.
func (r *reader) close() {
	_ = r.conn.Close()
	r.block.release()
	r.block = nil
}

// send writes protocol lines while the connection is not attached yet.
func (r *reader) send(lines ...[]byte) error {
	if err := r.conn.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	_, err := r.conn.Write(bytes.Join(lines, nil))
	return err
}

// await reads until an operation of that kind comes (a message: to that
// subject) and answers what has to be answered on the way. It is for the time
// before the connection is attached, when nothing else can come.
func (r *reader) await(kind opKind, subject []byte) (operation, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return operation{}, err
	}
	for {
		var op operation
		n, err := r.parser.next(r.block.buf[r.start:r.end], &op)
		if err != nil {
			return op, err
		}
		if n == 0 {
			if err := r.read(); err != nil {
				return op, err
			}
			continue
		}
		r.start += n
		switch {
		case op.kind == kind && (subject == nil || bytes.Equal(op.message.Subject, subject)):
			return op, nil
		case op.kind == opPing:
			if err := r.send(pong); err != nil {
				return op, err
			}
		case op.kind == opError:
			return op, fmt.Errorf("the server says %s", op.args)
		case op.kind == opSubscribe, op.kind == opUnsubscribe:
			if change, ok := parseGroupChange(op.args, op.kind == opUnsubscribe); ok {
				r.announced = append(r.announced, change)
			}
		}
	}
}

// read reads once into free room of the block, moving the unparsed rest to
// another block when this one is nearly full.
func (r *reader) read() error {
	rest := r.end - r.start
	if len(r.block.buf)-r.end < minRead || len(r.block.buf)-r.start < r.parser.need {
		size := max(blockSize, r.parser.need+minRead, rest+minRead)
		if r.block.refs.Load() == 1 && len(r.block.buf) >= size && len(r.block.buf) == blockSize {
			copy(r.block.buf, r.block.buf[r.start:r.end]) // no chunk holds it
		} else {
			next := newBlock(size)
			copy(next.buf, r.block.buf[r.start:r.end])
			r.block.release()
			r.block = next
		}
		r.start, r.end = 0, rest
	}
	n, err := r.conn.Read(r.block.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

var pong = []byte("PONG\r\n")

// run hands over what the server sends, chunk by chunk, until the connection
// is lost, and returns why.
func (r *reader) run() error {
	if err := r.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	for {
		if err := r.cut(); err != nil {
			return err
		}
		if err := r.read(); err != nil {
			return err
		}
	}
}

// cut parses what was read and hands it over. A chunk ends where the bytes end
// and behind the answer to a fence.
func (r *reader) cut() error {
	var chunk *Chunk
	from := r.start
	refuse := r.link.unread.Load() > int64(r.link.options.MaxUnread)
	var op operation
	for {
		n, err := r.parser.next(r.block.buf[r.start:r.end], &op)
		if n == 0 || err != nil {
			r.hand(chunk, from)
			return err
		}
		r.start += n
		switch op.kind {
		case opMessage:
			if refuse {
				r.refuse(op.message)
				continue
			}
			if chunk == nil {
				chunk = newChunk(r.link)
			}
			chunk.Messages = append(chunk.Messages, op.message)
		case opPong:
			r.fence++
			r.fenced = true
			r.hand(chunk, from)
			chunk, from = nil, r.start
		case opPing:
			r.link.out.control(pong)
		case opSubscribe, opUnsubscribe:
			if change, ok := parseGroupChange(op.args, op.kind == opUnsubscribe); ok {
				r.link.out.groups.record(change)
			}
		case opError:
			// The server closes the connection itself where it has to.
			r.link.log.Warn("the NATS server complains about the bus", "error", string(op.args))
		}
	}
}

// hand gives a chunk to the handler, with the fence if one was answered. chunk
// is nil when there are no messages; its messages are in block.buf[from:start].
func (r *reader) hand(chunk *Chunk, from int) {
	if chunk == nil {
		if !r.fenced {
			return
		}
		chunk = newChunk(r.link)
	} else {
		chunk.pin(r.block, r.start-from)
		r.link.in.Add(uint64(len(chunk.Messages)))
	}
	if r.fenced {
		chunk.Fence, r.fenced = r.fence, false
	}
	r.link.options.Handler(chunk)
}

// refuse answers a message for which there is no room.
func (r *reader) refuse(m Message) {
	r.link.refused.Add(1)
	if r.link.options.Refuse == nil || len(m.Reply) == 0 {
		return
	}
	header, payload := r.link.options.Refuse(m)
	if len(header) > 0 || len(payload) > 0 {
		r.link.out.control(appendMessage(nil, m.Reply, nil, nil, header, payload))
	}
}

// serve attaches one connection after the other until the link is closed.
func (l *Link) serve() {
	select {
	case <-l.attached:
	case <-l.closed:
		return
	}
	for {
		select {
		case r := <-l.incoming:
			err := l.carry(r)
			r.close()
			if !l.isClosed() {
				l.fail(err)
			}
		case <-l.closed:
			return
		}
	}
}

// fail remembers why attaching failed or the attachment was lost.
func (l *Link) fail(err error) {
	l.mu.Lock()
	l.lastError = err
	l.mu.Unlock()
}

// carry attaches a connection and reads it until it is lost.
func (l *Link) carry(r *reader) error {
	if err := lift(l.host, r.name); err != nil {
		return l.reject(err)
	}
	if err := r.probe(); err != nil {
		return l.reject(fmt.Errorf("self-test: %w", err))
	}
	generation := l.attach(r)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		l.out.write(r.conn, generation)
	}()
	if l.options.Up != nil {
		l.options.Up()
	}
	r.hand(nil, 0) // fences that the connection before did not answer
	err := r.run()
	_ = r.conn.Close()
	l.mu.Lock()
	l.out.end()
	l.mu.Unlock()
	<-writing
	if !l.isClosed() {
		l.log.Warn("the bus lost its connection to the NATS server; it will dial again", "error", err)
	}
	if l.options.Down != nil {
		l.options.Down(err)
	}
	return err
}

// reject reports a connection that could not be attached.
func (l *Link) reject(err error) error {
	if !l.isClosed() && !errors.Is(err, net.ErrClosed) {
		l.log.Error("the bus cannot attach to the NATS server", "error", err)
	}
	return err
}

// attach makes r the connection that output goes to, beginning with all
// subscriptions, and returns its generation.
func (l *Link) attach(r *reader) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first []byte
	for _, s := range l.subscriptions {
		first = s.appendSubscribe(first, l.rank)
	}
	generation := l.times.Add(1)
	l.out.groups.reset(r.announced)
	l.out.begin(generation, first)
	r.fence, r.fenced = l.fences, l.fences > 0
	if generation == 1 {
		close(l.up)
	}
	return generation
}
