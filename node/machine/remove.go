package machine

import (
	"encoding/json"
	"errors"
	"math"

	"github.com/nats-io/nats-server/v2/server"
)

// remove takes a live message out of the stream.
func (s *Stream) remove(seq uint64) {
	b := s.index.locate(seq)
	i := int(seq - b.first)
	r := b.at(i)
	s.touchBlock(b)
	b.kill(i)
	sub := &s.subjects.list[r.subject]
	s.machine.entries.remove(r.entry, 1, messageSize(len(sub.name), r.content))
	s.msgs--
	s.addBytes(-s.size(len(sub.name), r.content))
	sub.removed(seq)
	if len(s.schedules) > 0 && s.schedules[r.subject].seq == seq {
		s.unschedule(r.subject)
	}
	if sub.first == seq+1 && !sub.firstExact && sub.count > 0 && s.chained() { // it was the oldest
		s.follow(sub, b, i)
	}
	for _, c := range s.consumers {
		c.gone(seq, r.subject)
	}
	if sub.count == 0 {
		s.releaseSubject(r.subject)
	}
	if b.live == 0 {
		s.dropBlock(b)
	}
	if seq == s.first {
		s.moveFirst(seq + 1)
	}
}

// moveFirst finds the first live message at or after seq.
func (s *Stream) moveFirst(seq uint64) {
	if s.msgs == 0 {
		s.first = s.last + 1
		return
	}
	s.first, _ = s.index.next(seq)
}

func (s *Stream) releaseSubject(id uint32) {
	for _, c := range s.consumers {
		c.matches.set(id, false)
	}
	s.preserveNames(id)
	s.subjects.release(id)
}

func (s *Stream) dropBlock(b *block) {
	s.index.drop(b)
	s.forgetBlock(b)
}

// clear removes all messages at once. The next sequence becomes at least next.
// The caller sets the consumers right.
func (s *Stream) clear(next uint64) {
	s.preserveAll()
	for _, b := range s.index.blocks {
		if b.rows == nil {
			s.machine.graves = append(s.machine.graves, grave{b, s.subjects.list})
		} else {
			s.machine.uncount(b, s.subjects.list) // its rows will be used again
		}
		b.live = 0
		s.forgetBlock(b)
	}
	s.index.blocks, s.index.hint = nil, 0
	s.forgetNames()
	s.forgetSchedules()
	s.subjects, s.ttls, s.rolled = subjectTable{}, nil, nil
	s.msgs = 0
	s.addBytes(-s.bytes)
	s.last = max(s.last+1, next) - 1
	s.first = s.last + 1
	for _, c := range s.consumers {
		c.forgetMessages()
	}
	s.touch()
}

// enforceLimits removes the oldest messages that the limits leave no room for,
// after a message of that subject was stored.
func (s *Stream) enforceLimits(subject []byte) {
	if limit := s.config.MaxMsgsPer; limit > 0 {
		for n := 0; s.mayEvict(n); n++ { // the others, if any, are for the review
			id, ok := s.subjects.lookup(subject)
			if !ok || int64(s.subjects.list[id].count) <= limit {
				break
			}
			s.remove(s.firstSeq(id))
		}
	}
	for n := 0; s.overTotals(); n++ {
		if !s.mayEvict(n) {
			s.listBehind()
			break
		}
		s.remove(s.first)
	}
}

// mayEvict reports whether one more message may go to make room for the one that
// was stored, after n others. Two may always go, so that a stream that is over its
// limits does not grow.
func (s *Stream) mayEvict(n int) bool {
	if n < 2 {
		return true
	}
	s.machine.work -= s.removeCost()
	return s.machine.work > 0
}

// deleteMessage applies a delete command. It is answered as the NATS server
// answers it.
func (s *Stream) deleteMessage(seq uint64, result *Result) {
	switch {
	case s.config.Sealed:
		result.Err = server.NewJSStreamSealedError()
	case s.config.DenyDelete:
		result.Err = server.NewJSStreamMsgDeleteFailedError(errors.New("message delete not permitted"))
	default:
		if _, ok := s.Message(seq); !ok {
			result.Err = s.missing(seq)
			return
		}
		result.Seq = seq
		s.remove(seq)
	}
}

// missing says that there is no message to delete. Where its file store looks
// in vain for the place, the NATS server calls it a failure.
func (s *Stream) missing(seq uint64) *server.ApiError {
	switch {
	case s.config.Storage == server.MemoryStorage:
	case seq > s.last:
		return server.NewJSStreamMsgDeleteFailedError(server.ErrStoreEOF)
	case seq < s.first || seq == 0:
		return server.NewJSStreamMsgDeleteFailedError(server.ErrStoreMsgNotFound)
	}
	return server.NewJSSequenceNotFoundError(seq)
}

// purge applies a purge command.
func (s *Stream) purge(encoded []byte, result *Result) {
	var request server.JSApiStreamPurgeRequest
	if err := json.Unmarshal(encoded, &request); err != nil {
		result.Err = server.NewJSInvalidJSONError(err)
		return
	}
	result.Err = s.mayPurge()
	switch {
	case result.Err != nil:
	case request.Sequence > 0 && request.Keep > 0:
		result.Err = server.NewJSBadRequestError()
	case s.mayKeepWrong(&request):
		result.Unmet = true
	default:
		result.Seq = s.purgeMatching(request.Subject, request.Sequence, request.Keep, math.MaxUint64)
	}
}

// purgeStep applies a command that purges at most so many messages.
func (s *Stream) purgeStep(limit uint64, encoded []byte, result *Result) {
	var request server.JSApiStreamPurgeRequest
	if err := json.Unmarshal(encoded, &request); err != nil {
		result.Err = server.NewJSInvalidJSONError(err)
		return
	}
	if result.Err = s.mayPurge(); result.Err != nil {
		return
	}
	result.Last = s.last
	if result.Unmet = s.mayKeepWrong(&request); result.Unmet {
		return
	}
	result.Seq = s.purgeMatching(request.Subject, request.Sequence, request.Keep, limit)
}

func (s *Stream) mayPurge() *server.ApiError {
	switch {
	case s.config.Sealed:
		return server.NewJSStreamSealedError()
	case s.config.DenyPurge:
		return server.NewJSStreamPurgeFailedError(errors.New("stream purge not permitted"))
	}
	return nil
}

// purgeMatching removes the messages that match the filter (empty: all), up to
// but not including sequence before (0: no bound), except the last keep ones
// (PurgeEx of the NATS server's stores). When not all go it removes at most limit of
// them. It returns how many were removed.
func (s *Stream) purgeMatching(filter string, before, keep, limit uint64) uint64 {
	if before == 1 || before == 0 && s.last == 0 { // all up to the first: nothing
		return 0
	}
	all := filter == "" || filter == anyTail
	removed := s.msgs
	if all && keep == 0 && (before == 0 || before > s.last) {
		s.clear(before)
	} else {
		s.purging = true
		removed = s.removeMatching(filter, all, before, keep, limit)
		s.purging = false
	}
	s.movePurgedConsumers(filter)
	return removed
}

func (s *Stream) removeMatching(filter string, all bool, before, keep, limit uint64) uint64 {
	var ids idSet
	id, known := s.subjects.ids[filter]
	total := s.msgs
	switch {
	case all:
	case known:
		total = uint64(s.subjects.list[id].count)
	default:
		ids = s.matching([]string{filter})
		total = s.countIn(ids)
	}
	if keep >= total {
		return 0
	}
	end, most := s.last+1, min(total-keep, limit)
	if before > 0 {
		end = min(before, end)
	}
	removed := uint64(0)
	for seq := s.first; removed < most; seq++ {
		var ok bool
		switch {
		case all:
			seq, ok = s.index.next(seq)
		case known:
			seq, ok = s.index.nextOf(max(seq, s.subjects.list[id].first), id)
		default:
			seq, ok = s.index.nextIn(seq, ids)
		}
		if !ok || seq >= end {
			break
		}
		s.remove(seq)
		removed++
	}
	return removed
}

func (s *Stream) countIn(ids idSet) uint64 {
	total := uint64(0)
	for id := range ids.each() {
		total += uint64(s.subjects.list[id].count)
	}
	return total
}

// movePurgedConsumers moves consumers over what a purge removed
// (stream.purgeLocked and consumer.purge of the NATS server).
func (s *Stream) movePurgedConsumers(filter string) {
	firstLeft := s.first
	if filter != "" {
		firstLeft = 0
		if next, ok := s.next(s.first, filter); ok {
			firstLeft = next
		}
	}
	for _, c := range s.consumers {
		start, concerned := firstLeft, true
		if filter != "" {
			within := len(c.filters) > 0
			touches := false
			for _, f := range c.filters {
				within = within && covers(filter, f)
				touches = touches || covers(filter, f)
			}
			wider := coversAny(c.filters, filter)
			concerned = touches || wider
			if !within {
				start = s.first
			} else if start == 0 {
				start = s.last + 1
			}
		}
		if concerned {
			c.skipTo(start)
		}
	}
}
