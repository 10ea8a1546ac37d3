package machine

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"holdfast/protocol"
)

// Incarnation names a stream or a consumer for all time: the log index of the
// entry that created it, shifted left by 16, with the slot of the command in
// it. Zero names nothing.
type Incarnation uint64

func newIncarnation(index uint64, slot int) Incarnation {
	return Incarnation(index<<16 | uint64(slot))
}

// Index is the log index of the creating entry.
func (i Incarnation) Index() uint64 { return uint64(i) >> 16 }

// String prints index.slot.
func (i Incarnation) String() string { return fmt.Sprintf("%d.%d", i.Index(), uint64(i)&0xffff) }

// append encodes the two parts apart: the slot is mostly one byte long, and
// the index grows with the age of the cluster only.
func (i Incarnation) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, i.Index())
	return binary.AppendUvarint(dst, uint64(i)&0xffff)
}

func (i Incarnation) encodedLen() int {
	return uvarintLen(i.Index()) + uvarintLen(uint64(i)&0xffff)
}

func readIncarnation(r *protocol.Reader) Incarnation {
	index, slot := r.Uvarint(), r.Uvarint()
	if index >= 1<<48 || slot >= 1<<16 {
		r.Fail()
		return 0
	}
	return Incarnation(index<<16 | slot)
}

// batchVersion is the first byte of an entry's data; a stamp of eight bytes
// follows, then the commands: opcode, length of the body, body.
const (
	batchVersion     = 1
	batchHeaderSize  = 9
	headerLengthSize = 4
)

// checkBatch: an entry's data begins as a batch does, and this program knows all
// commands that can be in it. Whoever adds a command raises the version.
func checkBatch(data []byte) error {
	if len(data) < batchHeaderSize {
		return fmt.Errorf("not a batch: %w", protocol.ErrMalformed)
	}
	return protocol.CheckVersion("the batch", data[0], batchVersion)
}

type opcode byte

const (
	opPublish        opcode = 1  // incarnation, subject, payload
	opPublishHeader  opcode = 2  // incarnation, subject, four bytes of header length, header, payload
	opCreateStream   opcode = 3  // account, StreamConfig
	opUpdateStream   opcode = 4  // account, StreamConfig
	opDeleteStream   opcode = 5  // incarnation
	opPurgeStream    opcode = 6  // incarnation, JSApiStreamPurgeRequest
	opDeleteMessage  opcode = 7  // incarnation, sequence, erase flag
	opCreateConsumer opcode = 8  // incarnation of the stream, action, ConsumerConfig
	opDeleteConsumer opcode = 9  // incarnation
	opDeliver        opcode = 10 // incarnation, messages, bytes
	opAcks           opcode = 11 // incarnation, acks
	opPauseConsumer  opcode = 12 // incarnation, JSApiConsumerPauseRequest
	opResetConsumer  opcode = 13 // incarnation, sequence
	opPreface        opcode = 14 // kind, two numbers; about the publish of the next slot
	opAtomic         opcode = 15 // incarnation, four bytes: how many of the next slots belong together
	opEnd            opcode = 16 // incarnation, sequences of messages whose time is over
	opFast           opcode = 17 // incarnation, flags, number of messages, first one's number, ID; at a begin flow and reply; of the next publishes
	opEndFast        opcode = 18 // incarnation, ID
	opPurgeStep      opcode = 19 // incarnation, most messages, JSApiStreamPurgeRequest
	opMove           opcode = 20 // alone in its entry and without a length: number of messages, of each place and publish command; see move.go
	opLimitAccount   opcode = 21 // account, AccountLimits
	opOrigin         opcode = 40 // incarnation, source, previous, sequence, stamp, identity, pending; of the next command
	opSkipTo         opcode = 41 // incarnation, sequence
	opBeginIntake    opcode = 42 // account, first sequence, StreamConfig
	opTakeConsumer   opcode = 43 // incarnation of the stream, ConsumerBackup
	opEndIntake      opcode = 44 // incarnation, last sequence
)

// Message is a stored message, as the log has it. The slices alias the bytes
// that it was decoded from.
type Message struct {
	Stream  Incarnation
	Subject []byte
	Header  []byte // nil when the message has none
	Payload []byte
}

// DecodeMessage takes apart the bytes at a Location: the whole command that
// published the message.
func DecodeMessage(raw []byte) (Message, error) {
	r := protocol.Reader{Rest: raw}
	op := opcode(r.Byte())
	size := r.Uvarint()
	if (op != opPublish && op != opPublishHeader) || size != uint64(len(r.Rest)) {
		return Message{}, fmt.Errorf("decode message: %w", protocol.ErrMalformed)
	}
	stream := readIncarnation(&r)
	m := readContent(&r, op)
	m.Stream = stream
	return m, r.Done("message")
}

// readContent takes what follows the incarnation of a publish command.
func readContent(r *protocol.Reader, op opcode) Message {
	var m Message
	m.Subject = r.Bytes(r.Uvarint())
	if op == opPublishHeader {
		m.Header = r.Bytes(uint64(r.Uint32()))
	}
	m.Payload = r.Bytes(uint64(len(r.Rest)))
	return m
}

func (a *Ack) encodedLen() int {
	return 1 + uvarintLen(a.StreamSeq) + uvarintLen(a.ConsumerSeq) + uvarintLen(a.Deliveries) + uvarintLen(uint64(max(a.Delay, 0)))
}

func (a *Ack) append(dst []byte) []byte {
	dst = append(dst, byte(a.Kind))
	dst = binary.AppendUvarint(dst, a.StreamSeq)
	dst = binary.AppendUvarint(dst, a.ConsumerSeq)
	dst = binary.AppendUvarint(dst, a.Deliveries)
	return binary.AppendUvarint(dst, uint64(max(a.Delay, 0)))
}

func readAck(r *protocol.Reader) Ack {
	a := Ack{Kind: AckKind(r.Byte()), StreamSeq: r.Uvarint(), ConsumerSeq: r.Uvarint(), Deliveries: r.Uvarint()}
	delay := r.Uvarint()
	if delay > maxSpan || a.Kind < AckDone || a.Kind > AckReturn {
		r.Fail()
	}
	a.Delay = int64(delay)
	return a
}

func uvarintLen(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }
