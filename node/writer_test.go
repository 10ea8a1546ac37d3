package node

import (
	"errors"
	"testing"

	"holdfast/protocol"
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
	w := startWriter(store, func(id uint64, err error) { done <- id })
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
	w := startWriter(store, func(_ uint64, err error) { failed <- err })
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
