package simulation

import (
	"encoding/binary"
	"time"

	"holdfast/protocol"
	"holdfast/replication"
)

// timeCheck compares the time of the log with the true time, which only the
// simulation knows.
type timeCheck struct {
	known   bool
	at      int64 // true time since which both are compared
	ahead   int64 // of the log at that moment
	changes int   // of leaders since
	late    int64 // since when stamps are behind; zero: they are not

	clocks int   // that were ever set, or stepped
	set    int64 // when the last one was
	kept   int   // that of the newest leader
}

// reset begins anew: the log says that it set or stepped its clock.
func (t *timeCheck) reset() { t.known = false }

// What the log's clock may be off by (package member): it is drawn to the
// members' clocks by a twentieth, and a new leader has it from reports that took a
// while to come.
const (
	clockSlack    = second / 10
	clockHandover = second / 2
	// stampPatience is how long batches may wait with the stamp that they were
	// closed with.
	stampPatience = 15 * second
)

func (t *timeCheck) allowed(now int64) int64 {
	return (now-t.at)/19 + clockSlack + int64(t.changes)*clockHandover
}

// shown: the time that a leader's answers bear is that of the log. It passes at
// about the rate of time, whatever the clocks of the machines do.
func (c *checks) shown(log time.Time) {
	t, now := &c.time, c.world.now
	ahead := log.UnixNano() - epoch - now
	if !t.known {
		t.known, t.at, t.ahead, t.changes, t.late = true, now, ahead, 0, 0
	}
	if moved := ahead - t.ahead; moved > t.allowed(now) || -moved > t.allowed(now) {
		c.world.fail("time in the log passes at another rate: by %s more in %s, under %d leaders",
			time.Duration(moved), time.Duration(now-t.at), 1+t.changes)
	}
}

// stamped: entries bear that time as well. A batch may wait for a while after it
// was closed, so one that is behind says nothing, and only many in a row do.
func (c *checks) stamped(e *protocol.Entry) {
	t, now := &c.time, c.world.now
	if e.Kind != protocol.KindBatch || !t.known {
		return
	}
	ahead := int64(binary.LittleEndian.Uint64(e.Data[1:])) - epoch - now
	switch {
	case t.ahead-ahead <= t.allowed(now):
		t.late = 0
	case t.late == 0:
		t.late = now
	case now-t.late > stampPatience:
		c.world.fail("time in the log stands still: stamps are behind for %s, now by %s", time.Duration(now-t.late), time.Duration(t.ahead-ahead))
	}
}

// clockSet: the log's clock is set anew only by a leader that nobody has told of
// it.
func (c *checks) clockSet(p *process) {
	if p.clock != 0 {
		c.world.fail("%s set the log's clock although it had been told what it shows", p.host.name)
	}
	c.time.clocks, c.time.set = c.time.clocks+1, c.world.now
	p.clock = c.time.clocks
}

// clockStepped: the log's clock shows another time from now on. A leader that has
// not heard of the step keeps the clock before it, until it steps itself.
func (c *checks) clockStepped(p *process) {
	c.time.clocks, c.time.set = c.time.clocks+1, c.world.now
	p.clock = c.time.clocks
	c.time.kept = p.clock
	c.time.reset()
}

// tellsTime takes note of what a member learns about the log's clock. The kind of
// the frame, its version and the first flag are those of package member.
func (c *checks) tellsTime(p *process, from string, f sentFrame) {
	if f.kind != 20 || len(f.body) < 2 || f.body[1]&1 == 0 {
		return
	}
	status, _ := p.member.Raft()
	follows := status.Role != replication.Leader && status.Leader.Name == from
	if p.clock == 0 || follows {
		p.clock = f.clock
	}
}

// leads takes note that a member begins to serve. It keeps another clock than the
// leader before, if that set one while this member was cut off.
func (c *checks) leads(p *process) {
	t := &c.time
	if t.changes++; t.kept != p.clock {
		t.kept = p.clock
		t.reset()
	}
}
