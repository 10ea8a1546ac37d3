package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// sent is one message that the door gave to the bus.
type sent struct {
	to, subject, reply, header, payload string
}

// fakeBus records. Everybody listens everywhere, except on deaf subjects.
type fakeBus struct {
	sent          []sent
	subscriptions map[string]int
	deaf          map[string]bool
	heard         map[string]bool // advisories that somebody wants
	yielded       []string
	watched       map[listener]bool // with what the door was told last
	pending       int
	quiet         bool // records nothing, for benchmarks
	count         int
}

func (b *fakeBus) Subscribe(subject, queue string)   { b.subscriptions[subject+" "+queue]++ }
func (b *fakeBus) Unsubscribe(subject, queue string) { b.subscriptions[subject+" "+queue]-- }
func (b *fakeBus) Yield(subject, queue string)       { b.yielded = append(b.yielded, subject) }
func (b *fakeBus) Pending() int                      { return b.pending }

func (b *fakeBus) Interest(subject string) bool {
	if strings.HasPrefix(subject, "$JS.EVENT.") {
		return b.heard[subject]
	}
	return !b.deaf[subject]
}

func (b *fakeBus) Watch(subject, queue string) bool {
	if l := (listener{subject, queue}); !has(b.watched, l) {
		b.watched[l] = !b.deaf[subject]
	}
	return !b.deaf[subject]
}

func has[K comparable, V any](m map[K]V, key K) bool { _, ok := m[key]; return ok }

func (b *fakeBus) Unwatch(subject, queue string) { delete(b.watched, listener{subject, queue}) }

func (b *fakeBus) Heard(f func(subject, queue string, listens bool)) {
	for l, before := range b.watched {
		if now := !b.deaf[l.subject]; now != before {
			b.watched[l] = now
			f(l.subject, l.queue, now)
		}
	}
}

func (b *fakeBus) Publish(subject, reply, header, payload []byte) {
	if b.count++; !b.quiet {
		b.sent = append(b.sent, sent{string(subject), string(subject), string(reply), string(header), string(payload)})
	}
}

func (b *fakeBus) Deliver(to, reply, header, payload []byte) {
	if b.count++; !b.quiet {
		ack, subject, _ := strings.Cut(string(reply), "@")
		b.sent = append(b.sent, sent{string(to), subject, ack, string(header), string(payload)})
	}
}

// fakeNode is a log that commits when it is told to.
type fakeNode struct {
	now      int64
	entries  [][]byte // entries[i] has index i+1
	refuse   error    // what Propose answers
	barriers []uint64
	cluster  *server.ClusterInfo
	forward  []Message
	stepped  []string // who was asked to lead
	unread   bool     // Read fails
}

func (n *fakeNode) Now() int64                   { return n.now }
func (n *fakeNode) Cluster() *server.ClusterInfo { return n.cluster }
func (n *fakeNode) Barrier(context uint64)       { n.barriers = append(n.barriers, context) }
func (n *fakeNode) Forward(messages []Message)   { n.forward = append(n.forward, messages...) }

func (n *fakeNode) StepDown(to string) { n.stepped = append(n.stepped, to) }

func (n *fakeNode) Propose(data []byte) (uint64, error) {
	if n.refuse != nil {
		return 0, n.refuse
	}
	n.entries = append(n.entries, data)
	return uint64(len(n.entries)), nil
}

func (n *fakeNode) Read(dst []byte, at machine.Location) ([]byte, error) {
	if n.unread {
		return dst, errors.New("unreadable")
	}
	return append(dst, n.entries[at.Index-1][at.Offset:at.Offset+at.Size]...), nil
}

// fixture is a door with a real machine between the fakes.
type fixture struct {
	testing.TB
	door    *Door
	machine *machine.Machine
	bus     *fakeBus
	node    *fakeNode
	results machine.Results
	inboxes int
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()

func newFixture(t testing.TB, change ...func(*Options)) *fixture {
	f := &fixture{
		TB:      t,
		machine: machine.New(machine.Options{}),
		bus:     &fakeBus{subscriptions: map[string]int{}, deaf: map[string]bool{}, heard: map[string]bool{}, watched: map[listener]bool{}},
		node:    &fakeNode{now: start},
	}
	options := Options{Machine: f.machine, Bus: f.bus, Node: f.node, Random: rand.New(rand.NewPCG(1, 2))}
	for _, c := range change {
		c(&options)
	}
	f.door = New(options)
	f.door.Lead()
	return f
}

// commit applies every proposed entry that was not applied yet, and passes the
// barriers.
func (f *fixture) commit() {
	for f.machine.Applied() < uint64(len(f.node.entries)) {
		index := f.machine.Applied() + 1
		if err := f.machine.Apply(index, f.node.entries[index-1], &f.results); err != nil {
			f.Fatal(err)
		}
		f.door.Applied(index, &f.results)
	}
	contexts := f.node.barriers
	f.node.barriers = nil
	for _, context := range contexts {
		f.door.Barriered(context, true)
	}
}

// run lets everything happen that can without time passing.
func (f *fixture) run() {
	for {
		f.door.Flush()
		if f.machine.Applied() == uint64(len(f.node.entries)) && len(f.node.barriers) == 0 {
			return
		}
		f.commit()
	}
}

// wait lets time pass, in ticks.
func (f *fixture) wait(d time.Duration) {
	for end := f.node.now + int64(d); f.node.now < end; {
		f.node.now = min(f.node.now+int64(20*time.Millisecond), end)
		f.door.Tick(f.node.now)
		f.run()
	}
}

func (f *fixture) send(subject, reply, header, payload string) {
	f.door.Handle(&Message{Subject: []byte(subject), Reply: []byte(reply), Header: []byte(header), Payload: []byte(payload)})
}

func (f *fixture) inbox() string {
	f.inboxes++
	return fmt.Sprintf("_INBOX.%d", f.inboxes)
}

// take returns what was sent to a subject and forgets it.
func (f *fixture) take(to string) []sent {
	var taken, rest []sent
	for _, s := range f.bus.sent {
		if s.to == to {
			taken = append(taken, s)
		} else {
			rest = append(rest, s)
		}
	}
	f.bus.sent = rest
	return taken
}

// ask sends a message and returns the one answer.
func (f *fixture) ask(subject, header, payload string) sent {
	f.Helper()
	inbox := f.inbox()
	f.send(subject, inbox, header, payload)
	f.run()
	got := f.take(inbox)
	if len(got) != 1 {
		f.Fatalf("%s %s: %d answers %q, want one", subject, payload, len(got), got)
	}
	return got[0]
}

// api sends a request with a body of that value and decodes the answer.
func api[T any](f *fixture, subject string, body any) T {
	f.Helper()
	payload, ok := body.(string)
	if !ok && body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		payload = string(encoded)
	}
	var response T
	answer := f.ask(apiPrefix+subject, "", payload)
	if err := json.Unmarshal([]byte(answer.payload), &response); err != nil {
		f.Fatalf("%s: %v in %q", subject, err, answer.payload)
	}
	return response
}

// refusal sends a request and returns the error it is answered with.
func (f *fixture) refusal(subject string, body any) *server.ApiError {
	f.Helper()
	response := api[server.ApiResponse](f, subject, body)
	if response.Error == nil {
		f.Fatalf("%s %v: no error", subject, body)
	}
	return response.Error
}

func (f *fixture) wantError(want server.ErrorIdentifier, subject string, body any) {
	f.Helper()
	if got := f.refusal(subject, body); got.ErrCode != uint16(want) {
		f.Errorf("%s %v: error %d %q, want %d", subject, body, got.ErrCode, got.Description, want)
	}
}

func (f *fixture) createStream(config server.StreamConfig) *server.StreamInfo {
	f.Helper()
	config.Storage = server.FileStorage
	response := api[server.JSApiStreamCreateResponse](f, "STREAM.CREATE."+config.Name, config)
	if response.Error != nil {
		f.Fatalf("create stream %s: %v", config.Name, response.Error)
	}
	return response.StreamInfo
}

func (f *fixture) createConsumer(stream string, config server.ConsumerConfig) *server.ConsumerInfo {
	f.Helper()
	subject := "CONSUMER.CREATE." + stream
	if name := config.Durable + config.Name; name != "" {
		subject += "." + name
	}
	response := api[server.JSApiConsumerCreateResponse](f, subject, server.CreateConsumerRequest{Stream: stream, Config: config})
	if response.Error != nil {
		f.Fatalf("create consumer %s: %v", config.Durable, response.Error)
	}
	return response.ConsumerInfo
}

func (f *fixture) info(stream, consumer string) *server.ConsumerInfo {
	f.Helper()
	response := api[server.JSApiConsumerInfoResponse](f, "CONSUMER.INFO."+stream+"."+consumer, nil)
	if response.Error != nil {
		f.Fatalf("info of %s: %v", consumer, response.Error)
	}
	return response.ConsumerInfo
}

// publish stores a message and returns its sequence.
func (f *fixture) publish(subject, payload string) uint64 {
	f.Helper()
	ack := f.publishWith(subject, "", payload)
	if ack.Error != nil {
		f.Fatalf("publish %s: %v", subject, ack.Error)
	}
	return ack.Sequence
}

func (f *fixture) publishWith(subject, header, payload string) server.JSPubAckResponse {
	f.Helper()
	answer := f.ask(subject, header, payload)
	var ack server.JSPubAckResponse
	if err := json.Unmarshal([]byte(answer.payload), &ack); err != nil {
		f.Fatalf("publish %s: %v in %q %q", subject, err, answer.header, answer.payload)
	}
	return ack
}

// fill stores n messages of 8 bytes of payload on the subject.
func (f *fixture) fill(subject string, n int) {
	f.Helper()
	for i := range n {
		f.publish(subject, fmt.Sprintf("%08d", i+1))
	}
}

// pull asks a consumer for messages and returns the subject they are sent to.
func (f *fixture) pull(stream, consumer, request string) string {
	inbox := f.inbox()
	f.send(nextPrefix+stream+"."+consumer, inbox, "", request)
	f.run()
	return inbox
}

// status is the first line of a control message, without the version.
func (s sent) status() string {
	line, _, _ := strings.Cut(s.header, "\r\n")
	return strings.TrimPrefix(strings.TrimPrefix(line, "NATS/1.0"), " ")
}

func (s sent) value(name string) string { return string(headerValue([]byte(s.header), name)) }

// words tells a series of messages in one line: payloads and statuses.
func words(messages []sent) string {
	var all []string
	for _, m := range messages {
		if status := m.status(); status != "" {
			all = append(all, "<"+status+">")
		} else {
			all = append(all, m.payload)
		}
	}
	return strings.Join(all, " ")
}

func (f *fixture) want(to, wanted string) []sent {
	f.Helper()
	got := f.take(to)
	if words(got) != wanted {
		f.Errorf("got %q, want %q", words(got), wanted)
	}
	return got
}

// ack answers a delivery.
func (f *fixture) ack(delivery sent, word string) {
	f.send(delivery.reply, "", "", word)
	f.run()
}
