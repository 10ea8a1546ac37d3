package simulation

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// The stream of the plain topic has a mirror, and another stream sources from it.

func (t *topic) mirrorName() string  { return "M" + t.name }
func (t *topic) sourcedName() string { return "S" + t.name }

// keepCopies sees to it that mirror and sourced stream are there.
func (t *topic) keepCopies() {
	mirror := server.StreamConfig{Name: t.mirrorName(), Storage: server.FileStorage, Replicas: 1, Mirror: &server.StreamSource{Name: t.name}}
	sourced := server.StreamConfig{Name: t.sourcedName(), Storage: server.FileStorage, Replicas: 1, Sources: []*server.StreamSource{{Name: t.name}}}
	next := func(*server.JSApiStreamCreateResponse, bool) {}
	call(t.admin, "STREAM.CREATE."+mirror.Name, &mirror, next)
	call(t.admin, "STREAM.CREATE."+sourced.Name, &sourced, next)
	t.world.after(t.world.between(second, 4*second), t.keepCopies)
}

// copiesMissing says what the copies still lack; empty when they are whole.
func (t *topic) copiesMissing(m *machine.Machine) string {
	want := m.Stream(t.name).State()
	for _, name := range []string{t.mirrorName(), t.sourcedName()} {
		s := m.Stream(name)
		if s == nil {
			return "there is no stream " + name
		}
		if have := s.State(); have.Msgs != want.Msgs {
			return fmt.Sprintf("%s has %d of %d messages", name, have.Msgs, want.Msgs)
		}
	}
	return ""
}

// copied: a mirror has what its origin has, under the same sequences and times; a
// stream that sources has it once, in the same order.
func (c *checks) copied(p *process, t *topic) {
	m := p.member.Machine()
	origin, mirror, sourced := m.Stream(t.name), m.Stream(t.mirrorName()), m.Stream(t.sourcedName())
	taken := sourced.State().FirstSeq
	for seq := origin.State().FirstSeq; seq <= origin.State().LastSeq; seq++ {
		stored, ok := origin.Message(seq)
		if !ok {
			continue
		}
		text := c.textAt(p, stored.Location)
		copied, ok := mirror.Message(seq)
		if !ok || copied.Stamp != stored.Stamp || c.textAt(p, copied.Location) != text {
			c.world.fail("mirror differs: %s has %q at %d of %s, and not so in the mirror", p.host.name, text, seq, t.name)
		}
		copied, ok = sourced.Message(taken)
		if !ok || c.textAt(p, copied.Location) != text {
			c.world.fail("sourced differs: %s has %q at %d of %s, and not so at %d of the stream that sources it", p.host.name, text, seq, t.name, taken)
		}
		taken++
	}
}

// textAt reads the text of a stored message.
func (c *checks) textAt(p *process, at machine.Location) string {
	m, err := c.readMessage(p, at)
	if err != nil {
		c.world.fail("lost: %s cannot read entry %d: %v", p.host.name, at.Index, err)
	}
	return textOf(m.Payload)
}
