package wal

import (
	"encoding/binary"
	"errors"
	"testing"

	"holdfast/protocol"
)

// What a newer program wrote is neither damage nor nothing: it is refused as newer.
func TestNewerVersionsAreTold(t *testing.T) {
	record := func(version byte) []byte {
		content := appendHead(nil, &head{})
		content = content[:len(content)-4]
		content[0] = version
		return appendSum(content, headKey)
	}
	if _, err := decodeHead(record(headVersion + 1)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("a newer head record: %v", err)
	}
	if _, err := decodeHead(record(headVersion - 1)); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("an older head record: %v", err)
	}
	tag := []byte("abcdefgh")
	area := make([]byte, 4*blockBytes)
	copy(area, tag)
	put := func(block int, number uint64, version byte) {
		at := area[block*blockBytes:]
		copy(at, tag)
		at[tagBytes] = version
		binary.LittleEndian.PutUint32(at[12:], 100)
		binary.LittleEndian.PutUint64(at[16:], number)
		binary.LittleEndian.PutUint32(at[24:], frameSum(at[:frameHeaderBytes+100]))
	}
	put(1, 8, frameVersion)
	put(2, 9, frameVersion+1)
	if found, err := pendingFrames(area, 7); !errors.Is(err, ErrNewerFormat) || len(found) != 1 {
		t.Errorf("a newer frame after a known one: %d, %v", len(found), err)
	}
	// Those that the head contains are not looked at.
	if found, err := pendingFrames(area, 9); err != nil || len(found) != 0 {
		t.Errorf("a newer frame that is done: %d, %v", len(found), err)
	}
	if _, _, err := (&frame{number: 3, version: frameVersion + 1}).writes(); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("what a newer frame writes: %v", err)
	}
}
