package machine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// Restore returns the machine that the pairs describe: what the checkpoints so
// far put and did not delete. Applied is the last entry that they contain,
// horizon the one up to which dead entries were reported (see Stored for those that
// are still there), stamp what Stamp returned then. Keys and values are not kept. An error means that
// the pairs are damaged.
func Restore(opt Options, applied, horizon uint64, stamp int64, pairs func(yield func(key, value []byte) error) error) (*Machine, error) {
	m := New(opt)
	m.applied, m.stamp, m.entries.reported = applied, min(stamp, MaxStamp), min(horizon, applied)
	var all []protocol.Pair
	err := pairs(func(key, value []byte) error {
		body, err := checkValue(key, value)
		if err != nil {
			return err
		}
		all = append(all, protocol.Pair{Key: bytes.Clone(key), Value: body})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b protocol.Pair) int { return bytes.Compare(a.Key, b.Key) })
	consumers, entries, limits := findKind(all, keyConsumer), findKind(all, keyEntries), findKind(all, keyLimits)
	for _, p := range all[limits:] {
		if err := m.restoreLimits(p); err != nil {
			return nil, fmt.Errorf("restore key %x: %w", p.Key, err)
		}
	}
	for _, p := range all[entries:limits] {
		if err := m.restoreSegments(p); err != nil {
			return nil, fmt.Errorf("restore key %x: %w", p.Key, err)
		}
	}
	for _, p := range all[:consumers] {
		if err := m.restoreStream(p); err != nil {
			return nil, fmt.Errorf("restore key %x: %w", p.Key, err)
		}
	}
	for _, s := range m.Streams() {
		if err := s.finishRestore(); err != nil {
			return nil, fmt.Errorf("restore stream %q: %w", s.config.Name, err)
		}
	}
	for _, p := range all[consumers:entries] {
		if err := m.restoreConsumer(p); err != nil {
			return nil, fmt.Errorf("restore key %x: %w", p.Key, err)
		}
	}
	m.entries.finishRestore(func(chunk uint64) { m.changes.drop(objectKey(keyEntries, Incarnation(chunk))) })
	return m, nil
}

// findKind returns the place of the first of the pairs, which are in order, that is
// of that kind or a later one.
func findKind(all []protocol.Pair, kind byte) int {
	at, _ := slices.BinarySearchFunc(all, kind, func(p protocol.Pair, kind byte) int { return cmp.Compare(p.Key[0], kind) })
	return at
}

// restoreSegments reads back how large the entries of a chunk are.
func (m *Machine) restoreSegments(p protocol.Pair) error {
	r := protocol.Reader{Rest: p.Value}
	n := binary.BigEndian.Uint64(p.Key[1:])
	if p.Key[0] != keyEntries || len(p.Key) != 9 || n > m.applied>>entryChunkBits {
		r.Fail()
	}
	var segments []segment
	for !r.Failed() && (len(r.Rest) > 0 || len(segments) == 0) {
		place, size := r.Bytes(2), r.Uint32()
		if r.Failed() {
			break
		}
		g := segment{place: binary.LittleEndian.Uint16(place), size: size}
		if g.place >= entryChunkSize || g.size == 0 || len(segments) > 0 && segments[len(segments)-1].place >= g.place {
			r.Fail()
		}
		segments = append(segments, g)
	}
	if err := r.Done("sizes of entries"); err != nil {
		return err
	}
	m.entries.restoreChunk(n, segments)
	return nil
}

// checkValue verifies a value's trailer and returns a copy of its body.
func checkValue(key, value []byte) ([]byte, error) {
	if (len(key) != 9 && len(key) != 17) || len(value) < valueTrailer {
		return nil, fmt.Errorf("restore key %x: %w", key, protocol.ErrMalformed)
	}
	end := len(value) - 4
	if valueSum(key, value[:end]) != binary.LittleEndian.Uint32(value[end:]) {
		return nil, fmt.Errorf("restore key %x: checksum does not match: %w", key, protocol.ErrMalformed)
	}
	if err := protocol.CheckVersion("the value", value[end-1], valueVersion); err != nil {
		return nil, fmt.Errorf("restore key %x: %w", key, err)
	}
	return bytes.Clone(value[:end-1]), nil
}

func (m *Machine) restoreStream(p protocol.Pair) error {
	inc := Incarnation(binary.BigEndian.Uint64(p.Key[1:]))
	if p.Key[0] == keyStream {
		return m.restoreStreamConfig(inc, p.Value)
	}
	s := m.byID[inc]
	if s == nil {
		return fmt.Errorf("no stream %v: %w", inc, protocol.ErrMalformed)
	}
	number := uint64(0)
	if len(p.Key) == 17 {
		number = binary.BigEndian.Uint64(p.Key[9:])
	}
	r := protocol.Reader{Rest: p.Value}
	switch p.Key[0] {
	case keyStreamState:
		s.first, s.last, s.lastStamp, s.stored, s.dedup.next = r.Uvarint(), r.Uvarint(), int64(r.Uvarint()), r.Uvarint(), r.Uvarint()
		s.review = review{next: r.Uvarint(), end: r.Uvarint(), unneeded: r.Byte() == 1}
		s.restoreRolled(&r)
		s.lastID = string(r.Bytes(r.Uvarint()))
		s.restoreOrigins(&r)
		s.restoreFast(&r)
	case keyNames:
		return s.restoreNames(number, &r)
	case keyBlock:
		b := &block{pageSaved: true}
		s.index.blocks = append(s.index.blocks, b)
		return b.restore(number, p.Value)
	case keyAlive:
		return s.restoreAlive(number, &r)
	case keyDedup:
		return s.restoreDedup(number, &r)
	case keySchedule:
		return s.restoreSchedule(number, &r)
	default:
		r.Fail()
	}
	return r.Done("stream")
}

func (m *Machine) restoreStreamConfig(inc Incarnation, body []byte) error {
	r := protocol.Reader{Rest: body}
	created := int64(r.Uint64())
	name := readAccount(&r)
	if r.Failed() {
		return fmt.Errorf("decode stream: %w", protocol.ErrMalformed)
	}
	a, config := m.Account(name), &server.StreamConfig{}
	if err := json.Unmarshal(r.Rest, config); err != nil {
		return fmt.Errorf("decode stream configuration: %w", err)
	}
	if m.byID[inc] != nil || inc.Index() > m.applied {
		return fmt.Errorf("stream %q: %w", config.Name, protocol.ErrMalformed)
	}
	s := &Stream{machine: m, account: a, incarnation: inc, created: created, byName: make(map[string]*Consumer), index: index{size: m.blockSize}}
	s.setConfig(config)
	s.changed.saved = true
	m.byID[inc] = s
	return nil
}

func (s *Stream) restoreNames(page uint64, r *protocol.Reader) error {
	if uint64(len(s.subjects.list)) != page*namesPerPage {
		r.Fail()
	}
	before := ""
	for n := 0; len(r.Rest) > 0; n++ {
		common, rest := r.Uvarint(), r.Bytes(r.Uvarint())
		if n == namesPerPage || common > uint64(len(before)) {
			r.Fail()
			break
		}
		before = before[:common] + string(rest)
		s.subjects.list = append(s.subjects.list, subjectState{name: before})
	}
	s.changed.namesSaved = int(page) + 1
	return r.Done("subjects")
}

// restore loads a page and checks what reading it later relies on.
func (b *block) restore(first uint64, page []byte) error {
	if err := b.load(page); err != nil {
		return err
	}
	bad := b.first != first || b.first == 0 || b.first > 1<<63
	for i := range b.rowCount() {
		bad = bad || !b.everyRun && b.cols[columnRun].get(b.page, i) >= uint64(b.runs)
	}
	if b.kept != nil {
		b.alive = b.kept.bits
	} else {
		for i := range b.count {
			b.alive[i>>6] |= 1 << (i & 63)
		}
	}
	b.live = b.rowCount()
	if bad {
		return fmt.Errorf("decode block: %w", protocol.ErrMalformed)
	}
	return nil
}

func (s *Stream) restoreAlive(first uint64, r *protocol.Reader) error {
	at, ok := slices.BinarySearchFunc(s.index.blocks, first, func(b *block, first uint64) int {
		return cmp.Compare(b.first, first)
	})
	if !ok {
		return fmt.Errorf("no block %d: %w", first, protocol.ErrMalformed)
	}
	b := s.index.blocks[at]
	live := 0
	for w := range b.alive {
		full := b.alive[w]
		b.alive[w] = r.Uint64() & full
		live += bits.OnesCount64(b.alive[w])
	}
	b.live, b.aliveSaved = live, true
	if live == 0 {
		r.Fail()
	}
	return r.Done("liveness")
}

func (s *Stream) restoreDedup(number uint64, r *protocol.Reader) error {
	p := &dedupPage{number: number, saved: true}
	for len(r.Rest) > 0 {
		e := dedupEntry{seq: r.Uvarint(), stamp: int64(r.Uvarint())}
		id := string(r.Bytes(r.Uvarint()))
		p.ids, p.entries = append(p.ids, id), append(p.entries, e)
		if s.dedup.seen == nil {
			s.dedup.seen = make(map[string]dedupEntry)
		}
		s.dedup.seen[id] = e
	}
	if len(p.ids) == 0 || len(p.ids) > dedupPageEntries || number >= s.dedup.next {
		r.Fail()
	}
	s.dedup.pages = append(s.dedup.pages, p)
	return r.Done("message IDs")
}

// finishRestore counts what the blocks hold and makes the last one open again.
func (s *Stream) finishRestore() error {
	malformed := fmt.Errorf("index: %w", protocol.ErrMalformed)
	if s.account.taken(s.config.Name) {
		return fmt.Errorf("two streams of that name: %w", protocol.ErrMalformed)
	}
	if s.intake {
		s.account.addIntake(s)
	} else {
		s.account.register(s)
	}
	end := uint64(0)
	for _, b := range s.index.blocks {
		if b.first < end || b.end() > s.last+1 {
			return malformed
		}
		end = b.end()
		for i := b.nextAlive(0); i >= 0; i = b.nextAlive(i + 1) {
			r := b.at(i)
			if int(r.subject) >= len(s.subjects.list) || s.subjects.list[r.subject].name == "" ||
				r.entry > s.machine.applied || s.machine.entries.live(r.entry) == MaxSlots {
				return malformed
			}
			sub := &s.subjects.list[r.subject]
			if !s.machine.entries.restore(r.entry, messageSize(len(sub.name), r.content)) {
				return malformed
			}
			if s.chained() {
				s.link(sub, b.first+uint64(i))
			}
			sub.stored(b.first + uint64(i))
			s.msgs++
			s.addBytes(s.size(len(sub.name), r.content))
		}
	}
	s.subjects.rebuild()
	if n := len(s.index.blocks); n > 0 && s.index.blocks[n-1].count < s.index.size {
		s.index.blocks[n-1].reopen(&openRows{})
	}
	if s.msgs > 0 {
		s.first, _ = s.index.next(0)
	}
	if s.first > s.last+1 {
		return malformed
	}
	if s.review.next > s.review.end || s.review.end > s.last+1 {
		return malformed
	}
	s.listBehind()
	s.collectTTLs()
	for kind := range expiryKinds {
		s.schedule(kind)
	}
	return nil
}

func (m *Machine) restoreConsumer(p protocol.Pair) error {
	inc := Incarnation(binary.BigEndian.Uint64(p.Key[1:]))
	r := protocol.Reader{Rest: p.Value}
	if p.Key[0] != keyConsumer {
		c := m.consumers[inc]
		if c == nil {
			return fmt.Errorf("no consumer %v: %w", inc, protocol.ErrMalformed)
		}
		return c.restore(p.Key[0], &r)
	}
	s := m.byID[Incarnation(r.Uint64())]
	created := int64(r.Uint64())
	config := &server.ConsumerConfig{}
	if err := json.Unmarshal(r.Rest, config); err != nil {
		return fmt.Errorf("decode consumer configuration: %w", err)
	}
	name := config.Durable
	if name == "" {
		name = config.Name
	}
	if s == nil || name == "" || s.byName[name] != nil || m.consumers[inc] != nil {
		return fmt.Errorf("consumer %q: %w", name, protocol.ErrMalformed)
	}
	c := &Consumer{stream: s, incarnation: inc, name: name, created: created, nextSeq: 1}
	c.setConfig(config)
	c.changed.saved = true
	s.insertConsumer(c)
	return nil
}

func (c *Consumer) restore(kind byte, r *protocol.Reader) error {
	switch kind {
	case keyConsumerState:
		c.restoreState(r)
	case keyConsumerCount:
		c.watches, c.count = r.Byte() == 1, r.Uint64()
		c.stream.setWatcher(c)
	default:
		r.Fail()
	}
	return r.Done("consumer")
}

func (c *Consumer) restoreState(r *protocol.Reader) {
	for _, n := range c.numbers() {
		*n = r.Uvarint()
	}
	c.lastDelivery, c.lastAck = int64(r.Uvarint()), int64(r.Uvarint())

	seq := uint64(0)
	for n := r.Uvarint(); n > 0 && !r.Failed(); n-- {
		seq += r.Uvarint()
		c.skips = append(c.skips, seq)
	}
	seq = 0
	for n := r.Uvarint(); n > 0 && !r.Failed(); n-- {
		if c.exhausted == nil {
			c.exhausted = make(map[uint64]uint32)
		}
		seq += r.Uvarint()
		c.exhausted[seq] = uint32(r.Uvarint())
	}
	seq = 0
	for n := r.Uvarint(); n > 0 && !r.Failed(); n-- {
		step := r.Uvarint()
		seq += step
		d := delivered{seq: seq, first: r.Uvarint(), due: int64(r.Uvarint()), order: r.Uvarint(), tries: uint32(r.Uvarint())}
		if step == 0 || d.first == 0 || !c.stream.index.has(seq) {
			r.Fail()
		}
		if d.tries > 1 {
			c.redelivered++
		}
		c.pending.append(d)
	}
	for _, seq := range c.skips {
		if !c.stream.index.has(seq) {
			r.Fail()
		}
	}
	if c.cursor == 0 || c.nextSeq == 0 {
		r.Fail()
	}
	c.rearm()
}
