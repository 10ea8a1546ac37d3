package machine

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MaxSlots is how many commands one batch holds.
const MaxSlots = 65_535

// maxKept bounds the memory that a Batch keeps for the next entry: a single
// message or an atomic batch can have many times the size of a usual entry.
const maxKept = 4 << 20

// AckKind says how a delivered message was answered.
type AckKind uint8

const (
	AckDone     AckKind = 1 // +ACK: processed
	AckNak      AckKind = 2 // -NAK: deliver again, after Delay
	AckTerm     AckKind = 3 // +TERM: never deliver again
	AckProgress AckKind = 4 // +WPI: the ack wait starts anew
	// AckReturn: the delivery of that count reached nobody. It does not count,
	// and the message is due again at once.
	AckReturn AckKind = 5
)

// Ack answers one delivery. The three numbers are those of the delivery, as
// the tokens of its reply subject carry them.
type Ack struct {
	Kind        AckKind
	StreamSeq   uint64
	ConsumerSeq uint64
	Deliveries  uint64
	Delay       int64 // nanoseconds until a nak'd message is due; 0: at once. Below 0 counts as 0
}

// Batch builds the data of a log entry of kind batch: a stamp and commands.
// Every method that adds a command returns the command's slot, which is the
// place of its Result in Results.Slots, or -1 when the batch has MaxSlots
// already. A batch without commands is a tick: it only moves the time on. The
// zero Batch must be Reset before use; its memory is reused.
type Batch struct {
	data    []byte
	slots   int
	account string

	atomicAt, atomicSlots int // where the atomic batch begins that is being added
	run                   runBuilder
	move                  movePlace // of the message that was moved last
	body                  []byte    // of the command being built
}

// SetAccount says in which account streams are created and updated from now on,
// beyond Reset as well.
func (b *Batch) SetAccount(name string) { b.account = name }

// Reset empties the batch and sets its stamp, in nanoseconds since 1970.
func (b *Batch) Reset(stamp int64) {
	if cap(b.data) > maxKept {
		b.data = nil
	}
	b.data = append(b.data[:0], batchVersion)
	b.data = binary.LittleEndian.AppendUint64(b.data, uint64(stamp))
	b.slots = 0
	b.run.slot = -1
}

// SetStamp replaces the stamp that Reset set, for an owner that learns the
// time of a batch only when it is proposed.
func (b *Batch) SetStamp(stamp int64) { binary.LittleEndian.PutUint64(b.data[1:], uint64(stamp)) }

// Len is the number of bytes of the entry's data so far.
func (b *Batch) Len() int { return len(b.data) }

// Slots is the number of commands so far.
func (b *Batch) Slots() int { return b.slots }

// Bytes is the entry's data. It is valid until the next Reset.
func (b *Batch) Bytes() []byte { return b.data }

// Publish stores a message in a stream. Header is the NATS header block, or
// empty. The bytes are copied.
func (b *Batch) Publish(stream Incarnation, subject, header, payload []byte) int {
	if b.slots >= MaxSlots {
		return -1
	}
	op, size := opPublish, len(payload)
	if len(header) > 0 {
		op, size = opPublishHeader, size+headerLengthSize+len(header)
	}
	size += stream.encodedLen() + uvarintLen(uint64(len(subject))) + len(subject)
	b.data = append(b.data, byte(op))
	b.data = binary.AppendUvarint(b.data, uint64(size))
	b.data = stream.append(b.data)
	b.data = binary.AppendUvarint(b.data, uint64(len(subject)))
	b.data = append(b.data, subject...)
	if op == opPublishHeader {
		b.data = binary.LittleEndian.AppendUint32(b.data, uint32(len(header)))
		b.data = append(b.data, header...)
	}
	b.data = append(b.data, payload...)
	b.slots++
	return b.slots - 1
}

// CreateStream creates a stream in the batch's account. A stream of that name
// with an equal configuration is found instead (Result.Created is false).
func (b *Batch) CreateStream(config *server.StreamConfig) int {
	return b.add(opCreateStream, append(appendText(nil, b.account), encodeJSON(config)...))
}

// UpdateStream replaces the configuration of the stream of that name.
func (b *Batch) UpdateStream(config *server.StreamConfig) int {
	return b.add(opUpdateStream, append(appendText(nil, b.account), encodeJSON(config)...))
}

// DeleteStream deletes a stream with its consumers and messages.
func (b *Batch) DeleteStream(stream Incarnation) int {
	return b.add(opDeleteStream, stream.append(nil))
}

// PurgeStream removes messages as the request says. Result.Seq is their number.
func (b *Batch) PurgeStream(stream Incarnation, request server.JSApiStreamPurgeRequest) int {
	return b.add(opPurgeStream, append(stream.append(nil), encodeJSON(request)...))
}

// PurgeStep removes at most limit messages, the oldest ones, of those that the
// request is about; Sequence and Keep may both be set. Result.Seq is their number:
// as long as it is limit, there may be more. Result.Last is the last sequence that
// the stream had, so that the next step can leave out what was stored since.
func (b *Batch) PurgeStep(stream Incarnation, limit uint64, request server.JSApiStreamPurgeRequest) int {
	body := binary.AppendUvarint(stream.append(nil), limit)
	return b.add(opPurgeStep, append(body, encodeJSON(request)...))
}

// DeleteMessage removes one message. Its bytes leave the log with the entry
// that holds them; erase is accepted and has no other meaning.
func (b *Batch) DeleteMessage(stream Incarnation, seq uint64, erase bool) int {
	body := binary.AppendUvarint(stream.append(nil), seq)
	flag := byte(0)
	if erase {
		flag = 1
	}
	return b.add(opDeleteMessage, append(body, flag))
}

// CreateConsumer creates or updates a consumer, as action says. The
// configuration names it: the door chooses the name of an ephemeral one.
func (b *Batch) CreateConsumer(stream Incarnation, config *server.ConsumerConfig, action server.ConsumerAction) int {
	body := binary.AppendUvarint(stream.append(nil), uint64(action))
	return b.add(opCreateConsumer, append(body, encodeJSON(config)...))
}

// DeleteConsumer deletes a consumer.
func (b *Batch) DeleteConsumer(consumer Incarnation) int {
	return b.add(opDeleteConsumer, consumer.append(nil))
}

// PauseConsumer sets the time before which a consumer delivers nothing; the zero
// time ends the pause.
func (b *Batch) PauseConsumer(consumer Incarnation, until time.Time) int {
	request := encodeJSON(server.JSApiConsumerPauseRequest{PauseUntil: until})
	return b.add(opPauseConsumer, append(consumer.append(nil), request...))
}

// ResetConsumer makes a consumer forget what it delivered and go on at seq, or
// behind its ack floor when seq is 0.
func (b *Batch) ResetConsumer(consumer Incarnation, seq uint64) int {
	return b.add(opResetConsumer, binary.AppendUvarint(consumer.append(nil), seq))
}

// Deliver hands out the next messages of a consumer: at most maxMessages of
// them and, unless maxBytes is 0, as many as fit into maxBytes of subject,
// header and payload (the first one is handed out even when it does not fit:
// the door decides before proposing whether a request can take it). With
// maxMessages 0 nothing is handed out, but messages that reached MaxDeliver
// and whose last ack wait is over are given up (EventMaxDeliveries).
func (b *Batch) Deliver(consumer Incarnation, maxMessages int, maxBytes int64) int {
	body := binary.AppendUvarint(consumer.append(nil), uint64(max(maxMessages, 0)))
	return b.add(opDeliver, binary.AppendUvarint(body, uint64(max(maxBytes, 0))))
}

// Acks answers deliveries of one consumer, in order, in one slot.
func (b *Batch) Acks(consumer Incarnation, acks []Ack) int {
	if b.slots >= MaxSlots {
		return -1
	}
	size := consumer.encodedLen()
	for i := range acks {
		size += acks[i].encodedLen()
	}
	b.data = append(b.data, byte(opAcks))
	b.data = binary.AppendUvarint(b.data, uint64(size))
	b.data = consumer.append(b.data)
	for i := range acks {
		b.data = acks[i].append(b.data)
	}
	b.slots++
	return b.slots - 1
}

func (b *Batch) add(op opcode, body []byte) int {
	if b.slots >= MaxSlots {
		return -1
	}
	b.data = append(b.data, byte(op))
	b.data = binary.AppendUvarint(b.data, uint64(len(body)))
	b.data = append(b.data, body...)
	b.slots++
	return b.slots - 1
}

// encodeJSON returns nothing for a value that cannot be encoded (a policy
// outside its range); Apply answers such a command with an error.
func encodeJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return data
}
