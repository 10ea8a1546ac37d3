package member

import "time"

// clockWorry is how far the log's clock may be from the members' clocks before
// the log tells of it, once a leadership.
const clockWorry = 10 * time.Second

// Now is the time of the log, in nanoseconds since 1970 (jetstream.Node).
func (l *life) Now() int64 { return l.clock.now() }

// beginTime sets the log's clock going when this member begins to lead.
func (l *life) beginTime() {
	ahead, set := l.clock.begin(l.machine.Stamp())
	if set {
		l.logger.Info("the log's clock is set: no member that is linked has kept it", "to", time.Unix(0, l.clock.now()).UTC())
	}
	if ahead.Abs() > clockWorry {
		l.logger.Warn("the log's clock differs from the median of the members' clocks; it draws near by a twentieth of the time that passes: look after the clocks of the machines",
			"ahead", ahead, "log", time.Unix(0, l.clock.now()).UTC())
	}
}

// keepTime moves the log's clock on, and tells the others of it.
func (l *life) keepTime() {
	if step := l.clock.tick(l.serving); step > 0 {
		l.logger.Warn("the log's clock stepped forward to the median of the members' clocks: what waited for a time comes earlier", "by", step)
	}
	if l.now%clockTicks != 0 {
		return
	}
	body := l.clock.report().encode()
	for _, name := range l.options.Members {
		if name != l.options.Name {
			l.environment.Send(name, frameClock, body)
		}
	}
}

// handleClock takes another member's report.
func (l *life) handleClock(from string, body []byte) error {
	report, err := decodeClock(body)
	if err != nil {
		return err
	}
	status, holding := l.replica.Raft()
	l.clock.adopt(from, report, holding && !l.serving && status.Leader.Name == from)
	return nil
}
