package jetstream

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// publishRoom is about how many bytes a publish takes on the disk: in the log,
// and its share of the index.
func publishRoom(size, subject int) int64 {
	return int64(size+size/8+subject) + 2*commandOverhead
}

// unwritten is the size of what is not in the log yet.
func (b *batches) unwritten() int64 {
	bytes := b.queued + b.builder.Len()
	for _, p := range b.flying {
		bytes += p.bytes
	}
	return int64(bytes)
}

// commandOverhead bounds what a publish command adds to its three parts.
const commandOverhead = 64

// publish puts a message for a stream into the open batch.
func (d *Door) publish(m *Message) {
	s := d.machine.Match(m.Subject)
	if s == nil {
		d.counts.Dropped++
		d.sendNoResponders(m.Reply, m.Subject)
		return
	}
	d.publishTo(s, m)
}

// publishTo is publish for a stream that need not have the message's subject.
func (d *Door) publishTo(s *machine.Stream, m *Message) {
	d.counts.Publishes++
	reply := m.Reply
	if s.Config().NoAck {
		reply = nil
	}
	header := m.Header
	if len(header) > 0 {
		header = d.storedHeader(header)
	}
	size := len(header) + len(m.Payload)
	if size > d.options.MaxPayload {
		d.refusePublish(reply, s, nil, server.NewJSStreamMessageExceedsMaximumError())
		return
	}
	if d.queue.admitted -= publishRoom(size, len(m.Subject)); d.queue.admitted < 0 {
		d.refusePublish(reply, s, nil, server.NewJSInsufficientResourcesError())
		return
	}
	b := &d.batches
	if b.queued > d.options.MaxQueued && d.crowded() {
		d.refusePublish(reply, s, []byte(statusTooManyRequests), server.NewJSStreamTooManyRequestsError())
		return
	}
	if told := ingestSubject(m); told != nil {
		d.ingest(s, m, told, reply, header)
		return
	}
	if id := batchID(s, header); len(id) > 0 {
		d.stage(s, m, reply, header, id)
		return
	}
	if len(header) > 0 && leavesMarkers(s) {
		header = d.withLeastTTL(s, header)
	}
	subject := m.Subject
	if st := d.streamOf(s); st != nil && st.transforms.input != nil {
		subject = st.transforms.storedSubject(subject)
	}
	var says said
	if len(header) > 0 {
		switch config := s.Config(); {
		case config.AllowMsgCounter:
			d.increment(s, m, subject, header, reply)
			return
		case config.AllowMsgSchedules:
			header, says = d.prepareSchedule(header)
			size = len(header) + len(m.Payload)
		}
	}
	d.room(size + len(subject) + 2*commandOverhead)
	b.say(says)
	b.builder.Publish(s.Incarnation(), subject, header, m.Payload)
	d.touch(s)
	if len(reply) == 0 {
		b.wait(waiter{})
		return
	}
	b.wait(waiter{kind: waitPublish, span: b.keep(reply)})
}

// A publisher of large messages may have many bytes on their way before it waits:
// nats.go puts an object with 4,000 chunks of 128 KiB outstanding, 500 MiB, and gives
// up when one of them is refused. So few messages may wait with more bytes.
const (
	fewQueued    = 8192 // commands
	fewQueuedMax = 10   // times Options.MaxQueued
)

// crowded reports whether no publish may wait beyond Options.MaxQueued.
func (d *Door) crowded() bool {
	b := &d.batches
	return b.commands > fewQueued || b.queued/fewQueuedMax > d.options.MaxQueued
}

// touch takes note that the open batch has a message for a stream: somebody may
// wait for it.
func (d *Door) touch(s *machine.Stream) {
	st := d.streamOf(s)
	d.batches.wrote(st)
	if st != nil && len(st.waiting) > 0 && !st.touched {
		st.touched = true
		d.touched = append(d.touched, st)
	}
}

// storedHeader returns the header as it is stored: without a status, which
// would make a delivery look like a control message, and without what another
// account's export noted about the client.
func (d *Door) storedHeader(header []byte) []byte {
	if bytes.HasPrefix(header, []byte(headerLine)) && headerAt(header, server.ClientInfoHdr) < 0 {
		return header
	}
	d.scratch = append(d.scratch[:0], header...)
	return withoutHeader(withoutStatus(d.scratch), server.ClientInfoHdr)
}

// acknowledge sends the PubAck of a publish that was applied. Value is that of a
// counter that it changed.
func (d *Door) acknowledge(reply []byte, result *machine.Result, value string) {
	if result.Err != nil || result.Stream == nil {
		if result.Stream == nil {
			// Its stream went away in the meantime: nobody listens any more.
			d.counts.Refused++
			d.sendNoResponders(reply, nil)
			return
		}
		d.refusePublish(reply, result.Stream, nil, result.Err)
		return
	}
	st := d.streamOf(result.Stream)
	if st == nil {
		return
	}
	d.scratch = appendPubAck(d.scratch[:0], st.pubAck, result.Seq, result.Duplicate, value)
	d.bus.Publish(reply, nil, nil, d.scratch)
}

// appendPubAck appends what server.PubAck encodes to.
func appendPubAck(dst, prefix []byte, seq uint64, duplicate bool, value string) []byte {
	dst = append(dst, prefix...)
	dst = strconv.AppendUint(dst, seq, 10)
	switch {
	case duplicate:
		dst = append(dst, `,"duplicate": true`...)
	case value != "":
		dst = append(append(append(dst, `,"val":"`...), value...), '"')
	}
	return append(dst, '}')
}

// refusePublish answers a publish with an error.
func (d *Door) refusePublish(reply []byte, s *machine.Stream, header []byte, apiErr *server.ApiError) {
	d.counts.Refused++
	if len(reply) == 0 {
		return
	}
	response, err := json.Marshal(&server.JSPubAckResponse{Error: apiErr, PubAck: &server.PubAck{Stream: s.Name()}})
	if err != nil {
		return
	}
	d.bus.Publish(reply, nil, header, response)
}
