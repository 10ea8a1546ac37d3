package simulation

import (
	"encoding/json"
	"sort"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/wal"
)

// streamTruth is what clients were told of one stream incarnation.
type streamTruth struct {
	key     streamKey
	name    string
	created time.Time
	// messages by sequence: what was acknowledged or delivered under it.
	messages map[uint64]message
	// last sequence acknowledged to each publisher that waits for each.
	last map[*publisher]uint64
}

// message is one stored message, with its place in the log.
type message struct {
	text    string
	acked   bool
	index   uint64
	term    uint64
	lineage protocol.Lineage
}

func (c *checks) truth(p *process, s *machine.Stream) *streamTruth {
	k := keyOf(p, s.Incarnation())
	t := c.streams[k]
	if t == nil {
		t = &streamTruth{key: k, name: s.Name(), created: s.Created(), messages: map[uint64]message{}, last: map[*publisher]uint64{}}
		c.streams[k] = t
	}
	return t
}

// says takes note of what is stored under a sequence. Sequences are never used
// again for another message of the same stream incarnation.
func (c *checks) says(p *process, s *machine.Stream, seq uint64, text string, acked bool) *streamTruth {
	t := c.truth(p, s)
	stored, ok := s.Message(seq)
	if !ok {
		return t // deleted in the meantime
	}
	m, known := t.messages[seq]
	if known && m.text != text {
		c.world.fail("sequence used twice: %s has %q at %d, which was %q (stream created at %d of %s)", p.host.name, text, seq, m.text, uint64(t.key.incarnation)>>16, t.key.lineage)
	}
	if !known {
		m = message{text: text, index: stored.Index}
		m.lineage = lineageAt(p.member.Store(), p.member.Identity(), stored.Index)
		if mark, ok := p.member.Store().Mark(stored.Index); ok {
			m.term = mark.Term
		} else {
			status, _ := p.member.Raft()
			m.term = status.Term
		}
	}
	m.acked = m.acked || acked
	t.messages[seq] = m
	return t
}

// answered looks at an answer as a member gives it.
func (c *checks) answered(h *host, r *request, header, payload []byte) {
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
	t := c.says(h.process, s, ack.Sequence, r.publish.text, true)
	c.acked++
	c.world.spring(uponAck, h)
	r.publish.created = t.created
	publisher := r.publish.publisher
	if c.world.plan.window == 1 {
		if ack.Sequence <= t.last[publisher] && !ack.Duplicate && !r.publish.retried {
			c.world.fail("out of order: %q got sequence %d after %d", r.publish.text, ack.Sequence, t.last[publisher])
		}
		t.last[publisher] = max(t.last[publisher], ack.Sequence)
	}
}

// founded judges a founding: what the founder's log lacks of what was
// acknowledged is lost, which is allowed only when no store holds it that is
// left (schedules' check S2), and has to be said.
func (c *checks) founded(h *host, store *wal.Store) {
	c.foundings++
	lost := 0
	for _, t := range c.sortedStreams() {
		clear(t.last)
		for seq, m := range t.messages {
			if holds(store, &m) {
				continue
			}
			delete(t.messages, seq)
			if !m.acked {
				continue
			}
			lost++
			for _, other := range c.world.hosts {
				if kept := other.store(); other != h && kept != nil && holds(kept, &m) {
					c.world.fail("lost by a founding: %s founded without %q, which %s still holds at %d", h.name, m.text, other.name, m.index)
				}
			}
		}
	}
	c.lost += lost
	switch account := c.account[h.name]; {
	case lost == 0:
	case !c.world.plan.disaster:
		c.world.fail("lost by a founding: %d acknowledged messages, although a majority kept its memory", lost)
	case strings.Contains(account, "no acknowledged write is lost"):
		c.world.fail("not reported: %s lost %d acknowledged messages and said: %s", h.name, lost, account)
	}
}

// holds tells whether the log of a store has the entry of a message.
func holds(store *wal.Store, m *message) bool {
	mark, ok := store.Mark(m.index)
	return ok && mark.Term == m.term && mark.Lineage == m.lineage
}

func (c *checks) sortedStreams() []*streamTruth {
	var all []*streamTruth
	for _, t := range c.streams {
		all = append(all, t)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i].key, all[j].key
		if a.incarnation != b.incarnation {
			return a.incarnation < b.incarnation
		}
		return a.lineage.Epoch < b.lineage.Epoch
	})
	return all
}

// atEnd: everything acknowledged is on every member, with its content, unless
// somebody deleted its stream.
func (c *checks) atEnd() {
	for _, h := range c.world.hosts {
		c.floors(h.process)
		for _, t := range c.sortedStreams() {
			c.present(h.process, t)
		}
		for _, s := range h.process.member.Machine().Streams() {
			c.noDuplicates(h.process, s)
		}
		for _, t := range c.world.clients.topics {
			if t.permanent {
				c.copies(h.process, t)
			}
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
	if s == nil || keyOf(p, s.Incarnation()) != t.key {
		for _, topic := range c.world.clients.topics {
			if topic.name == t.name && topic.deletions == 0 && !c.world.plan.disaster {
				c.world.fail("lost: %s does not have the stream %s, which nobody deleted", p.host.name, t.name)
			}
		}
		return
	}
	for seq, m := range t.messages {
		if !m.acked {
			continue
		}
		stored, ok := s.Message(seq)
		if !ok {
			c.world.fail("lost: %s lacks the acknowledged %q, sequence %d of %s", p.host.name, m.text, seq, t.name)
		}
		if text := c.read(p, stored.Location); text != m.text {
			c.world.fail("lost: %s has %q in the place of the acknowledged %q, sequence %d of %s", p.host.name, text, m.text, seq, t.name)
		}
	}
}

// read returns what a member has stored at a place in its log.
func (c *checks) read(p *process, at machine.Location) string {
	var raw []byte
	err := p.member.Store().View(func(r *wal.Reader) (err error) {
		raw, err = r.Read(nil, at.Index, at.Offset, at.Size)
		return err
	})
	if err != nil {
		c.world.fail("lost: %s cannot read entry %d: %v", p.host.name, at.Index, err)
	}
	m, err := machine.DecodeMessage(raw)
	if err != nil {
		c.world.fail("lost: %s cannot decode entry %d: %v", p.host.name, at.Index, err)
	}
	return textOf(m.Payload)
}

// noDuplicates: a message that was published again under its ID is stored once.
func (c *checks) noDuplicates(p *process, s *machine.Stream) {
	seen := map[string]machine.Stored{}
	state := s.State()
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		stored, ok := s.Message(seq)
		if !ok {
			continue
		}
		text := c.read(p, stored.Location)
		if before, twice := seen[text]; twice && stored.Stamp-before.Stamp < int64(s.Config().Duplicates) {
			c.world.fail("stored twice: %s has %q at %d and at %d", p.host.name, text, before.Seq, seq)
		}
		seen[text] = stored
	}
}
