package machine

import (
	"cmp"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Stream is one stream: its configuration, the index of its messages, and its
// consumers. What its methods return is of the last applied entry.
type Stream struct {
	machine     *Machine
	account     *Account
	incarnation Incarnation
	config      *server.StreamConfig // never changed in place
	encoded     []byte               // config as JSON
	created     int64                // stamp
	deleted     bool

	index    index
	subjects subjectTable
	dedup    dedupWindow

	msgs, bytes uint64  // live messages, and their size as the NATS server counts it
	first, last uint64  // first live sequence, or last+1; last sequence given away
	lastStamp   int64   // of the message that last was given to; 0 none
	lastID      string  // message ID of the last message, or empty
	stored      uint64  // messages ever stored; Consumer.count is relative to it
	counted     *uint64 // where the account counts bytes as well

	origins     map[string]*originState // by SourceName; nil for none
	mirrorReady bool                    // see MirrorReady
	intake      bool                    // is being filled, see intake.go

	consumers []*Consumer // by incarnation, which is the order of creation
	byName    map[string]*Consumer
	watchers  []*Consumer // consumers that look at every new message, see Consumer.watches

	ttls       ttlQueue
	immortals  bool   // a message that never ends was stored; see ttl.go
	mortalFrom uint64 // with immortals: nothing below it ever ends by MaxAge

	fast map[string]*fastBatch // fast-ingest batches that have not ended, by ID

	schedules map[uint32]schedule // by ID of the subject
	scheduled timerHeap           // when they are due

	review    review             // see settle.go
	rolled    map[string]uint64  // subjects whose messages below a sequence the review removes, see rollup.go
	expiryDue [expiryKinds]int64 // place in the machine's expiry queue, 0 none
	storedIn  uint64             // entry for which EventStored was sent
	purging   bool               // messages are being removed in bulk: no EventTerminated
	changed   streamChanges
	pending   pendingPages // of the present capture
}

// Incarnation names this stream and no other of the same name.
func (s *Stream) Incarnation() Incarnation { return s.incarnation }

// Name is the stream's name.
func (s *Stream) Name() string { return s.config.Name }

// Account is the account that the stream belongs to.
func (s *Stream) Account() *Account { return s.account }

// Config is the configuration in force. It must not be changed.
func (s *Stream) Config() *server.StreamConfig { return s.config }

// Created is when the stream was created.
func (s *Stream) Created() time.Time { return time.Unix(0, s.created).UTC() }

// LastSeq is the sequence of the last message that was stored.
func (s *Stream) LastSeq() uint64 { return s.last }

// State returns the stream's numbers as the NATS server reports them. The
// lists of subjects and of deleted sequences are left out: see Subjects and
// Deleted.
func (s *Stream) State() server.StreamState {
	state := server.StreamState{
		Msgs: s.msgs, Bytes: s.bytes, FirstSeq: s.first, LastSeq: s.last,
		NumSubjects: s.subjects.live, Consumers: len(s.consumers),
	}
	if s.msgs > 0 {
		state.FirstTime = time.Unix(0, s.stampOf(s.first)).UTC()
	}
	if s.lastStamp != 0 {
		state.LastTime = time.Unix(0, s.lastStamp).UTC()
	}
	if s.last >= s.first && s.last > 0 {
		state.NumDeleted = int(s.last - s.first + 1 - s.msgs)
	}
	return state
}

// Deleted returns the sequences between the first and the last that have no
// message.
func (s *Stream) Deleted() []uint64 {
	var gone []uint64
	expected := s.first
	s.index.each(func(seq uint64, _ *record) bool {
		for ; expected < seq; expected++ {
			gone = append(gone, expected)
		}
		expected = seq + 1
		return true
	})
	for ; expected <= s.last && s.last > 0; expected++ {
		gone = append(gone, expected)
	}
	return gone
}

// Message finds the message with that sequence.
func (s *Stream) Message(seq uint64) (Stored, bool) {
	r, ok := s.index.get(seq)
	if !ok || s.rolledUp(seq, r.subject) {
		return Stored{}, false
	}
	return s.describe(seq, &r), true
}

// Last finds the last message of a subject, or of any subject that matches
// when it has wildcards.
func (s *Stream) Last(subject string) (Stored, bool) {
	if seq := s.lastOf(subject); seq > 0 {
		return s.Message(seq)
	}
	return Stored{}, false
}

func (s *Stream) lastOf(subject string) uint64 {
	if id, ok := s.subjects.ids[subject]; ok {
		return s.lastShown(id)
	}
	if isLiteral(subject) {
		return 0
	}
	newest := uint64(0)
	for id := range s.matching([]string{subject}).each() {
		if s.subjects.list[id].last > newest {
			newest = max(newest, s.lastShown(id))
		}
	}
	return newest
}

// Next finds the first message at or after a sequence whose subject matches
// the filter; an empty filter matches all.
func (s *Stream) Next(from uint64, filter string) (Stored, bool) {
	if seq, ok := s.nextShown(from, filter); ok {
		return s.Message(seq)
	}
	return Stored{}, false
}

// next is Next with what was replaced and has not gone yet.
func (s *Stream) next(from uint64, filter string) (uint64, bool) {
	from = max(from, s.first)
	if s.subjects.all(filter) {
		return s.index.next(from)
	}
	if id, known := s.subjects.ids[filter]; known {
		return s.index.nextOf(max(from, s.subjects.list[id].first), id)
	}
	if !isLiteral(filter) {
		return s.index.nextIn(from, s.matching([]string{filter}))
	}
	return 0, false
}

// SubjectCount is a subject with the number of its live messages.
type SubjectCount struct {
	Subject  string
	Messages uint64
}

// Subjects returns the subjects that match the filter and have messages, in
// order; an empty filter matches all.
func (s *Stream) Subjects(filter string) []SubjectCount {
	page, _ := s.SubjectPage(filter, 0, len(s.subjects.list))
	return page
}

// SubjectPage is a part of what Subjects returns, from an offset on no more than most,
// and tells how many there are in all.
func (s *Stream) SubjectPage(filter string, offset, most int) (page []SubjectCount, total int) {
	if filter == "" {
		filter = anyTail
	}
	t := &s.subjects
	count := func(id uint32) SubjectCount {
		return SubjectCount{Subject: t.list[id].name, Messages: uint64(t.list[id].count)}
	}
	if head := literalHead(filter); head != filter && t.order.ready(t) {
		t.order.each(filter, head, func(_ string, id uint32) bool {
			if total++; total > offset && len(page) < most {
				page = append(page, count(id))
			}
			return true
		})
		return page, total
	}
	s.wantOrder() // what all cover is found without, but not in order
	ids := slices.Collect(s.matching([]string{filter}).each())
	slices.SortFunc(ids, func(a, b uint32) int { return cmp.Compare(t.list[a].name, t.list[b].name) })
	start := min(offset, len(ids))
	for _, id := range ids[start:min(start+most, len(ids))] {
		page = append(page, count(id))
	}
	return page, len(ids)
}

// Consumers returns the stream's consumers, ordered by name.
func (s *Stream) Consumers() []*Consumer {
	all := slices.Clone(s.consumers)
	slices.SortFunc(all, func(a, b *Consumer) int { return cmp.Compare(a.name, b.name) })
	return all
}

// Consumer returns the consumer of that name, or nil.
func (s *Stream) Consumer(name string) *Consumer { return s.byName[name] }

// matching returns the IDs of the subjects with messages that one of the filters covers.
func (s *Stream) matching(filters []string) idSet {
	t := &s.subjects
	set := make(idSet, (len(t.list)+63)/64)
	var scanned []string
	for _, filter := range filters {
		head := literalHead(filter)
		switch {
		case head == filter:
			if id, ok := t.ids[filter]; ok {
				set.set(id, true)
			}
		case t.all(filter):
			t.fill(set)
			return set
		case head != "" && t.order.ready(t):
			t.order.each(filter, head, func(_ string, id uint32) bool {
				set.set(id, true)
				return true
			})
		default:
			scanned = append(scanned, filter)
		}
	}
	if len(scanned) == 0 {
		return set
	}
	s.wantOrder()
	for id := range t.list {
		if sub := &t.list[id]; sub.count > 0 && coversAny(scanned, sub.name) {
			set.set(uint32(id), true)
		}
	}
	return set
}

// addBytes counts bytes of messages that came, or of those that went: the numbers
// wrap around.
func (s *Stream) addBytes(n uint64) {
	s.bytes += n
	*s.counted += n
}

// firstSeq returns the first live sequence of a subject that has one.
func (s *Stream) firstSeq(id uint32) uint64 {
	sub := &s.subjects.list[id]
	if !sub.firstExact {
		sub.first, _ = s.index.nextOf(sub.first, id)
		sub.firstExact = true
	}
	return sub.first
}

// lastSeq returns the last live sequence of a subject that has one.
func (s *Stream) lastSeq(id uint32) uint64 {
	sub := &s.subjects.list[id]
	if !sub.lastExact {
		sub.last, _ = s.index.previousOf(sub.last, id)
		sub.lastExact = true
	}
	return sub.last
}

// lastShown is lastSeq, but 0 when what the subject has was replaced.
func (s *Stream) lastShown(id uint32) uint64 {
	if seq := s.lastSeq(id); !s.rolledUp(seq, id) {
		return seq
	}
	return 0
}

// stampOf returns the stamp of a live message.
func (s *Stream) stampOf(seq uint64) int64 {
	r, _ := s.index.get(seq)
	return r.stamp + int64(r.slot)
}

func (s *Stream) describe(seq uint64, r *record) Stored {
	return Stored{Seq: seq, Stamp: r.stamp + int64(r.slot), Location: s.locate(r)}
}

// locate computes where a message's command lies: the index keeps the length
// of header and payload, the rest of the command's length follows.
func (s *Stream) locate(r *record) Location {
	subject := len(s.subjects.list[r.subject].name)
	body := s.incarnation.encodedLen() + uvarintLen(uint64(subject)) + subject + int(r.content>>1)
	return Location{Index: r.entry, Offset: r.offset, Size: uint32(1 + uvarintLen(uint64(body)) + body)}
}

// size is what the NATS server counts for a message of that subject length:
// its file store and its memory store frame a message differently
// (fileStoreMsgSizeRaw, memStoreMsgSizeRaw). The length field of a header is
// counted in the content.
func (s *Stream) size(subject int, content uint32) uint64 {
	size := uint64(subject) + uint64(content>>1)
	if s.config.Storage == server.MemoryStorage {
		return size + 16 - uint64(content&1)*headerLengthSize
	}
	return size + 30
}
