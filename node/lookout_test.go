package node

import (
	"testing"
	"time"
)

// TestLookout: only turns of the loop make it look out, and it ends when it is told.
func TestLookout(t *testing.T) {
	l := &lookout{busy: make(chan struct{}, 1)}
	l.turn(true)
	for range busyTurns - 1 {
		l.turn(false)
	}
	l.turn(true)
	if len(l.busy) != 1 {
		t.Fatal("a busy tick goes unnoticed")
	}
	<-l.busy
	for range busyTurns - 2 {
		l.turn(false)
	}
	l.turn(true)
	if len(l.busy) != 0 {
		t.Error("looks out for a loop that is not busy")
	}
	for _, busy := range []bool{false, true} {
		l, ended := &lookout{busy: make(chan struct{}, 1)}, make(chan struct{})
		go func() { l.run(); close(ended) }()
		if busy {
			l.busy <- struct{}{}
		}
		l.stop()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("busy %v: does not end", busy)
		}
	}
}
