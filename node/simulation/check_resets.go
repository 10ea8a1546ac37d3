package simulation

import "holdfast/node/machine"

// resetTruth is where a reset has put a consumer.
type resetTruth struct {
	at    position // of the entry; zero: there was no reset
	seq   uint64   // from which on it delivers
	began int64    // virtual time at which it was first applied
	// again are the messages that were delivered after it.
	again map[uint64]bool
}

// ackTravel is for how long an acknowledgement may be on its way to the log. One that
// was sent for an earlier delivery counts for a later one of the same message.
const ackTravel = 10 * second

// resets takes note that an entry has put the consumer to another place: its numbers,
// or what it counts as acknowledged, begin again, or it has delivered nothing and is
// somewhere else.
func (c *checks) resets(t *consumerTruth, state *machine.ConsumerState, at position) {
	n := len(t.handed)
	moved := t.known && state.Delivered.Consumer == 0 && state.AckFloor.Stream != t.place
	if n > 0 && state.Delivered.Consumer < t.handed[n-1].count || state.AckFloor.Consumer < t.floor || moved {
		t.generation++
		t.reset = resetTruth{at: at, seq: state.AckFloor.Stream + 1, began: c.world.now, again: map[uint64]bool{}}
		t.handed, t.verified = nil, state.AckFloor.Stream
		clear(t.confirmed)
		t.asked = max(t.asked-1, 0)
		t.unsure = t.unsure || t.asked > 0
	}
	t.floor, t.place = state.AckFloor.Consumer, state.AckFloor.Stream
}

// resetQuestion is a reset that somebody asks for.
type resetQuestion struct {
	checks     *checks
	key        string
	truth      *consumerTruth // of the consumer at that time
	generation int
	floor      uint64 // it has acknowledged so many in a row
}

// resetting: of a consumer that has nothing acknowledged in a row, and so of one with two
// resets on their way, the log may not show the reset, so what it delivers is not judged
// any more.
func (c *checks) resetting(key string) resetQuestion {
	q := resetQuestion{checks: c, key: key}
	if all := c.named[key]; len(all) > 0 {
		t := all[len(all)-1]
		q.truth, q.generation, q.floor = t, t.generation, t.floor
		t.asked++
		t.unsure = t.unsure || t.floor == 0
	}
	return q
}

// done: a reset that was answered has put the consumer where it was asked to be.
func (q *resetQuestion) done(asked, answered uint64) {
	c, t := q.checks, q.truth
	if asked != 0 && answered != asked {
		c.world.fail("wrong reset: %s was to deliver from %d on, and does from %d on", q.key, asked, answered)
	}
	all := c.named[q.key]
	if c.world.plan.disaster || t == nil || all[len(all)-1] != t {
		return
	}
	switch {
	case t.generation > q.generation:
		c.resetsSeen++
	case t.seen != c.history.followed:
		// The entry that reset it may have deleted it, too.
	case q.floor > 0:
		c.world.fail("not reset: %s is said to deliver from %d on again, and does not", q.key, answered)
	}
}

// deliveredAfter takes note that a message was delivered after the newest reset.
func (t *consumerTruth) deliveredAfter(handed *handedOut, seq uint64) {
	if t.reset.at != (position{}) && !handed.at.before(t.reset.at) {
		t.reset.again[seq] = true
	}
}

// skippedAfterReset tells that a message counts as acknowledged although it was not
// delivered since the reset that asked for it.
func (t *consumerTruth) skippedAfterReset(seq uint64) bool {
	sent, ok := t.sent[seq]
	return t.reset.at != (position{}) && seq >= t.reset.seq && !t.reset.again[seq] && (!ok || sent < t.reset.began-ackTravel)
}

// position is how far a member is.
func (p *process) position() position {
	applied := p.member.Machine().Applied()
	return p.host.world.checks.history.at(lineageAt(p, applied), applied)
}
