package machine

import (
	"math"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// publish applies a publish command whose bytes lie at offset in the entry.
func (m *Machine) publish(body *protocol.Reader, op opcode, offset, size uint32, result *Result) {
	encoded := len(body.Rest)
	s := m.namedStream(body, result)
	message := readContent(body, op)
	if s == nil || body.Failed() {
		m.pending.set = false
		m.run.left = max(m.run.left-1, 0)
		return
	}
	content := contentOf(&message, op)
	r := record{entry: m.index, stamp: m.now, offset: offset, content: content, slot: uint16(m.slot)}
	if encoded > math.MaxInt32 || !canonical(s, &message, content, size) {
		body.Fail()
		return
	}
	h := &noHeaders
	if len(message.Header) > 0 {
		h = &m.headers
		h.read(message.Header)
	}
	var p preface
	if m.prefaced {
		p = m.takePreface()
	}
	if m.pending.set {
		m.pending.set = false
		s.take(&m.pending, &message, h, &p, &r, result)
		return
	}
	if m.batch != nil {
		m.publishOfBatch(s, &message, h, &p, &r, result)
		return
	}
	if m.run.left > 0 {
		if s.incarnation != m.run.stream {
			body.Fail()
			return
		}
		s.publishOfRun(&message, h, &p, &r, result)
		return
	}
	if result.Unmet = !s.met(&p, &message, nil); result.Unmet {
		return
	}
	if seq, err := s.admit(&message, h, &p, content, nil); err != nil {
		result.Err = err
		s.refused(h, &p)
		return
	} else if seq > 0 {
		result.Seq, result.Duplicate = seq, true
		s.refused(h, &p)
		return
	}
	result.Seq = s.accept(&message, h, &p, &r)
}

// contentOf is record.content of a message.
func contentOf(message *Message, op opcode) uint32 {
	content := uint32(len(message.Payload)) << 1
	if op == opPublishHeader {
		content += uint32(headerLengthSize+len(message.Header))<<1 | 1
	}
	return content
}

// canonical reports whether the command is encoded as Batch does it: the index
// computes the size of a command instead of keeping it.
func canonical(s *Stream, message *Message, content, size uint32) bool {
	body := s.incarnation.encodedLen() + uvarintLen(uint64(len(message.Subject))) + len(message.Subject) + int(content>>1)
	return len(message.Subject) > 0 && uint64(size) == uint64(1+uvarintLen(uint64(body))+body)
}

// accept gives the message its sequence, stores it unless nobody is
// interested, and lets go of what it replaces. It returns the sequence.
func (s *Stream) accept(message *Message, h *publishHeaders, p *preface, r *record) uint64 {
	seq := s.last + 1
	stamp := r.stamp + int64(r.slot)
	keep := uint64(1)
	if s.config.Retention == server.InterestPolicy && !s.intake && !s.interested(message.Subject) {
		s.skip(seq, stamp)
		keep = 0
	} else {
		previous := uint64(0)
		if s.config.RePublish != nil {
			previous = s.lastOfLiteral(message.Subject)
		}
		if len(h.rollup) > 0 && !h.rollupOfSubject {
			s.makeRoom()
		}
		s.store(seq, message.Subject, r, s.timeToLive(h))
		if s.config.RePublish != nil && !s.intake {
			s.machine.event(Event{Kind: EventRepublish, Stream: s, Seq: seq, Previous: previous, Stamp: stamp, Location: s.locate(r)})
		}
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
	if s.config.AllowMsgSchedules || len(h.scheduleNext) > 0 {
		s.followSchedules(message, h, p, seq, keep)
	}
	switch {
	case len(h.rollup) == 0:
	case h.rollupOfSubject:
		s.rollUp(string(message.Subject), keep)
	default:
		s.purgeMatching("", 0, keep, math.MaxUint64)
	}
	if keep > 0 {
		s.enforceLimits(message.Subject)
	}
	return seq
}

// lastOfLiteral returns the last sequence of a subject, 0 for none.
func (s *Stream) lastOfLiteral(subject []byte) uint64 {
	if id, ok := s.subjects.lookup(subject); ok {
		return s.lastShown(id)
	}
	return 0
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
func (s *Stream) store(seq uint64, subject []byte, r *record, ttl uint32) {
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
	s.touchBlock(b)
	b.add(r)
	if ttl != 0 {
		s.noteTTL(b, r.stamp+int64(r.slot), ttl)
	}
	b.pageChanged = true
	s.machine.entries.add(r.entry, s.machine.size, messageSize(len(subject), r.content))

	if s.msgs == 0 {
		s.first = seq
	}
	s.msgs++
	s.stored++
	s.addBytes(s.size(len(subject), r.content))
	s.last, s.lastStamp = seq, r.stamp+int64(r.slot)
	for _, c := range s.watchers {
		c.see(seq, id)
	}
	if s.msgs == 1 || s.immortals {
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
			s.touchBlock(b)
			b.addDead()
			b.pageChanged = true
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
	s.preserveNames(s.subjects.nextID())
	id := s.subjects.add(subject)
	for _, c := range s.consumers {
		if len(c.filters) > 0 && coversAny(c.filters, subject) {
			c.matches.set(id, true)
		}
	}
	s.changed.names.set(id/namesPerPage, true)
	return id
}
