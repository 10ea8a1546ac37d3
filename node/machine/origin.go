package machine

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// A mirror and a stream with sources get messages of other streams. Whoever
// leads fetches them and proposes each with its Origin; what was taken over so
// far is part of the state, and a message is only taken over when it follows on
// that. So a message is stored once, and none is left out, whoever leads and
// whatever proposal is lost.

// Origin says where a message comes from.
type Origin struct {
	// Source is the SourceName of the source; empty for a mirror.
	Source string
	// Previous is the sequence at the origin after which this message comes next:
	// the one taken over before it. For a mirror it is the last sequence of the
	// mirror itself.
	Previous uint64
	// Seq is the message's sequence at the origin, above Previous. A mirror stores
	// it under the same.
	Seq uint64
	// Stamp is the message's time at the origin, in nanoseconds since 1970, which
	// a mirror keeps. Below 65,536 it counts as that.
	Stamp int64
	// Identity tells an origin from another one of the same name (StreamIdentity);
	// empty when it is not known. When it changes, Previous is 0.
	Identity string
	// Pending is how many messages the origin has behind this one.
	Pending uint64
	// Said, if it is not 0, is the kind of a preface with the numbers SaidA and
	// SaidB: a counter that takes over those of other streams has a value of its
	// own, and a schedule that is restored has to be due again.
	Said         PrefaceKind
	SaidA, SaidB uint64
}

// Slots is how many slots a message takes that is stored with StoreFrom.
func (o *Origin) Slots() int {
	if o.Said != 0 {
		return 3
	}
	return 2
}

// mirrorReadyBelow: a mirror answers direct reads for its origin once it was as
// close to its end (dgetCaughtUpThresh of the NATS server).
const mirrorReadyBelow = 10

// minOriginStamp: the time of an entry, to which its slots are added, is above 0.
const minOriginStamp = math.MaxUint16 + 1

// originState is how far a stream is with one of its sources.
type originState struct {
	seq      uint64 // at the origin, of the last message taken over
	identity string // of the origin then
	at       uint64 // sequence in this stream of that message; 0 when it was not stored
	listed   bool   // the configuration has this source
}

// pendingOrigin is the origin of the message that the next command stores.
type pendingOrigin struct {
	set              bool
	stream           Incarnation
	source, identity []byte // alias the entry
	previous, seq    uint64
	stamp            int64
	pending          uint64
}

// StoreFrom stores a message that was fetched from its origin, in as many
// commands as o.Slots says. The slot that it returns is that of the last one,
// which has the result.
func (b *Batch) StoreFrom(stream Incarnation, o *Origin, subject, header, payload []byte) int {
	if b.slots+o.Slots() > MaxSlots {
		return -1
	}
	size := stream.encodedLen() + uvarintLen(uint64(len(o.Source))) + len(o.Source) + uvarintLen(o.Previous) + uvarintLen(o.Seq) +
		uvarintLen(uint64(o.Stamp)) + uvarintLen(uint64(len(o.Identity))) + len(o.Identity) + uvarintLen(o.Pending)
	b.data = append(b.data, byte(opOrigin))
	b.data = binary.AppendUvarint(b.data, uint64(size))
	b.data = stream.append(b.data)
	b.data = appendText(b.data, o.Source)
	b.data = binary.AppendUvarint(b.data, o.Previous)
	b.data = binary.AppendUvarint(b.data, o.Seq)
	b.data = binary.AppendUvarint(b.data, uint64(o.Stamp))
	b.data = appendText(b.data, o.Identity)
	b.data = binary.AppendUvarint(b.data, o.Pending)
	b.slots++
	if o.Said != 0 {
		b.Preface(o.Said, o.SaidA, o.SaidB)
	}
	return b.Publish(stream, subject, header, payload)
}

// SkipTo moves the last sequence of a mirror up to that of its origin, which
// has no message there any more.
func (b *Batch) SkipTo(stream Incarnation, seq uint64) int {
	return b.add(opSkipTo, binary.AppendUvarint(stream.append(nil), seq))
}

// origin takes note of where the message of the next command comes from.
func (m *Machine) origin(body *protocol.Reader, result *Result) {
	s := m.namedStream(body, result)
	o := &m.pending
	*o = pendingOrigin{set: true, source: body.Bytes(body.Uvarint()), previous: body.Uvarint(), seq: body.Uvarint()}
	stamp := body.Uvarint()
	o.identity, o.pending = body.Bytes(body.Uvarint()), body.Uvarint()
	o.stamp = int64(min(max(stamp, minOriginStamp), MaxStamp))
	if s != nil {
		o.stream = s.incarnation
	}
	if o.seq <= o.previous || o.seq > math.MaxInt64 {
		o.stream = 0 // fits nothing
	}
}

// take stores a message of another stream, if it is the next one.
func (s *Stream) take(o *pendingOrigin, message *Message, h *publishHeaders, p *preface, r *record, result *Result) {
	state := s.origins[string(o.source)]
	mirrors := len(o.source) == 0 && (s.config.Mirror != nil || s.intake) && o.previous == s.last
	follows := len(o.source) > 0 && state != nil && state.follows(o)
	switch {
	case o.stream != s.incarnation || !mirrors && !follows:
		result.Err = server.NewJSStreamSequenceNotMatchError()
		return
	}
	if result.Err = s.admitUsage(message, r.content, nil); result.Err != nil {
		return
	}
	switch {
	case mirrors:
		s.takeForMirror(o, message, h, p, r, result)
		return
	case s.config.AllowMsgCounter && !s.met(p, message, nil):
		result.Unmet = true
		return
	}
	seq, err := s.admitFrom(message, h, p, r.content)
	if err != nil {
		result.Err = err
		return
	}
	result.Seq, result.Duplicate = seq, seq > 0
	state.at = 0
	if seq == 0 {
		result.Seq = s.accept(message, h, &noPreface, r)
		state.at = result.Seq
	}
	state.seq = o.seq
	if state.identity != string(o.identity) {
		state.identity = string(o.identity)
	}
	s.touch()
}

// follows reports whether the message is the next one of its source.
func (o *originState) follows(next *pendingOrigin) bool {
	if !o.listed {
		return false
	}
	if len(o.identity) > 0 && len(next.identity) > 0 && o.identity != string(next.identity) {
		return next.previous == 0
	}
	return o.seq == next.previous
}

// takeForMirror stores the message under the sequence and time that it has at
// its origin. Nothing else is refused: a mirror has no mind of its own.
func (s *Stream) takeForMirror(o *pendingOrigin, message *Message, h *publishHeaders, p *preface, r *record, result *Result) {
	if len(h.rollup) > 0 && (s.intake || s.admitRollup(message, h, &noPreface, nil) != nil) {
		h.rollup = nil
	}
	s.skipTo(o.seq - 1)
	r.stamp = o.stamp - int64(r.slot)
	result.Seq = s.accept(message, h, p, r)
	if o.pending < mirrorReadyBelow && !s.mirrorReady && !s.intake {
		s.mirrorReady = true
		s.machine.event(Event{Kind: EventMirrorReady, Stream: s})
	}
}

// admitFrom decides whether a message of a source is stored. What its origin has
// decided is not decided again. A sequence means that it is a duplicate.
func (s *Stream) admitFrom(message *Message, h *publishHeaders, p *preface, content uint32) (uint64, *server.ApiError) {
	if s.config.Sealed {
		return 0, server.NewJSStreamSealedError()
	}
	if limit := int(s.config.MaxMsgSize); limit >= 0 && len(message.Header)+len(message.Payload) > limit {
		return 0, server.NewJSStreamMessageExceedsMaximumError()
	}
	if len(message.Header) > math.MaxUint16 {
		return 0, server.NewJSStreamHeaderExceedsMaximumError()
	}
	if len(h.increment) > 0 && !validIncrement(h.increment) {
		return 0, server.NewJSMessageIncrInvalidError()
	}
	if window := span(s.config.Duplicates); len(h.id) > 0 && window > 0 {
		if seq, ok := s.dedup.find(h.id, s.machine.now-window); ok {
			return seq, nil
		}
	}
	if s.config.AllowMsgCounter {
		switch {
		case len(h.increment) == 0:
			return 0, server.NewJSMessageIncrMissingError()
		case p.kind != PrefaceCounter:
			return 0, server.NewJSMessageCounterBrokenError()
		}
	}
	if len(h.rollup) > 0 && s.admitRollup(message, h, &noPreface, nil) != nil {
		h.rollup = nil // it was meant for the origin
	}
	if s.config.Discard == server.DiscardNew {
		if err := s.admitLimits(message, h, content, nil); err != nil {
			return 0, server.NewJSStreamStoreFailedError(err, server.Unless(err))
		}
	}
	return 0, nil
}

// skipMirror applies a skip command.
func (s *Stream) skipMirror(seq uint64, result *Result) {
	if s.config.Mirror == nil || seq > math.MaxInt64 {
		result.Err = server.NewJSStreamSequenceNotMatchError()
		return
	}
	s.skipTo(seq)
	result.Seq = s.last
}

// maxDeadRow is the largest gap that is kept as rows of a block. A block of its
// own for what comes after a gap costs more than a few dead rows.
const maxDeadRow = 64

// skipTo gives sequences away that have no message.
func (s *Stream) skipTo(seq uint64) {
	if seq <= s.last {
		return
	}
	gap := seq - s.last
	if n := len(s.index.blocks); n > 0 && gap <= maxDeadRow {
		if b := s.index.blocks[n-1]; b.rows != nil && b.count+int(gap) < s.index.size && b.end() == s.last+1 {
			s.touchBlock(b)
			for range gap {
				b.addDead()
			}
			b.pageChanged = true
		}
	}
	s.last = seq
	if s.msgs == 0 {
		s.first = seq + 1
	}
	s.touch()
}

// MirrorReady reports whether the stream is a mirror that was close enough to
// its origin's end to answer direct reads for it.
func (s *Stream) MirrorReady() bool { return s.config.Mirror != nil && s.mirrorReady }

// Taken returns how far the stream is with the source of that SourceName: the
// sequence of the last message taken over, and the identity of its origin.
func (s *Stream) Taken(source string) (seq uint64, identity string) {
	if state := s.origins[source]; state != nil {
		return state.seq, state.identity
	}
	return 0, ""
}

// Flags of a stream's state.
const (
	flagMirrorReady = 1
	flagIntake      = 2
)

// appendOrigins encodes where the stream's messages come from: flags, and how far
// it is with its sources.
func (s *Stream) appendOrigins(dst []byte) []byte {
	flags := byte(0)
	if s.mirrorReady {
		flags |= flagMirrorReady
	}
	if s.intake {
		flags |= flagIntake
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(len(s.origins)))
	for _, name := range slices.Sorted(maps.Keys(s.origins)) {
		state := s.origins[name]
		dst = appendText(dst, name)
		dst = binary.AppendUvarint(dst, state.seq)
		dst = binary.AppendUvarint(dst, state.at)
		dst = appendText(dst, state.identity)
	}
	return dst
}

func (s *Stream) restoreOrigins(r *protocol.Reader) {
	flags := r.Byte()
	s.mirrorReady, s.intake = flags&flagMirrorReady != 0, flags&flagIntake != 0
	s.origins = nil
	for n := r.Uvarint(); n > 0 && !r.Failed(); n-- {
		name := string(r.Bytes(r.Uvarint()))
		state := &originState{seq: r.Uvarint(), at: r.Uvarint(), identity: string(r.Bytes(r.Uvarint()))}
		s.origins = withOrigin(s.origins, name, state)
	}
	s.markOrigins()
}
