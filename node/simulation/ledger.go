package simulation

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ledger is a stream of counters, and a client that adds to them: several
// increments at a time, each until it is answered.
type ledger struct {
	world  *world
	client *client
	next   int
	flying int
	done   int              // acknowledged since the faults ended
	sums   map[string]int64 // of the increments that were acknowledged, by subject
}

const ledgerName = "COUNTERS"

// lastSteps is how many increments, and how many schedules, are answered at the end.
const lastSteps = 8

func newLedger(w *world) *ledger {
	l := &ledger{world: w, client: w.newClient(nil), sums: map[string]int64{}}
	w.keepStream(l.client, &server.StreamConfig{Name: ledgerName, AllowMsgCounter: true})
	w.after(w.between(0, second), l.work)
	return l
}

// keepStream sees to it that a stream is there which keeps what it gets. Its window
// for duplicates is longer than clocks are ever wrong by.
func (w *world) keepStream(c *client, config *server.StreamConfig) {
	config.Subjects, config.Storage, config.Replicas, config.Duplicates = []string{config.Name + ".>"}, server.FileStorage, 1, 10_000*time.Hour
	call(c, "STREAM.CREATE."+config.Name, config, func(*server.JSApiStreamCreateResponse, bool) {})
	w.after(w.between(second, 4*second), func() { w.keepStream(c, config) })
}

func (l *ledger) work() {
	w := l.world
	for l.flying < w.plan.window && (!w.clients.quiet || l.flying+l.done < lastSteps) {
		l.next++
		l.flying++
		l.add(fmt.Sprintf("%s.c%d", ledgerName, w.random.IntN(3)), w.random.Int64N(200)-100, l.next)
	}
	w.after(w.often(millisecond, 300*millisecond), l.work)
}

// add publishes one increment, again and again under its ID.
func (l *ledger) add(subject string, step int64, number int) {
	header := fmt.Sprintf("NATS/1.0\r\nNats-Incr: %d\r\nNats-Msg-Id: %d\r\n\r\n", step, number)
	l.world.insist(l.client, subject, header, nil, func() {
		l.sums[subject] += step
		l.flying--
		l.done++
	})
}

// insist publishes a message until it is stored.
func (w *world) insist(c *client, subject, header string, payload []byte, stored func()) {
	r := &request{subject: subject, header: []byte(header), payload: payload}
	r.answer = func(answer *outgoing) bool {
		var ack server.JSPubAckResponse
		if answer != nil && answer.status() == "" && json.Unmarshal(answer.payload, &ack) == nil && ack.Error == nil && ack.PubAck != nil {
			stored()
		} else {
			w.after(w.between(50*millisecond, 300*millisecond), func() { w.insist(c, subject, header, payload, stored) })
		}
		return true
	}
	c.ask(r, w.between(second, 3*second))
}

func (l *ledger) missing() string {
	if l.done < lastSteps || l.flying > 0 {
		return fmt.Sprintf("the counters have %d increments answered and wait for %d", l.done, l.flying)
	}
	return ""
}
