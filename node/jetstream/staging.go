package jetstream

import (
	"bytes"
	"container/list"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// An atomic batch (ADR-50) is staged here, at the leader's door, until its commit
// comes: then it goes into the log as one command, so that it is stored whole or
// not at all whatever happens to leaders. What is staged is volatile. A batch whose
// leader changes is forgotten, and its publisher hears with its next message that
// it is incomplete.

// BatchLimits bound the batches that publishers may have open. Zero numbers mean
// the defaults, which are those of nats-server. Messages are counted for an
// atomic batch, and the total over all streams of the door.
type BatchLimits struct {
	Messages      int           // of an atomic batch; default 1,000, at most 20,000
	PerStream     int           // atomic batches; default 50
	Total         int           // atomic batches; default 1,000
	FastPerStream int           // fast-ingest batches; default 1,000
	FastTotal     int           // fast-ingest batches; default 50,000
	Timeout       time.Duration // without a message; default 10 s
	// Bytes of an atomic batch, whose messages have to fit into one entry of the
	// log. Default 64 MiB, which is also the largest message that NATS can carry.
	Bytes int
	// StagedBytes of all atomic batches together. Default 256 MiB.
	StagedBytes int
}

// maxBatchMessages leaves room for what else is in an entry of the log.
const maxBatchMessages = 20_000

func (l *BatchLimits) setDefaults() {
	setDefault(&l.Messages, 1000)
	l.Messages = min(l.Messages, maxBatchMessages)
	setDefault(&l.PerStream, 50)
	setDefault(&l.Total, 1000)
	setDefault(&l.FastPerStream, 1000)
	setDefault(&l.FastTotal, 50_000)
	setDefault(&l.Bytes, 64<<20)
	setDefault(&l.StagedBytes, 256<<20)
	if l.Timeout == 0 {
		l.Timeout = 10 * time.Second
	}
}

// maxBatchID is the length of the longest batch ID.
const maxBatchID = 64

// staging is all that is staged.
type staging struct {
	order list.List // of *staged: the one that was written to last is the last
	bytes int
	room  int64 // that it will take on the disk
}

// staged is one atomic batch before its commit.
type staged struct {
	stream   machine.Incarnation
	of       *stream
	id       string
	messages []stagedMessage
	arena    []byte // of the messages: subject, header, payload
	room     int64
	deadline int64
	place    *list.Element
}

type stagedMessage struct{ subject, header, end int } // ends of its parts in the arena

// last is the batch sequence that came last. Sequences begin with 1.
func (b *staged) last() uint64 { return uint64(len(b.messages)) }

func (b *staged) message(i int) (subject, header, payload []byte) {
	start := 0
	if i > 0 {
		start = b.messages[i-1].end
	}
	m := b.messages[i]
	return b.arena[start:m.subject], b.arena[m.subject:m.header], b.arena[m.header:m.end]
}

// batchID is the atomic batch that a message belongs to, or empty.
func batchID(s *machine.Stream, header []byte) []byte {
	if len(header) == 0 || !s.Config().AllowAtomicPublish {
		return nil // the machine refuses such messages
	}
	return headerValue(header, server.JSBatchId)
}

// commitKind is what the header Nats-Batch-Commit says.
type commitKind uint8

const (
	commitNot     commitKind = iota
	commitWith               // with this message
	commitBefore             // without it: it only ends the batch
	commitUnknown            // something else
)

func commitOf(header []byte) commitKind {
	if headerAt(header, server.JSBatchCommit) < 0 {
		return commitNot
	}
	switch string(headerValue(header, server.JSBatchCommit)) {
	case "1":
		return commitWith
	case "eob":
		return commitBefore
	}
	return commitUnknown
}

// stage takes a message of an atomic batch. Its checks and their order are those of
// processJetStreamAtomicBatchMsg of the NATS server.
func (d *Door) stage(s *machine.Stream, m *Message, reply, header, id []byte) {
	if apiErr := admitMember(s, len(header)+len(m.Payload)); apiErr != nil {
		d.refusePublish(reply, s, nil, apiErr)
		return
	}
	if len(id) > maxBatchID {
		d.refusePublish(reply, s, nil, server.NewJSAtomicPublishInvalidBatchIDError())
		return
	}
	seq, ok := parseBatchSequence(headerValue(header, server.JSBatchSeq))
	if !ok {
		d.refusePublish(reply, s, nil, server.NewJSAtomicPublishMissingSeqError())
		return
	}
	commit := commitOf(header)
	count := seq
	if commit == commitBefore {
		count--
	}
	b, apiErr := d.stagedBatch(s, id, seq, count)
	if apiErr != nil {
		d.refusePublish(reply, s, nil, apiErr)
		return
	}
	header, reason, apiErr := d.checkStaged(b, header, len(m.Subject)+len(m.Payload), seq, count, commit)
	if apiErr != nil {
		d.unstage(b)
		if reason != "" {
			d.adviseAbandoned(s, b.id, reason)
		}
		d.refusePublish(reply, s, nil, apiErr)
		return
	}
	d.extend(b)
	if commit != commitBefore {
		d.keepStaged(b, m.Subject, header, m.Payload)
	}
	if commit == commitNot {
		if len(reply) > 0 {
			d.bus.Publish(reply, nil, nil, nil)
		}
		return
	}
	d.unstage(b)
	d.commitStaged(s, b, bytes.Clone(reply), commit == commitBefore)
}

// admitMember makes the checks of a stream on each message of a batch.
func admitMember(s *machine.Stream, size int) *server.ApiError {
	config := s.Config()
	switch {
	case config.Sealed:
		return server.NewJSStreamSealedError()
	case config.MaxMsgSize >= 0 && size > int(config.MaxMsgSize):
		return server.NewJSStreamMessageExceedsMaximumError()
	}
	return nil
}

// stagedBatch finds the batch, or begins it with its first message. Count is how
// many messages it would have.
func (d *Door) stagedBatch(s *machine.Stream, id []byte, seq, count uint64) (*staged, *server.ApiError) {
	st := d.streamOf(s)
	if st == nil {
		return nil, server.NewJSStreamNotFoundError()
	}
	if b := st.staged[string(id)]; b != nil {
		return b, nil
	}
	limits := &d.options.Batches
	switch {
	case seq != 1 && count > uint64(limits.Messages):
		return nil, server.NewJSAtomicPublishTooLargeBatchError(limits.Messages)
	case seq != 1:
		return nil, server.NewJSAtomicPublishIncompleteBatchError()
	case len(st.staged) >= limits.PerStream || d.staging.order.Len() >= limits.Total:
		return nil, server.NewJSAtomicPublishTooManyInflightError()
	}
	b := &staged{stream: s.Incarnation(), of: st, id: string(id)}
	if st.staged == nil {
		st.staged = make(map[string]*staged)
	}
	st.staged[b.id] = b
	b.place = d.staging.order.PushBack(b)
	return b, nil
}

// checkStaged decides whether a message is the next one of a batch, and returns
// its header as it is stored. An error ends the batch; with a reason it is told as
// an advisory.
func (d *Door) checkStaged(b *staged, header []byte, size int, seq, count uint64, commit commitKind) ([]byte, server.BatchAbandonReason, *server.ApiError) {
	limits := &d.options.Batches
	if commit == commitUnknown {
		return nil, "", server.NewJSAtomicPublishInvalidBatchCommitError()
	}
	header, met := metLevel(header)
	if !met {
		return nil, server.BatchRequirementsNotMet, server.NewJSRequiredApiLevelError()
	}
	size += len(header)
	switch {
	case seq != b.last()+1 || seq == 1 && commit == commitBefore:
		return nil, server.BatchIncomplete, server.NewJSAtomicPublishIncompleteBatchError()
	case count > uint64(limits.Messages):
		return nil, server.BatchLarge, server.NewJSAtomicPublishTooLargeBatchError(limits.Messages)
	case len(b.arena)+size > limits.Bytes:
		return nil, server.BatchLarge, server.NewJSAtomicPublishTooLargeBatchError(fmt.Sprintf("more than %d bytes", limits.Bytes))
	case d.staging.bytes+size > limits.StagedBytes:
		return nil, server.BatchLarge, server.NewJSAtomicPublishTooManyInflightError()
	}
	return header, "", nil
}

// keepStaged copies a message into its batch.
func (d *Door) keepStaged(b *staged, subject, header, payload []byte) {
	b.arena = append(b.arena, subject...)
	m := stagedMessage{subject: len(b.arena)}
	b.arena = append(b.arena, header...)
	m.header = len(b.arena)
	b.arena = append(b.arena, payload...)
	m.end = len(b.arena)
	b.messages = append(b.messages, m)
	room := publishRoom(len(header)+len(payload), len(subject))
	b.room += room
	d.staging.bytes += len(subject) + len(header) + len(payload)
	d.staging.room += room
}

// extend gives the publisher of a batch time for the next message.
func (d *Door) extend(b *staged) {
	b.deadline = d.node.Now() + int64(d.options.Batches.Timeout)
	d.staging.order.MoveToBack(b.place)
}

// unstage forgets a batch. Its messages can still be read.
func (d *Door) unstage(b *staged) {
	if b.of.staged[b.id] != b {
		return
	}
	delete(b.of.staged, b.id)
	d.staging.order.Remove(b.place)
	d.staging.bytes -= len(b.arena)
	d.staging.room -= b.room
}

// unstageAll forgets the batches of a stream.
func (d *Door) unstageAll(st *stream) {
	for _, id := range sortedKeys(st.staged) {
		d.unstage(st.staged[id])
	}
}

// tickStaged gives up batches whose publisher is silent.
func (d *Door) tickStaged(now int64) {
	for front := d.staging.order.Front(); front != nil; front = d.staging.order.Front() {
		b := front.Value.(*staged)
		if b.deadline > now {
			return
		}
		d.unstage(b)
		if s := d.machine.StreamOf(b.stream); s != nil {
			d.adviseAbandoned(s, b.id, server.BatchTimeout)
		}
	}
}

// member is a message of a batch as it is stored.
type member struct {
	subject []byte
	says    said
	summed
}

// compose makes of the messages of a batch what is stored. When it returns a total,
// that has to be made anew first. Ended says that a message which is not stored
// has ended the batch.
func (d *Door) compose(s *machine.Stream, b *staged, ended bool) (members []member, size int, waits *runningTotal, apiErr *server.ApiError) {
	config := s.Config()
	for i := range b.messages {
		subject, header, payload := b.message(i)
		if ended && i == len(b.messages)-1 {
			header = withLine(header, server.JSBatchCommit, "1")
		}
		m := member{subject: b.of.transforms.storedSubject(subject)}
		if config.AllowMsgSchedules {
			header, m.says = d.prepareSchedule(header)
		}
		if leavesMarkers(s) {
			header = d.withLeastTTL(s, header)
		}
		m.header, m.payload = header, payload
		if config.AllowMsgCounter {
			m.summed, apiErr = d.sum(s, m.subject, header, payload)
		}
		members = append(members, m)
		size += m.size() + len(m.subject) + 2*commandOverhead
		if m.total != nil && m.total.broken {
			waits = m.total
		}
		if size > d.options.Batches.Bytes+2*commandOverhead*maxBatchMessages {
			apiErr = server.NewJSAtomicPublishTooLargeBatchError(fmt.Sprintf("more than %d bytes", d.options.Batches.Bytes))
		}
		if waits != nil || apiErr != nil {
			for i := range members {
				d.unused(members[i].total)
			}
			return nil, 0, waits, apiErr
		}
	}
	return members, size, nil, nil
}

// commitStaged proposes a batch, whose publisher waits at reply.
func (d *Door) commitStaged(s *machine.Stream, b *staged, reply []byte, ended bool) {
	st := d.streamOf(s)
	if st == nil || d.role != leading {
		return // the stream or the leadership is gone, as for a publish
	}
	members, size, waits, apiErr := d.compose(s, b, ended)
	switch {
	case apiErr != nil:
		d.refusePublish(reply, s, nil, apiErr)
		return
	case waits != nil:
		waits.behind = append(waits.behind, func() { d.commitStaged(s, b, reply, ended) })
		return
	}
	d.room(size)
	d.batches.builder.BeginAtomic(s.Incarnation())
	d.batches.wait(waiter{})
	for i := range members {
		m := &members[i]
		d.batches.say(m.says)
		d.addSummed(s, m.subject, &m.summed)
		switch {
		case i == len(members)-1:
		case m.total == nil:
			d.batches.wait(waiter{})
		default:
			d.batches.waitForCall(waitIncrement, call{total: m.total})
		}
	}
	d.batches.builder.EndAtomic()
	d.touch(s)
	d.batches.waitForCall(waitDone, call{total: members[len(members)-1].total, done: func(d *Door, result *machine.Result) {
		switch {
		case result.Unmet: // what was said about a message is not true any more
			d.commitStaged(s, b, reply, ended)
		case result.Err != nil:
			d.refusePublish(reply, s, nil, result.Err)
		case len(reply) > 0:
			d.scratch = appendBatchAck(d.scratch[:0], st.pubAck, result, b.id, b.last())
			d.bus.Publish(reply, nil, nil, d.scratch)
		}
	}})
}

// appendBatchAck appends the PubAck of a batch with so many messages.
func appendBatchAck(dst, prefix []byte, result *machine.Result, id string, count uint64) []byte {
	dst = appendPubAck(dst, prefix, result.Seq, result.Duplicate, "")
	dst = append(dst[:len(dst)-1], `,"batch":`...)
	dst = strconv.AppendQuote(dst, id)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendUint(dst, count, 10)
	return append(dst, '}')
}

// parseBatchSequence reads a decimal number without a sign.
func parseBatchSequence(digits []byte) (uint64, bool) {
	n, err := strconv.ParseUint(string(digits), 10, 64)
	return n, err == nil
}

func (d *Door) adviseAbandoned(s *machine.Stream, id string, reason server.BatchAbandonReason) {
	d.emit(server.JSAdvisoryStreamBatchAbandonedPre+"."+s.Name(), func() any {
		return server.JSStreamBatchAbandonedAdvisory{
			TypedEvent: d.typed(server.JSStreamBatchAbandonedAdvisoryType),
			Stream:     s.Name(),
			Domain:     d.options.Domain,
			BatchId:    id,
			Reason:     reason,
		}
	})
}
