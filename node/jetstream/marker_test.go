package jetstream

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestMarkersTakeThePlaceOfTheLast: earlier messages of a subject just end, the
// last leaves a marker, and the marker ends without another one.
func TestMarkersTakeThePlaceOfTheLast(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "A", Subjects: []string{"a.>"}, MaxAge: 3 * time.Second, SubjectDeleteMarkerTTL: time.Second})
	f.fill("a.x", 2)
	f.fill("a.y", 1)
	f.wait(3100 * time.Millisecond)
	state := f.machine.Stream("A").State()
	if state.Msgs != 2 || state.FirstSeq != 4 || state.LastSeq != 5 {
		t.Fatalf("state %+v, want the two markers", state)
	}
	for _, subject := range []string{"a.x", "a.y"} {
		stored, ok := f.machine.Stream("A").Last(subject)
		m, read := f.door.read(stored.Location)
		want := "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1s\r\nNats-Rollup: sub\r\n\r\n"
		if !ok || !read || string(m.Header) != want || len(m.Payload) > 0 {
			t.Errorf("last of %s: %q", subject, m.Header)
		}
	}
	f.wait(1100 * time.Millisecond)
	if state := f.machine.Stream("A").State(); state.Msgs != 0 || state.LastSeq != 5 {
		t.Errorf("state %+v, want no more markers", state)
	}
}

// TestShortTimesToLiveAreRaised: a message must outlive the marker before it.
func TestShortTimesToLiveAreRaised(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "A", Subjects: []string{"a.>"}, SubjectDeleteMarkerTTL: time.Minute})
	f.publishWith("a.x", "NATS/1.0\r\nNats-TTL: 5s\r\nOther: x\r\n\r\n", "")
	stored, _ := f.machine.Stream("A").Last("a.x")
	if m, _ := f.door.read(stored.Location); string(m.Header) != "NATS/1.0\r\nOther: x\r\nNats-TTL: 60\r\n\r\n" {
		t.Errorf("header %q", m.Header)
	}
}
