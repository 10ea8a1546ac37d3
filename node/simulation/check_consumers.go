package simulation

import (
	"strconv"
	"strings"
)

type consumerKey struct {
	stream   streamKey
	consumer uint64 // incarnation
}

// consumerTruth is what the client of a consumer did.
type consumerTruth struct {
	received, acked map[uint64]bool // by stream sequence
	// verified is up to where the floor of acknowledgements was compared.
	verified uint64
}

// delivery is one message on its way to a consumer's client.
type delivery struct {
	key consumerKey
	seq uint64
}

func (c *checks) consumerTruth(k consumerKey) *consumerTruth {
	t := c.consumers[k]
	if t == nil {
		t = &consumerTruth{received: map[uint64]bool{}, acked: map[uint64]bool{}}
		c.consumers[k] = t
	}
	return t
}

// delivered looks at a delivery as a member makes it.
func (c *checks) delivered(h *host, reply, subject string, payload []byte) {
	p := h.process
	token := strings.Split(reply, ".")
	if p == nil || len(token) != 9 {
		c.world.fail("%s delivers with the reply %q", h.name, reply)
	}
	consumer := p.member.Machine().Consumer(token[2], token[3])
	if consumer == nil {
		return
	}
	seq, err := strconv.ParseUint(token[5], 10, 64)
	if err != nil {
		c.world.fail("%s delivers with the reply %q", h.name, reply)
	}
	k := consumerKey{keyOf(p, consumer.Stream().Incarnation()), uint64(consumer.Incarnation())}
	c.replies[reply] = delivery{k, seq}
	text := textOf(payload)
	c.says(p, consumer.Stream(), seq, text, false)
	if stream, _, _ := strings.Cut(subject, "."); !strings.HasPrefix(text, stream+"/") {
		c.world.fail("wrong message: %s delivers %q with the subject %q", h.name, text, subject)
	}
}

// received takes note of a message that reached the client.
func (c *checks) received(_ *consumer, m *outgoing) {
	d := c.replies[m.reply]
	c.consumerTruth(d.key).received[d.seq] = true
}

// acknowledging takes note of an acknowledgement before it is sent.
func (c *checks) acknowledging(_ *consumer, reply string) {
	d := c.replies[reply]
	c.consumerTruth(d.key).acked[d.seq] = true
}

// floors: a consumer never skips. What counts as acknowledged was received and
// acknowledged by the client, message for message.
func (c *checks) floors(p *process) {
	for _, s := range p.member.Machine().Streams() {
		for _, consumer := range s.Consumers() {
			k := consumerKey{keyOf(p, s.Incarnation()), uint64(consumer.Incarnation())}
			t := c.consumerTruth(k)
			for floor := consumer.State().AckFloor.Stream; t.verified < floor; {
				t.verified++
				if _, there := s.Message(t.verified); there && !t.acked[t.verified] {
					c.world.fail("skipped: %s counts message %d of %s as acknowledged by %s, which did not acknowledge it (received: %v)",
						p.host.name, t.verified, s.Name(), consumer.Name(), t.received[t.verified])
				}
			}
		}
	}
}
