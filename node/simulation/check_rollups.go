package simulation

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// rolled is what a stream has of messages that others replaced. From the entry of the
// rollup on they are removed as far as anybody is shown; where an entry may do little,
// they still count for the stream until later entries have removed them.
type rolled struct {
	hidden  uint64     // that are not shown and count
	rollups []*message // of the entry
	gone    uint64     // messages that the entry has replaced, or stored and removed
	unseen  bool       // the entry has stored messages and removed them; they may have been rollups
}

func (r *rolled) begin() { r.rollups, r.gone, r.unseen = nil, 0, false }

func (r *rolled) any() bool { return r.hidden > 0 || len(r.rollups) > 0 }

func (r *rolled) note(m *message) {
	if _, ok := headerOf(m.header, server.JSMsgRollup); ok {
		r.rollups = append(r.rollups, m)
	}
}

// replaced tells whether a message of the entry takes the place of m.
func (t *streamTruth) replaced(m *message) bool {
	return slices.ContainsFunc(t.rolled.rollups, func(r *message) bool { return r.replaces(m) })
}

func (m *message) replaces(other *message) bool {
	what, _ := headerOf(m.header, server.JSMsgRollup)
	return m.seq > other.seq && (what == server.JSMsgRollupAll || m.subject == other.subject)
}

// replaces: behind the entry of a rollup nothing is shown any more that it replaced.
// What a stream counts beside what it shows are such messages.
func (c *checks) replaces(p *process, s *machine.Stream, t *streamTruth) {
	r := &t.rolled
	for _, seq := range t.live {
		if m := t.messages[seq]; t.replaced(m) {
			c.world.fail("not replaced: %s shows %q, message %d of %s, behind a rollup of %s", p.host.name, m.text, seq, t.name, m.subject)
		}
	}
	most, before := r.hidden, r.hidden
	if len(r.rollups) > 0 {
		most += r.gone
	}
	if c.world.plan.settleWork == 0 {
		most = 0
	}
	shown, counted := uint64(len(t.live)), s.State().Msgs
	if counted < shown || counted-shown > most {
		c.world.fail("miscounted: %s has %d messages in %s, of which it shows %d, and at most %d others can be there that were replaced", p.host.name, counted, s.Name(), shown, most)
	}
	r.hidden = counted - shown
	for _, m := range r.rollups {
		if !m.isMarker() {
			c.rollups++
		}
	}
	if r.hidden > 0 && before == 0 {
		c.pending++
	}
}

// notReplaced: a consumer is not handed what was replaced.
func (c *checks) notReplaced(handed *handedOut, m *message) {
	if m == nil || m.removed == (position{}) || !m.removed.before(handed.at) {
		return
	}
	c.world.fail("removed before: %q, message %d, was handed out at %v and removed or replaced at %v", m.text, m.seq, handed.at, m.removed)
}

// unsettled says what a stream has still to remove; empty when nothing.
func (c *checks) unsettled(name string) string {
	t := c.history.current[name]
	switch {
	case t == nil:
		return ""
	case t.rolled.hidden > 0:
		return fmt.Sprintf("%s has %d messages that were replaced", name, t.rolled.hidden)
	case t.within.over:
		return name + " has more messages than its limits allow"
	}
	return ""
}
