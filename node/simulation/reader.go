package simulation

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// reader asks for the stream's state and for messages. What it is told has to be
// as new as everything that had come to its end when it asked.
type reader struct {
	topic  *topic
	client *client
}

// newReader adds a reader, at one host or anywhere (nil).
func newReader(t *topic, at *host) *reader {
	r := &reader{topic: t, client: t.world.newClient(at)}
	t.world.after(t.world.between(0, second), r.work)
	return r
}

func (r *reader) work() {
	switch t := r.topic; t.world.random.IntN(5) {
	case 0, 1:
		r.info()
	case 2:
		r.get()
	case 3:
		r.last(fmt.Sprintf("%s.p%d", t.name, t.world.random.IntN(len(t.publishers))))
	case 4:
		r.direct()
	}
}

// later asks again, soon enough to ask a leader that others have left behind.
func (r *reader) later() {
	w := r.topic.world
	w.after(w.between(5*millisecond, 250*millisecond), r.work)
}

func (r *reader) info() {
	t, w := r.topic, r.topic.world
	q := w.checks.ask(t.name)
	call(r.client, "STREAM.INFO."+t.name, nil, func(response *server.JSApiStreamInfoResponse, ok bool) {
		switch {
		case !ok:
		case response.Error == nil:
			q.info(response)
			w.checks.shown(response.TimeStamp)
		case response.Error.ErrCode == uint16(server.JSStreamNotFoundErr):
			q.gone("the info")
			if w.plan.disaster && t.state == topicThere {
				t.enter(topicUnknown) // lost with everything else
			}
		}
		r.later()
	})
}

// get asks for a message by its sequence, which may be one that is not there.
func (r *reader) get() {
	w := r.topic.world
	last := w.checks.history.timeline(r.topic.name).now().last
	seq := max(1, last+2-min(w.random.Uint64N(40), last))
	r.message(&server.JSApiMsgGetRequest{Seq: seq}, "")
}

// last asks for the last message of a subject.
func (r *reader) last(subject string) {
	r.message(&server.JSApiMsgGetRequest{LastFor: subject}, subject)
}

func (r *reader) message(request *server.JSApiMsgGetRequest, subject string) {
	t := r.topic
	q := t.world.checks.ask(t.name)
	call(r.client, "STREAM.MSG.GET."+t.name, request, func(response *server.JSApiMsgGetResponse, ok bool) {
		switch {
		case !ok:
		case response.Error == nil:
			q.message(subject, response.Message.Sequence, textOf(response.Message.Data))
		case response.Error.ErrCode == uint16(server.JSNoMessageFoundErr):
			q.noMessage(subject, request.Seq)
		case response.Error.ErrCode == uint16(server.JSStreamNotFoundErr):
			q.gone("the message")
		}
		r.later()
	})
}

// direct reads the newest message of the stream at whichever member takes the
// request, leader or not.
func (r *reader) direct() {
	t, w := r.topic, r.topic.world
	q := w.checks.ask(t.name)
	subject := fmt.Sprintf("%s.p%d", t.name, w.random.IntN(len(t.publishers)))
	request := &request{subject: "$JS.API.DIRECT.GET." + t.name + "." + subject}
	request.answer = func(m *outgoing) bool {
		r.later()
		if m == nil {
			return true
		}
		switch status := m.status(); {
		case status == "":
			seq, ok := sequenceOf(m.header)
			if !ok {
				w.fail("answer to a direct read of %s cannot be read: %q", t.name, m.header)
			}
			q.message(subject, seq, textOf(m.payload))
		case status[:3] == "404":
			q.noMessage(subject, 0)
		}
		return true
	}
	r.client.ask(request, w.between(100*millisecond, second))
}
