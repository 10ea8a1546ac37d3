package node

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"holdfast/protocol"
	"holdfast/wal"
)

// slowStore holds every commit until it is told to go on.
type slowStore struct {
	begun   chan int // number of writes in a commit
	proceed chan error
}

func (s *slowStore) Commit(writes ...*protocol.Write) error {
	s.begun <- len(writes)
	return <-s.proceed
}

func TestWriterJoinsWhatIsQueuedWhileTheDiskIsBusy(t *testing.T) {
	store := &slowStore{begun: make(chan int), proceed: make(chan error)}
	done := make(chan uint64, 2)
	w := startWriter(store, slog.New(slog.DiscardHandler), func(id uint64, err error) { done <- id })
	w.put(1, &protocol.Write{})
	if n := <-store.begun; n != 1 {
		t.Fatalf("first commit has %d writes", n)
	}
	for id := uint64(2); id <= 5; id++ {
		w.put(id, &protocol.Write{})
	}
	store.proceed <- nil
	if n := <-store.begun; n != 4 {
		t.Fatalf("second commit has %d writes, want the 4 that were queued meanwhile", n)
	}
	store.proceed <- nil
	if first, second := <-done, <-done; first != 1 || second != 5 {
		t.Fatalf("reported %d and %d, want 1 and 5", first, second)
	}
	w.stop()
}

func TestWriterWritesNothingAfterAFailure(t *testing.T) {
	store := &slowStore{begun: make(chan int, 2), proceed: make(chan error, 2)}
	failed := make(chan error, 2)
	w := startWriter(store, slog.New(slog.DiscardHandler), func(_ uint64, err error) { failed <- err })
	broken := errors.New("broken disk")
	store.proceed <- broken
	w.put(1, &protocol.Write{})
	if err := <-failed; err != broken {
		t.Fatalf("reported %v", err)
	}
	w.put(2, &protocol.Write{})
	w.stop()
	if len(store.begun) != 1 {
		t.Fatal("wrote again after the failure")
	}
}

func TestWriterWaitsOutAFullDisk(t *testing.T) {
	store := &slowStore{begun: make(chan int, 9), proceed: make(chan error, 9)}
	done := make(chan error, 1)
	w := startWriter(store, slog.New(slog.DiscardHandler), func(_ uint64, err error) { done <- err })
	store.proceed <- fmt.Errorf("append: %w", wal.ErrDiskFull)
	store.proceed <- wal.ErrDiskFull
	store.proceed <- nil
	w.put(1, &protocol.Write{})
	if err := <-done; err != nil || len(store.begun) != 3 {
		t.Fatalf("reported %v after %d tries, want success at the third", err, len(store.begun))
	}
	w.stop()
}

func TestWriterMakesRoomWithACheckpoint(t *testing.T) {
	store := &slowStore{begun: make(chan int, 9), proceed: make(chan error, 9)}
	done := make(chan error, 1)
	w := startWriter(store, slog.New(slog.DiscardHandler), func(_ uint64, err error) { done <- err })
	store.proceed <- wal.ErrDiskFull // both together
	store.proceed <- nil             // the checkpoint alone
	store.proceed <- nil             // the rest
	w.queue.mu.Lock()                // both at once, so that they are taken together
	w.queue.values = append(w.queue.values, queuedWrite{1, &protocol.Write{}}, queuedWrite{2, &protocol.Write{Checkpoint: &protocol.Checkpoint{}}})
	w.queue.mu.Unlock()
	w.queue.filled.Signal()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if together, alone := <-store.begun, <-store.begun; together != 2 || alone != 1 {
		t.Fatalf("commits of %d and %d writes, want both and then the checkpoint alone", together, alone)
	}
	w.stop()
}
