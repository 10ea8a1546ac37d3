package transport

import (
	"bufio"
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func someHello() hello {
	return hello{
		cluster: "edge-1", from: "n1", to: "n2",
		members:     digestOf([]Member{{Name: "n1", Address: "a:1"}, {Name: "n2", Address: "b:1"}}),
		incarnation: 0xABCDEF, attempt: 3,
		presence: Presence{Store: 9, Boot: 4, Status: []byte("status")},
	}
}

func TestHelloIsReadAsWritten(t *testing.T) {
	want := someHello()
	got, err := decodeHello(appendHello(nil, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestDigestOfMembers(t *testing.T) {
	one := []Member{{"n1", "a:1"}, {"n2", "b:1"}}
	if digestOf(one) != digestOf([]Member{one[1], one[0]}) {
		t.Error("the order of the list counts")
	}
	for _, other := range [][]Member{
		{{"n1", "a:1"}}, {{"n1", "a:1"}, {"n2", "b:2"}}, {{"n1", "a:1"}, {"n3", "b:1"}}, {{"n1a", ":1"}, {"n2", "b:1"}},
	} {
		if digestOf(one) == digestOf(other) {
			t.Errorf("%v has the digest of %v", other, one)
		}
	}
}

func TestRefusalTextIsFitForALog(t *testing.T) {
	sent := &RefusedError{By: "n1", Member: "n2", Reason: ReasonCluster, Detail: "line\nbreak" + strings.Repeat("x", 5000)}
	got, err := decodeRefusal(appendRefusal(nil, sent), "n2")
	if err != nil || got.By != "n1" || got.Member != "n2" || got.Reason != ReasonCluster {
		t.Fatalf("got %+v, %v", got, err)
	}
	if strings.Contains(got.Error(), "\n") || len(got.Detail) > 2*maxDetailBytes {
		t.Errorf("refusal text of %d bytes: %.60q", len(got.Detail), got.Detail)
	}
}

func FuzzOpening(f *testing.F) {
	f.Add(appendOpening(nil, kindHello, appendHello(nil, someHello())))
	f.Add(appendOpening(nil, kindRefused, appendRefusal(nil, &RefusedError{By: "n1", Reason: ReasonCluster, Detail: "no"})))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte(preamble + "\x00\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := readOpening(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		fuzzHello(t, first.body)
		if refused, err := decodeRefusal(first.body, "n1"); err == nil && len(refused.Error()) > 4*maxOpening {
			t.Error("a refusal longer than its input")
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(appendHello(nil, someHello()))
	f.Add([]byte{})
	f.Fuzz(fuzzHello)
}

func fuzzHello(t *testing.T, body []byte) {
	h, err := decodeHello(body)
	if err != nil {
		return
	}
	again, err := decodeHello(appendHello(nil, h))
	if err != nil || !reflect.DeepEqual(h, again) {
		t.Errorf("%+v was read again as %+v, %v", h, again, err)
	}
}
