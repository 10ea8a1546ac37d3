package node

import (
	"sync"

	"holdfast/protocol"
)

// committer makes writes durable: all of them in one transaction, in order.
type committer interface {
	Commit(writes ...*protocol.Write) error
}

// writer is the goroutine that talks to the disk, so that the loop never waits
// for it. Everything that is queued while one transaction runs goes into the
// next one together: the disk's own latency sets the size of the group.
type writer struct {
	store committer
	done  func(id uint64, err error) // called from the writer's goroutine
	queue queue[queuedWrite]
	ended chan struct{}
}

type queuedWrite struct {
	id    uint64
	write *protocol.Write
}

// startWriter starts a writer over store. done is told the ID of the last write
// that became durable, or the first error, after which nothing more is written.
func startWriter(store committer, done func(id uint64, err error)) *writer {
	w := &writer{store: store, done: done, ended: make(chan struct{})}
	w.queue.init()
	go w.run()
	return w
}

// put queues a write; IDs rise.
func (w *writer) put(id uint64, write *protocol.Write) {
	w.queue.put(queuedWrite{id, write})
}

// stop waits until everything that was queued is written.
func (w *writer) stop() {
	w.queue.close()
	<-w.ended
}

func (w *writer) run() {
	defer close(w.ended)
	var batch []queuedWrite
	var writes []*protocol.Write
	for {
		var ok bool
		if batch, ok = w.queue.takeAll(batch[:0]); !ok {
			return
		}
		writes = writes[:0]
		for _, queued := range batch {
			writes = append(writes, queued.write)
		}
		err := w.store.Commit(writes...)
		w.done(batch[len(batch)-1].id, err)
		clear(batch)
		clear(writes)
		if err != nil {
			return
		}
	}
}

// queue hands values from any goroutine to one that takes all there are.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	values []T
	closed bool
}

func (q *queue[T]) init() { q.filled.L = &q.mu }

// put appends a value; after close it is dropped.
func (q *queue[T]) put(value T) {
	q.mu.Lock()
	if !q.closed {
		q.values = append(q.values, value)
	}
	q.mu.Unlock()
	q.filled.Signal()
}

// takeAll waits for values and moves them to the end of into. It reports false
// once the queue is closed and empty.
func (q *queue[T]) takeAll(into []T) ([]T, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.values) == 0 && !q.closed {
		q.filled.Wait()
	}
	into = append(into, q.values...)
	clear(q.values)
	q.values = q.values[:0]
	return into, len(into) > 0
}

// close lets takeAll end once it has taken what is there.
func (q *queue[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.filled.Broadcast()
}
