package node

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"holdfast/node/member"
	"holdfast/protocol"
	"holdfast/wal"
)

// writer is the goroutine that talks to the disk, so that the loop never waits
// for it. Everything that is queued while one transaction runs goes into the
// next one together: the disk's own latency sets the size of the group.
type writer struct {
	store    member.Committer
	done     func(id uint64, err error) // called from the writer's goroutine
	logger   *slog.Logger
	queue    queue[queuedWrite]
	stopping chan struct{} // closed by stop
	ended    chan struct{}
	idle     *time.Timer // asks for a fold
}

type queuedWrite struct {
	id    uint64
	write *protocol.Write // nil: nothing was written for foldAfter
}

// folder is a Committer with a journal (wal.Store.Fold).
type folder interface{ Fold() error }

// foldAfter without a write, the journal is emptied: what is only there is not
// reached by the background check of the store.
const foldAfter = 5 * time.Second

// fullDiskPause is how long a full disk is left alone before the next try.
const fullDiskPause = 200 * time.Millisecond

// startWriter starts a writer over store. done is told the ID of the last write
// that became durable, or the first error, after which nothing more is written.
func startWriter(store member.Committer, logger *slog.Logger, done func(id uint64, err error)) *writer {
	w := &writer{store: store, done: done, logger: logger, stopping: make(chan struct{}), ended: make(chan struct{})}
	w.queue.init()
	w.idle = time.AfterFunc(foldAfter, func() { w.queue.put(queuedWrite{}) })
	go w.run()
	return w
}

// put queues a write; IDs rise.
func (w *writer) put(id uint64, write *protocol.Write) {
	w.queue.put(queuedWrite{id, write})
}

// stop waits until everything that was queued is written.
func (w *writer) stop() {
	close(w.stopping)
	w.queue.close()
	<-w.ended
}

func (w *writer) run() {
	defer close(w.ended)
	defer w.idle.Stop()
	var batch []queuedWrite
	var writes []*protocol.Write
	for {
		var ok bool
		if batch, ok = w.queue.takeAll(batch[:0]); !ok {
			return
		}
		writes = writes[:0]
		last := uint64(0)
		for _, queued := range batch {
			if queued.write != nil {
				writes, last = append(writes, queued.write), queued.id
			}
		}
		var err error
		if len(writes) > 0 {
			err = w.commit(writes)
			w.idle.Reset(foldAfter)
		} else if store, ok := w.store.(folder); ok {
			if err = store.Fold(); errors.Is(err, wal.ErrDiskFull) { // the journal keeps it
				err = nil
			}
		}
		if len(writes) > 0 || err != nil {
			w.done(last, err)
		}
		clear(batch)
		clear(writes)
		if err != nil {
			return
		}
	}
}

// commit makes the writes durable. A full disk is no failure: nothing was
// written, the store is unharmed, and the same writes are tried again until
// there is room or the writer is stopped. Meanwhile the node acknowledges
// nothing.
func (w *writer) commit(writes []*protocol.Write) error {
	full := false
	for {
		err := member.Commit(w.store, writes)
		if !errors.Is(err, wal.ErrDiskFull) {
			if full && err == nil {
				w.logger.Info("there is room on the disk again")
			}
			return err
		}
		if !full {
			full = true
			w.logger.Error("no room on the disk: nothing is acknowledged until there is", "cause", err)
		}
		select {
		case <-w.stopping:
			return err
		case <-time.After(fullDiskPause):
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
