package simulation

import (
	"encoding/json"
	"fmt"
	"strings"
)

// client is a connection of a NATS client to the server of one host. When that
// is gone it connects to another.
type client struct {
	world   *world
	number  int
	host    *host // nil: not connected
	home    *host // the only one that it connects to; nil: any
	pending map[uint64]*request
	// publishes are all that were ever sent: an answer that comes too late for
	// the client is a promise all the same.
	publishes map[uint64]*request
	last      uint64
}

// request waits for answers.
type request struct {
	number  uint64
	subject string
	payload []byte
	header  []byte
	// answer takes every message that comes; it returns true when it wants no
	// more. A nil message: nothing came in time.
	answer func(*outgoing) bool
	// What it publishes, if it does, for the checkers.
	publish *publication
	batch   *batchTry
	expired bool // nobody waits for the answer any more
}

// newClient adds a client that connects to one host, or to any (nil).
func (w *world) newClient(home *host) *client {
	c := &client{world: w, number: len(w.nats.clients), home: home, pending: map[uint64]*request{}, publishes: map[uint64]*request{}}
	w.nats.clients = append(w.nats.clients, c)
	c.reconnect()
	return c
}

// reconnect looks for a host that runs.
func (c *client) reconnect() {
	w := c.world
	w.after(w.between(20*millisecond, 300*millisecond), func() {
		if c.host != nil {
			return
		}
		h := c.home
		if h == nil {
			h = w.hosts[w.random.IntN(len(w.hosts))]
		}
		if h.process != nil {
			c.host = h
			return
		}
		c.reconnect()
	})
}

// ask sends a message that is to be answered.
func (c *client) ask(r *request, patience int64) {
	c.last++
	r.number = c.last
	c.pending[r.number] = r
	if r.publish != nil {
		c.publishes[r.number] = r
	}
	c.world.nats.send(c, r.subject, c.inbox(r), r.header, r.payload)
	c.world.after(patience, func() {
		if c.pending[r.number] == r {
			delete(c.pending, r.number)
			r.expired = true
			r.answer(nil)
		}
	})
}

// listen returns a subject whose messages are received for ever.
func (c *client) listen(receive func(*outgoing)) string {
	c.last++
	r := &request{number: c.last}
	r.answer = func(m *outgoing) bool { receive(m); return false }
	c.pending[r.number] = r
	return c.inbox(r)
}

func (c *client) inbox(r *request) string {
	return fmt.Sprintf("%s%d.%d", inboxPrefix, c.number, r.number)
}

// tell sends a message without an answer.
func (c *client) tell(subject string, payload []byte) {
	c.world.nats.send(c, subject, "", nil, payload)
}

func (c *client) receive(number uint64, message *outgoing) {
	r := c.pending[number]
	if r == nil {
		return
	}
	c.world.trace.bytes(c.world.now, message.payload)
	if r.answer(message) {
		delete(c.pending, number)
	}
}

// call sends an API request and decodes its answer; ok is false when none came.
func call[T any](c *client, subject string, body any, done func(response *T, ok bool)) {
	var payload []byte
	if body != nil {
		payload, _ = json.Marshal(body) // of the NATS server's own types
	}
	r := &request{subject: "$JS.API." + subject, payload: payload}
	r.answer = func(m *outgoing) bool {
		if m == nil || m.status() != "" {
			done(nil, false)
			return true
		}
		var response T
		if err := json.Unmarshal(m.payload, &response); err != nil {
			c.world.fail("answer to %s cannot be read: %v: %q", subject, err, m.payload)
		}
		done(&response, true)
		return true
	}
	patience := 2 * second
	if c.home != nil {
		patience = c.world.between(100*millisecond, 500*millisecond)
	}
	c.ask(r, patience)
}

// status is the code of a control message, or empty.
func (m *outgoing) status() string {
	line, _, _ := strings.Cut(string(m.header), "\r\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "NATS/1.0"))
}
