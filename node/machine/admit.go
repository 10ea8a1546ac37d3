package machine

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// maxFileMessage is the largest message, framed, that the NATS server's file
// store takes.
const maxFileMessage = 32 << 20

// admit decides whether the message is stored. A sequence means that it is a
// duplicate of that message. The checks and their order are those of a
// clustered NATS server (processClusteredInboundMsg and
// checkMsgHeadersPreClusteredProposal, then processJetStreamMsg); the difference
// is that they see the effect of every message before this one. In a batch they
// also see those before it in the batch.
func (s *Stream) admit(message *Message, h *publishHeaders, p *preface, content uint32, batch *batchCheck) (uint64, *server.ApiError) {
	if s.config.Sealed {
		return 0, server.NewJSStreamSealedError()
	}
	if err := s.admitUsage(message, content, batch); err != nil {
		return 0, err
	}
	if limit := int(s.config.MaxMsgSize); limit >= 0 && len(message.Header)+len(message.Payload) > limit {
		return 0, server.NewJSStreamMessageExceedsMaximumError()
	}
	if content>>1 > maxFileMessage/2 && s.config.Storage == server.FileStorage && s.size(len(message.Subject), content) > maxFileMessage {
		return 0, server.NewJSStreamStoreFailedError(server.ErrMsgTooLarge)
	}
	if len(message.Header) > 0 {
		if seq, err := s.admitHeaders(message, h, p, batch); err != nil || seq > 0 {
			return seq, err
		}
	}
	if s.config.AllowMsgCounter && len(h.increment) == 0 {
		return 0, server.NewJSMessageIncrMissingError()
	}
	if p.kind == PrefaceBroken {
		return 0, server.NewJSMessageCounterBrokenError()
	}
	if len(message.Header) > 0 {
		if err := s.admitExpected(message, h, batch); err != nil {
			return 0, err
		}
		if err := s.admitSchedule(message, h, p); err != nil {
			return 0, err
		}
		if err := s.admitSchedulePurge(message, h, p, batch); err != nil {
			return 0, err
		}
		if err := s.admitRollup(message, h, p, batch); err != nil {
			return 0, err
		}
	}
	if batch != nil {
		batch.note(s, message, h, content)
	}
	if s.config.Discard == server.DiscardNew {
		if err := s.admitLimits(message, h, content, batch); err != nil {
			return 0, server.NewJSStreamStoreFailedError(err, server.Unless(err))
		}
	}
	if len(h.lastID) > 0 && string(h.lastID) != s.lastID {
		return 0, server.NewJSStreamWrongLastMsgIDError(s.lastID)
	}
	return 0, nil
}

// admitHeaders makes the checks up to the message ID. A sequence means that it
// is a duplicate of that message.
func (s *Stream) admitHeaders(message *Message, h *publishHeaders, p *preface, batch *batchCheck) (uint64, *server.ApiError) {
	if len(h.atomicBatch) > 0 && batch == nil && !s.config.AllowAtomicPublish {
		return 0, server.NewJSAtomicPublishDisabledError()
	}
	if len(message.Header) > math.MaxUint16 {
		return 0, server.NewJSStreamHeaderExceedsMaximumError()
	}
	if len(h.increment) > 0 {
		if err := s.admitIncrement(message, h, p); err != nil {
			return 0, err
		}
	}
	if len(h.stream) > 0 && string(h.stream) != s.config.Name {
		return 0, server.NewJSStreamNotMatchError()
	}
	if len(h.ttl) > 0 && !p.internal() {
		zero, ok := validTTL(h.ttl)
		if (!ok || !zero) && !s.config.AllowMsgTTL {
			return 0, server.NewJSMessageTTLDisabledError()
		}
		if !ok {
			return 0, server.NewJSMessageTTLInvalidError()
		}
	}
	if len(h.id) > 0 {
		if seq, err := s.admitID(h.id, batch); err != nil || seq > 0 {
			return seq, err
		}
	}
	if len(h.source) > 0 && !p.internal() {
		return 0, server.NewJSMessageSourceHdrNotAllowedError()
	}
	return 0, nil
}

// admitID looks for an earlier message with that ID.
func (s *Stream) admitID(id []byte, batch *batchCheck) (uint64, *server.ApiError) {
	if batch != nil && batch.ids[string(id)] {
		return 0, server.NewJSAtomicPublishContainsDuplicateMessageError()
	}
	window := span(s.config.Duplicates)
	if window <= 0 {
		return 0, nil
	}
	seq, duplicate := s.dedup.find(id, s.machine.now-window)
	switch {
	case duplicate && batch != nil:
		return 0, server.NewJSAtomicPublishContainsDuplicateMessageError()
	case duplicate:
		return seq, nil
	case batch != nil:
		batch.noteID(id)
	}
	return 0, nil
}

// admitIncrement checks the header of a counter (ADR-49). Whoever proposes it
// has put the new value into the payload, and said in the preface what it was
// computed from; without one the payload is what the client sent.
func (s *Stream) admitIncrement(message *Message, h *publishHeaders, p *preface) *server.ApiError {
	switch {
	case !validIncrement(h.increment):
		return server.NewJSMessageIncrInvalidError()
	case p.internal():
		return nil
	case !s.config.AllowMsgCounter:
		return server.NewJSMessageIncrDisabledError()
	case p.kind != PrefaceCounter && len(message.Payload) > 0:
		return server.NewJSMessageIncrPayloadError()
	case p.kind != PrefaceCounter && p.kind != PrefaceBroken, len(h.rollup) > 0, len(h.stream) > 0, len(h.lastID) > 0, len(h.lastSubject) > 0, len(h.lastSeq) > 0, len(h.lastSubjectSeq) > 0:
		return server.NewJSMessageIncrInvalidError()
	}
	return nil
}

// validIncrement reports whether a header is a whole number, in the form that
// big.Int reads in base 10.
func validIncrement(digits []byte) bool {
	if len(digits) > 0 && (digits[0] == '+' || digits[0] == '-') {
		digits = digits[1:]
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) > 0
}

// admitExpected checks the sequences that the publisher expects.
func (s *Stream) admitExpected(message *Message, h *publishHeaders, batch *batchCheck) *server.ApiError {
	if len(h.lastSeq) > 0 {
		if last := s.last + batch.count(); parseSequence(h.lastSeq) != last {
			return server.NewJSStreamWrongLastSequenceError(last)
		} else if batch.count() > 0 {
			return server.NewJSStreamWrongLastSequenceConstantError()
		}
	}
	if len(h.lastSubjectSeq) == 0 {
		if len(h.lastSubject) > 0 {
			return server.NewJSStreamExpectedLastSeqPerSubjectInvalidError()
		}
		return nil
	}
	subject := message.Subject
	if len(h.lastSubject) > 0 {
		subject = h.lastSubject
	}
	if batch.has(subject) {
		return server.NewJSStreamWrongLastSequenceConstantError()
	}
	if last := s.lastOf(string(subject)); parseSequence(h.lastSubjectSeq) != last {
		return server.NewJSStreamWrongLastSequenceError(last)
	}
	return nil
}

func (s *Stream) admitRollup(message *Message, h *publishHeaders, p *preface, batch *batchCheck) *server.ApiError {
	if len(h.rollup) == 0 {
		return nil
	}
	if (!s.config.AllowRollup || s.config.DenyPurge) && !p.internal() {
		return server.NewJSStreamRollupFailedError(errors.New("rollup not permitted"))
	}
	switch {
	case h.rollupOfSubject && batch.has(message.Subject):
		return server.NewJSStreamRollupFailedError(errors.New("batch rollup sub invalid"))
	case h.rollupOfSubject:
	case !strings.EqualFold(string(h.rollup), server.JSMsgRollupAll):
		return server.NewJSStreamRollupFailedError(fmt.Errorf("rollup value invalid: %q", strings.ToLower(string(h.rollup))))
	case batch.count() > 0:
		return server.NewJSStreamRollupFailedError(errors.New("batch rollup all invalid"))
	}
	return nil
}

// admitLimits refuses a message that does not fit when new ones are discarded. A
// batch has noted the message already.
func (s *Stream) admitLimits(message *Message, h *publishHeaders, content uint32, batch *batchCheck) error {
	size := s.size(len(message.Subject), content)
	msgs, bytes, same := s.msgs+1, s.bytes+size, uint64(1)
	if batch != nil {
		msgs, bytes, same = s.msgs+batch.msgs, s.bytes+batch.bytes, batch.subjects[string(message.Subject)].msgs
	}
	id, known := s.subjects.lookup(message.Subject)
	if known {
		same += uint64(s.subjects.list[id].count)
	}
	overSubject := s.config.MaxMsgsPer > 0 && same > uint64(s.config.MaxMsgsPer)
	refused := overSubject && s.config.DiscardNewPer && len(h.rollup) == 0
	if s.config.Replicas <= 1 && overSubject && known && !refused {
		// A stream that is not replicated (fileStore.storeRawMsg) lets in what
		// makes room itself: the oldest message of the subject goes.
		msgs--
		if r, _ := s.index.get(s.firstSeq(id)); s.size(len(message.Subject), r.content) >= size {
			bytes -= size
		}
	}
	switch {
	case s.config.MaxMsgs > 0 && msgs > uint64(s.config.MaxMsgs):
		return server.ErrMaxMsgs
	case s.config.MaxBytes > 0 && bytes > uint64(s.config.MaxBytes):
		return server.ErrMaxBytes
	case refused:
		return server.ErrMaxMsgsPerSubject
	}
	return nil
}
