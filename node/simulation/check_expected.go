package simulation

import (
	"bytes"
	"strconv"
	"strings"

	"holdfast/node/machine"
)

// stores looks at each message when it is stored, at what its headers asked for.
func (c *checks) stores(t *streamTruth, s *machine.Stream, m *message) {
	c.expected(t, m)
	c.onceInWindow(t, s, m)
	c.batched(t, m)
}

// expected: a message that names the sequence before it on its subject comes
// right after it. Of two that name the same one, only the first is stored.
func (c *checks) expected(t *streamTruth, m *message) {
	text, ok := headerOf(m.header, "Nats-Expected-Last-Subject-Sequence")
	if !ok {
		return
	}
	want, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		c.world.fail("header of %q cannot be read: %v", m.text, err)
	}
	if last := t.lastOf(m.subject); last != want {
		c.world.fail("unexpected: %q was stored at %d of %s after sequence %d of its subject and expected %d", m.text, m.seq, t.name, last, want)
	}
}

// lastOf is the newest message of a subject that is there; zero for none.
func (t *streamTruth) lastOf(subject string) uint64 {
	for i := len(t.live) - 1; i >= 0; i-- {
		if m := t.messages[t.live[i]]; m.subject == subject {
			return m.seq
		}
	}
	return 0
}

// onceInWindow: a message that is published again under its ID, which is its text,
// within the stream's window is stored once.
func (c *checks) onceInWindow(t *streamTruth, s *machine.Stream, m *message) {
	if m.isMarker() {
		return
	}
	// Within one entry, stamps differ by the places of messages in it.
	const places = int64(65_536)
	if before := t.texts[m.text]; before != nil && t.messages[before.seq] == before && m.stamp-before.stamp < int64(s.Config().Duplicates)-places {
		c.world.fail("stored twice: %s has %q at %d and at %d", t.name, m.text, before.seq, m.seq)
	}
	t.texts[m.text] = m
}

// headerOf reads a field of a NATS header block.
func headerOf(header []byte, name string) (string, bool) {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		if value, ok := strings.CutPrefix(string(line), name+": "); ok {
			return value, true
		}
	}
	return "", false
}
