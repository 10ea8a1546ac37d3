package jetstream

import (
	"bytes"
	"container/list"
	"encoding/json"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// A fast-ingest batch (ADR-50) is a row of numbered messages. Each goes into the log
// as it comes; now and then the publisher is told how far the batch is, and at the
// end it gets one PubAck. Which batch a message belongs to stands in its reply
// subject. What is decided here is what nats-server decides when a message arrives:
// gaps, limits, the flow. Whether a message is stored, and whether a batch without
// gaps goes on, the machine decides, which also keeps the batches for the next leader.

// ingests are the batches of all streams.
type ingests struct {
	order list.List // of *ingest: the one that was heard from last is the last
}

// ingest is one batch.
type ingest struct {
	stream machine.Incarnation
	of     *stream
	id     string

	// flowed ≤ decided ≤ received, which are numbers of messages.
	received uint64 // that came last
	decided  uint64 // whose outcome is known
	flowed   uint64 // of which the publisher was told last
	stored   uint64 // sequence in the stream of the last one that was stored; 0 for none
	pending  int    // messages on their way whose outcome is not known

	every, most uint16 // the publisher is told after so many messages; its own limit
	gapOk       bool
	committing  bool // nothing is taken any more: the PubAck waits for what is pending
	over        bool
	reply       []byte // subject of the last message that was decided

	steps steps // of a stream of counters

	deadline int64
	place    *list.Element
}

// flowMost is after how many messages a publisher is told if it is alone and wants
// no less.
const flowMost = 500

// fastMessage waits for what becomes of a message.
type fastMessage struct {
	batch *ingest
	seq   uint64
	last  bool // it ends the batch
	reply span
	step  *step // of a stream of counters
}

// ingest takes a message of a fast-ingest batch. Its checks and their order are
// those of processJetStreamFastBatchMsg of the NATS server.
func (d *Door) ingest(s *machine.Stream, m *Message, told, reply, header []byte) {
	fast, valid := parseFastSubject(told)
	b, apiErr := (*ingest)(nil), admitMember(s, len(header)+len(m.Payload))
	switch {
	case apiErr != nil:
	case !s.Config().AllowBatchPublish:
		apiErr = server.NewJSBatchPublishDisabledError()
	case !valid:
		apiErr = server.NewJSBatchPublishInvalidPatternError()
	case len(fast.id) > maxBatchID:
		apiErr = server.NewJSBatchPublishInvalidBatchIDError()
	default:
		b, apiErr = d.ingestOf(s, &fast)
	}
	if apiErr != nil {
		d.refusePublish(reply, s, nil, apiErr)
		return
	}
	header, met := metLevel(header)
	if !met {
		d.closeIngest(b, true)
		d.refusePublish(reply, s, nil, server.NewJSRequiredApiLevelError())
		return
	}
	d.heardFrom(b)
	switch {
	case fast.operation == server.FastBatchOpPing:
		d.ping(b, fast.seq, m.Reply)
	case b.committing: // the publisher waits for its PubAck
	case !d.inOrder(b, fast.seq, m.Reply):
	case fast.operation == server.FastBatchOpCommitEob:
		b.received--
		d.endIngest(b, m.Reply)
	case s.Config().AllowMsgCounter:
		d.takeStep(s, b, m, &fast, reply)
	default:
		d.proposeMember(s, b, m, &fast, header)
		d.tellBegun(b, &fast, reply)
	}
}

// tellBegun answers the first message of a batch.
func (d *Door) tellBegun(b *ingest, fast *fastSubject, reply []byte) {
	if fast.seq == 1 && !b.committing && len(reply) > 0 {
		d.sendFlow(reply, 0, b.every)
	}
}

// ingestOf finds the batch, or begins it with its first message.
func (d *Door) ingestOf(s *machine.Stream, fast *fastSubject) (*ingest, *server.ApiError) {
	st := d.streamOf(s)
	if st == nil {
		return nil, server.NewJSStreamNotFoundError()
	}
	if b := st.ingests[string(fast.id)]; b != nil {
		return b, nil
	}
	limits := &d.options.Batches
	switch {
	case fast.seq != 1 || fast.operation == server.FastBatchOpPing:
		return nil, server.NewJSBatchPublishUnknownBatchIDError()
	case len(st.ingests) >= limits.FastPerStream || d.ingests.order.Len() >= limits.FastTotal:
		return nil, server.NewJSBatchPublishTooManyInflightError()
	}
	return d.openIngest(s, st, string(fast.id), fast.flow, fast.gapOk), nil
}

func (d *Door) openIngest(s *machine.Stream, st *stream, id string, most uint16, gapOk bool) *ingest {
	b := &ingest{stream: s.Incarnation(), of: st, id: id, most: most, gapOk: gapOk}
	if st.ingests == nil {
		st.ingests = make(map[string]*ingest)
	}
	st.ingests[id] = b
	b.place = d.ingests.order.PushBack(b)
	b.every = min(flowMost, most)
	if len(st.ingests) > 1 {
		b.every = 1
	}
	return b
}

// heardFrom gives the publisher of a batch time for its next message.
func (d *Door) heardFrom(b *ingest) {
	b.deadline = d.node.Now() + int64(d.options.Batches.Timeout)
	d.ingests.order.MoveToBack(b.place)
}

// inOrder reports whether a message is to be taken: the next one or, if gaps do not
// matter, a later one. Any other ends the batch.
func (d *Door) inOrder(b *ingest, seq uint64, reply []byte) bool {
	b.received++
	if seq == b.received {
		return true
	}
	d.sendGap(reply, b.received, seq)
	if b.gapOk && seq > b.received {
		b.received = seq
		return true
	}
	b.received--
	d.endIngest(b, reply)
	return false
}

// proposeMember proposes to store a message.
func (d *Door) proposeMember(s *machine.Stream, b *ingest, m *Message, fast *fastSubject, header []byte) {
	last := fast.operation == server.FastBatchOpCommit
	if leavesMarkers(s) {
		header = d.withLeastTTL(s, header)
	}
	var says said
	if s.Config().AllowMsgSchedules {
		header, says = d.prepareSchedule(header)
	}
	subject := b.of.transforms.storedSubject(m.Subject)
	size := len(header) + len(m.Payload) + len(subject) + 3*commandOverhead
	member := machine.FastMember{ID: fast.id, Seq: fast.seq, Last: last, GapOk: b.gapOk}
	if fast.seq == 1 {
		member.Begin, member.Flow, member.Reply = true, b.most, m.Reply
		size += len(m.Reply)
	}
	d.room(size)
	d.addMember(s, &member)
	d.batches.say(says)
	d.batches.builder.Publish(s.Incarnation(), subject, header, m.Payload)
	d.touch(s)
	b.pending++
	b.committing = last
	d.batches.waitForFast(fastMessage{batch: b, seq: fast.seq, last: last, reply: d.batches.keep(m.Reply)})
}

// addMember says of which batch the message is that is added next.
func (d *Door) addMember(s *machine.Stream, member *machine.FastMember) {
	builder := &d.batches.builder
	slots := builder.Slots()
	if builder.Fast(s.Incarnation(), member); builder.Slots() > slots {
		d.batches.wait(waiter{})
	}
}

// ping tells the publisher how far its batch is.
func (d *Door) ping(b *ingest, seq uint64, reply []byte) {
	if seq > b.received {
		d.sendGap(reply, b.received+1, seq+1)
		if b.gapOk {
			b.received = seq
			if b.pending == 0 {
				b.decided = b.received
			}
			if d.flow(b, reply) {
				return
			}
		} else if !b.committing {
			if d.endIngest(b, reply); b.pending == 0 {
				return
			}
		}
	}
	d.sendFlow(reply, b.flowed, b.every)
}

// memberDecided takes the outcome of a message.
func (d *Door) memberDecided(m *fastMessage, reply []byte, result *machine.Result) {
	b := m.batch
	if s := result.Stream; b.over || s == nil {
		if s != nil && result.Over && !s.Config().NoAck {
			d.refusePublish(reply, s, nil, server.NewJSBatchPublishUnknownBatchIDError())
		}
		return
	}
	if m.step != nil {
		b.steps.flying--
		if result.Unmet {
			d.holdStep(b, m.step)
			return
		}
		defer d.resumeSteps(b)
	}
	b.pending--
	b.reply = append(b.reply[:0], reply...)
	if result.Err != nil {
		d.memberRefused(b, m, reply, result)
		return
	}
	if result.Duplicate {
		b.decided = m.seq
		d.flow(b, reply)
	} else {
		b.stored = result.Seq
	}
	if result.Duplicate && m.last && m.seq == 1 && !b.gapOk {
		d.scratch = appendBatchAck(d.scratch[:0], b.of.pubAck, result, b.id, 1)
		d.bus.Publish(reply, nil, nil, d.scratch)
		d.closeIngest(b, false)
		return
	}
	if !d.settleMember(b, m, reply) {
		d.flow(b, reply)
	}
}

// settleMember notes that one more message is decided. It reports whether the
// publisher has nothing to be told about it, because its PubAck was sent or comes next.
func (d *Door) settleMember(b *ingest, m *fastMessage, reply []byte) bool {
	if b.decided = m.seq; b.pending == 0 {
		b.decided = b.received
	}
	if m.last {
		d.answerIngest(b, reply)
		d.closeIngest(b, false)
	}
	return b.committing && b.pending == 0
}

// memberRefused takes the refusal of a message. A batch without gaps ends before it,
// and so does one whose last message it was.
func (d *Door) memberRefused(b *ingest, m *fastMessage, reply []byte, result *machine.Result) {
	if m.seq == 1 && !b.gapOk {
		d.closeIngest(b, false)
		d.refusePublish(reply, result.Stream, nil, result.Err)
		return
	}
	if body, err := json.Marshal(server.BatchFlowErr{Sequence: m.seq, Error: result.Err}); err == nil {
		d.bus.Publish(reply, nil, nil, body)
	}
	if b.gapOk && !m.last {
		d.settleMember(b, m, reply)
		return
	}
	b.received, b.decided = m.seq-1, m.seq-1
	d.answerIngest(b, reply)
	d.closeIngest(b, false)
}

// endIngest ends a batch without another message. The PubAck waits until the log
// says so: then it is certain that nothing of the batch is stored any more, whoever
// leads.
func (d *Door) endIngest(b *ingest, reply []byte) {
	b.committing = true
	reply = bytes.Clone(reply)
	if b.steps.waiting() {
		b.steps.ends, b.steps.end = true, reply
		return
	}
	d.room(len(b.id) + commandOverhead)
	d.batches.builder.EndFast(b.stream, b.id)
	d.batches.waitForCall(waitDone, call{done: func(d *Door, _ *machine.Result) {
		if !b.over {
			d.answerIngest(b, reply)
			d.closeIngest(b, false)
		}
	}})
}

// closeIngest forgets a batch. The machine is told unless it has ended the batch
// itself.
func (d *Door) closeIngest(b *ingest, tell bool) {
	if b.over {
		return
	}
	b.over = true
	delete(b.of.ingests, b.id)
	d.ingests.order.Remove(b.place)
	if tell {
		d.room(len(b.id) + commandOverhead)
		d.batches.builder.EndFast(b.stream, b.id)
		d.batches.wait(waiter{})
	}
}

// closeIngests forgets the batches of a stream that are over for the machine.
func (d *Door) closeIngests(st *stream) {
	for _, id := range sortedKeys(st.ingests) {
		d.closeIngest(st.ingests[id], false)
	}
}

// tickIngests gives up batches whose publisher is silent.
func (d *Door) tickIngests(now int64) {
	for front := d.ingests.order.Front(); front != nil; front = d.ingests.order.Front() {
		switch b := front.Value.(*ingest); {
		case b.deadline > now:
			return
		case b.committing:
			d.heardFrom(b)
		default:
			d.closeIngest(b, true)
		}
	}
}

// adoptIngests goes on with the batches of a stream where an earlier leader was, and
// tells their publishers how far that is.
func (d *Door) adoptIngests(s *machine.Stream, st *stream) {
	all := s.FastBatches()
	for i := range all {
		f := &all[i]
		b := d.openIngest(s, st, f.ID, f.Flow, f.GapOk)
		b.received, b.decided, b.flowed, b.stored, b.reply = f.Seq, f.Seq, f.Seq, f.Stored, []byte(f.Reply)
		d.heardFrom(b)
	}
	for i := range all {
		b := st.ingests[all[i].ID]
		if len(all) > 1 {
			b.every = 1
		}
		d.sendFlow(b.reply, b.flowed, b.every)
	}
}

// flow tells the publisher how far its batch is, if it is time to, and changes how
// often that is: the more batches there are, the shorter the steps. It reports
// whether it has told.
func (d *Door) flow(b *ingest, reply []byte) bool {
	every := uint64(b.every)
	if b.decided < b.flowed+every {
		return false
	}
	b.flowed += (b.decided - b.flowed) / every * every
	most := min(uint16(max(flowMost/len(b.of.ingests), 1)), b.most)
	switch {
	case b.every < most:
		b.every = uint16(min(2*int(b.every), int(most)))
	case b.every > most:
		b.every = max(b.every/2, most)
	}
	d.sendFlow(reply, b.flowed, b.every)
	return true
}

// sendFlow sends what server.BatchFlowAck encodes to.
func (d *Door) sendFlow(reply []byte, seq uint64, every uint16) {
	d.scratch = strconv.AppendUint(append(d.scratch[:0], `{"type":"ack","seq":`...), seq, 10)
	d.scratch = strconv.AppendUint(append(d.scratch, `,"msgs":`...), uint64(every), 10)
	d.bus.Publish(reply, nil, nil, append(d.scratch, '}'))
}

func (d *Door) sendGap(reply []byte, expected, seq uint64) {
	if body, err := json.Marshal(server.BatchFlowGap{ExpectedLastSequence: expected, CurrentSequence: seq}); err == nil {
		d.bus.Publish(reply, nil, nil, body)
	}
}

// answerIngest sends the PubAck of a batch.
func (d *Door) answerIngest(b *ingest, reply []byte) {
	d.scratch = appendBatchAck(d.scratch[:0], b.of.pubAck, &machine.Result{Seq: b.stored}, b.id, b.received)
	d.bus.Publish(reply, nil, nil, d.scratch)
}
