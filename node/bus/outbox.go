package bus

import (
	"bytes"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	// flushAt is the size at which the front buffer is handed to the writer
	// without waiting for Flush, so that writing overlaps with appending.
	flushAt = 64 << 10
	// keepBuffer is the largest buffer that is kept after a burst.
	keepBuffer = 4 << 20
	// lineReserve is what the server itself may add to a control line when it
	// passes a message on to another server: account, origin cluster, sizes.
	lineReserve = 1024
)

// outbox is the way to the server: the owner appends to front without a lock,
// Flush hands front over to pending, and the writer goroutine of the attached
// connection swaps pending for the buffer that it has written.
//
// Everything that is appended belongs to one connection. What was meant for a
// connection that is gone is thrown away: the server would take the rest of
// a half written message for garbage, and answers on it are void anyway.
type outbox struct {
	link *Link

	// Owner's goroutine only.
	front           []byte
	frontGeneration uint64 // the connection that front is meant for
	frontMessages   uint64
	groups          groups
	queues          []byte // scratch: the queue groups of one message

	maxLine int // bound of subject, reply and queue groups; set once, before the first generation

	messages atomic.Uint64 // handed to the writer
	dropped  atomic.Uint64
	queued   atomic.Int64 // bytes in pending and in the writer's hands

	mu      sync.Mutex
	wake    sync.Cond // pending is not empty, or the generation has changed
	pending []byte    // whole operations, to be written next
}

func (o *outbox) init(l *Link) {
	o.link = l
	o.wake.L = &o.mu
}

// limit sets the bound from the server's max_control_line.
func (o *outbox) limit(maxControlLine int) {
	if maxControlLine <= 0 {
		maxControlLine = 4096
	}
	o.maxLine = 16*maxControlLine - lineReserve // leaf lines may be 16 times as long
}

// Publish queues a message for the server as a client's publish would be
// routed: to every plain subscription and to one member of every queue group.
// reply and header may be empty; header is a whole block, "NATS/1.0\r\n…\r\n\r\n".
//
// The bytes are copied. A message that the server would cut the connection for
// (too large, or white space in a subject) is dropped and counted, and so is
// every message while the link is not attached. Owner's goroutine only.
func (l *Link) Publish(subject, reply, header, payload []byte) {
	o := &l.out
	if !o.current() {
		o.dropped.Add(1)
		return
	}
	o.queues = o.groups.match(subject, o.queues[:0])
	if cause := o.refusal(subject, reply, len(header)+len(payload)); cause != "" {
		if n := o.dropped.Add(1); n&(n-1) == 0 { // the first, and then ever fewer
			l.log.Warn("a message from the bus was dropped", "cause", cause, "dropped_so_far", n,
				"subject", string(subject[:min(len(subject), 200)]), "bytes", len(header)+len(payload))
		}
		return
	}
	o.front = appendMessage(o.front, subject, reply, o.queues, header, payload)
	o.frontMessages++
	if len(o.front) >= flushAt {
		l.Flush()
	}
}

// Deliver queues a JetStream delivery: it reaches the subscribers of to, who
// see the subject and the reply that ack carries, which has the form
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>@<subject>
//
// The server that has the subscriber cuts it at the @, also when the message
// took a route to get there. Otherwise it is like Publish.
func (l *Link) Deliver(to, ack, header, payload []byte) { l.Publish(to, ack, header, payload) }

// appendMessage appends an LMSG or HMSG. queues names the queue groups that the
// message is for, each followed by a space.
func appendMessage(b, subject, reply, queues, header, payload []byte) []byte {
	if len(header) > 0 {
		b = append(b, "HMSG "...)
	} else {
		b = append(b, "LMSG "...)
	}
	b = append(append(b, subject...), ' ')
	switch {
	case len(queues) > 0 && len(reply) > 0:
		b = append(append(append(b, "+ "...), reply...), ' ')
	case len(queues) > 0:
		b = append(b, "| "...)
	case len(reply) > 0:
		b = append(append(b, reply...), ' ')
	}
	b = append(b, queues...)
	if len(header) > 0 {
		b = append(strconv.AppendUint(b, uint64(len(header)), 10), ' ')
	}
	b = strconv.AppendUint(b, uint64(len(header)+len(payload)), 10)
	b = append(b, '\r', '\n')
	b = append(append(b, header...), payload...)
	return append(b, '\r', '\n')
}

// Flush hands everything that was queued to the writer. Owner's goroutine only.
func (l *Link) Flush() {
	o := &l.out
	o.groups.refresh() // announcements must not pile up while nothing is sent
	if len(o.front) == 0 {
		return
	}
	o.mu.Lock()
	if l.generation.Load() == o.frontGeneration {
		o.queued.Add(int64(len(o.front)))
		o.messages.Add(o.frontMessages)
		if len(o.pending) == 0 {
			o.pending, o.front = o.front, o.pending
		} else {
			o.pending = append(o.pending, o.front...)
		}
		o.wake.Signal()
	} else {
		o.dropped.Add(o.frontMessages)
	}
	o.mu.Unlock()
	o.front, o.frontMessages = reuse(o.front), 0
}

// Pending is how many bytes are queued and not yet written to the server. The
// owner should stop delivering long before MaxPending. Owner's goroutine only.
func (l *Link) Pending() int { return len(l.out.front) + int(l.out.queued.Load()) }

// refusal says why the server would cut the connection for a message, or why
// there is no room for it; "" when it may be written.
func (o *outbox) refusal(subject, reply []byte, size int) string {
	switch {
	case size > maxOutboundPayload:
		return "larger than the server may be sent"
	case len(subject)+len(reply)+len(o.queues) > o.maxLine:
		return "subject, reply and queue groups longer than a control line"
	case len(subject) == 0 || hasSpace(subject) || hasSpace(reply):
		return "not a subject"
	case len(o.front)+int(o.queued.Load()) > o.link.options.MaxPending:
		return "the server does not keep up"
	}
	return ""
}

// current throws away what front holds for a connection that is gone, and
// reports whether there is a connection now.
func (o *outbox) current() bool {
	generation := o.link.generation.Load()
	if generation != o.frontGeneration {
		o.dropped.Add(o.frontMessages)
		o.front, o.frontMessages = reuse(o.front), 0
		o.frontGeneration = generation
	}
	return generation != 0
}

// hasSpace reports whether a subject contains what separates arguments or lines.
func hasSpace(subject []byte) bool {
	return bytes.IndexByte(subject, ' ') >= 0 || bytes.IndexByte(subject, '\n') >= 0 ||
		bytes.IndexByte(subject, '\r') >= 0 || bytes.IndexByte(subject, '\t') >= 0
}

// control queues whole protocol lines or messages from any goroutine, behind
// what was flushed so far. Without a connection or room they are dropped.
func (o *outbox) control(lines ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.link.generation.Load() == 0 || o.queued.Load() > int64(o.link.options.MaxPending) {
		return
	}
	for _, line := range lines {
		o.pending = append(o.pending, line...)
		o.queued.Add(int64(len(line)))
	}
	o.wake.Signal()
}

// begin makes the outbox belong to a new connection, whose first bytes are
// those given. end makes it belong to none.
func (o *outbox) begin(generation uint64, first []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link.generation.Store(generation)
	o.pending = append(reuse(o.pending), first...)
	o.queued.Store(int64(len(first)))
	o.wake.Broadcast()
}

func (o *outbox) end() { o.begin(0, nil) }

// write writes what is handed over to conn until the generation changes or
// writing fails, which it answers by closing conn.
func (o *outbox) write(conn net.Conn, generation uint64) {
	var buffer []byte
	for {
		o.mu.Lock()
		for len(o.pending) == 0 && o.link.generation.Load() == generation {
			o.wake.Wait()
		}
		if o.link.generation.Load() != generation {
			o.mu.Unlock()
			return
		}
		buffer, o.pending = o.pending, reuse(buffer)
		o.mu.Unlock()
		if _, err := conn.Write(buffer); err != nil {
			_ = conn.Close() // the reader notices and reports it
			return
		}
		o.mu.Lock()
		if o.link.generation.Load() == generation {
			o.queued.Add(-int64(len(buffer)))
		}
		o.mu.Unlock()
	}
}

// reuse empties a buffer, or gives it up when a burst has made it very large.
func reuse(buffer []byte) []byte {
	if cap(buffer) > keepBuffer {
		return nil
	}
	return buffer[:0]
}
