package jetstream

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// A message of a fast-ingest batch for a stream of counters is an increment as well:
// its sum is made here, and it is stored only if that was made from the last message
// of its subject (see counter.go). If it was not, the machine stores nothing of the
// batch behind it either (machine.FastMember.Resumes), so that the batch keeps its
// order. All of them are held here until nothing of the batch is on its way any more,
// and begin anew then, in their order.

// step is a message of a batch as it came.
type step struct {
	message Message
	seq     uint64 // its number in the batch
	last    bool   // it ends the batch
	total   *runningTotal
}

// steps are the messages of a batch for a stream of counters.
type steps struct {
	flying int     // in the log, outcome not known
	held   []*step // wait to be proposed; numbers rise

	// The batch ends when nothing waits any more, and its PubAck goes to end.
	ends bool
	end  []byte
}

func (s *steps) waiting() bool { return s.flying > 0 || len(s.held) > 0 }

// takeStep takes a message that is in order.
func (d *Door) takeStep(s *machine.Stream, b *ingest, m *Message, fast *fastSubject, reply []byte) {
	one := &step{
		message: Message{bytes.Clone(m.Subject), bytes.Clone(m.Reply), bytes.Clone(m.Header), bytes.Clone(m.Payload)},
		seq:     fast.seq, last: fast.operation == server.FastBatchOpCommit,
	}
	b.committing = one.last
	b.pending++
	d.tellBegun(b, fast, reply)
	if len(b.steps.held) > 0 || !d.proposeStep(s, b, one) {
		b.steps.hold(one)
	}
}

// hold keeps a message that has to wait, in its place.
func (s *steps) hold(one *step) {
	at, _ := slices.BinarySearchFunc(s.held, one.seq, func(held *step, seq uint64) int {
		if held.seq < seq {
			return -1
		}
		return 1
	})
	s.held = slices.Insert(s.held, at, one)
}

// proposeStep proposes to store a message, or refuses it. It reports false if the
// message has to wait for others of its counter; then it will be resumed.
func (d *Door) proposeStep(s *machine.Stream, b *ingest, one *step) bool {
	m := &one.message
	header, _ := metLevel(d.storedHeader(m.Header))
	if leavesMarkers(s) {
		header = d.withLeastTTL(s, header)
	}
	subject := b.of.transforms.storedSubject(m.Subject)
	sum, apiErr := d.sum(s, subject, header, m.Payload)
	if apiErr != nil {
		d.stepRefused(s, b, one, apiErr)
		return true
	}
	if t := sum.total; t != nil && t.broken {
		t.behind = append(t.behind, func() { d.resumeSteps(b) })
		return false
	}
	member := machine.FastMember{ID: []byte(b.id), Seq: one.seq, Last: one.last, GapOk: b.gapOk, Resumes: b.steps.flying == 0}
	if one.seq == 1 {
		member.Begin, member.Flow, member.Reply = true, b.most, m.Reply
	}
	d.room(sum.size() + len(subject) + len(b.id) + len(member.Reply) + 3*commandOverhead)
	d.addMember(s, &member)
	d.addSummed(s, subject, &sum)
	d.touch(s)
	one.total = sum.total
	b.steps.flying++
	d.batches.waitForFast(fastMessage{batch: b, seq: one.seq, last: one.last, reply: d.batches.keep(m.Reply), step: one})
	return true
}

// stepRefused refuses a message that was not proposed. A batch without gaps ends
// before it, when what is on its way is decided.
func (d *Door) stepRefused(s *machine.Stream, b *ingest, one *step, apiErr *server.ApiError) {
	b.pending--
	if one.seq == 1 && !b.gapOk {
		d.closeIngest(b, true)
		d.refusePublish(one.message.Reply, s, nil, apiErr)
		return
	}
	if body, err := json.Marshal(server.BatchFlowErr{Sequence: one.seq, Error: apiErr}); err == nil {
		d.bus.Publish(one.message.Reply, nil, nil, body)
	}
	if b.gapOk && !one.last {
		if b.pending == 0 {
			b.decided = b.received
		}
		return
	}
	b.received = one.seq - 1
	b.pending, b.steps.held = b.steps.flying, nil
	d.endIngest(b, one.message.Reply)
}

// holdStep takes a message back that was not stored because of what its sum was made
// from, or because one before it in its batch was not.
func (d *Door) holdStep(b *ingest, one *step) {
	if d.role == yielding {
		d.hold(&one.message)
		return
	}
	b.steps.hold(one)
	d.resumeSteps(b)
}

// resumeSteps begins anew with messages that wait, once nothing of their batch is on
// its way, and ends the batch when none is left and it is time to.
func (d *Door) resumeSteps(b *ingest) {
	s := d.machine.StreamOf(b.stream)
	if b.over || b.steps.flying > 0 || s == nil || d.role != leading {
		return
	}
	for len(b.steps.held) > 0 && !b.over {
		one := b.steps.held[0]
		b.steps.held = b.steps.held[1:] // all of them go when it is refused, unless gaps do not matter
		if !d.proposeStep(s, b, one) {
			b.steps.hold(one)
			return
		}
	}
	if b.steps.ends && !b.over && !b.steps.waiting() {
		b.steps.ends = false
		d.endIngest(b, b.steps.end)
	}
}

// resumeAllSteps goes on after an abandoned hand-over.
func (d *Door) resumeAllSteps() {
	for _, b := range d.ingests.all() {
		d.resumeSteps(b)
	}
}

// holdSteps leaves what waits to the next leader, before what came later.
func (d *Door) holdSteps() {
	later := d.held
	d.held = nil
	for _, b := range d.ingests.all() {
		for _, one := range b.steps.held {
			d.hold(&one.message)
		}
		b.steps.held = nil
	}
	d.held = append(d.held, later...)
}

// all returns the batches, the one that was heard from last at the end.
func (all *ingests) all() []*ingest {
	var list []*ingest
	for e := all.order.Front(); e != nil; e = e.Next() {
		list = append(list, e.Value.(*ingest))
	}
	return list
}
