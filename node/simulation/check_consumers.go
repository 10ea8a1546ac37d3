package simulation

import (
	"sort"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

type consumerKey struct {
	stream   streamKey
	name     string
	consumer uint64 // incarnation; zero for all of the name
}

// consumerTruth is what the clients of a consumer did, and what the log handed out.
type consumerTruth struct {
	*acknowledgements
	// verified is up to where the floor of acknowledgements was compared.
	verified uint64
	// confirmed are the messages of which a client knows that their
	// acknowledgement counts, with the position at which it knew.
	confirmed map[uint64]position
	// handed tells from which position on the consumer had handed out so many.
	handed []handedOut
	// floor and place are the consumer and stream sequence up to which the newest
	// entry has all acknowledged.
	floor, place uint64

	pauses []*pauseTruth
	reset  resetTruth // the newest one
	// generation counts the resets. What was delivered before one is not compared
	// with what happened after it.
	generation int
	asked      int      // resets that were asked for and did not show yet
	seen       position // of the newest entry behind which it is there
	known      bool     // in checks.named
	unsure     bool     // there may have been a reset that the log does not show
}

// acknowledgements are what clients sent to the consumers of a name: an
// acknowledgement does not say which of them it is for, and those that are on
// their way when a consumer is created again count for the new one.
type acknowledgements struct {
	received, acked map[uint64]bool  // by stream sequence
	sent            map[uint64]int64 // virtual time at which one was acknowledged last
	all             uint64           // everything up to here is acknowledged with another one
}

type handedOut struct {
	count uint64 // consumer sequence of the last one
	at    position
	stamp int64 // of the entry
}

// delivery is one message on its way to a consumer's client.
type delivery struct {
	key     consumerKey
	seq     uint64
	ackAll  bool
	ackNone bool
	// generation is that of the consumer; below zero: an earlier one.
	generation int
}

func (c *checks) consumerTruth(k consumerKey) *consumerTruth {
	t := c.consumers[k]
	if t == nil {
		shared := k
		shared.consumer = 0
		if c.acks[shared] == nil {
			c.acks[shared] = &acknowledgements{received: map[uint64]bool{}, acked: map[uint64]bool{}, sent: map[uint64]int64{}}
		}
		t = &consumerTruth{acknowledgements: c.acks[shared], confirmed: map[uint64]position{}}
		c.consumers[k] = t
	}
	return t
}

func (c *checks) keyOfConsumer(p *process, consumer *machine.Consumer) consumerKey {
	return consumerKey{keyOf(p, consumer.Stream().Incarnation()), consumer.Name(), uint64(consumer.Incarnation())}
}

// consumersMoved takes note of what an entry handed out.
func (c *checks) consumersMoved(p *process, s *machine.Stream, at position) {
	for _, consumer := range s.Consumers() {
		state := consumer.State()
		count := state.Delivered.Consumer
		k := c.keyOfConsumer(p, consumer)
		t := c.consumerTruth(k)
		t.seen = at
		c.resets(t, &state, at)
		c.pausing(t, consumer, at)
		if name := s.Name() + "." + k.name; !t.known {
			t.known, t.verified = true, max(t.verified, state.AckFloor.Stream)
			c.named[name] = append(c.named[name], t)
		}
		if n := len(t.handed); count > 0 && (n == 0 || t.handed[n-1].count < count) {
			t.handed = append(t.handed, handedOut{count, at, p.member.Machine().Stamp()})
		}
	}
}

// forgetConfirmed is for foundings that lose acknowledgements.
func (c *checks) forgetConfirmed() {
	for _, t := range c.consumers {
		clear(t.confirmed)
		t.handed, t.pauses, t.reset, t.floor = nil, nil, resetTruth{}, 0
		t.generation++
	}
}

// delivered looks at a delivery as a member makes it.
func (c *checks) delivered(h *host, to, reply, subject string, header, payload []byte) {
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
	number, err2 := strconv.ParseUint(token[6], 10, 64)
	if err != nil || err2 != nil {
		c.world.fail("%s delivers with the reply %q", h.name, reply)
	}
	k := c.keyOfConsumer(p, consumer)
	policy := consumer.Config().AckPolicy
	t := c.consumerTruth(k)
	generation := t.generation
	if !t.reset.at.before(p.position()) {
		generation = -1 // made before the reset, perhaps in the same entry
	}
	c.replies[reply] = delivery{k, seq, policy == server.AckAll, policy == server.AckNone, generation}
	text := textOf(payload)
	m := c.says(p, consumer.Stream(), seq, text)
	_, marker := headerOf(header, server.JSMarkerReason)
	if stream, _, _ := strings.Cut(subject, "."); !marker && !strings.HasPrefix(text, stream+"/") {
		c.world.fail("wrong message: %s delivers %q with the subject %q", h.name, text, subject)
	}
	if i := sort.Search(len(t.handed), func(i int) bool { return t.handed[i].count >= number }); generation >= 0 && i < len(t.handed) {
		handed := &t.handed[i]
		c.nothingWhilePaused(p, k, t, handed, seq)
		t.deliveredAfter(handed, seq)
		t.notAgain(c, handed, seq, text)
		c.notReplaced(handed, m)
	}
	if try := c.tries[to]; try != nil {
		pending, err := strconv.ParseUint(token[8], 10, 64)
		if err != nil {
			c.world.fail("%s delivers with the reply %q", h.name, reply)
		}
		c.grouped(p, k, consumer.Config(), try, &handedTo{to: to, number: number, pending: pending, header: header})
	}
}

// notAgain: a message is not handed out any more once a client knows that its
// acknowledgement counts. In a work queue that makes it go to one.
func (t *consumerTruth) notAgain(c *checks, handed *handedOut, seq uint64, text string) {
	if confirmed, ok := t.confirmed[seq]; ok && !t.unsure && confirmed.before(handed.at) {
		c.world.fail("delivered again: %q, handed out at %v, was known to be acknowledged at %v", text, handed.at, confirmed)
	}
}

// received takes note of a message that reached the client.
func (c *checks) received(m *outgoing) {
	d := c.replies[m.reply]
	c.consumerTruth(d.key).received[d.seq] = true
}

// acknowledging takes note of an acknowledgement before it is sent.
func (c *checks) acknowledging(reply string) {
	d := c.replies[reply]
	t := c.consumerTruth(d.key)
	t.acked[d.seq], t.sent[d.seq] = true, c.world.now
	if d.ackAll {
		t.all = max(t.all, d.seq)
	}
}

// confirm takes note that a client knows that its acknowledgement counts.
func (c *checks) confirm(reply string) {
	d := c.replies[reply]
	if t := c.consumerTruth(d.key); t.generation == d.generation && t.confirmed[d.seq] == (position{}) {
		t.confirmed[d.seq] = c.history.newest
	}
}

// floors: a consumer never skips. What counts as acknowledged was received and
// acknowledged by the client, message for message.
func (c *checks) floors(p *process) {
	for _, s := range p.member.Machine().Streams() {
		for _, consumer := range s.Consumers() {
			if consumer.Config().AckPolicy == server.AckNone {
				continue
			}
			t := c.consumerTruth(c.keyOfConsumer(p, consumer))
			// A member alone that was wiped begins again at the same epoch, and what its log
			// says is not followed before it is longer than the one before.
			if !t.known || t.unsure || p.position().before(t.reset.at) {
				continue
			}
			for floor := consumer.State().AckFloor.Stream; t.verified < floor; {
				t.verified++
				if _, there := s.Message(t.verified); there && t.skippedAfterReset(t.verified) {
					c.world.fail("skipped: %s counts message %d of %s as acknowledged by %s, which was reset to %d and has not delivered it since",
						p.host.name, t.verified, s.Name(), consumer.Name(), t.reset.seq)
				}
				if _, there := s.Message(t.verified); there && !t.acked[t.verified] && t.verified > t.all {
					c.world.fail("skipped: %s counts message %d of %s as acknowledged by %s, which did not acknowledge it (received: %v)",
						p.host.name, t.verified, s.Name(), consumer.Name(), t.received[t.verified])
				}
			}
		}
	}
}
