package jetstream

import (
	"bytes"
	"time"

	"holdfast/node/machine"
)

const (
	// maxBatchBytes closes a batch; a larger message has a batch of its own.
	maxBatchBytes = 512 << 10
	// maxBatchSlots leaves room for one Acks command of every consumer.
	maxBatchSlots = machine.MaxSlots / 4
	// minBatchBytes: with a batch in flight, a smaller one waits for company.
	minBatchBytes = 256 << 10
	// ackBytes is about what one ack takes in a batch.
	ackBytes = 24
)

// batches is the way of commands into the log: one open batch, closed ones
// that wait for a place in the pipeline, and those in flight.
type batches struct {
	builder  machine.Batch
	open     *proposal
	closed   []*proposal // have data, wait for a place
	flying   []*proposal // proposed; indices rise
	free     []*proposal
	number   uint64 // of the batch that was opened last; see arrival.go
	asked    uint64 // number of the last batch with a change that the API was asked for
	queued   int    // bytes in closed
	commands int    // in closed
	gathered int    // acks that wait for the open batch to close
	tick     bool   // an empty batch is wanted
	gather   gather
}

// proposal is one batch with those who wait for its outcome.
type proposal struct {
	number  uint64 // rises with each batch
	index   uint64
	stamp   int64
	slots   int
	bytes   int      // of data
	data    []byte   // while closed
	waiters []waiter // by slot
	arena   []byte   // reply subjects
	calls   []call   // of waiters that need more than a reply
	fast    []fastMessage
	replies []span // of acks
}

// waiter says what to do with the result of one slot.
type waiter struct {
	kind waiterKind
	span span // publish: the reply in the arena; the others: place in calls
}

type waiterKind uint8

const (
	waitNothing waiterKind = iota
	waitPublish
	waitCall
	waitDeliver
	waitAcks
	waitFeed
	waitDone
	waitFast
	waitIncrement
)

type span struct{ start, end uint32 }

// call is a waiter of the rarer kinds.
type call struct {
	request  *request
	complete func(*Door, *machine.Result) any // answers request
	consumer *consumer                        // of a Deliver or Acks
	target   *pull                            // the only one that a Deliver is for
	guess    bool                             // a Deliver that may find nothing
	feed     *feed                            // that proposed a message
	size     int                              // of it
	done     func(*Door, *machine.Result)     // of waitDone: answers a publisher
	total    *runningTotal                    // that the message changes, see counter.go
	step     *increment                       // of a client
	replies  span                             // of double acks, in proposal.replies
}

func (b *batches) reset() {
	*b = batches{builder: b.builder, number: b.number}
	b.open = b.recycled()
	b.builder.Reset(0)
}

// idle reports that nothing waits or is in flight.
func (b *batches) idle() bool {
	return len(b.flying) == 0 && len(b.closed) == 0 && b.builder.Slots() == 0 && b.gathered == 0
}

// size is about how many bytes the open batch will have.
func (b *batches) size() int { return b.builder.Len() + b.gathered*ackBytes }

// room closes the open batch unless a command of so many bytes fits.
func (d *Door) room(size int) {
	b := &d.batches
	if b.builder.Slots() == 0 && b.gathered == 0 {
		return
	}
	if b.size()+size > maxBatchBytes || b.builder.Slots()+len(d.acked) >= maxBatchSlots {
		d.closeBatch()
	}
}

// wait notes who waits for the command that was just added.
func (b *batches) wait(w waiter) { b.open.waiters = append(b.open.waiters, w) }

// said is what a preface says about a publish; the zero value says nothing.
type said struct {
	kind machine.PrefaceKind
	a, b uint64
}

// say adds a preface for the publish that is added next.
func (b *batches) say(s said) {
	if s.kind != 0 {
		b.builder.Preface(s.kind, s.a, s.b)
		b.wait(waiter{})
	}
}

// waitForCall notes a call as the waiter of the command that was just added.
func (b *batches) waitForCall(kind waiterKind, c call) {
	at := uint32(len(b.open.calls))
	b.open.calls = append(b.open.calls, c)
	b.wait(waiter{kind: kind, span: span{start: at, end: at + 1}})
}

// waitForFast notes that the publish that was just added is part of a batch.
func (b *batches) waitForFast(m fastMessage) {
	b.open.fast = append(b.open.fast, m)
	b.wait(waiter{kind: waitFast, span: span{start: uint32(len(b.open.fast) - 1)}})
}

// keep copies a reply subject into the open batch's arena.
func (b *batches) keep(reply []byte) span {
	start := uint32(len(b.open.arena))
	b.open.arena = append(b.open.arena, reply...)
	return span{start: start, end: uint32(len(b.open.arena))}
}

func (p *proposal) reply(s span) []byte { return p.arena[s.start:s.end] }

// closeBatch ends the open batch and puts it behind the closed ones.
func (d *Door) closeBatch() {
	d.writeAcks()
	d.guessDeliveries()
	b := &d.batches
	p := b.open
	stamp := d.nextStamp(d.node.Now())
	b.builder.SetStamp(stamp)
	p.stamp = stamp
	d.queue.closed(d, stamp, b.builder.Slots())
	p.data = bytes.Clone(b.builder.Bytes()) // the log keeps it
	p.slots, p.bytes = b.builder.Slots(), len(p.data)
	b.queued += len(p.data)
	b.commands += p.slots
	b.closed = append(b.closed, p)
	b.open = b.recycled()
	b.builder.Reset(0)
}

// nextStamp is the time of the log if a batch is closed now, which is a little
// ahead of the log's clock after a burst: no two messages have the same time.
func (d *Door) nextStamp(now int64) int64 { return d.queue.next(now) }

// recycled returns an empty batch, with the next number.
func (b *batches) recycled() *proposal {
	p := &proposal{}
	if n := len(b.free); n > 0 {
		p = b.free[n-1]
		b.free = b.free[:n-1]
	}
	b.number++
	p.number = b.number
	return p
}

// Flush looks after consumers that have something to deliver and proposes as
// many batches as the pipeline has room for. With one in flight, the open
// batch waits until it is worth a write of its own or the pipeline is empty.
func (d *Door) Flush() {
	d.flushDirect()
	d.continueReports()
	if d.role == yielding {
		d.forward()
	}
	if d.role != leading {
		return
	}
	d.runFeeds()
	d.continueRestores()
	d.continueBackups()
	d.startBarrier()
	d.bus.Heard(d.hear)
	d.deliverReady()
	b := &d.batches
	for len(b.flying) < d.options.MaxInFlight && d.queue.turn(d) {
		if len(b.closed) == 0 {
			empty := b.builder.Slots() == 0 && b.gathered == 0
			small := b.size() < minBatchBytes
			if empty && !b.tick || small && (len(b.flying) > 0 || b.gather.waits(b.builder.Slots(), d.node.Now())) {
				return
			}
			b.gather = gather{}
			d.closeBatch()
		}
		if !d.proposeNext() {
			return
		}
	}
}

// proposeAll proposes everything, whatever is in flight, and what other doors have
// closed before.
func (d *Door) proposeAll() {
	b := &d.batches
	if b.builder.Slots() > 0 || b.gathered > 0 {
		d.closeBatch()
	}
	d.queue.proposeAll()
}

// proposeNext proposes the oldest closed batch. When the log refuses it, those
// who wait for it get no answer, as from a leader that died: the node tells
// the door to follow soon, or the client asks again. It is the door's turn.
func (d *Door) proposeNext() bool {
	b := &d.batches
	p := b.closed[0]
	b.closed = append(b.closed[:0], b.closed[1:]...)
	d.queue.waiting = append(d.queue.waiting[:0], d.queue.waiting[1:]...)
	b.queued -= len(p.data)
	b.commands -= p.slots
	b.tick = false
	index, err := d.node.Propose(p.data)
	p.data = nil
	if err != nil {
		d.logger.Debug("batch refused", "slots", p.slots, "error", err)
		d.counts.Dropped += uint64(p.slots)
		d.refused(p)
		return false
	}
	p.index = index
	b.flying = append(b.flying, p)
	return true
}

// refused undoes what a batch that was not proposed has reserved.
func (d *Door) refused(p *proposal) {
	for _, w := range p.waiters {
		switch w.kind {
		case waitDeliver:
			p.calls[w.span.start].consumer.delivering = false
		case waitCall:
			d.answerUnavailable(p.calls[w.span.start].request)
		case waitFeed:
			k := &p.calls[w.span.start]
			d.lost(k.feed, k.size)
			d.lostIncrement(k.total)
		case waitIncrement, waitDone:
			d.lostIncrement(p.calls[w.span.start].total)
		case waitFast:
			if one := p.fast[w.span.start].step; one != nil {
				d.lostIncrement(one.total)
			}
		}
	}
	d.release(p)
}

// release makes a proposal's memory available again.
func (d *Door) release(p *proposal) {
	const keep = 16
	if len(d.batches.free) >= keep {
		return
	}
	clear(p.calls)
	clear(p.fast)
	*p = proposal{waiters: p.waiters[:0], arena: p.arena[:0], calls: p.calls[:0], fast: p.fast[:0], replies: p.replies[:0]}
	d.batches.free = append(d.batches.free, p)
}

// Applied takes the results of the entry at index, which the machine has just
// applied. Results are not kept. The entry is one of the term in which this
// node led last: another leader's entry may stand where ours was proposed. The
// stamp, which differs then, is a second safeguard.
func (d *Door) Applied(index uint64, results *machine.Results) {
	if d.role == following {
		return
	}
	for i := range results.Events {
		if e := &results.Events[i]; d.concerns(e) {
			d.observe(e)
		}
	}
	b := &d.batches
	for len(b.flying) > 0 && b.flying[0].index <= index {
		p := b.flying[0]
		b.flying = append(b.flying[:0], b.flying[1:]...)
		if p.index == index && p.stamp == results.Stamp && p.slots == len(results.Slots) {
			d.settle(p, results)
		}
		d.release(p)
	}
}

// settle answers everybody who waits for a batch.
func (d *Door) settle(p *proposal, results *machine.Results) {
	answered := 0
	for slot := range min(len(p.waiters), len(results.Slots)) {
		w, result := &p.waiters[slot], &results.Slots[slot]
		switch w.kind {
		case waitPublish:
			d.acknowledge(p.reply(w.span), result, "")
			answered++
		case waitCall:
			c := &p.calls[w.span.start]
			d.answer(c.request, c.complete(d, result))
		case waitDeliver:
			d.delivered(&p.calls[w.span.start], result)
		case waitAcks:
			c := &p.calls[w.span.start]
			for _, reply := range p.replies[c.replies.start:c.replies.end] {
				d.bus.Publish(p.reply(reply), nil, nil, nil)
			}
			d.schedule(c.consumer)
		case waitFeed:
			d.fed(&p.calls[w.span.start], result)
		case waitDone:
			k := &p.calls[w.span.start]
			k.done(d, result)
			d.summed(k.total, result)
			answered++
		case waitFast:
			m := &p.fast[w.span.start]
			if m.step != nil {
				d.summed(m.step.total, result)
			}
			d.memberDecided(m, p.reply(m.reply), result)
		case waitIncrement:
			d.incremented(&p.calls[w.span.start], result)
			answered++
		}
	}
	if b := &d.batches; len(b.flying) == 0 {
		now := d.node.Now()
		b.gather.begin(answered, b.builder.Slots(), time.Duration(now-p.stamp), now)
	}
}
