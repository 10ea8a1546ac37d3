package node

import (
	"sync"

	"holdfast/mesh/transport"
	"holdfast/node/bus"
)

// maxQueuedFrameBytes bounds what waits for the loop from one other member.
// Beyond it the member's frames are dropped, which the protocols survive.
const maxQueuedFrameBytes = 256 << 20

// mailbox is how the goroutines at the edges hand work to the loop. Everything
// that arrived while the loop worked is taken together.
type mailbox struct {
	mu    sync.Mutex
	next  mail
	ready chan struct{} // holds one token while there is mail
}

// mail is what arrived since the loop last looked.
type mail struct {
	chunks     []arrived
	frames     []frame
	frameBytes map[string]int // queued frame bytes of each member
	written    []written
	calls      []func()
}

// arrived is what came over the link with that place.
type arrived struct {
	place int
	*bus.Chunk
}

// frame is what another member sent, or, with link set, what became of the link
// to it. They share a queue because their order matters.
type frame struct {
	era  *era
	from string
	kind byte
	body []byte
	link *linkEvent
}

// linkEvent says that the link to a member came up (hello set) or went down.
type linkEvent struct {
	hello *transport.Hello
	cause error
}

// written reports a durable write, or the failure of one.
type written struct {
	era *era
	id  uint64
	err error
}

func newMailbox() *mailbox {
	return &mailbox{ready: make(chan struct{}, 1), next: mail{frameBytes: map[string]int{}}}
}

func (m *mailbox) update(change func(*mail)) {
	m.mu.Lock()
	change(&m.next)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// call runs f on the loop.
func (m *mailbox) call(f func()) {
	m.update(func(next *mail) { next.calls = append(next.calls, f) })
}

// putFrame queues a frame, unless too much of that member's waits already.
func (m *mailbox) putFrame(f frame) {
	m.update(func(next *mail) {
		if next.frameBytes[f.from]+len(f.body) > maxQueuedFrameBytes {
			return
		}
		next.frameBytes[f.from] += len(f.body)
		next.frames = append(next.frames, f)
	})
}

// take swaps what arrived against the empty mail.
func (m *mailbox) take(empty *mail) {
	m.mu.Lock()
	m.next, *empty = *empty, m.next
	m.mu.Unlock()
}

// reset empties the mail and keeps its memory.
func (m *mail) reset() {
	clear(m.chunks)
	clear(m.frames)
	clear(m.written)
	clear(m.calls)
	clear(m.frameBytes)
	m.chunks, m.frames, m.written, m.calls = m.chunks[:0], m.frames[:0], m.written[:0], m.calls[:0]
	if m.frameBytes == nil {
		m.frameBytes = map[string]int{}
	}
}
