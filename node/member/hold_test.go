package member

import (
	"math"
	"testing"

	"holdfast/protocol"
	"holdfast/replication"
)

func TestHoldsOfCopies(t *testing.T) {
	joined := &replication.Progress{Voter: protocol.Voter{Name: "n3", Store: 9}, Active: true, Replicating: true, Match: 100}
	var h holds
	h.sent("n3", 100, 0, 5)
	if h.copied(copyHoldTicks-1, 1) != 100 {
		t.Error("the end of the copy is not kept")
	}
	if h.copied(copyHoldTicks, 1) != math.MaxUint64 {
		t.Error("it is kept for ever")
	}
	h.sent("n3", 100, 0, 10*copyHoldTicks) // a large one
	if h.copied(10*copyHoldTicks-1, 1) != 100 || h.copied(10*copyHoldTicks, 1) != math.MaxUint64 {
		t.Error("it is not kept for as long as the copy took")
	}
	h.sent("n3", 100, 0, 0)
	h.sent("n3", 140, 0, 0) // the next copy takes the place of the one before
	h.sent("n2", 120, 0, 0)
	if h.copied(0, 1) != 120 {
		t.Errorf("two copies keep the log from %d", h.copied(0, 1))
	}
	if h.heard(joined); h.copied(0, 1) != 120 || len(h.copies) != 2 {
		t.Error("a store that is not at the end of its copy yet ends the hold")
	}
	joined.Match = 140
	if h.heard(joined); len(h.copies) != 1 || h.copied(0, 1) != 120 {
		t.Error("a store that follows does not end the hold")
	}
	h.bytes += 1000
	if h.copied(0, 1001) != 120 || h.copied(0, 1000) != math.MaxUint64 {
		t.Error("it is not bounded by the room")
	}
	h.sent("n2", 120, 0, 0)
	if h.lead(3); h.copied(0, 1) != math.MaxUint64 {
		t.Error("it outlives the term")
	}
}

func TestHoldsOfAbsences(t *testing.T) {
	h := holds{bytes: 1000}
	for _, test := range []struct {
		bytes int64
		kept  bool
	}{{1000, true}, {1499, true}, {1500, false}, {9000, false}} {
		h.bytes = test.bytes
		if h.awaits("n3", 500) != test.kept {
			t.Errorf("after %d bytes: %v", test.bytes-1000, !test.kept)
		}
	}
	for range 2 {
		if h.awaits("n2", 0) {
			t.Error("it waits although nothing may be kept")
		}
	}
	// It came back for a moment: the next absence begins anew.
	h.heard(&replication.Progress{Voter: protocol.Voter{Name: "n3", Store: 9}, Active: true})
	if !h.awaits("n3", 500) {
		t.Error("a new absence is not kept for")
	}
}
