package simulation

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// removes: a message leaves its stream for a reason. Somebody deleted or purged
// it, a limit left no room for it, it grew too old, or, in a stream that keeps
// messages for its consumers, those have acknowledged it.
func (c *checks) removes(p *process, topic *topic, s *machine.Stream, t *streamTruth, m *message) {
	asked := &topic.asked
	switch {
	case t.replaced(m), t.rolled.unseen && topic.rolls:
		t.rolled.gone++
	case asked.deletes[m.seq] || asked.purged(m, m.removed):
	case asked.maxMsgs > 0 && t.after(m, "") >= int(asked.maxMsgs):
	case asked.maxPer > 0 && t.after(m, m.subject) >= int(asked.maxPer):
	case s.Config().Retention != server.LimitsPolicy && c.allAcknowledged(p, s, m):
	case asked.maxAge > 0 && !m.immortal && p.member.Machine().Stamp() >= m.stamp+int64(asked.maxAge),
		m.ends > 0 && p.member.Machine().Stamp() >= m.ends:
		c.ending(s, t, m)
	default:
		c.world.fail("lost: %q left %s, where it was message %d, for no reason (acknowledged: %v; %s has retention %s and %+v; asked for: %+v)",
			m.text, t.name, m.seq, m.acked, p.host.name, s.Config().Retention, s.State(), *asked)
	}
}

// after counts the messages after m that are, or a moment ago were, there; of one
// subject or of all.
func (t *streamTruth) after(m *message, subject string) (count int) {
	for i := len(t.live) - 1; i >= 0 && t.live[i] > m.seq; i-- {
		if subject == "" || t.messages[t.live[i]].subject == subject {
			count++
		}
	}
	return count
}

// allAcknowledged: every consumer of the stream has a client that acknowledged the
// message, whether that arrived or not. A consumer that was created by the same
// entry has no say: the message may have been gone by then.
func (c *checks) allAcknowledged(p *process, s *machine.Stream, m *message) bool {
	for _, consumer := range s.Consumers() {
		t := c.consumerTruth(c.keyOfConsumer(p, consumer))
		created := consumer.Incarnation().Index() == m.removed.index
		if !t.unsure && !t.acked[m.seq] && m.seq > t.all && !created && (m.seq >= t.reset.seq || t.reset.at == position{}) {
			return false
		}
	}
	return s.Config().Retention == server.InterestPolicy || len(s.Consumers()) > 0
}

// limits: a stream has never more than its limits allow. One that discards new
// messages keeps those that were there when a limit was lowered, but gets no more.
// Where an entry may do little, a stream may be over its limits for some entries after
// they were lowered, or while messages go that were replaced.
func (c *checks) limits(s *machine.Stream, truth *streamTruth) {
	config := s.Config()
	before := truth.within
	truth.within = within{count: len(truth.live), msgs: config.MaxMsgs, per: config.MaxMsgsPer}
	changed := before.msgs != config.MaxMsgs || before.per != config.MaxMsgsPer
	if config.Discard == server.DiscardNew && (changed || len(truth.live) <= before.count) {
		return
	}
	text := truth.beyond(config)
	mayBe := c.world.plan.settleWork > 0 && (changed || before.over || truth.rolled.hidden > 0)
	if truth.within.over = text != ""; text != "" && !mayBe {
		c.world.fail("over its limit: %s", text)
	}
}

// beyond says what a stream has more of than its limits allow.
func (t *streamTruth) beyond(config *server.StreamConfig) string {
	if limit := config.MaxMsgs; limit > 0 && len(t.live) > int(limit) {
		return fmt.Sprintf("%s has %d messages of at most %d", t.name, len(t.live), limit)
	}
	if limit := config.MaxMsgsPer; limit > 0 {
		count := map[string]int64{}
		for _, seq := range t.live {
			m := t.messages[seq]
			if count[m.subject]++; count[m.subject] > limit {
				return fmt.Sprintf("%s has more than %d messages of %s", t.name, limit, m.subject)
			}
		}
	}
	return ""
}

// within is what limits were when a stream was last compared with them.
type within struct {
	count     int
	msgs, per int64
	over      bool // it gets there in steps
}
