package machine

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// This part of the twin is about single messages: their time to live and the
// markers that they leave, counters, schedules, atomic batches.

type twinSchedule struct {
	seq uint64
	due int64
}

// twinTTL reads a time to live; false: it is none.
func twinTTL(value string) (time.Duration, bool) {
	switch value {
	case "", "0":
		return 0, value == ""
	case "never":
		return -1, true
	}
	var seconds int
	if _, err := fmt.Sscanf(value, "%d", &seconds); err != nil {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}

// end is when the time of a message is over, 0 for never.
func (s *twinStream) end(seq uint64) int64 {
	m := s.messages[seq]
	end := int64(0)
	if age := int64(s.config.MaxAge); age > 0 && m.ttl >= 0 {
		end = m.stamp + age
	}
	if m.ttl > 0 && s.config.AllowMsgTTL && (end == 0 || m.stamp+int64(m.ttl) < end) {
		end = m.stamp + int64(m.ttl)
	}
	return end
}

func (s *twinStream) over(seq uint64, now int64) bool { return s.end(seq) != 0 && s.end(seq) <= now }

func (s *twinStream) lastOf(subject string) uint64 {
	if same := s.sequences(subject); len(same) > 0 {
		return same[len(same)-1]
	}
	return 0
}

// publish returns the sequence, whether it is a duplicate, and the error code.
func (s *twinStream) publish(m *twinMessage, now int64, headers map[string]string, p preface) (uint64, bool, server.ErrorIdentifier) {
	seq, duplicate, code := s.check(m, now, headers, p)
	if code != 0 || duplicate {
		if p.kind == PrefaceFire {
			s.missed(p, headers)
		}
		return seq, duplicate, code
	}
	return s.accept(m, headers, p), false, 0
}

func (s *twinStream) check(m *twinMessage, now int64, headers map[string]string, p preface) (uint64, bool, server.ErrorIdentifier) {
	if code := s.checkFeatures(headers, p); code != 0 {
		return 0, false, code
	}
	id := headers[server.JSMsgId]
	if e, ok := s.ids[id]; ok && id != "" && e.stamp > now-int64(s.config.Duplicates) {
		return e.seq, true, 0
	}
	if s.config.AllowMsgCounter && headers[server.JSMessageIncr] == "" {
		return 0, false, server.JSMessageIncrMissingErr
	}
	if v, ok := headers[server.JSExpectedLastSeq]; ok && v != fmt.Sprint(s.last) {
		return 0, false, server.JSStreamWrongLastSequenceErrF
	}
	same := s.sequences(m.subject)
	if v, ok := headers[server.JSExpectedLastSubjSeq]; ok {
		last := uint64(0)
		if len(same) > 0 {
			last = same[len(same)-1]
		}
		if v != fmt.Sprint(last) {
			return 0, false, server.JSStreamWrongLastSequenceErrF
		}
	}
	if code := s.checkSchedule(headers, p); code != 0 {
		return 0, false, code
	}
	rollup := headers[server.JSMsgRollup]
	if rollup != "" && !s.config.AllowRollup && p.kind != PrefaceMarker {
		return 0, false, server.JSStreamRollupFailedF
	}
	if s.config.Discard == server.DiscardNew {
		replaced, replaces := uint64(0), false
		if s.config.MaxMsgsPer > 0 && len(same) >= int(s.config.MaxMsgsPer) {
			if s.config.DiscardNewPer && rollup == "" {
				return 0, false, server.JSStreamStoreFailedF
			}
			if s.config.Replicas == 1 {
				replaced, replaces = s.messages[same[0]].size, true
			}
		}
		if s.config.MaxMsgs > 0 && len(s.messages) >= int(s.config.MaxMsgs) && !replaces {
			return 0, false, server.JSStreamStoreFailedF
		}
		if s.config.MaxBytes > 0 && s.bytes()+m.size > uint64(s.config.MaxBytes) && replaced < m.size {
			return 0, false, server.JSStreamStoreFailedF
		}
	}
	if v, ok := headers[server.JSExpectedLastMsgId]; ok && v != s.lastID {
		return 0, false, server.JSStreamWrongLastMsgIDErrF
	}
	return 0, false, 0
}

// accept stores a message that was checked.
func (s *twinStream) accept(m *twinMessage, headers map[string]string, p preface) uint64 {
	id, rollup := headers[server.JSMsgId], headers[server.JSMsgRollup]
	s.last++
	s.lastStamp, s.lastID = m.stamp, id
	if id != "" {
		s.ids[id] = twinID{s.last, m.stamp}
	}
	seq, keep := s.last, uint64(1)
	if s.config.Retention == server.InterestPolicy && !s.wanted(m.subject) {
		keep = 0
		if len(s.messages) == 0 {
			s.first = seq + 1
		}
	} else {
		s.messages[seq] = m
		if len(s.messages) == 1 {
			s.first = seq
		}
		if headers[server.JSScheduler] == "" {
			delete(s.schedules, m.subject)
		}
		if headers[server.JSSchedulePattern] != "" && p.kind == PrefaceSchedule && p.b == uint64(ScheduleFine) {
			s.schedules[m.subject] = twinSchedule{seq, int64(p.a)}
		}
	}
	s.followSchedule(headers)
	switch rollup {
	case "sub":
		s.purge(m.subject, 0, keep)
	case "all":
		s.purge("", 0, keep)
	}
	if keep > 0 {
		s.enforce()
	}
	return seq
}

func (s *twinStream) checkFeatures(headers map[string]string, p preface) server.ErrorIdentifier {
	if headers[server.JSMessageIncr] != "" {
		switch {
		case !s.config.AllowMsgCounter:
			return server.JSMessageIncrDisabledErr
		case p.kind != PrefaceCounter: // the payload is the client's
			return server.JSMessageIncrPayloadErr
		case headers[server.JSMsgRollup] != "" || headers[server.JSExpectedLastSeq] != "" || headers[server.JSExpectedLastSubjSeq] != "" || headers[server.JSExpectedLastMsgId] != "":
			return server.JSMessageIncrInvalidErr
		}
	}
	if value := headers[server.JSMessageTTL]; value != "" && p.kind != PrefaceMarker && p.kind != PrefaceFire {
		if !s.config.AllowMsgTTL {
			return server.JSMessageTTLDisabledErr
		}
		if _, ok := twinTTL(value); !ok {
			return server.JSMessageTTLInvalidErr
		}
	}
	return 0
}

func (s *twinStream) checkSchedule(headers map[string]string, p preface) server.ErrorIdentifier {
	switch {
	case headers[server.JSSchedulePattern] == "":
	case !s.config.AllowMsgSchedules:
		return server.JSMessageSchedulesDisabledErr
	case p.b == uint64(ScheduleBadPattern):
		return server.JSMessageSchedulesPatternInvalidErr
	case p.b == uint64(ScheduleNever):
	case headers[server.JSScheduleTTL] != "" && !s.config.AllowMsgTTL:
		return server.JSMessageTTLDisabledErr
	}
	if p.kind == PrefaceFire || headers[server.JSScheduler] == "" {
		return 0
	}
	subject := headers[server.JSScheduler]
	if !s.config.AllowMsgSchedules {
		return server.JSMessageSchedulesDisabledErr
	}
	if last := s.lastOf(subject); last > 0 && s.schedules[subject].seq != last {
		return server.JSMessageSchedulesSchedulerInvalidErr
	}
	return 0
}

// followSchedule does what Nats-Schedule-Next says.
func (s *twinStream) followSchedule(headers map[string]string) {
	next, subject := headers[server.JSScheduleNext], headers[server.JSScheduler]
	if !s.config.AllowMsgSchedules || next == "" || subject == "" {
		return
	}
	if next == "purge" {
		s.purge(subject, 0, 0)
		return
	}
	at, err := time.Parse(time.RFC3339Nano, next)
	if old, ok := s.schedules[subject]; ok && err == nil {
		s.schedules[subject] = twinSchedule{old.seq, at.UnixNano()}
	}
}

// missed is what becomes of a schedule whose message was refused.
func (s *twinStream) missed(p preface, headers map[string]string) {
	if headers[server.JSScheduleNext] != "purge" {
		s.followSchedule(headers)
		return
	}
	for subject, one := range s.schedules {
		if one.seq == p.a {
			delete(s.schedules, subject)
		}
	}
}
