package machine

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// publish applies a publish command whose bytes lie at offset in the entry.
// The checks and their order are those of a clustered NATS server
// (processClusteredInboundMsg and checkMsgHeadersPreClusteredProposal, then
// processJetStreamMsg); the difference is that they see the effect of every
// message before this one.
func (m *Machine) publish(body *protocol.Reader, op opcode, offset, size uint32, result *Result) {
	encoded := len(body.Rest)
	s := m.namedStream(body, result)
	message := readContent(body, op)
	if s == nil || body.Failed() {
		m.pending.set = false
		return
	}
	content := uint32(len(message.Payload)) << 1
	if op == opPublishHeader {
		content += uint32(headerLengthSize+len(message.Header))<<1 | 1
	}
	r := record{entry: m.index, stamp: m.now, offset: offset, content: content, slot: uint16(m.slot)}
	if encoded > math.MaxInt32 || !canonical(s, &message, content, size) {
		body.Fail()
		return
	}
	var h publishHeaders
	if len(message.Header) > 0 {
		h.parse(message.Header)
	}
	if m.pending.set {
		m.pending.set = false
		s.take(&m.pending, &message, &h, &r, result)
		return
	}
	if seq, err := s.admit(&message, &h, content); err != nil {
		result.Err = err
		return
	} else if seq > 0 {
		result.Seq, result.Duplicate = seq, true
		return
	}
	result.Seq = s.accept(&message, &h, &r)
}

// canonical reports whether the command is encoded as Batch does it: the index
// computes the size of a command instead of keeping it.
func canonical(s *Stream, message *Message, content, size uint32) bool {
	body := s.incarnation.encodedLen() + uvarintLen(uint64(len(message.Subject))) + len(message.Subject) + int(content>>1)
	return len(message.Subject) > 0 && uint64(size) == uint64(1+uvarintLen(uint64(body))+body)
}

// admit decides whether the message is stored. A sequence means that it is a
// duplicate of that message.
func (s *Stream) admit(message *Message, h *publishHeaders, content uint32) (uint64, *server.ApiError) {
	if s.config.Sealed {
		return 0, server.NewJSStreamSealedError()
	}
	if limit := int(s.config.MaxMsgSize); limit >= 0 && len(message.Header)+len(message.Payload) > limit {
		return 0, server.NewJSStreamMessageExceedsMaximumError()
	}
	if len(message.Header) > 0 {
		if len(message.Header) > math.MaxUint16 {
			return 0, server.NewJSStreamHeaderExceedsMaximumError()
		}
		if err := s.admitFeatures(h); err != nil {
			return 0, err
		}
		if window := span(s.config.Duplicates); len(h.id) > 0 && window > 0 {
			if seq, ok := s.dedup.find(h.id, s.machine.now-window); ok {
				return seq, nil
			}
		}
		if err := s.admitExpected(message, h); err != nil {
			return 0, err
		}
		if err := s.admitRollup(h); err != nil {
			return 0, err
		}
	}
	if s.config.Discard == server.DiscardNew {
		if err := s.admitLimits(message, h, content); err != nil {
			return 0, server.NewJSStreamStoreFailedError(err, server.Unless(err))
		}
	}
	if len(h.lastID) > 0 && string(h.lastID) != s.lastID {
		return 0, server.NewJSStreamWrongLastMsgIDError(s.lastID)
	}
	return 0, nil
}

// admitFeatures refuses headers of features that the stream does not allow.
func (s *Stream) admitFeatures(h *publishHeaders) *server.ApiError {
	if len(h.atomicBatch) > 0 && !s.config.AllowAtomicPublish {
		return server.NewJSAtomicPublishDisabledError()
	}
	if len(h.increment) > 0 && !s.config.AllowMsgCounter {
		return server.NewJSMessageIncrDisabledError()
	}
	if len(h.stream) > 0 && string(h.stream) != s.config.Name {
		return server.NewJSStreamNotMatchError()
	}
	if len(h.ttl) > 0 {
		zero, ok := validTTL(h.ttl)
		if (!ok || !zero) && !s.config.AllowMsgTTL {
			return server.NewJSMessageTTLDisabledError()
		}
		if !ok {
			return server.NewJSMessageTTLInvalidError()
		}
	}
	if len(h.source) > 0 {
		return server.NewJSMessageSourceHdrNotAllowedError()
	}
	if len(h.schedule) > 0 && !s.config.AllowMsgSchedules {
		return server.NewJSMessageSchedulesDisabledError()
	}
	return nil
}

// admitExpected checks the sequences that the publisher expects.
func (s *Stream) admitExpected(message *Message, h *publishHeaders) *server.ApiError {
	if len(h.lastSeq) > 0 && parseSequence(h.lastSeq) != s.last {
		return server.NewJSStreamWrongLastSequenceError(s.last)
	}
	if len(h.lastSubjectSeq) == 0 {
		if len(h.lastSubject) > 0 {
			return server.NewJSStreamExpectedLastSeqPerSubjectInvalidError()
		}
		return nil
	}
	var last uint64
	if len(h.lastSubject) > 0 {
		last = s.lastOf(string(h.lastSubject))
	} else if id, ok := s.subjects.lookup(message.Subject); ok {
		last = s.lastSeq(id)
	}
	if parseSequence(h.lastSubjectSeq) != last {
		return server.NewJSStreamWrongLastSequenceError(last)
	}
	return nil
}

func (s *Stream) admitRollup(h *publishHeaders) *server.ApiError {
	if len(h.rollup) == 0 {
		return nil
	}
	if !s.config.AllowRollup || s.config.DenyPurge {
		return server.NewJSStreamRollupFailedError(errors.New("rollup not permitted"))
	}
	switch value := strings.ToLower(string(h.rollup)); value {
	case server.JSMsgRollupSubject:
		h.rollupOfSubject = true
	case server.JSMsgRollupAll:
	default:
		return server.NewJSStreamRollupFailedError(fmt.Errorf("rollup value invalid: %q", value))
	}
	return nil
}

// admitLimits refuses a message that does not fit when new ones are discarded
// (fileStore.storeRawMsg). A message that makes room itself, because its
// subject is at its limit and drops the oldest, is let in.
func (s *Stream) admitLimits(message *Message, h *publishHeaders, content uint32) error {
	size := s.size(len(message.Subject), content)
	replaced, replaces := uint64(0), false
	if limit := s.config.MaxMsgsPer; limit > 0 {
		if id, ok := s.subjects.lookup(message.Subject); ok && int64(s.subjects.list[id].count) >= limit {
			if s.config.DiscardNewPer && len(h.rollup) == 0 {
				return server.ErrMaxMsgsPerSubject
			}
			r, _ := s.index.get(s.firstSeq(id))
			replaced, replaces = s.size(len(message.Subject), r.content), true
		}
	}
	if limit := s.config.MaxMsgs; limit > 0 && s.msgs >= uint64(limit) && !replaces {
		return server.ErrMaxMsgs
	}
	if limit := s.config.MaxBytes; limit > 0 && s.bytes+size > uint64(limit) && replaced < size {
		return server.ErrMaxBytes
	}
	return nil
}

// accept gives the message its sequence, stores it unless nobody is
// interested, and lets go of what it replaces. It returns the sequence.
func (s *Stream) accept(message *Message, h *publishHeaders, r *record) uint64 {
	seq := s.last + 1
	stamp := r.stamp + int64(r.slot)
	keep := uint64(1)
	if s.config.Retention == server.InterestPolicy && !s.interested(message.Subject) {
		s.skip(seq, stamp)
		keep = 0
	} else {
		s.store(seq, message.Subject, r)
	}
	if len(h.id) > 0 {
		s.lastID = string(h.id)
		if s.config.Duplicates > 0 {
			s.dedup.add(s.lastID, dedupEntry{seq: seq, stamp: stamp})
			s.schedule(expireIDs)
		}
	} else {
		s.lastID = ""
	}
	if len(h.rollup) > 0 {
		filter := ""
		if h.rollupOfSubject {
			filter = string(message.Subject)
		}
		s.purgeMatching(filter, 0, keep)
	}
	if keep > 0 {
		s.enforceLimits(message.Subject)
	}
	return seq
}

// interested reports whether a consumer wants messages of that subject.
func (s *Stream) interested(subject []byte) bool {
	id, known := s.subjects.lookup(subject)
	for _, c := range s.consumers {
		if len(c.filters) == 0 || known && c.matches.has(id) || !known && coversAny(c.filters, string(subject)) {
			return true
		}
	}
	return false
}

// store appends a message to the index.
func (s *Stream) store(seq uint64, subject []byte, r *record) {
	id, known := s.subjects.lookup(subject)
	if !known {
		id = s.addSubject(string(subject))
	}
	r.subject = id
	if s.chained() {
		s.link(&s.subjects.list[id], seq)
	}
	s.subjects.list[id].stored(seq)
	b := s.index.open(seq)
	b.add(r)
	b.pageChanged = true
	s.touchBlock(b)
	s.machine.entries.add(r.entry)

	if s.msgs == 0 {
		s.first = seq
	}
	s.msgs++
	s.stored++
	s.bytes += s.size(len(subject), r.content)
	s.last, s.lastStamp = seq, r.stamp+int64(r.slot)
	for _, c := range s.watchers {
		c.see(seq, id)
	}
	if s.msgs == 1 {
		s.schedule(expireMessages)
	}
	if s.storedIn != r.entry {
		s.storedIn = r.entry
		s.machine.event(Event{Kind: EventStored, Stream: s})
	}
}

// skip gives a sequence away without a message.
func (s *Stream) skip(seq uint64, stamp int64) {
	if n := len(s.index.blocks); n > 0 {
		if b := s.index.blocks[n-1]; b.rows != nil && b.count < s.index.size && b.end() == seq {
			b.addDead()
			b.pageChanged = true
			s.touchBlock(b)
		}
	}
	s.last, s.lastStamp = seq, stamp
	if s.msgs == 0 {
		s.first = seq + 1
	}
	s.touch()
}

// addSubject interns a subject and tells the consumers whose filters cover it.
func (s *Stream) addSubject(subject string) uint32 {
	id := s.subjects.add(subject)
	for _, c := range s.consumers {
		if len(c.filters) > 0 && coversAny(c.filters, subject) {
			c.matches.set(id, true)
		}
	}
	s.changed.names.set(id/namesPerPage, true)
	return id
}
