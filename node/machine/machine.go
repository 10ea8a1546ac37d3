package machine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// MaxStamp bounds a stamp, in nanoseconds since 1970: a moment of the year 2223.
// An entry with a higher one cannot be applied, so whoever stamps entries keeps
// below it, with room for what is stamped while its clock stands still at its end.
const MaxStamp = 8_000_000_000_000_000_000

// later is the stamp so long after another one; the largest number, which is behind
// all stamps, when that is not representable.
func later(stamp, wait int64) int64 {
	if sum := stamp + wait; wait <= 0 || sum >= stamp {
		return sum
	}
	return math.MaxInt64
}

// Options adjust a Machine.
type Options struct {
	// BlockMessages is the size of an index block, 1 to 1,024; 0 means 1,024.
	// Smaller ones cost memory; tests use them. They do not change what an entry does.
	BlockMessages int
	// SettleWork bounds the work of one entry, in the units of settle.go; 0 means
	// 160,000. It is part of what an entry means: all members of a cluster need the
	// same, always. Tests set it.
	SettleWork int
}

// Machine is the state that the log describes.
type Machine struct {
	applied uint64
	stamp   int64 // least stamp that the next entry may have

	accounts  map[string]*Account
	byID      map[Incarnation]*Stream
	consumers map[Incarnation]*Consumer
	entries   entryTable
	graves    []grave // gone, but not from entries; see graves.go
	expiry    expiryQueue
	behind    []*Stream // with messages that have yet to go, by incarnation; see settle.go
	ordered   []*Stream // with an order of their subjects
	changes   changes
	blockSize int
	settleMax int       // Options.SettleWork
	scratch   *openRows // for blocks that are packed anew
	capture   *capture  // the checkpoint that is being made; nil: none
	round     uint64    // number of the next capture, from 1 on

	pending pendingOrigin // what an origin command says of the next one

	// Of the entry being applied.
	now  int64 // its stamp
	work int   // what is left of settleMax; may end a little below 0
	// rollWork is as much again, for what rollups make go at once: what others left
	// to do does not take it away.
	rollWork int
	index    uint64
	size     int // of its data
	slot     int
	out      *Results
	// headers of the publish being applied. Of a message without any they are
	// noHeaders, which costs nothing to set up.
	headers publishHeaders
	// prefaced: preface is about the publish of the next slot.
	prefaced bool
	preface  preface
	batch    *atomicBatch // being stored; nil for none
	run      fastRun      // of the next publishes, while run.left is above 0
	// The stream and consumer that the last commands named, because the next
	// ones mostly name the same. Forgotten when either is deleted.
	recentStream   *Stream
	recentConsumer *Consumer
}

// New returns the machine of an empty log.
func New(opt Options) *Machine {
	size := opt.BlockMessages
	if size < 1 || size > blockMessages {
		size = blockMessages
	}
	return &Machine{
		accounts:  make(map[string]*Account),
		byID:      make(map[Incarnation]*Stream),
		consumers: make(map[Incarnation]*Consumer),
		blockSize: size,
		settleMax: cmp.Or(opt.SettleWork, settleWork),
		scratch:   &openRows{},
		round:     1,
	}
}

// Applied is the last log index that Apply or Skip was called with.
func (m *Machine) Applied() uint64 { return m.applied }

// Stamp is the least stamp that the next entry may have, in nanoseconds since
// 1970: above the stamps of all messages so far.
func (m *Machine) Stamp() int64 { return m.stamp }

// Skip notes that the entry at index is of another kind than batch.
func (m *Machine) Skip(index uint64) { m.applied = index }

// Apply applies the batch entry at index, whose data is data, and describes
// the outcome in out. Data is not kept. An error means that the data cannot be
// decoded (the log is damaged, or protocol.ErrNewerFormat) or that the index is not above Applied; the
// entry may be half applied, and the machine must not be used any more.
func (m *Machine) Apply(index uint64, data []byte, out *Results) error {
	if err := checkBatch(data); err != nil {
		return fmt.Errorf("apply entry %d: %w", index, err)
	}
	if index <= m.applied {
		return fmt.Errorf("apply entry %d: entry %d is applied already", index, m.applied)
	}
	if isMove(data) {
		return m.applyMove(index, data, out)
	}
	stamp := int64(binary.LittleEndian.Uint64(data[1:]))
	if stamp > MaxStamp {
		return fmt.Errorf("apply entry %d: stamp %d out of range: %w", index, stamp, protocol.ErrMalformed)
	}
	m.index, m.size, m.now, m.slot, m.out = index, len(data), max(stamp, m.stamp), -1, out
	m.prefaced, m.batch, m.run.left = false, nil, 0
	out.reset(index, m.now)
	m.pending.set = false
	m.work, m.rollWork = m.settleMax, m.settleMax
	m.settle()
	m.expire()

	r := protocol.Reader{Rest: data[batchHeaderSize:]}
	for len(r.Rest) > 0 {
		offset := len(data) - len(r.Rest)
		op := opcode(r.Byte())
		body := protocol.Reader{Rest: r.Bytes(r.Uvarint())}
		m.slot++
		if r.Failed() || m.slot == MaxSlots {
			return fmt.Errorf("apply entry %d: command %d: %w", index, m.slot, protocol.ErrMalformed)
		}
		out.Slots = append(out.Slots, Result{})
		result := &out.Slots[m.slot]
		switch op {
		case opPublish, opPublishHeader:
			m.publish(&body, op, uint32(offset), uint32(len(data)-len(r.Rest)-offset), result)
		case opPreface:
			m.readPreface(&body)
		case opAtomic:
			m.beginBatch(&body, r.Rest, result)
		case opFast:
			m.beginRun(&body)
		default:
			m.prefaced = false
			m.command(&body, op, result)
		}
		if err := body.Done("command"); err != nil {
			return fmt.Errorf("apply entry %d: command %d: %w", index, m.slot, err)
		}
		if m.batch != nil {
			m.passSlot(op)
		}
	}
	if m.run.left > 0 {
		return fmt.Errorf("apply entry %d: %d messages of a batch are missing: %w", index, m.run.left, protocol.ErrMalformed)
	}
	m.applied = index
	m.stamp = m.now + int64(m.slot+1)
	m.out = nil
	return nil
}

func (m *Machine) command(body *protocol.Reader, op opcode, result *Result) {
	if m.pending.set || m.run.left > 0 { // it belongs to a message
		body.Fail()
		return
	}
	switch op {
	case opCreateStream:
		if account := m.namedAccount(body); account != nil {
			account.createStream(rest(body), result)
		}
	case opUpdateStream:
		if account := m.namedAccount(body); account != nil {
			account.updateStream(rest(body), result)
		}
	case opDeleteStream:
		if s := m.namedStream(body, result); s != nil {
			m.deleteStream(s)
		}
	case opPurgeStream:
		s, request := m.namedStream(body, result), rest(body)
		if s != nil {
			s.purge(request, result)
		}
	case opPurgeStep:
		s, limit, request := m.namedStream(body, result), body.Uvarint(), rest(body)
		if s != nil && !body.Failed() {
			s.purgeStep(limit, request, result)
		}
	case opDeleteMessage:
		s, seq := m.namedStream(body, result), body.Uvarint()
		body.Byte()
		if s != nil && !body.Failed() {
			s.deleteMessage(seq, result)
		}
	case opCreateConsumer:
		s, action, config := m.namedStream(body, result), body.Uvarint(), rest(body)
		if s != nil && !body.Failed() {
			m.createConsumer(s, server.ConsumerAction(action), config, result)
		}
	case opDeleteConsumer:
		if c := m.namedConsumer(body, result); c != nil {
			m.deleteConsumer(c)
		}
	case opDeliver:
		c, messages, size := m.namedConsumer(body, result), body.Uvarint(), body.Uvarint()
		if c != nil && !body.Failed() {
			c.deliver(int(min(messages, MaxSlots)), int64(min(size, 1<<62)), result)
		}
	case opAcks:
		m.acks(body, result)
	case opOrigin:
		m.origin(body, result)
	case opBeginIntake:
		if account := m.namedAccount(body); account != nil {
			account.beginIntake(body, result)
		}
	case opTakeConsumer:
		if s, backup := m.namedStream(body, result), rest(body); s != nil {
			s.takeConsumer(backup, result)
		}
	case opEndIntake:
		if s, last := m.namedStream(body, result), body.Uvarint(); s != nil && !body.Failed() {
			s.endIntake(last, result)
		}
	case opLimitAccount:
		if account := m.namedAccount(body); account != nil {
			account.limit(rest(body), result)
		}
	case opSkipTo:
		if s, seq := m.namedStream(body, result), body.Uvarint(); s != nil && !body.Failed() {
			s.skipMirror(seq, result)
		}
	case opEnd:
		m.end(body, result)
	case opEndFast:
		if s, id := m.namedStream(body, result), rest(body); s != nil {
			s.endFast(string(id))
		}
	case opPauseConsumer:
		c, request := m.namedConsumer(body, result), rest(body)
		if c != nil {
			c.pause(request, result)
		}
	case opResetConsumer:
		c, seq := m.namedConsumer(body, result), body.Uvarint()
		if c != nil && !body.Failed() {
			c.reset(seq, result)
		}
	default:
		body.Fail()
	}
}

// rest takes what is left.
func rest(r *protocol.Reader) []byte { return r.Bytes(uint64(len(r.Rest))) }

// namedStream takes an incarnation and returns its stream. When that is gone
// it returns nil, says so in the result and counts it.
func (m *Machine) namedStream(body *protocol.Reader, result *Result) *Stream {
	inc := readIncarnation(body)
	if s := m.recentStream; s != nil && s.incarnation == inc {
		result.Stream = s
		return s
	}
	s := m.byID[inc]
	if s == nil {
		result.Err = server.NewJSStreamNotFoundError()
		m.event(Event{Kind: EventStale, Count: 1, Text: "stream " + inc.String() + " is gone"})
		return nil
	}
	m.recentStream, result.Stream = s, s
	return s
}

// namedConsumer is namedStream for consumers.
func (m *Machine) namedConsumer(body *protocol.Reader, result *Result) *Consumer {
	inc := readIncarnation(body)
	c := m.recentConsumer
	if c == nil || c.incarnation != inc {
		c = m.consumers[inc]
	}
	if c == nil {
		result.Err = server.NewJSConsumerNotFoundError()
		m.event(Event{Kind: EventStale, Count: 1, Text: "consumer " + inc.String() + " is gone"})
		return nil
	}
	m.recentConsumer, result.Consumer, result.Stream = c, c, c.stream
	return c
}

func (m *Machine) event(e Event) {
	e.Slot = m.slot
	m.out.Events = append(m.out.Events, e)
}

// Stream returns the stream of that name in the default account, or nil.
func (m *Machine) Stream(name string) *Stream { return m.Account(DefaultAccount).Stream(name) }

// StreamOf returns the stream of that incarnation, or nil when it is gone.
func (m *Machine) StreamOf(inc Incarnation) *Stream { return m.byID[inc] }

// StreamCount is the number of streams of all accounts.
func (m *Machine) StreamCount() int { return len(m.byID) }

// Streams returns the streams of all accounts, ordered by account and name.
func (m *Machine) Streams() []*Stream {
	all := make([]*Stream, 0, len(m.byID))
	for _, s := range m.byID {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Stream) int {
		return cmp.Or(cmp.Compare(a.account.name, b.account.name), cmp.Compare(a.config.Name, b.config.Name))
	})
	return all
}

// Match returns the stream of the default account that stores messages of that
// subject, or nil. It does not allocate.
func (m *Machine) Match(subject []byte) *Stream { return m.Account(DefaultAccount).Match(subject) }

// Consumer returns the consumer of that name on the stream of that name in the
// default account, or nil.
func (m *Machine) Consumer(stream, name string) *Consumer {
	return m.Account(DefaultAccount).Consumer(stream, name)
}

// ConsumerOf returns the consumer of that incarnation, or nil when it is gone.
func (m *Machine) ConsumerOf(inc Incarnation) *Consumer { return m.consumers[inc] }

// Dead returns, in order, the entries at or below horizon in which nothing
// lives and that no earlier call returned, of whatever kind they are. It is to
// be called right after Checkpoint or BeginCheckpoint, for the same write: an entry may leave the
// log only with or after the index that does not refer to it any more.
func (m *Machine) Dead(horizon uint64) []uint64 {
	m.buryAll()
	return m.entries.dead(min(horizon, m.applied))
}

// Stored tells a machine that was just restored that the store still has an entry at
// or below the horizon. Dead reports it again if nothing lives in it: the process
// before may have ended while it let entries go.
func (m *Machine) Stored(entry uint64) {
	if m.entries.live(entry) == 0 {
		m.entries.died = append(m.entries.died, entry)
	}
}

// Live is the number of live messages of the entry at index.
func (m *Machine) Live(index uint64) int {
	m.buryAll()
	return m.entries.live(index)
}
