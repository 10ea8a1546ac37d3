package machine

import (
	"encoding/binary"
	"errors"
	"testing"

	"holdfast/protocol"
)

// A log or a checkpoint that a newer release went on with is told from damage.
func TestNewerVersionsAreTold(t *testing.T) {
	var out Results
	batch := make([]byte, batchHeaderSize)
	for version, want := range map[byte]error{batchVersion: nil, batchVersion + 1: protocol.ErrNewerFormat, batchVersion - 1: protocol.ErrMalformed} {
		batch[0] = version
		if err := New(Options{}).Apply(1, batch, &out); !errors.Is(err, want) {
			t.Errorf("a batch of version %d: %v, want %v", version, err, want)
		}
	}
	key := make([]byte, 9)
	for version, want := range map[byte]error{valueVersion: nil, valueVersion + 1: protocol.ErrNewerFormat, valueVersion - 1: protocol.ErrMalformed} {
		value := []byte{version}
		value = binary.LittleEndian.AppendUint32(value, valueSum(key, value))
		if _, err := checkValue(key, value); !errors.Is(err, want) {
			t.Errorf("a value of version %d: %v, want %v", version, err, want)
		}
	}
}
