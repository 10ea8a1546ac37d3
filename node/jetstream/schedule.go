package jetstream

import (
	"cmp"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// firesAtOnce bounds how many schedules of a stream fire in one round.
	firesAtOnce = 512
	// fireAgain is when a round whose outcome nobody told is tried again, or one
	// for which there was no room.
	fireAgain = int64(time.Second)
)

// prepareSchedule says when a publish is due that is a schedule (ADR-51). Such
// a message replaces those before it on its subject: its header is returned with
// a roll-up, if it has none.
func (d *Door) prepareSchedule(header []byte) ([]byte, said) {
	now := d.nextStamp(d.node.Now())
	due, flaw, is := d.zones.scheduled(header, now, now)
	if !is {
		return header, said{}
	}
	if flaw == machine.ScheduleFine && len(headerValue(header, server.JSMsgRollup)) == 0 {
		header = withLine(header, server.JSMsgRollup, server.JSMsgRollupSubject)
	}
	return header, said{machine.PrefaceSchedule, uint64(due), uint64(flaw)}
}

// tickSchedules lets schedules publish whose time has come.
func (d *Door) tickSchedules(now int64) {
	stamp := d.nextStamp(now)
	var due []machine.Incarnation
	for inc, st := range d.scheduling {
		if s := d.machine.StreamOf(inc); s != nil && now >= st.fireAt {
			if next := s.NextSchedule(); next != 0 && next <= stamp && !s.Config().Sealed {
				due = append(due, inc)
			}
		}
	}
	slices.Sort(due)
	for _, inc := range due {
		d.fireSchedules(d.machine.StreamOf(inc), d.scheduling[inc], stamp)
		d.scheduling[inc].fireAt = now + fireAgain
	}
}

// fireSchedules publishes for the schedules of a stream that are due, in the
// order in which they were stored. Another round begins when all of that was
// decided.
func (d *Door) fireSchedules(s *machine.Stream, st *stream, stamp int64) {
	var due []machine.DueSchedule
	s.DueSchedules(stamp, func(one machine.DueSchedule) bool {
		due = append(due, one)
		return len(due) < firesAtOnce
	})
	slices.SortFunc(due, func(a, b machine.DueSchedule) int { return cmp.Compare(a.Seq, b.Seq) })
	left := 0
	decided := func(*Door, *machine.Result) any {
		if left--; left == 0 {
			st.fireAt = 0
		}
		return nil
	}
	for _, one := range due {
		target, header, payload, ok := d.scheduledMessage(s, one, stamp)
		if !ok {
			continue
		}
		size := len(header) + len(payload)
		room := publishRoom(size, len(target))
		if d.queue.admitted < room || d.batches.queued > d.options.MaxQueued {
			return
		}
		d.queue.admitted -= room
		d.room(size + len(target) + 2*commandOverhead)
		d.batches.say(said{machine.PrefaceFire, one.Seq, uint64(one.Due)})
		d.batches.builder.Publish(s.Incarnation(), target, header, payload)
		d.batches.waitForCall(waitCall, call{complete: decided})
		d.touch(s)
		left++
	}
}

// scheduledMessage makes the message that a schedule publishes: a copy of its
// own, or of the last message of the subject that it names as its source.
func (d *Door) scheduledMessage(s *machine.Stream, one machine.DueSchedule, stamp int64) (target, header, payload []byte, ok bool) {
	stored, ok := s.Message(one.Seq)
	if !ok {
		return nil, nil, nil, false
	}
	m, ok := d.read(stored.Location)
	if !ok {
		return nil, nil, nil, false
	}
	zone, ok := d.zones.of(m.Header)
	if !ok {
		d.logger.Warn("a schedule's time zone is not known here", "stream", s.Name(), "sequence", one.Seq)
		return nil, nil, nil, false
	}
	value := func(name string) string { return string(headerValue(m.Header, name)) }
	table, ok := readTimetable(value(server.JSSchedulePattern), zone)
	if !ok {
		d.logger.Warn("a schedule's pattern cannot be read", "stream", s.Name(), "sequence", one.Seq)
		return nil, nil, nil, false
	}
	next := server.JSScheduleNextPurge
	if at, ok := table.next(one.Due, stamp); ok && table.repeats() {
		next = at.Format(time.RFC3339Nano)
	}
	lines := appendLine(nil, server.JSScheduler, string(m.Subject))
	lines = appendLine(lines, server.JSScheduleNext, next)
	if ttl := value(server.JSScheduleTTL); ttl != "" {
		lines = appendLine(lines, server.JSMessageTTL, ttl)
	}
	if rollup := value(server.JSScheduleRollup); rollup != "" {
		lines = appendLine(lines, server.JSMsgRollup, rollup)
	}
	target = []byte(value(server.JSScheduleTarget))
	if st := d.streamOf(s); st != nil && st.transforms.input != nil {
		target = st.transforms.storedSubject(target)
	}
	if source, ok := s.Last(value(server.JSScheduleSource)); ok {
		if m, ok = d.read(source.Location); !ok {
			return nil, nil, nil, false
		}
	}
	header = appendWithout(nil, m.Header, "Nats-Schedule", "Nats-Expected-",
		server.JSMsgId+":", server.JSMessageTTL+":", server.JSMsgRollup+":")
	header = append(append(appendHeaderStart(nil, header), lines...), crlf...)
	if leavesMarkers(s) {
		header = d.withLeastTTL(s, header)
	}
	return target, header, slices.Clone(m.Payload), true
}
