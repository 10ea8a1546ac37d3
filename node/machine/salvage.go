package machine

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// What follows reads entries and checkpoint pairs one by one, for a store that
// is too damaged to be understood as a whole.

// EachPublish calls yield with every message that a batch entry published,
// stored or not, or moved, and its time if it was stored. From is the entry that it
// was moved from, 0 for none. The slices alias data.
func EachPublish(index uint64, data []byte, yield func(from uint64, stamp int64, m Message)) error {
	if isMove(data) {
		return eachMoved(data, func(from movePlace, _ uint32, _ []byte, m *Message) { yield(from.entry, from.stamp, *m) })
	}
	return eachCommand(index, data, func(slot int, op opcode, body protocol.Reader) error {
		if op != opPublish && op != opPublishHeader {
			return nil
		}
		stream := readIncarnation(&body)
		m := readContent(&body, op)
		if body.Failed() {
			return fmt.Errorf("entry %d, command %d: %w", index, slot, protocol.ErrMalformed)
		}
		m.Stream = stream
		yield(0, int64(binary.LittleEndian.Uint64(data[1:]))+int64(slot), m)
		return nil
	})
}

// EachCreate calls yield with every stream that a batch entry was to create; it
// need not have: the name may have been taken.
func EachCreate(index uint64, data []byte, yield func(stream Incarnation, account string, config *server.StreamConfig)) error {
	return eachCommand(index, data, func(slot int, op opcode, body protocol.Reader) error {
		if op != opCreateStream {
			return nil
		}
		account, config := readAccount(&body), &server.StreamConfig{}
		if err := json.Unmarshal(body.Rest, config); err != nil || body.Failed() {
			return fmt.Errorf("entry %d, command %d: %w", index, slot, protocol.ErrMalformed)
		}
		yield(newIncarnation(index, slot), account, config)
		return nil
	})
}

func eachCommand(index uint64, data []byte, visit func(slot int, op opcode, body protocol.Reader) error) error {
	if isMove(data) {
		return nil
	}
	if err := checkBatch(data); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	r := protocol.Reader{Rest: data[batchHeaderSize:]}
	for slot := 0; len(r.Rest) > 0; slot++ {
		op := opcode(r.Byte())
		body := protocol.Reader{Rest: r.Bytes(r.Uvarint())}
		if r.Failed() || slot == MaxSlots {
			return fmt.Errorf("entry %d, command %d: %w", index, slot, protocol.ErrMalformed)
		}
		if err := visit(slot, op, body); err != nil {
			return err
		}
	}
	return nil
}

// StreamOf reads a checkpoint pair that holds a stream's configuration; false:
// it holds something else.
func StreamOf(key, value []byte) (stream Incarnation, account string, config *server.StreamConfig, ok bool) {
	body, err := checkValue(key, value)
	if err != nil || key[0] != keyStream || len(key) != 9 {
		return 0, "", nil, false
	}
	r := protocol.Reader{Rest: body}
	r.Uint64() // time of creation
	account, config = readAccount(&r), &server.StreamConfig{}
	if r.Failed() || json.Unmarshal(r.Rest, config) != nil {
		return 0, "", nil, false
	}
	return Incarnation(binary.BigEndian.Uint64(key[1:])), account, config, true
}
