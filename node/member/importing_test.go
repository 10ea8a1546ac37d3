package member

import "testing"

// A piece that the network brings twice must not end a copy: in a simulated
// network that did so, a large copy never came to its end.
func TestPieceThatComesTwiceIsTakenOnce(t *testing.T) {
	var m importer
	for _, number := range []uint64{1, 2, 2, 1, 3} {
		if err := m.take(stagingMessage{Type: stagingChunk, Number: number}); err != nil {
			t.Fatalf("chunk %d: %v", number, err)
		}
	}
	if len(m.waiting) != 3 || m.received != 3 {
		t.Errorf("%d chunks wait, the newest is %d", len(m.waiting), m.received)
	}
	if m.take(stagingMessage{Type: stagingChunk, Number: 5}) == nil {
		t.Error("a gap was not noticed")
	}
}
