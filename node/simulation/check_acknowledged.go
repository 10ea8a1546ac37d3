package simulation

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
	"holdfast/wal"
)

// answered looks at the answer to a publish as a member gives it: it has to name
// the message that was published, under the sequence that it has in the log, also
// when the client does not wait any more.
func (c *checks) answered(h *host, r *request, header, payload []byte) {
	if r != nil && r.batch != nil {
		c.batchAnswered(h, r, header, payload)
		return
	}
	if r == nil || r.publish == nil || len(header) > 0 || h.process == nil {
		return
	}
	var ack server.JSPubAckResponse
	if err := json.Unmarshal(payload, &ack); err != nil {
		c.world.fail("%s answers a publish with %q: %v", h.name, payload, err)
	}
	if ack.Error != nil || ack.PubAck == nil {
		return
	}
	s := h.process.member.Machine().Stream(ack.Stream)
	if s == nil {
		return // deleted in the same batch
	}
	m := c.says(h.process, s, ack.Sequence, r.publish.text)
	c.acked++
	c.world.spring(uponAck, h)
	r.publish.stored = m
	if m == nil {
		return // it was gone with the entry that stored it
	}
	m.acked = true
	publisher := r.publish.publisher
	if publisher.window == 1 && !r.expired {
		t := c.history.truth(h.process, s)
		if ack.Sequence <= publisher.newest[t.key] && !ack.Duplicate && !r.publish.retried {
			c.world.fail("out of order: %q got sequence %d after %d", r.publish.text, ack.Sequence, publisher.newest[t.key])
		}
		publisher.newest[t.key] = max(publisher.newest[t.key], ack.Sequence)
	}
}

// founded judges a founding: what the founder's log lacks of what was
// acknowledged is lost, which is allowed only when no store holds it that is
// left (schedules' check S2), and has to be said.
func (c *checks) founded(h *host, founder *memory) {
	c.foundings++
	kept := map[*host]*memory{}
	for _, other := range c.world.hosts {
		if m := other.memory(); other != h && m != nil {
			kept[other] = m
		}
	}
	lost := 0
	c.history.founded(founder, func(t *streamTruth, m *message) {
		if !m.acked {
			return
		}
		lost++
		for _, other := range c.world.hosts {
			if kept[other] != nil && kept[other].holds(m) {
				c.world.fail("lost by a founding: %s founded without %q, which %s still holds at %d", h.name, m.text, other.name, m.index)
			}
		}
	})
	c.lost += lost
	if c.world.plan.disaster {
		c.forgetConfirmed()
		c.forgetEntries(founder, kept)
		for _, t := range c.world.clients.topics {
			for _, p := range t.publishers {
				clear(p.newest)
			}
		}
	}
	switch account := c.account[h.name]; {
	case lost == 0:
	case !c.world.plan.disaster:
		c.world.fail("lost by a founding: %d acknowledged messages, although a majority kept its memory", lost)
	case strings.Contains(account, "no acknowledged write is lost"):
		c.world.fail("not reported: %s lost %d acknowledged messages and said: %s", h.name, lost, account)
	}
}

// atEnd: everything acknowledged is on every member, with its content, unless
// something took it away that may.
func (c *checks) atEnd() {
	for _, h := range c.world.hosts {
		c.floors(h.process)
		for _, t := range c.history.sorted() {
			c.present(h.process, t)
		}
		for _, t := range c.world.clients.topics {
			if t.kind == plain {
				c.copied(h.process, t)
			}
		}
	}
	for _, h := range c.world.hosts {
		if c.world.clients.ledger != nil {
			c.counted(h.process, c.world.clients.ledger)
		}
		if c.world.clients.diary != nil {
			c.fired(h.process)
		}
	}
	first := c.world.hosts[0].process.member
	k := digestKey{first.Identity().Lineage, first.Machine().Applied()}
	delete(c.digests, k)
	for _, h := range c.world.hosts {
		c.compare(h.process, k)
	}
}

func (c *checks) present(p *process, t *streamTruth) {
	s := p.member.Machine().Stream(t.name)
	if t.to != (position{}) {
		return // deleted
	}
	if s == nil || keyOf(p, s.Incarnation()) != t.key {
		if !c.world.plan.disaster {
			c.world.fail("lost: %s does not have the stream %s, which nobody deleted", p.host.name, t.name)
		}
		return
	}
	for _, seq := range t.live {
		m := t.messages[seq]
		stored, ok := s.Message(seq)
		if !ok {
			c.world.fail("lost: %s lacks %q, sequence %d of %s (acknowledged: %v)", p.host.name, m.text, seq, t.name, m.acked)
		}
		if !m.acked {
			continue
		}
		content, err := c.readMessage(p, stored.Location)
		if err != nil {
			c.world.fail("lost: %s cannot read the acknowledged %q, sequence %d of %s: %v", p.host.name, m.text, seq, t.name, err)
		}
		if text := textOf(content.Payload); text != m.text {
			c.world.fail("lost: %s has %q in the place of the acknowledged %q, sequence %d of %s", p.host.name, text, m.text, seq, t.name)
		}
	}
}

// readMessage reads what a member has stored at a place in its log.
func (c *checks) readMessage(p *process, at machine.Location) (machine.Message, error) {
	var raw []byte
	err := p.member.Store().View(func(r *wal.Reader) (err error) {
		raw, err = r.Read(nil, at.Index, at.Offset, at.Size)
		return err
	})
	if err != nil {
		return machine.Message{}, err
	}
	return machine.DecodeMessage(raw)
}
