package simulation

import (
	"fmt"
	"strconv"

	"holdfast/node/machine"
)

// counted: every message of a counter has the sum of all increments up to it, and
// the last ones have all that were acknowledged, each of them once.
func (c *checks) counted(p *process, l *ledger) {
	sums := map[string]int64{}
	c.scan(p, ledgerName, func(m *machine.Message, stored *machine.Stored) {
		text, _ := headerOf(m.Header, "Nats-Incr")
		step, err := strconv.ParseInt(text, 10, 64)
		subject := string(m.Subject)
		sums[subject] += step
		if want := fmt.Sprintf(`{"val":"%d"}`, sums[subject]); err != nil || string(m.Payload) != want {
			c.world.fail("miscounted: %s has %q at %d, after an increment by %q, and the sum is %s", p.host.name, m.Payload, stored.Seq, text, want)
		}
	})
	for _, subject := range sortedKeys(l.sums) {
		if !c.world.plan.disaster && sums[subject] != l.sums[subject] {
			c.world.fail("miscounted: %s has %d in %s, and increments by %d were acknowledged", p.host.name, sums[subject], subject, l.sums[subject])
		}
	}
}

// scan reads all messages of a stream.
func (c *checks) scan(p *process, name string, f func(m *machine.Message, stored *machine.Stored)) {
	s := p.member.Machine().Stream(name)
	if s == nil && c.world.plan.disaster {
		return
	}
	if s == nil {
		c.world.fail("lost: %s does not have the stream %s, which nobody deleted", p.host.name, name)
	}
	for seq, last := s.State().FirstSeq, s.State().LastSeq; seq <= last; seq++ {
		stored, ok := s.Message(seq)
		if !ok {
			continue
		}
		m, err := c.readMessage(p, stored.Location)
		if err != nil {
			c.world.fail("lost: %s cannot read message %d of %s: %v", p.host.name, seq, name, err)
		}
		f(&m, &stored)
	}
}
