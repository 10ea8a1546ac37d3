package simulation

import "github.com/nats-io/nats-server/v2/server"

// drawRollups decides whether messages of a stream may replace others.
func (t *topic) drawRollups() {
	switch t.kind {
	case fleeting, limited, queue, interest:
		if t.rolls = t.world.chance(0.8); t.rolls {
			t.config.AllowRollup = true
		}
	}
}

// drawRollup lets a message replace all before it, of its subject or of the stream.
func (m *publication) drawRollup() {
	t := m.publisher.topic
	if !t.rolls || m.ttl != "" || !t.world.chance(0.06) {
		return
	}
	what := server.JSMsgRollupSubject
	if t.world.chance(0.2) {
		what = server.JSMsgRollupAll
	}
	m.rollup = server.JSMsgRollup + ": " + what + "\r\n"
}
