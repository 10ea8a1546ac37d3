package simulation

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A mortal topic has messages with a time to live of their own (Nats-TTL, ADR-43)
// beside others. In half of them the last message of a subject that ends leaves a
// marker. What a publisher asked for is in the subject, where the checker has it from.

// lifetimes are what publishers ask for, in seconds; zero stands for "never".
var lifetimes = []int{0, 1, 2, 4}

// drawMortality decides whether the messages of a stream have times to live.
func (t *topic) drawMortality() {
	w, c := t.world, &t.config
	if t.kind != fleeting && t.kind != limited && t.kind != queue && t.kind != interest || c.Discard != server.DiscardOld || !w.chance(0.5) {
		return
	}
	t.mortal, c.AllowMsgTTL = true, true
	if w.chance(0.5) {
		c.SubjectDeleteMarkerTTL = time.Duration(1+w.random.IntN(2)) * time.Second
		c.AllowRollup = true
	}
}

// drawLifetime gives a message a time to live, and a subject that tells it. Few
// messages share one, so that many are the last of theirs.
func (m *publication) drawLifetime() {
	p := m.publisher
	w := p.topic.world
	if !w.chance(0.3) {
		return
	}
	lifetime := lifetimes[w.random.IntN(len(lifetimes))]
	m.subject = fmt.Sprintf("%s.m%d-%d.%d", p.topic.name, p.number, p.next%20, lifetime)
	m.ttl = "Nats-TTL: never\r\n"
	if lifetime > 0 {
		m.ttl = fmt.Sprintf("Nats-TTL: %ds\r\n", lifetime)
	}
}
