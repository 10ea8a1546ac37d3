package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// workload is what the clients do.
type workload struct {
	topics []*topic
	quiet  bool // no new work is begun
}

// topic is a stream, and those who use it. The stream of a topic that is not
// permanent is deleted and created again under the same name all the time.
type topic struct {
	world     *world
	name      string
	permanent bool
	admin     *client
	state     topicState
	// deletions counts the delete requests that were sent. What was learned
	// while it had another value says nothing about the stream of now.
	deletions  int
	since      int64 // of state
	publishers []*publisher
	consumers  []*consumer
	reader     *reader
}

type topicState uint8

const (
	topicUnknown topicState = iota // to be created
	topicThere
	topicLeaving // a delete was sent
	topicGone    // and confirmed
)

func (w *world) addTopics() {
	for i := range w.plan.topics {
		t := &topic{world: w, name: fmt.Sprintf("T%d", i), permanent: i == 0, admin: w.newClient()}
		for range w.plan.publishers {
			t.publishers = append(t.publishers, newPublisher(t, len(t.publishers)))
		}
		for range w.plan.consumers {
			t.consumers = append(t.consumers, newConsumer(t, len(t.consumers)))
		}
		t.reader = newReader(t)
		w.clients.topics = append(w.clients.topics, t)
		w.after(w.between(0, second), t.manage)
		if t.permanent {
			w.after(w.between(0, 5*second), t.keepCopies)
		}
	}
}

// manage sees to it that the stream is there, or not.
func (t *topic) manage() {
	w := t.world
	next := w.between(50*millisecond, 400*millisecond)
	switch {
	case t.state == topicUnknown || t.state == topicGone && (w.clients.quiet || w.chance(0.3)):
		t.create()
		return
	case t.state == topicThere && !t.permanent && !w.clients.quiet && w.now-t.since > 2*second && w.chance(0.1):
		t.delete()
		return
	}
	w.after(next, t.manage)
}

func (t *topic) enter(s topicState) { t.state, t.since = s, t.world.now }

func (t *topic) create() {
	config := server.StreamConfig{
		Name: t.name, Subjects: []string{t.name + ".>"}, Storage: server.FileStorage, Replicas: 1,
		Retention: server.LimitsPolicy, Duplicates: 2 * time.Minute, AllowDirect: true,
	}
	call(t.admin, "STREAM.CREATE."+t.name, &config, func(response *server.JSApiStreamCreateResponse, ok bool) {
		if ok && response.Error == nil {
			t.enter(topicThere)
		}
		t.world.after(t.world.between(10*millisecond, 300*millisecond), t.manage)
	})
}

func (t *topic) delete() {
	t.enter(topicLeaving)
	t.deletions++
	call(t.admin, "STREAM.DELETE."+t.name, nil, func(response *server.JSApiStreamDeleteResponse, ok bool) {
		switch {
		case ok && (response.Error == nil || response.Error.ErrCode == uint16(server.JSStreamNotFoundErr)):
			t.enter(topicGone)
		default:
			t.world.after(t.world.between(100*millisecond, 500*millisecond), t.delete)
			return
		}
		t.world.after(t.world.between(10*millisecond, second), t.manage)
	})
}

// publisher publishes numbered messages, each until it is acknowledged.
type publisher struct {
	topic  *topic
	client *client
	number int
	next   int
	flying int
	acked  int
}

// publication is one message of a publisher.
type publication struct {
	publisher *publisher
	text      string
	retried   bool
	created   time.Time // of the stream that acknowledged it
}

func newPublisher(t *topic, number int) *publisher {
	p := &publisher{topic: t, client: t.world.newClient(), number: number}
	t.world.after(t.world.between(0, second), p.work)
	return p
}

// work publishes as many messages as may be on their way.
func (p *publisher) work() {
	w := p.topic.world
	if !w.clients.quiet || p.acked < w.plan.lastMessages {
		for p.flying < w.plan.window && (!w.clients.quiet || p.flying+p.acked < w.plan.lastMessages) {
			p.next++
			p.flying++
			p.publish(&publication{publisher: p, text: fmt.Sprintf("%s/%d/%d", p.topic.name, p.number, p.next)})
		}
	}
	w.after(w.often(millisecond, int64(w.plan.window)*100*millisecond), p.work)
}

func (p *publisher) publish(m *publication) {
	w := p.topic.world
	payload := []byte(m.text)
	if w.chance(0.05) {
		payload = append(payload, make([]byte, w.random.IntN(w.plan.largest))...)
	}
	r := &request{subject: fmt.Sprintf("%s.p%d", p.topic.name, p.number), payload: payload, publish: m}
	r.header = []byte("NATS/1.0\r\nNats-Msg-Id: " + m.text + "\r\n\r\n")
	r.answer = func(answer *outgoing) bool {
		var ack server.JSPubAckResponse
		if answer != nil && answer.status() == "" && json.Unmarshal(answer.payload, &ack) == nil && ack.Error == nil && ack.PubAck != nil {
			p.flying--
			p.acked++
			p.topic.reader.heard(m, ack.Sequence)
			return true
		}
		m.retried = true
		w.after(w.between(50*millisecond, 300*millisecond), func() { p.publish(m) })
		return true
	}
	p.client.ask(r, w.between(second, 3*second))
}

// reader asks for the stream's state: an answer to a question that was put
// after an acknowledgement must know of the message.
type reader struct {
	topic  *topic
	client *client
	// floors are the highest sequences whose acknowledgements reached a client,
	// by the time at which their stream was created.
	floors map[time.Time]uint64
}

func newReader(t *topic) *reader {
	r := &reader{topic: t, client: t.world.newClient(), floors: map[time.Time]uint64{}}
	t.world.after(t.world.between(0, second), r.work)
	return r
}

// heard takes note of an acknowledgement that reached a client.
func (r *reader) heard(m *publication, seq uint64) {
	if !m.created.IsZero() {
		r.floors[m.created] = max(r.floors[m.created], seq)
	}
}

func (r *reader) work() {
	t, w := r.topic, r.topic.world
	floors := maps.Clone(r.floors)
	if t.permanent && !w.plan.disaster && w.chance(0.5) {
		r.readLast(floors)
		return
	}
	call(r.client, "STREAM.INFO."+t.name, nil, func(response *server.JSApiStreamInfoResponse, ok bool) {
		switch {
		case !ok:
		case !w.plan.disaster:
			w.checks.info(t, floors, response)
		case response.Error != nil && response.Error.ErrCode == uint16(server.JSStreamNotFoundErr) && t.state == topicThere:
			t.enter(topicUnknown) // lost with everything else
		}
		w.after(w.between(20*millisecond, 500*millisecond), r.work)
	})
}

// readLast reads the newest message of the stream at whichever member takes the
// request, leader or not.
func (r *reader) readLast(floors map[time.Time]uint64) {
	w := r.topic.world
	request := &request{subject: "$JS.API.DIRECT.GET." + r.topic.name + "." + r.topic.name + ".>"}
	request.answer = func(m *outgoing) bool {
		if m != nil {
			w.checks.direct(r.topic, floors, m)
		}
		w.after(w.between(20*millisecond, 500*millisecond), r.work)
		return true
	}
	r.client.ask(request, 2*second)
}
