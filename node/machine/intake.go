package machine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// An intake is a stream that is being filled from a backup. Until it is whole it
// has no subjects, nobody finds it by its name, and the name is taken.
//
//  1. BeginIntake makes the stream (Result.Stream).
//  2. StoreFrom, with an empty source as for a mirror, stores each message under
//     the sequence and time that it had.
//  3. TakeConsumer makes each consumer, with what it had been given and answered.
//  4. EndIntake makes the stream one like any other: EventStreamCreated, and
//     EventConsumerCreated for its consumers, tell so.
//
// DeleteStream gives an intake up. Nothing else ends it: whoever begins to lead
// gives up those that somebody else has begun.

// BeginIntake begins to fill a stream whose first sequence is first, or 0 when it
// never had a message.
func (b *Batch) BeginIntake(config *server.StreamConfig, first uint64) int {
	body := binary.AppendUvarint(appendText(nil, b.account), first)
	return b.add(opBeginIntake, append(body, encodeJSON(config)...))
}

// ConsumerBackup is a consumer as a backup has it.
type ConsumerBackup struct {
	Config *server.ConsumerConfig `json:"config"`
	State  *server.ConsumerState  `json:"state"`
}

// TakeConsumer makes a consumer of an intake.
func (b *Batch) TakeConsumer(stream Incarnation, backup *ConsumerBackup) int {
	return b.add(opTakeConsumer, append(stream.append(nil), encodeJSON(backup)...))
}

// EndIntake ends the filling of a stream. Its last sequence becomes at least last.
func (b *Batch) EndIntake(stream Incarnation, last uint64) int {
	return b.add(opEndIntake, binary.AppendUvarint(stream.append(nil), last))
}

// Intakes returns the streams of the account that are being filled.
func (a *Account) Intakes() []*Stream {
	var all []*Stream
	for _, s := range a.intakes {
		all = append(all, s)
	}
	slices.SortFunc(all, byIncarnation)
	return all
}

// taken reports whether a stream, if only one that is being filled, has the name.
func (a *Account) taken(name string) bool { return a.streams[name] != nil || a.intakes[name] != nil }

func (a *Account) beginIntake(body *protocol.Reader, result *Result) {
	first := body.Uvarint()
	config, err := decodeStreamConfig(rest(body))
	if err == nil {
		err = a.CheckOrigins(config, false)
	}
	switch {
	case err != nil:
	case a.taken(config.Name):
		err = server.NewJSStreamNameExistRestoreFailedError()
	case a.overlaps(config.Subjects, nil):
		err = server.NewJSStreamSubjectOverlapError()
	default:
		if err = a.checkStreamBytes(config); err == nil {
			err = a.admitStream(config)
		}
	}
	if err != nil || first > math.MaxInt64 {
		result.Err = err
		return
	}
	s := a.newStream(config)
	if first > 0 {
		s.first, s.last = first, first-1
	}
	s.intake = true
	a.addIntake(s)
	result.Stream, result.Created = s, true
}

func (a *Account) addIntake(s *Stream) {
	if a.intakes == nil {
		a.intakes = make(map[string]*Stream)
	}
	a.intakes[s.config.Name] = s
}

// takeConsumer applies a command that makes a consumer of an intake.
func (s *Stream) takeConsumer(encoded []byte, result *Result) {
	var backup ConsumerBackup
	if err := json.Unmarshal(encoded, &backup); err != nil {
		result.Err = server.NewJSInvalidJSONError(err)
		return
	}
	if !s.intake || backup.Config == nil || backup.State == nil {
		result.Err = server.NewJSBadRequestError()
		return
	}
	s.machine.createConsumer(s, server.ActionCreate, encodeJSON(backup.Config), result)
	if result.Err == nil && result.Created {
		result.Consumer.adopt(backup.State)
	}
}

// adopt takes over what a consumer was given and has answered.
func (c *Consumer) adopt(state *server.ConsumerState) {
	s := c.stream
	c.skips = nil
	given := min(state.Delivered.Stream, s.last)
	c.cursor, c.lastGiven = max(given+1, 1), given
	c.nextSeq = min(state.Delivered.Consumer, math.MaxInt64) + 1
	c.floorConsumer, c.floorStream = min(state.AckFloor.Consumer, c.nextSeq-1), min(state.AckFloor.Stream, given)
	var seqs []uint64
	for seq, p := range state.Pending {
		if p != nil && seq <= given && s.index.has(seq) && p.Sequence > 0 && p.Sequence < c.nextSeq {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	now := s.machine.now
	for _, seq := range seqs {
		p := state.Pending[seq]
		tries := uint32(1 + min(state.Redelivered[seq], 1<<20))
		d := delivered{seq: seq, first: p.Sequence, tries: tries}
		if tries > 1 {
			c.redelivered++
		}
		wait := c.wait(tries)
		if wait > 0 {
			wait = min(max(later(min(max(p.Timestamp, 0), MaxStamp)-now, wait), 1), wait)
		}
		c.arm(&d, dueIn(now, wait))
		c.pending.append(d)
	}
	c.countWaiting()
	s.setWatcher(c)
	c.touch()
}

func dueIn(now, wait int64) int64 {
	if wait <= 0 {
		return 0
	}
	return later(now, wait)
}

// Backup is the consumer as a backup has it.
func (c *Consumer) Backup() *ConsumerBackup {
	config := *c.config
	config.Name = c.name
	state := &server.ConsumerState{
		Delivered: server.SequencePair{Consumer: c.nextSeq - 1, Stream: c.lastGiven},
		AckFloor:  server.SequencePair{Consumer: c.floorConsumer, Stream: c.floorStream},
	}
	c.pending.each(func(d *delivered) {
		if state.Pending == nil {
			state.Pending = make(map[uint64]*server.Pending)
		}
		state.Pending[d.seq] = &server.Pending{Sequence: d.first, Timestamp: d.due - c.wait(d.tries)}
		if d.tries > 1 {
			if state.Redelivered == nil {
				state.Redelivered = make(map[uint64]uint64)
			}
			state.Redelivered[d.seq] = uint64(d.tries - 1)
		}
	})
	return &ConsumerBackup{Config: &config, State: state}
}

// endIntake makes the stream one like any other.
func (s *Stream) endIntake(last uint64, result *Result) {
	a := s.account
	switch {
	case !s.intake || last > math.MaxInt64:
		result.Err = server.NewJSStreamRestoreError(errors.New("the stream is not being restored"))
		return
	case a.overlaps(s.config.Subjects, nil):
		result.Err = server.NewJSStreamSubjectOverlapError()
		return
	}
	s.skipTo(last)
	s.intake = false
	delete(a.intakes, s.config.Name)
	a.register(s)
	s.touch()
	s.machine.event(Event{Kind: EventStreamCreated, Stream: s})
	for _, c := range s.consumers {
		s.machine.event(Event{Kind: EventConsumerCreated, Stream: s, Consumer: c})
	}
}
