package main

import (
	"sync"
	"time"
)

// noted is what several goroutines take note of, in the order in which they do.
type noted[T any] struct {
	mu     sync.Mutex
	values []T
}

func (n *noted[T]) add(value T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.values = append(n.values, value)
}

// all is what was noted so far.
func (n *noted[T]) all() []T {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.values[:len(n.values):len(n.values)]
}

// sent is one message that a publisher sent, once or until it was acknowledged.
type sent struct {
	id string
	// began is when it was sent first, ended when it was acknowledged.
	began, ended time.Duration
	seq          uint64 // that it was acknowledged with; 0: it was not
}

// publisher is what one publisher did, in its order.
type publisher struct {
	name string
	// inOrder: each message was sent after the answer to the one before it.
	inOrder bool
	// once: each message was sent under an ID of its own, so that it must not be
	// stored twice however often it was sent.
	once bool

	noted[sent]
}

// delivery is one message as a consumer got it.
type delivery struct {
	seq uint64 // of the stream
	id  string
	// asked is when the request was sent that it answers, came when it arrived.
	asked, came time.Duration
	// confirmed is when the server said that the acknowledgement is stored; 0: it
	// did not.
	confirmed time.Duration
}

// reader is what one consumer got, through however many clients.
type reader struct {
	name string
	// ordered: it must get every message of the stream once, in order.
	ordered bool
	// askedFor: each delivery answers a request of which the time is known.
	askedFor bool

	noted[delivery]
}

// last is the sequence of the latest delivery, 0 before the first.
func (r *reader) last() uint64 {
	got := r.all()
	if len(got) == 0 {
		return 0
	}
	return got[len(got)-1].seq
}

// stored is one message that a stream has in the end.
type stored struct {
	seq     uint64
	subject string
	id      string
}

// history is everything that happened to one stream.
type history struct {
	stream     string
	publishers []*publisher
	readers    []*reader
	// contents is what the stream has in the end, by who led when it was read; in
	// the order of the stream.
	contents map[string][]stored
}

// acknowledged counts the messages that were.
func (h *history) acknowledged() (count int) {
	for _, p := range h.publishers {
		for _, s := range p.all() {
			if s.seq > 0 {
				count++
			}
		}
	}
	return count
}
