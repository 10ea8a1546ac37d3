package simulation

import (
	"strings"
	"time"

	"holdfast/node/machine"
)

// fired: what a schedule publishes comes when it is due by the time of the log, or
// later: once, or once for each time that was told before, and not after somebody has
// ended the schedule.
func (c *checks) fired(p *process) {
	due := map[string]time.Time{} // when it may come again, by schedule
	over := map[string]bool{}
	c.scan(p, diaryName, func(m *machine.Message, stored *machine.Stored) {
		next, isNext := headerOf(m.Header, "Nats-Schedule-Next")
		schedule, _ := headerOf(m.Header, "Nats-Scheduler")
		switch {
		case !isNext:
			return
		case strings.HasSuffix(string(m.Subject), ".end"):
			over[schedule] = true
			return
		case over[schedule]:
			c.world.fail("fired after its end: %s has a message of %s at %d", p.host.name, schedule, stored.Seq)
		}
		pattern := string(m.Payload)
		if at, err := time.Parse("@at "+time.RFC3339, pattern); err == nil {
			due[schedule], over[schedule] = at, true
		}
		if at := time.Unix(0, stored.Stamp); at.Before(due[schedule]) {
			c.world.fail("fired early: %s has a message of %s at %d, %s before its time", p.host.name, schedule, stored.Seq, due[schedule].Sub(at))
		}
		if at, err := time.Parse(time.RFC3339Nano, next); err == nil {
			due[schedule] = at
		} else if next != "purge" {
			c.world.fail("fired strangely: %s has a message of %s at %d with %q", p.host.name, schedule, stored.Seq, next)
		}
	})
}
