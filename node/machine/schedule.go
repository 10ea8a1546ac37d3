package machine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// A schedule (ADR-51) is a message with the header Nats-Schedule that says when
// another message is to be published. A subject has at most one: any other
// message that is stored on the subject ends it, unless a schedule made that. The machine keeps when each is
// due. Who leads publishes what is due, and the header Nats-Schedule-Next of that
// says when the schedule is due again, or that it is to be purged.

// schedule is the schedule of one subject.
type schedule struct {
	seq   uint64
	due   int64 // stamp
	saved bool  // its key was handed out
	dirty bool  // the durable state lacks its due
}

// DueSchedule is a schedule whose time has come.
type DueSchedule struct {
	Seq uint64
	Due int64 // stamp, nanoseconds since 1970
}

// scheduleAt returns the schedule in the message with that sequence.
func (s *Stream) scheduleAt(seq uint64) (schedule, bool) {
	if len(s.schedules) == 0 {
		return schedule{}, false
	}
	r, ok := s.index.get(seq)
	if !ok {
		return schedule{}, false
	}
	found, ok := s.schedules[r.subject]
	return found, ok && found.seq == seq
}

func (s *Stream) setSchedule(id uint32, seq uint64, due int64) {
	if s.schedules == nil {
		s.schedules = make(map[uint32]schedule)
	}
	old := s.schedules[id]
	s.schedules[id] = schedule{seq: seq, due: due, saved: old.saved && old.seq == seq, dirty: true}
	s.changed.schedules = append(s.changed.schedules, seq)
	s.touch()
	if len(s.scheduled.items) > 2*len(s.schedules)+64 {
		s.scheduled.compact(s.currentSchedule)
	}
	s.scheduled.push(timer{due: due, order: seq, seq: seq})
}

// unschedule ends the schedule of a subject, if it has one.
func (s *Stream) unschedule(id uint32) {
	if old, ok := s.schedules[id]; ok {
		s.forgetSchedule(&old)
		delete(s.schedules, id)
		s.touch()
	}
}

func (s *Stream) currentSchedule(t *timer) bool {
	found, ok := s.scheduleAt(t.seq)
	return ok && found.due == t.due
}

// NextSchedule is the stamp at which the first schedule is due, 0 for none.
func (s *Stream) NextSchedule() int64 {
	for len(s.scheduled.items) > 0 {
		if s.currentSchedule(&s.scheduled.items[0]) {
			return s.scheduled.items[0].due
		}
		s.scheduled.pop()
	}
	return 0
}

// DueSchedules calls f for schedules that are due at or before now, in no order,
// until it returns false.
func (s *Stream) DueSchedules(now int64, f func(DueSchedule) bool) {
	s.eachDue(now, 0, f)
}

func (s *Stream) eachDue(now int64, i int, f func(DueSchedule) bool) bool {
	if i >= len(s.scheduled.items) || s.scheduled.items[i].due > now {
		return true
	}
	if t := s.scheduled.items[i]; s.currentSchedule(&t) && !f(DueSchedule{Seq: t.seq, Due: t.due}) {
		return false
	}
	return s.eachDue(now, 2*i+1, f) && s.eachDue(now, 2*i+2, f)
}

// isSchedule reports whether the last message of a subject is a schedule. It is
// also told whether there is a message at all.
func (s *Stream) isSchedule(subject []byte) (schedule, exists bool) {
	id, ok := s.subjects.lookup(subject)
	if !ok || s.lastShown(id) == 0 {
		return false, false
	}
	found, schedule := s.schedules[id]
	return schedule && found.seq == s.lastSeq(id), true
}

// admitSchedule checks the headers of a schedule.
func (s *Stream) admitSchedule(message *Message, h *publishHeaders, p *preface) *server.ApiError {
	if p.internal() || len(h.schedule) == 0 && p.kind != PrefaceSchedule {
		return nil
	}
	target, source := string(h.scheduleTarget), string(h.scheduleSource)
	switch {
	case !s.config.AllowMsgSchedules, p.kind != PrefaceSchedule: // it came before the stream took any
		return server.NewJSMessageSchedulesDisabledError()
	case p.b == uint64(ScheduleBadPattern):
		return server.NewJSMessageSchedulesPatternInvalidError()
	case p.b == uint64(ScheduleBadZone):
		return server.NewJSMessageSchedulesTimeZoneInvalidError()
	case len(h.schedule) == 0 || p.b == uint64(ScheduleNever):
		return nil
	case !validScheduleTTL(h.scheduleTTL):
		return server.NewJSMessageSchedulesTTLInvalidError()
	case len(h.scheduleRollup) > 0 && string(h.scheduleRollup) != server.JSMsgRollupSubject:
		return server.NewJSMessageSchedulesRollupInvalidError()
	case len(h.scheduleTTL) > 0 && !s.config.AllowMsgTTL:
		return server.NewJSMessageTTLDisabledError()
	case !server.IsValidPublishSubject(target) || target == string(message.Subject) || !s.listensTo(target):
		return server.NewJSMessageSchedulesTargetInvalidError()
	case source != "" && (source == target || source == string(message.Subject) || !server.IsValidPublishSubject(source) || !s.listensTo(source)):
		return server.NewJSMessageSchedulesSourceInvalidError()
	case len(h.rollup) > 0 && !h.rollupOfSubject:
		return server.NewJSMessageSchedulesRollupInvalidError()
	}
	return nil
}

func validScheduleTTL(value []byte) bool {
	if len(value) == 0 {
		return true
	}
	_, ok := validTTL(value)
	return ok
}

// listensTo reports whether one of the stream's subjects matches a subject.
func (s *Stream) listensTo(subject string) bool {
	return slices.ContainsFunc(s.config.Subjects, func(pattern string) bool { return covers(pattern, subject) })
}

var schedulePurge = []byte(server.JSScheduleNextPurge)

// admitSchedulePurge checks the headers with which a client ends a schedule.
func (s *Stream) admitSchedulePurge(message *Message, h *publishHeaders, p *preface, batch *batchCheck) *server.ApiError {
	if p.internal() || len(h.scheduleNext) == 0 && len(h.scheduler) == 0 {
		return nil
	}
	switch {
	case !bytes.Equal(h.scheduleNext, schedulePurge),
		bytes.Equal(h.scheduler, message.Subject) || !server.IsValidPublishSubject(string(h.scheduler)):
		return server.NewJSMessageSchedulesSchedulerInvalidError()
	case !s.config.AllowMsgSchedules:
		return server.NewJSMessageSchedulesDisabledError()
	}
	is, exists := s.isSchedule(h.scheduler)
	if batch.has(h.scheduler) {
		is, exists = batch.subjects[string(h.scheduler)].schedule, true
	}
	if exists && !is {
		return server.NewJSMessageSchedulesSchedulerInvalidError()
	}
	return nil
}

// followSchedules lets a message that was accepted start, move on or end
// schedules. With keep 0 it was not stored.
func (s *Stream) followSchedules(message *Message, h *publishHeaders, p *preface, seq, keep uint64) {
	if id, ok := s.subjects.lookup(message.Subject); ok && keep > 0 && s.config.AllowMsgSchedules {
		if len(h.schedule) > 0 && p.kind == PrefaceSchedule && p.b == uint64(ScheduleFine) {
			s.unschedule(id)
			s.setSchedule(id, seq, int64(p.a))
		} else if len(s.schedules) > 0 && len(h.scheduler) == 0 {
			s.unschedule(id)
		}
	}
	switch {
	case len(h.scheduleNext) == 0 || len(h.scheduler) == 0 || s.intake && bytes.Equal(h.scheduleNext, schedulePurge):
	case !bytes.Equal(h.scheduleNext, schedulePurge):
		s.moveSchedule(h)
	case !s.config.AllowRollup || s.config.DenyPurge:
	case isLiteral(string(h.scheduler)):
		s.rollUp(string(h.scheduler), 0)
	default:
		s.purgeMatching(string(h.scheduler), 0, 0, math.MaxUint64)
	}
}

// moveSchedule sets when a schedule is due next. It reports false when the
// header does not say it.
func (s *Stream) moveSchedule(h *publishHeaders) bool {
	next, err := time.Parse(time.RFC3339Nano, string(h.scheduleNext))
	id, ok := s.subjects.lookup(h.scheduler)
	if err != nil || !ok {
		return false
	}
	if old, ok := s.schedules[id]; ok {
		s.setSchedule(id, old.seq, ScheduleStamp(next))
	}
	return true
}

// ScheduleStamp is the stamp at which a schedule is due that fires at that time:
// at the first if the time is before all stamps, and at the last if it is behind
// (in the year 2223).
func ScheduleStamp(at time.Time) int64 {
	switch {
	case at.Before(time.Unix(0, 1)):
		return 1
	case at.After(time.Unix(0, MaxStamp)):
		return MaxStamp
	}
	return at.UnixNano()
}

// refused takes note that a message was not stored after all. What a schedule
// published is not tried again: the schedule waits for its next time, if there
// is one.
func (s *Stream) refused(h *publishHeaders, p *preface) {
	if p.kind != PrefaceFire || s.moveSchedule(h) {
		return
	}
	if r, ok := s.index.get(p.a); ok {
		s.unschedule(r.subject)
	}
}

// forgetSchedule notes that a schedule is gone.
func (s *Stream) forgetSchedule(old *schedule) {
	if old.saved {
		s.machine.changes.drop(pageKey(keySchedule, s.incarnation, old.seq))
	}
}

// forgetSchedules notes that all schedules are gone.
func (s *Stream) forgetSchedules() {
	for _, old := range s.orderedSchedules() {
		s.forgetSchedule(&old)
	}
	s.schedules, s.scheduled, s.changed.schedules = nil, timerHeap{}, nil
}

// orderedSchedules returns the schedules by sequence.
func (s *Stream) orderedSchedules() []schedule {
	all := make([]schedule, 0, len(s.schedules))
	for _, one := range s.schedules {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b schedule) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

// checkpointSchedules hands out the schedules that changed.
func (s *Stream) checkpointSchedules(puts []protocol.Pair) []protocol.Pair {
	for _, seq := range s.changed.schedules {
		one, ok := s.scheduleAt(seq)
		if !ok || !one.dirty {
			continue
		}
		puts = put1(puts, pageKey(keySchedule, s.incarnation, seq), binary.AppendUvarint(nil, uint64(one.due)))
		one.saved, one.dirty = true, false
		r, _ := s.index.get(seq)
		s.schedules[r.subject] = one
	}
	s.changed.schedules = nil
	return puts
}

// restoreSchedule reads a schedule back; the index is there already.
func (s *Stream) restoreSchedule(seq uint64, body *protocol.Reader) error {
	due := body.Uvarint()
	m, ok := s.index.get(seq)
	if _, twice := s.schedules[m.subject]; !ok || twice || due > MaxStamp {
		body.Fail()
	}
	if err := body.Done("schedule"); err != nil {
		return err
	}
	if s.schedules == nil {
		s.schedules = make(map[uint32]schedule)
	}
	s.schedules[m.subject] = schedule{seq: seq, due: int64(due), saved: true}
	s.scheduled.push(timer{due: int64(due), order: seq, seq: seq})
	return nil
}
