package simulation

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ledger is a stream of counters, and a client that adds to them: several
// increments at a time, alone or in fast-ingest batches, each until it is answered.
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
	w.keepStream(l.client, &server.StreamConfig{Name: ledgerName, AllowMsgCounter: true, AllowBatchPublish: true})
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
		row := make([]*increment, 1)
		if w.chance(0.3) {
			row = make([]*increment, 2+w.random.IntN(5))
		}
		for i := range row {
			l.next++
			l.flying++
			row[i] = &increment{fmt.Sprintf("%s.c%d", ledgerName, w.random.IntN(3)), w.random.Int64N(200) - 100, l.next}
		}
		if len(row) == 1 {
			l.add(row[0])
		} else {
			l.addRow(row)
		}
	}
	w.after(w.often(millisecond, 300*millisecond), l.work)
}

type increment struct {
	subject string
	step    int64
	number  int
}

func (i *increment) header() string {
	return fmt.Sprintf("NATS/1.0\r\nNats-Incr: %d\r\nNats-Msg-Id: %d\r\n\r\n", i.step, i.number)
}

// add publishes one increment, again and again under its ID.
func (l *ledger) add(i *increment) {
	l.world.insist(l.client, i.subject, i.header(), nil, func() { l.added(i) })
}

func (l *ledger) added(i *increment) {
	l.sums[i.subject] += i.step
	l.flying--
	l.done++
}

// addRow publishes increments as a fast-ingest batch that wants no gaps, and one by
// one if that does not become whole.
func (l *ledger) addRow(row []*increment) {
	c, w := l.client, l.world
	r := &request{}
	c.last++
	r.number = c.last
	c.pending[r.number] = r
	over := false
	r.answer = func(m *outgoing) bool {
		var ack struct {
			server.JSPubAckResponse
			Type string `json:"type"`
		}
		if m != nil && m.status() == "" && json.Unmarshal(m.payload, &ack) == nil && ack.Type != "" {
			return false // tells of the flow
		}
		over = true
		whole := ack.Error == nil && ack.PubAck != nil && int(ack.PubAck.BatchSize) == len(row)
		for _, i := range row {
			if whole {
				l.added(i)
			} else {
				l.add(i)
			}
		}
		return true
	}
	for at, i := range row {
		operation := server.FastBatchOpAppend
		switch at {
		case 0:
			operation = server.FastBatchOpStart
		case len(row) - 1:
			operation = server.FastBatchOpCommit
		}
		reply := fmt.Sprintf("%s.row%d.3.%s.%d.%d.$FI", c.inbox(r), row[0].number, server.FastBatchGapFail, at+1, operation)
		w.nats.send(c, i.subject, reply, []byte(i.header()), nil)
	}
	w.after(w.between(second, 3*second), func() {
		if !over {
			delete(c.pending, r.number)
			r.answer(nil)
		}
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
