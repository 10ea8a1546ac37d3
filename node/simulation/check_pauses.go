package simulation

import (
	"time"

	"holdfast/node/machine"
)

// pauseTruth is a pause of a consumer, or (zero time) the end of one.
type pauseTruth struct {
	at    position // of the entry
	until int64    // by the time of the log
	// underWay is the entry that has handed out what was under way when the pause
	// began: a leader has one delivery of a consumer proposed at a time.
	underWay position
}

// pausing takes note of what an entry says of a consumer's pause, which anybody can
// see in its info.
func (c *checks) pausing(t *consumerTruth, consumer *machine.Consumer, at position) {
	until := consumer.PausedUntil()
	if n := len(t.pauses); n == 0 && until != 0 || n > 0 && t.pauses[n-1].until != until {
		t.pauses = append(t.pauses, &pauseTruth{at: at, until: until})
		c.pauses++
	}
}

// nothingWhilePaused: what comes to a client was handed out before a pause, or was
// under way when it began, or was handed out after it.
func (c *checks) nothingWhilePaused(p *process, k consumerKey, t *consumerTruth, handed *handedOut, seq uint64) {
	for i := len(t.pauses) - 1; i >= 0; i-- {
		pause := t.pauses[i]
		if !pause.at.before(handed.at) {
			continue
		}
		switch {
		case handed.stamp >= pause.until:
		case pause.underWay == position{}:
			pause.underWay = handed.at
		case pause.underWay != handed.at:
			c.world.fail("delivered while paused: %s delivers message %d to %s, handed out at %v, %s before the end of the pause of %v (under way were those of %v)",
				p.host.name, seq, k.name, handed.at, time.Duration(pause.until-handed.stamp), pause.at, pause.underWay)
		}
		return
	}
}
