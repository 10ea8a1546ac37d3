package simulation

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// publisher publishes numbered messages, each until it is answered.
type publisher struct {
	topic  *topic
	client *client
	number int
	window int // messages that may be on their way
	next   int
	flying int
	done   int                  // acknowledged or refused since the faults ended
	newest map[streamKey]uint64 // sequence that was acknowledged last
	// expects is the last sequence of a subject, as far as this publisher of a
	// guarded topic knows. The subject "shared" has several publishers.
	expects map[string]uint64
	// fickle: it is at one host, does not wait long, and goes on with another
	// message when it is not answered.
	fickle bool
}

// publication is one message of a publisher.
type publication struct {
	publisher *publisher
	text      string
	subject   string
	retried   bool
	again     bool     // it was acknowledged before
	stored    *message // as the log has it, once a member has acknowledged it
	ttl       string   // header line of its time to live, if it has one
	rollup    string   // header line that lets it replace others, if it does
}

// newPublisher adds a publisher, at one host or anywhere (nil).
func newPublisher(t *topic, home *host) *publisher {
	p := &publisher{
		topic: t, client: t.world.newClient(home), number: len(t.publishers), window: t.world.plan.window, fickle: home != nil,
		newest: map[streamKey]uint64{}, expects: map[string]uint64{},
	}
	if t.kind == guarded || p.fickle {
		p.window = 1
	}
	t.world.after(t.world.between(0, second), p.work)
	return p
}

// work publishes as many messages as may be on their way.
func (p *publisher) work() {
	w := p.topic.world
	for p.flying < p.window && (!w.clients.quiet || w.busy() || !p.fickle && p.flying+p.done < w.plan.lastMessages) {
		p.next++
		p.flying++
		m := &publication{publisher: p, text: fmt.Sprintf("%s/%d/%d", p.topic.name, p.number, p.next)}
		m.subject = fmt.Sprintf("%s.p%d", p.topic.name, p.number)
		if p.topic.kind == guarded && w.chance(0.4) {
			m.subject = p.topic.name + ".shared"
		}
		if p.topic.mortal {
			m.drawLifetime()
		}
		m.drawRollup()
		p.publish(m)
	}
	pause := w.often(millisecond, int64(p.window)*100*millisecond)
	if w.busy() {
		pause = max(pause, 20*millisecond)
	}
	w.after(pause, p.work)
}

func (p *publisher) publish(m *publication) {
	w := p.topic.world
	payload := []byte(m.text)
	if w.chance(0.05) {
		payload = append(payload, make([]byte, w.random.IntN(w.plan.largest))...)
	}
	header := "NATS/1.0\r\nNats-Msg-Id: " + m.text + "\r\n" + m.ttl + m.rollup
	if p.topic.kind == guarded {
		header += fmt.Sprintf("Nats-Expected-Stream: %s\r\nNats-Expected-Last-Subject-Sequence: %d\r\n", p.topic.name, p.expects[m.subject])
	}
	r := &request{subject: m.subject, payload: payload, header: []byte(header + "\r\n"), publish: m}
	q := w.checks.ask(p.topic.name)
	r.answer = func(answer *outgoing) bool {
		var ack server.JSPubAckResponse
		switch {
		case answer == nil || answer.status() != "" || json.Unmarshal(answer.payload, &ack) != nil:
		case ack.Error == nil && ack.PubAck != nil:
			q.acknowledged(m.stored)
			p.acknowledged(m, ack.Sequence)
			return true
		case ack.Error != nil && p.refused(m, ack.Error):
			return true
		}
		if m.again {
			return true // it was only to see what happens
		}
		if p.fickle {
			p.flying--
			return true
		}
		m.retried = true
		w.after(w.between(50*millisecond, 300*millisecond), func() { p.publish(m) })
		return true
	}
	patience := w.between(second, 3*second)
	if p.fickle {
		patience = w.between(100*millisecond, 500*millisecond)
	}
	p.client.ask(r, patience)
}

// acknowledged goes on after a message was stored. Now and then it is published
// once more, as by a client that does not know.
func (p *publisher) acknowledged(m *publication, seq uint64) {
	w := p.topic.world
	if m.again {
		return
	}
	p.flying--
	p.done++
	if p.expects[m.subject] = seq; p.topic.kind != guarded && w.chance(0.05) {
		again := &publication{publisher: p, text: m.text, subject: m.subject, ttl: m.ttl, rollup: m.rollup, retried: true, again: true}
		w.after(w.often(0, 3*second), func() { p.publish(again) })
	}
}

// refused reports that an error ends the matter.
func (p *publisher) refused(m *publication, e *server.ApiError) bool {
	w := p.topic.world
	switch {
	case e.ErrCode == uint16(server.JSStreamWrongLastSequenceErrF):
		_, text, _ := strings.Cut(e.Description, "sequence: ")
		last, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			w.fail("refusal cannot be read: %v", e)
		}
		p.expects[m.subject] = last
		return false // again, with what was learned
	case e.ErrCode == uint16(server.JSStreamStoreFailedF) && p.topic.config.Discard == server.DiscardNew:
		if !m.again {
			p.flying--
			p.done++
		}
		return true
	}
	return false
}
