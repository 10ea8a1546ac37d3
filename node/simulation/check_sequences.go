package simulation

import "holdfast/node/machine"

// says compares what somebody is told of a sequence with what the log has there:
// a sequence of one stream incarnation is never used for two messages. The
// result is nil for a message that left the stream with the entry that stored
// it, or that a founding has lost.
func (c *checks) says(p *process, s *machine.Stream, seq uint64, text string) *message {
	t := c.history.truth(p, s)
	m := t.messages[seq]
	if m == nil {
		if seq > t.last && !c.world.plan.disaster {
			c.world.fail("never stored: %s has %q at %d of %s, where nothing was put yet", p.host.name, text, seq, s.Name())
		}
		return nil
	}
	if m.text != text {
		c.world.fail("sequence used twice: %s has %q at %d of %s, which was %q (stream created at %d of %s)",
			p.host.name, text, seq, s.Name(), m.text, uint64(t.key.incarnation)>>16, t.key.lineage)
	}
	return m
}

// onward: sequences only rise.
func (c *checks) onward(p *process, s *machine.Stream, t *streamTruth) {
	if last := s.State().LastSeq; last < t.last {
		c.world.fail("sequence used twice: %s says that the last message of %s is %d after it was %d", p.host.name, s.Name(), last, t.last)
	}
}
