package replication

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"holdfast/protocol"
)

func sampleMessages() []Message {
	other := protocol.Lineage{Epoch: 3, ID: 4}
	entries := logOf(1, 1, 2, 3)
	entries[2].Lineage = other
	entries[2].Data = make([]byte, 3*sharedData)
	entries[3].Data = []byte("data")
	return []Message{
		{Type: PreVote, From: voter("a"), To: voter("b"), Lineage: testLineage, Term: 4, At: at(3, 9)},
		{Type: VoteReply, From: voter("b"), To: voter("a"), Lineage: testLineage, Term: 4, Reject: true},
		{Type: Vote, From: voter("b"), To: voter("a"), Lineage: testLineage, Term: 4, Transfer: true, At: protocol.Mark{Index: 2, Term: 1, Lineage: other}},
		{Type: Append, From: voter("a"), To: voter("b"), Lineage: testLineage, Term: 4, Entries: entries, Commit: 3, Release: 2},
		{Type: Heartbeat, From: voter("a"), To: voter("b"), Lineage: testLineage, Term: 1 << 60, At: protocol.Mark{Index: 1 << 50}, Index: 7, Round: 1 << 40},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range sampleMessages() {
		wire := AppendMessage(nil, &m)
		got, err := DecodeMessage(wire)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%v\nbecomes %v\n%v", &m, &got, err)
		}
		first, rest := MessageParts(&m)
		if parts := append(first, slices.Concat(rest...)...); !bytes.Equal(parts, wire) {
			t.Errorf("%v\nin parts is not what it is as a whole", &m)
		}
	}
}

// TestDecodeAliases: the data of entries is not copied.
func TestDecodeAliases(t *testing.T) {
	wire := AppendMessage(nil, &sampleMessages()[3])
	m, err := DecodeMessage(wire)
	if err != nil {
		t.Fatal(err)
	}
	wire[len(wire)-1] ^= 0xff
	if string(m.Entries[3].Data) == "data" {
		t.Error("the data was copied")
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, m := range sampleMessages() {
		wire := AppendMessage(nil, &m)
		for n := range wire {
			if _, err := DecodeMessage(wire[:n]); !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("%d of %d bytes: %v", n, len(wire), err)
			}
		}
		if _, err := DecodeMessage(append(wire, 0)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("a byte too many: %v", err)
		}
	}
	spoil := func(index int, value byte) []byte {
		wire := AppendMessage(nil, &sampleMessages()[0])
		wire[index] = value
		return wire
	}
	for name, wire := range map[string][]byte{
		"version": spoil(0, 9), "type": spoil(1, 0), "unknown type": spoil(1, 10), "flags": spoil(2, 0x80), "both lineages": spoil(2, 0x0c),
	} {
		if _, err := DecodeMessage(wire); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecodeMessage: no input makes the decoder panic or allocate out of
// proportion, and what it accepts survives another round trip.
func FuzzDecodeMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(AppendMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMessage(data)
		if err != nil {
			return
		}
		for i := range m.Entries {
			if m.Entries[i].Index != m.At.Index+1+uint64(i) {
				t.Fatal("indices are not consecutive")
			}
		}
		again, err := DecodeMessage(AppendMessage(nil, &m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%v\nbecomes %v\n%v", &m, &again, err)
		}
	})
}

// FuzzStep: no decodable message makes a core panic, in any role.
func FuzzStep(f *testing.F) {
	for i, m := range sampleMessages() {
		f.Add(AppendMessage(nil, &m), byte(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, role byte) {
		m, err := DecodeMessage(data)
		if err != nil {
			return
		}
		s := newSolo(t, voters("a", "b", "c"), 3, 1, 1, 2)
		switch role % 4 {
		case 1:
			s.campaignAsking()
		case 2:
			s.campaign(false)
		case 3:
			s.elected()
		}
		m.From = voter("b")
		for range 3 {
			if len(m.Entries) > 0 && m.Entries[0].Index == 0 {
				return
			}
			s.step(m)
			s.Tick()
			m.Term = s.state.Term
		}
	})
}

// TestDecodeBoundsMemory: a count that the rest of the input cannot hold, or
// only just could, costs no more than a multiple of the input.
func TestDecodeBoundsMemory(t *testing.T) {
	m := sampleMessages()[0]
	wire := AppendMessage(nil, &m)
	wire = append(wire[:len(wire)-1], 0xff, 0xff, 0xff, 0xff, 0x0f) // 4 Gi entries
	random := rand.New(rand.NewPCG(1, 1))
	for len(wire) < 1<<16 {
		wire = append(wire, byte(random.Uint32()))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := DecodeMessage(wire); err == nil {
		t.Fatal("accepted")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes allocated for %d of input", grown, len(wire))
	}
}
