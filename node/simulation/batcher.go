package simulation

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// batcher publishes batches one after the other, atomic and fast-ingest ones. It
// publishes none twice: what became of a batch that is not answered it never knows.
type batcher struct {
	topic  *topic
	client *client
	number int
	next   int
	flying bool
	done   int // answered since the faults ended
}

// batchTry is one batch.
type batchTry struct {
	batcher *batcher
	id      string
	atomic  bool
	gapOk   bool
	size    int // messages that are to be stored
	refused int // number of a message that the stream refuses; 0 for none
	ended   bool
}

// lastBatches is how many batches every batcher gets answered at the end.
const lastBatches = 4

func newBatcher(t *topic) *batcher {
	b := &batcher{topic: t, client: t.world.newClient(nil), number: len(t.batchers)}
	t.world.after(t.world.between(0, second), b.work)
	return b
}

func (b *batcher) work() {
	w := b.topic.world
	if !b.flying && (!w.clients.quiet || w.busy() || b.done < lastBatches) {
		b.next++
		b.flying = true
		try := &batchTry{batcher: b, id: fmt.Sprintf("%s-%d-%d", b.topic.name, b.number, b.next), atomic: w.chance(0.5), gapOk: w.chance(0.5), size: 1 + w.random.IntN(12)}
		if w.chance(0.2) {
			try.refused = 1 + w.random.IntN(try.size)
		}
		try.publish()
	}
	w.after(w.often(millisecond, 300*millisecond), b.work)
}

// text is the payload of a message of the batch.
func (t *batchTry) text(number int) string {
	kind := "fast"
	switch {
	case t.atomic:
		kind = "atomic"
	case t.gapOk:
		kind = "gaps"
	}
	return fmt.Sprintf("%s/batch %s %s %d %d", t.batcher.topic.name, kind, t.id, number, t.size)
}

// publish sends all messages without waiting, and then waits for the PubAck.
func (t *batchTry) publish() {
	c, w := t.batcher.client, t.batcher.topic.world
	r := &request{batch: t}
	r.answer = func(m *outgoing) bool { return t.answered(m) }
	c.last++
	r.number = c.last
	c.pending[r.number] = r
	mark := w.chance(0.5) // the batch is ended by a message that is not stored
	for number := 1; number <= t.size; number++ {
		t.send(r, number, !mark && number == t.size, false)
	}
	if mark {
		t.send(r, t.size+1, false, true)
	}
	w.after(w.between(second, 3*second), func() {
		if c.pending[r.number] == r {
			delete(c.pending, r.number)
			t.end()
		}
	})
}

func (t *batchTry) send(r *request, number int, last, mark bool) {
	c := t.batcher.client
	subject := fmt.Sprintf("%s.b%d", t.batcher.topic.name, t.batcher.number)
	header := "NATS/1.0\r\n"
	if number == t.refused && !mark {
		header += "Nats-Expected-Stream: other\r\n"
	}
	reply := ""
	if t.atomic {
		header += fmt.Sprintf("Nats-Batch-Id: %s\r\nNats-Batch-Sequence: %d\r\n", t.id, number)
		switch {
		case last:
			header += "Nats-Batch-Commit: 1\r\n"
		case mark:
			header += "Nats-Batch-Commit: eob\r\n"
		}
		if last || mark {
			reply = c.inbox(r)
		}
	} else {
		operation, gaps := server.FastBatchOpAppend, server.FastBatchGapFail
		switch {
		case last:
			operation = server.FastBatchOpCommit
		case mark:
			operation = server.FastBatchOpCommitEob
		case number == 1:
			operation = server.FastBatchOpStart
		}
		if t.gapOk {
			gaps = server.FastBatchGapOk
		}
		reply = fmt.Sprintf("%s.%s.3.%s.%d.%d.$FI", c.inbox(r), t.id, gaps, number, operation)
	}
	payload := []byte(t.text(number))
	if number > t.size {
		payload = nil
	}
	c.world.nats.send(c, subject, reply, []byte(header+"\r\n"), payload)
}

// answered reports whether an answer ends the batch: a PubAck or an error does, what
// tells of the flow does not.
func (t *batchTry) answered(m *outgoing) bool {
	var ack struct {
		server.JSPubAckResponse
		Type string `json:"type"`
	}
	if m.status() == "" && (json.Unmarshal(m.payload, &ack) != nil || ack.Type != "") {
		return false
	}
	t.end()
	t.batcher.done++
	return true
}

func (t *batchTry) end() {
	if !t.ended {
		t.ended, t.batcher.flying = true, false
	}
}
