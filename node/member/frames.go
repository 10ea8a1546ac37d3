package member

import (
	"encoding/binary"
	"errors"

	"holdfast/protocol"
)

// What a frame between two members carries.
const (
	frameMembership byte = 16 // a message of the mesh core
	frameRaft       byte = 17 // a message of the replication core
	frameStaging    byte = 18 // a stagingMessage
	frameForward    byte = 19 // client messages, handed on to a new leader
	frameClock      byte = 20 // a clockReport
	frameReadIndex  byte = 21 // a readRequest, to the leader
	frameReadAnswer byte = 22 // and its answer
	frameRoom       byte = 23 // what a member's disk can spare
	frameRank       byte = 24 // its rank, see precedence
)

// What a staging message is for. A copy of a store travels from the leader to
// the member that asked for it as a row of chunks; every chunk is acknowledged,
// and only a few are on their way at once, so that both sides need little
// memory and the disk of the receiver sets the pace. What is not acknowledged is kept
// by the sender: when the link breaks, the receiver asks for what it lacks.
const (
	stagingRequest byte = 1 // receiver: send me a copy, or the rest of it behind Number
	stagingRefusal byte = 2 // sender: not from here; Data is the reason
	stagingChunk   byte = 3 // sender: the next piece
	stagingEnd     byte = 4 // sender: the last piece
	stagingAck     byte = 5 // receiver: Number is on disk
	stagingCancel  byte = 6 // either: this copy will not be finished
)

// stagingMessage is one step of a copy.
type stagingMessage struct {
	Type    byte
	Session uint64 // drawn by the receiver
	Number  uint64 // of the chunk, from 1
	Sent    uint64 // bytes of the copy up to here
	Total   uint64 // bytes of the whole copy, estimated
	Data    []byte
}

const stagingHeaderBytes = 1 + 4*8

// encode returns the frame body. Data is copied.
func (m stagingMessage) encode() []byte { return append(m.header(), m.Data...) }

// header is the frame body without Data.
func (m *stagingMessage) header() []byte {
	body := make([]byte, 0, stagingHeaderBytes)
	body = append(body, m.Type)
	for _, n := range [...]uint64{m.Session, m.Number, m.Sent, m.Total} {
		body = binary.LittleEndian.AppendUint64(body, n)
	}
	return body
}

// decodeStaging reads a frame body; Data shares its memory.
func decodeStaging(body []byte) (stagingMessage, error) {
	r := protocol.Reader{Rest: body}
	m := stagingMessage{Type: r.Byte(), Session: r.Uint64(), Number: r.Uint64(), Sent: r.Uint64(), Total: r.Uint64()}
	m.Data = r.Rest
	if r.Failed() || m.Type < stagingRequest || m.Type > stagingCancel {
		return m, errors.New("decode staging message: malformed")
	}
	return m, nil
}

// forwarded is a client message that reached a node which no longer leads.
type forwarded struct {
	account, subject, reply, header, payload []byte
}

// appendForward appends a message to the body of a frameForward.
func appendForward(body []byte, f forwarded) []byte {
	for _, part := range [...][]byte{f.account, f.subject, f.reply, f.header, f.payload} {
		body = binary.AppendUvarint(body, uint64(len(part)))
		body = append(body, part...)
	}
	return body
}

// decodeForward calls each with every message of a frameForward body; the parts
// share its memory.
func decodeForward(body []byte, each func(forwarded)) error {
	r := protocol.Reader{Rest: body}
	for len(r.Rest) > 0 {
		f := forwarded{account: r.Bytes(r.Uvarint()), subject: r.Bytes(r.Uvarint()), reply: r.Bytes(r.Uvarint()), header: r.Bytes(r.Uvarint()), payload: r.Bytes(r.Uvarint())}
		if r.Failed() {
			return errors.New("decode forwarded messages: malformed")
		}
		each(f)
	}
	return nil
}
