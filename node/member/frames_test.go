package member

import (
	"bytes"
	"testing"

	"holdfast/protocol"
)

func FuzzDecodeStaging(f *testing.F) {
	f.Add(stagingMessage{Type: stagingChunk, Session: 7, Number: 1, Sent: 10, Total: 20, Data: []byte("pages")}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeStaging(body)
		if err == nil && !bytes.Equal(m.encode(), body) {
			t.Fatalf("%+v encodes to other bytes", m)
		}
	})
}

func FuzzDecodeForward(f *testing.F) {
	f.Add(appendForward(nil, forwarded{[]byte("A"), []byte("orders"), []byte("_INBOX.1"), nil, []byte("x")}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, body []byte) {
		var again []byte
		if decodeForward(body, func(m forwarded) { again = appendForward(again, m) }) == nil && len(again) > len(body) {
			t.Fatalf("%x encodes to the longer %x", body, again)
		}
	})
}

func FuzzDecodeRead(f *testing.F) {
	f.Add(readRequest{Context: 7, Lineage: protocol.Lineage{Epoch: 2, ID: 3}, Granted: true, Index: 9}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeRead(body)
		if err == nil && !bytes.Equal(m.encode(), body) {
			t.Fatalf("%+v encodes to other bytes", m)
		}
	})
}

func FuzzDecodeRank(f *testing.F) {
	f.Add(standing{rank: maxRank, term: 7}.encode())
	f.Add(standing{rank: maxRank + 1}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := decodeStanding(body)
		if err == nil && !bytes.Equal(s.encode(), body) {
			t.Fatalf("%+v encodes to other bytes", s)
		}
	})
}

func FuzzDecodeRoom(f *testing.F) {
	f.Add(encodeRoom(1 << 20))
	f.Add(encodeRoom(-7))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		spare, err := decodeRoom(body)
		if err == nil && !bytes.Equal(encodeRoom(spare), body) {
			t.Fatalf("%d encodes to other bytes", spare)
		}
	})
}
