package mesh

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"holdfast/protocol"
)

// sampleStatus has a different value in every field.
func sampleStatus(member string) Status {
	return Status{
		Member: member, Store: 0xa1, Lineage: protocol.Lineage{Epoch: 3, ID: 0x33}, Epoch: 5, Term: 9, LastTerm: 8, LastIndex: 4711,
		Configuration: protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: 0xa1}, protocol.Voter{Name: "n2", Store: 0xb1}),
		Promise:       protocol.Attempt{Epoch: 6, ID: 0x66}, Replaced: protocol.Lineage{Epoch: 2, ID: 0x22}, Counter: 77, Boot: 12,
	}
}

// sampleMessages has one message of each type with every field that it carries.
func sampleMessages() []Message {
	s, pinned := sampleStatus("n1"), sampleStatus("n2")
	role := Role{Leading: true, Leader: "n1", State: StateJoining, Reason: "because", Remedy: "start it", Copied: 5, Total: 10}
	attempt := protocol.Attempt{Epoch: 7, ID: 0x77}
	foundings := []protocol.Founding{
		{Attempt: protocol.Attempt{Epoch: 1, ID: 0x11}, Index: 1, Voter: protocol.Voter{Name: "n1", Store: 0xa0}},
		{Attempt: protocol.Attempt{Epoch: 3, ID: 0x33}, Index: 900, Voter: protocol.Voter{Name: "n2", Store: 0xb0}},
	}
	return []Message{
		{Type: TypeStatus, Status: s, Role: role, Heard: Trace{Store: 9, Boot: 3, Counter: 3 << 40, Promise: 2, Term: 300, Index: 70000}},
		{Type: TypeAsk, Status: s, Nonce: 42},
		{Type: TypeAnswer, Status: s, Nonce: 42},
		{Type: TypeOffer, Status: s, Role: role, Pinned: pinned, Contained: true, Foundings: foundings, CatchUp: true},
		{Type: TypeConfirm, Status: s, Attempt: attempt, Pinned: pinned, Contained: true, Foundings: foundings},
		{Type: TypeConfirmed, Status: s, Attempt: attempt},
		{Type: TypeGrant, Status: s, Attempt: attempt, Pinned: pinned, Foundings: foundings},
		{Type: TypeGranted, Status: s, Attempt: attempt},
		{Type: TypeRefused, Status: s, Attempt: attempt, Refusal: RefusedLeave, Reason: "it holds more"},
	}
}

func TestMessagesSurviveTheirEncoding(t *testing.T) {
	for _, m := range sampleMessages() {
		data := AppendMessage([]byte("head"), &m)[4:]
		got, err := DecodeMessage(data)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: got %+v, %v; want %+v", m.Type, got, err, m)
		}
		for cut := range data {
			if _, err := DecodeMessage(data[:cut]); !errors.Is(err, protocol.ErrMalformed) {
				t.Fatalf("%s cut to %d of %d bytes: %v", m.Type, cut, len(data), err)
			}
		}
		if _, err := DecodeMessage(append(bytes.Clone(data), 0)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s with a byte too many: %v", m.Type, err)
		}
	}
}

func TestStatusSurvivesItsEncoding(t *testing.T) {
	for _, s := range []Status{sampleStatus("n1"), {Member: "n1", Store: 1}} {
		data := AppendStatus(nil, &s)
		if got, err := DecodeStatus(data); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v; want %+v", got, err, s)
		}
		data[0]++
		if _, err := DecodeStatus(data); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("a status of another version: %v", err)
		}
	}
}

func TestLongSentencesAreCut(t *testing.T) {
	m := Message{Type: TypeRefused, Status: sampleStatus("n1"), Reason: strings.Repeat("ä", maxTextBytes)}
	got, err := DecodeMessage(AppendMessage(nil, &m))
	if err != nil || len(got.Reason) > maxTextBytes || !strings.HasPrefix(m.Reason, got.Reason) || got.Reason == "" {
		t.Errorf("%d bytes, %v", len(got.Reason), err)
	}
}

func TestUnknownTypesAreRefused(t *testing.T) {
	m := sampleMessages()[0]
	data := AppendMessage(nil, &m)
	for _, unknown := range []byte{0, 10, 255} {
		data[1] = unknown
		if _, err := DecodeMessage(data); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("type %d: %v", unknown, err)
		}
	}
}

// FuzzDecodeMessage: whatever decodes encodes to something that decodes to the
// same, and a core takes it without harm.
func FuzzDecodeMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(AppendMessage(nil, &m))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMessage(data)
		if err != nil {
			return
		}
		again, err := DecodeMessage(AppendMessage(nil, &m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
		c := New(Options{Self: "n3", Members: []string{"n1", "n2", "n3"}, Continue: true, RetryTicks: 4, ReportTicks: 4,
			Random: rand.New(rand.NewPCG(1, 1))}, Local{Status: Status{Member: "n3", Store: 3, Counter: 1}})
		var e Effects
		c.Connected("n1", sampleStatus("n1"))
		c.Step("n1", m)
		c.Step("n2", m)
		c.Tick()
		c.Take(&e)
		c.View()
	})
}

func FuzzDecodeStatus(f *testing.F) {
	s := sampleStatus("n1")
	f.Add(AppendStatus(nil, &s))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeStatus(data)
		if err != nil {
			return
		}
		if again, err := DecodeStatus(AppendStatus(nil, &s)); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
