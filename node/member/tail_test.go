package member

import (
	"bytes"
	"testing"
)

func TestTailKeepsTheNewestEntriesAndThoseNotYetDurable(t *testing.T) {
	const size, limit = 1 << 20, 32 << 20
	tail := tail{limit: limit}
	for index := uint64(1); index <= 100; index++ {
		tail.add(index, bytes.Repeat([]byte{byte(index)}, size))
		tail.trim(50)
	}
	if tail.get(50) != nil {
		t.Error("entry 50 is durable and old, and still held")
	}
	for index := uint64(51); index <= 100; index++ {
		if data := tail.get(index); len(data) != size || data[0] != byte(index) {
			t.Fatalf("entry %d is not held", index)
		}
	}
	tail.trim(100)
	if tail.get(68) != nil || tail.get(69) == nil {
		t.Errorf("want the newest %d bytes: entries 69 to 100", limit)
	}
}

func TestTailStartsAnewAfterAGap(t *testing.T) {
	var tail tail
	tail.add(1, []byte("one"))
	tail.add(7, []byte("seven"))
	if tail.get(1) != nil || string(tail.get(7)) != "seven" || tail.get(8) != nil {
		t.Error("want only entry 7")
	}
}
