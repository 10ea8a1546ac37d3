package simulation

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// batchTruth is what the log says of one batch.
type batchTruth struct {
	kind   string
	size   int      // messages that its publisher has
	last   int      // number of the last one that was stored
	count  int      // that were stored
	newest *message // the last one that was stored
	closed bool     // its publisher was told that there will be no more
	stored []*message
}

// batched: an atomic batch is stored whole, in one row and by one entry; messages of
// a fast-ingest batch are stored in the order of their numbers, without gaps if the
// publisher wants none, and not after the publisher was told the end.
func (c *checks) batched(t *streamTruth, m *message) {
	kind, id, number, size, ok := partOfBatch(m.text)
	if open := t.openBatch; open != nil && (!ok || t.batches[id] != open) {
		c.world.fail("torn batch: %s has %q at %d in the middle of a batch of which it has %d of %d", t.name, m.text, m.seq, open.count, open.size)
	}
	if !ok {
		return
	}
	b := t.batches[id]
	if b == nil {
		b = &batchTruth{kind: kind, size: size}
		if t.batches == nil {
			t.batches = map[string]*batchTruth{}
		}
		t.batches[id] = b
	}
	switch {
	case b.closed:
		c.world.fail("batch goes on: %s has %q at %d after its publisher was told that the batch has ended", t.name, m.text, m.seq)
	case number != b.last+1 && kind != "gaps" || number <= b.last:
		c.world.fail("torn batch: %s has %q at %d after message %d of the batch", t.name, m.text, m.seq, b.last)
	case kind == "atomic" && b.newest != nil && (b.newest.index != m.index && m.index == m.stored.index || b.newest.seq+1 != m.seq):
		// What is seen later than it was stored, after a disaster, may have been moved since.
		c.world.fail("torn batch: %s has %q at %d, by entry %d, and the message before it at %d, by entry %d", t.name, m.text, m.seq, m.index, b.newest.seq, b.newest.index)
	}
	b.last, b.newest = number, m
	b.count++
	b.stored = append(b.stored, m)
	if t.openBatch = nil; kind == "atomic" && number < size {
		t.openBatch = b
	}
}

// batchesWhole is asked when an entry is applied: no batch may be open.
func (c *checks) batchesWhole(t *streamTruth) {
	if b := t.openBatch; b != nil {
		c.world.fail("torn batch: an entry of %s ends after %d of %d messages", t.name, b.count, b.size)
	}
}

// batchAnswered looks at what a member tells the publisher of a batch.
func (c *checks) batchAnswered(h *host, r *request, header, payload []byte) {
	if len(header) > 0 || h.process == nil {
		return
	}
	var answer struct {
		server.JSPubAckResponse
		Type string `json:"type"`
	}
	if err := json.Unmarshal(payload, &answer); err != nil {
		c.world.fail("%s answers a batch with %q: %v", h.name, payload, err)
	}
	try := r.batch
	s := h.process.member.Machine().Stream(try.batcher.topic.name)
	if s == nil || c.world.plan.disaster {
		return // what it was told of may be lost
	}
	t := c.history.truth(h.process, s)
	b := t.batches[try.id]
	if b == nil {
		b = &batchTruth{}
		if t.batches == nil {
			t.batches = map[string]*batchTruth{}
		}
		t.batches[try.id] = b
	}
	switch {
	case answer.Type == "ack":
		var flow server.BatchFlowAck
		if json.Unmarshal(payload, &flow) == nil && (int(flow.Sequence) > b.last && !try.gapOk) {
			c.world.fail("batch not stored: %s says that %d messages of %s are stored, and %d are", h.name, flow.Sequence, try.id, b.last)
		}
		return
	case answer.Type != "":
		return
	case answer.Error != nil:
		// Of a fast batch it may be that only this message is of no batch any more.
		if b.closed = true; try.atomic && b.count > 0 {
			c.world.fail("batch stored: %s refuses %s with %v, and %d messages are stored", h.name, try.id, answer.Error, b.count)
		}
		return
	}
	b.closed = true
	c.acked++
	c.world.spring(uponAck, h)
	last := uint64(0)
	if b.newest != nil {
		last = b.newest.seq
	}
	count := int(answer.BatchSize)
	if answer.Sequence != last || b.last > count || !try.gapOk && count != b.count || try.atomic && count != try.size {
		c.world.fail("batch not stored: %s acknowledges %d messages of %s up to sequence %d; %d are stored up to number %d, sequence %d", h.name, count, try.id, answer.Sequence, b.count, b.last, last)
	}
	for _, m := range b.stored {
		m.acked = true
	}
}

// partOfBatch reads what batchTry.text has written.
func partOfBatch(text string) (kind, id string, number, size int, ok bool) {
	_, text, ok = strings.Cut(text, "/")
	if !ok || !strings.HasPrefix(text, "batch ") {
		return "", "", 0, 0, false
	}
	n, err := fmt.Sscanf(text, "batch %s %s %d %d", &kind, &id, &number, &size)
	return kind, id, number, size, err == nil && n == 4
}
