package machine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// world is a machine with the log that it applied, so that what it points at
// can be read back.
type world struct {
	t       testing.TB
	machine *Machine
	entries map[uint64][]byte
	index   uint64
	now     int64
	batch   Batch
	results Results
}

const epoch = int64(1_700_000_000_000_000_000)

func newWorld(t testing.TB) *world {
	w := &world{t: t, machine: New(Options{BlockMessages: 8}), entries: make(map[uint64][]byte), now: epoch}
	w.batch.Reset(w.now)
	return w
}

// pass lets time go by.
func (w *world) pass(d time.Duration) { w.now += int64(d) }

// apply applies what the batch holds as one entry.
func (w *world) apply() *Results {
	w.t.Helper()
	w.batch.SetStamp(w.now)
	w.index++
	w.entries[w.index] = append([]byte(nil), w.batch.Bytes()...)
	if err := w.machine.Apply(w.index, w.batch.Bytes(), &w.results); err != nil {
		w.t.Fatal(err)
	}
	w.now = max(w.now, w.machine.Stamp())
	w.batch.Reset(w.now)
	return &w.results
}

// one applies the batch, which holds one command.
func (w *world) one() Result {
	w.t.Helper()
	return w.apply().Slots[0]
}

func (w *world) tick() *Results { w.t.Helper(); return w.apply() }

func streamConfig(name string, change ...func(c *server.StreamConfig)) *server.StreamConfig {
	c := &server.StreamConfig{Name: name, Subjects: []string{strings.ToLower(name) + ".>"}}
	for _, f := range change {
		f(c)
	}
	return c
}

func (w *world) normalStream(c *server.StreamConfig) *server.StreamConfig {
	w.t.Helper()
	normal, err := NormalizeStream(c, Limits{}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return normal
}

func (w *world) stream(name string, change ...func(c *server.StreamConfig)) *Stream {
	w.t.Helper()
	w.batch.CreateStream(w.normalStream(streamConfig(name, change...)))
	r := w.one()
	if r.Err != nil || !r.Created {
		w.t.Fatalf("create stream: %+v", r)
	}
	return r.Stream
}

func (w *world) updateStream(name string, change ...func(c *server.StreamConfig)) *server.ApiError {
	w.t.Helper()
	c := *w.machine.Stream(name).Config()
	for _, f := range change {
		f(&c)
	}
	w.batch.UpdateStream(w.normalStream(&c))
	return w.one().Err
}

func (w *world) tryConsumer(s *Stream, action server.ConsumerAction, c server.ConsumerConfig) Result {
	w.t.Helper()
	normal, err := NormalizeConsumer(&c, s.Config(), Limits{}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	w.batch.CreateConsumer(s.Incarnation(), normal, action)
	return w.one()
}

func (w *world) consumer(s *Stream, c server.ConsumerConfig) *Consumer {
	w.t.Helper()
	if c.Name == "" && c.Durable == "" {
		c.Durable = "c"
	}
	r := w.tryConsumer(s, server.ActionCreate, c)
	if r.Err != nil {
		w.t.Fatal(r.Err)
	}
	return r.Consumer
}

func (w *world) publish(s *Stream, subject string, headers ...string) Result {
	w.t.Helper()
	w.batch.Publish(s.Incarnation(), []byte(subject), header(headers...), []byte("payload of "+subject))
	return w.one()
}

// publishAll publishes to each subject in one entry.
func (w *world) publishAll(s *Stream, subjects ...string) {
	w.t.Helper()
	for _, subject := range subjects {
		w.batch.Publish(s.Incarnation(), []byte(subject), nil, []byte("payload of "+subject))
	}
	for _, r := range w.apply().Slots {
		if r.Err != nil {
			w.t.Fatal(r.Err)
		}
	}
}

func header(keysAndValues ...string) []byte {
	if len(keysAndValues) == 0 {
		return nil
	}
	h := "NATS/1.0\r\n"
	for i := 0; i < len(keysAndValues); i += 2 {
		h += keysAndValues[i] + ": " + keysAndValues[i+1] + "\r\n"
	}
	return []byte(h + "\r\n")
}

// deliver returns "sequence/consumer sequence/deliveries" of what is given out.
func (w *world) deliver(c *Consumer, n int) string {
	w.t.Helper()
	w.batch.Deliver(c.Incarnation(), n, 0)
	r := w.one()
	if r.Err != nil {
		w.t.Fatal(r.Err)
	}
	var words []string
	for _, d := range r.Deliveries {
		m := w.read(d.Location)
		if got, want := string(m.Payload), "payload of "+string(m.Subject); got != want {
			w.t.Fatalf("location of %d leads to %q", d.StreamSeq, got)
		}
		words = append(words, fmt.Sprintf("%d/%d/%d", d.StreamSeq, d.ConsumerSeq, d.Deliveries))
	}
	return strings.Join(words, " ")
}

func (w *world) read(at Location) Message {
	w.t.Helper()
	m, err := DecodeMessage(w.entries[at.Index][at.Offset : at.Offset+at.Size])
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) ack(c *Consumer, kind AckKind, delay time.Duration, pairs ...uint64) {
	w.t.Helper()
	var acks []Ack
	for i := 0; i < len(pairs); i += 2 {
		acks = append(acks, Ack{Kind: kind, StreamSeq: pairs[i], ConsumerSeq: pairs[i+1], Delay: int64(delay)})
	}
	w.batch.Acks(c.Incarnation(), acks)
	if r := w.one(); r.Err != nil {
		w.t.Fatal(r.Err)
	}
}

// state prints delivered, ack floor, ack pending, redelivered and pending.
func state(c *Consumer) string {
	s := c.State()
	return fmt.Sprintf("delivered %d/%d floor %d/%d unacked %d redelivered %d pending %d",
		s.Delivered.Consumer, s.Delivered.Stream, s.AckFloor.Consumer, s.AckFloor.Stream, s.NumAckPending, s.NumRedelivered, s.NumPending)
}

func contents(s *Stream) string {
	var words []string
	s.index.each(func(seq uint64, r *record) bool {
		words = append(words, fmt.Sprintf("%d:%s", seq, s.subjects.list[r.subject].name))
		return true
	})
	return strings.Join(words, " ")
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s\n got  %v\n want %v", what, got, want)
	}
}

func expectError(t testing.TB, err *server.ApiError, want server.ErrorIdentifier) {
	t.Helper()
	if err == nil || err.ErrCode != uint16(want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
