package transport

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
)

// Frames of a member never overtake each other: not across the links of one
// process, and not those of a process and of the one that came before it. The
// confirmations of a founding rest on that (mesh, answerConfirm).
func TestFramesKeepTheirOrderAcrossLinksAndProcesses(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n2 := w.start("n2", 1)
	next := uint64(0)
	for incarnation := uint64(1); incarnation <= 3; incarnation++ {
		n1 := w.start("n1", incarnation)
		n2.awaitUp("n1", incarnation)
		for broken := range 3 {
			n1.awaitUp("n2", 1)
			links, there := n1.links("n2"), n2.links("n1")
			for i := range 400 {
				next++
				for !n1.Send("n2", 9, binary.LittleEndian.AppendUint64(make([]byte, 0, 8+i), next)) {
					runtime.Gosched()
				}
			}
			// Either end breaks either connection; what is on its way may be lost.
			end := n1.peers["n2"]
			if broken%2 == 1 {
				end = n2.peers["n1"]
			}
			end.mu.Lock()
			link := end.in
			if broken%3 == 1 {
				link = end.out
			}
			end.mu.Unlock()
			link.fail(errors.New("broken by the test"))
			n1.await("another link", func() bool { return n1.ups["n2"] > links })
			n2.await("another link", func() bool { return n2.ups["n1"] > there })
		}
		n1.Close()
	}
	n2.mu.Lock()
	defer n2.mu.Unlock()
	last, came := uint64(0), len(n2.frames["n1"])
	for _, f := range n2.frames["n1"] {
		number := binary.LittleEndian.Uint64(f.body)
		if number <= last {
			t.Fatalf("frame %d came after frame %d", number, last)
		}
		last = number
	}
	if came < 100 {
		t.Errorf("only %d of %d frames came: the test shows little", came, next)
	}
}
