package machine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestFormatsHaveTheirVersions has the bytes of every command and of the values of a
// checkpoint, by their checksum, but for what is JSON. Whoever changes one raises its
// version, keeps reading the one before, and notes the new checksum here.
func TestFormatsHaveTheirVersions(t *testing.T) {
	for _, format := range []struct {
		name    string
		version int
		written []byte
		want    string
	}{
		{"batch", batchVersion, everyCommand(), "1 a1390d86"},
		{"value of the checkpoint", valueVersion, everyValue(t), "4 035a23a3"},
		{"state of a stream and of a consumer, pages, limits", valueVersion, everyPart(), "4 71c78bcf"},
	} {
		if sum := fmt.Sprintf("%d %08x", format.version, crc32.ChecksumIEEE(format.written)); sum != format.want {
			t.Errorf("%s: version and checksum are %q, they were %q", format.name, sum, format.want)
		}
	}
}

// everyCommand is a batch of every command; of those with JSON in it there is the code.
func everyCommand() []byte {
	const stream = Incarnation(0x123456)
	var b Batch
	b.SetAccount("ACCOUNT")
	b.Reset(epoch)
	b.Publish(stream, []byte("subject"), nil, []byte("payload"))
	b.Publish(stream, []byte("subject"), []byte("header"), []byte("payload"))
	b.DeleteStream(stream)
	b.DeleteMessage(stream, 1, true)
	b.DeleteConsumer(stream)
	b.Deliver(stream, 2, 3)
	b.Acks(stream, []Ack{{Kind: AckDone, StreamSeq: 4, ConsumerSeq: 5, Deliveries: 6, Delay: 7}, {Kind: AckReturn, StreamSeq: 8}})
	b.ResetConsumer(stream, 9)
	b.Preface(PrefaceSchedule, 10, 11)
	b.BeginAtomic(stream)
	b.Publish(stream, []byte("subject"), nil, nil)
	b.EndAtomic()
	b.End(stream, []uint64{12, 13})
	b.Fast(stream, &FastMember{ID: []byte("id"), Seq: 14, Begin: true, Flow: 15, GapOk: true, Reply: []byte("reply")})
	b.Publish(stream, []byte("subject"), nil, nil)
	b.EndFast(stream, "id")
	b.StoreFrom(stream, &Origin{Source: "source", Previous: 16, Seq: 17, Stamp: 18, Identity: "identity"}, []byte("subject"), nil, nil)
	b.SkipTo(stream, 19)
	b.EndIntake(stream, 20)
	written := append([]byte(nil), b.Bytes()...)
	b.BeginMove()
	b.Move(&Moved{Stream: stream, Stored: Stored{Seq: 21, Stamp: epoch, Location: Location{Index: 22}}}, []byte("raw"))
	written = append(written, b.Bytes()...)
	for _, add := range []func() int{
		func() int { return b.CreateStream(nil) },
		func() int { return b.UpdateStream(nil) },
		func() int { return b.PurgeStream(stream, server.JSApiStreamPurgeRequest{}) },
		func() int { return b.PurgeStep(stream, 23, server.JSApiStreamPurgeRequest{}) },
		func() int { return b.CreateConsumer(stream, nil, server.ActionCreate) },
		func() int { return b.PauseConsumer(stream, time.Time{}) },
		func() int { return b.LimitAccount(nil) },
		func() int { return b.BeginIntake(nil, 24) },
		func() int { return b.TakeConsumer(stream, nil) },
	} {
		b.Reset(epoch)
		add()
		written = append(written, b.Bytes()[batchHeaderSize])
	}
	return written
}

// everyValue are the keys and values of checkpoints in which a stream has a bit of
// everything.
func everyValue(t *testing.T) (written []byte) {
	w := newWorld(t)
	s := w.stream("S", func(c *server.StreamConfig) {
		c.AllowMsgTTL, c.AllowMsgSchedules, c.AllowAtomicPublish, c.AllowBatchPublish = true, true, true, true
	})
	c := w.consumer(s, server.ConsumerConfig{Durable: "d", AckPolicy: server.AckExplicit, MaxDeliver: 1})
	for i := range 30 {
		w.pass(time.Second)
		w.publish(s, fmt.Sprint("s.subject.", i%7), "Nats-Msg-Id", fmt.Sprint("id-", i))
	}
	w.publish(s, "s.ttl", "Nats-TTL", "1h")
	w.batch.Preface(PrefaceSchedule, uint64(epoch)+1, uint64(ScheduleFine))
	w.publish(s, "s.when", "Nats-Schedule", "@at 2100-01-01T00:00:00Z", "Nats-Schedule-Target", "s.target")
	w.batch.DeleteMessage(s.Incarnation(), 5, true)
	for seq := range uint64(5) { // so that a block is packed anew
		w.batch.DeleteMessage(s.Incarnation(), 17+seq, false)
	}
	w.batch.Fast(s.Incarnation(), &FastMember{ID: []byte("fast"), Seq: 1, Begin: true, Flow: 1, Reply: []byte("reply")})
	w.batch.Publish(s.Incarnation(), []byte("s.fast"), nil, nil)
	w.apply()
	w.batch.LimitAccount(&DefaultLimits)
	w.apply()
	w.deliver(c, 9)
	w.ack(c, AckDone, 0, 1, 1, 3, 3)
	w.ack(c, AckReturn, 0, 4, 4)
	puts, deletes := w.machine.Checkpoint()
	seen := map[byte]bool{}
	for _, p := range puts {
		kind := p.Key[0]
		seen[kind] = true
		written = append(written, p.Key...)
		if kind != keyStream && kind != keyConsumer && kind != keyLimits {
			written = append(written, p.Value...)
		}
	}
	for _, kind := range []byte{keyStream, keyStreamState, keyNames, keyBlock, keyAlive, keyDedup, keySchedule, keyConsumer, keyConsumerState, keyConsumerCount, keyEntries, keyLimits} {
		if !seen[kind] {
			t.Errorf("there is no value of kind %d", kind)
		}
	}
	expect(t, "deletes", len(deletes), 0)
	return written
}

// everyPart are the parts of a checkpoint's values, each with a number of its own, so
// that two that are exchanged show, and with more subjects than a page has.
func everyPart() (written []byte) {
	c := &Consumer{
		cursor: 1, nextSeq: 2, lastGiven: 3, floorConsumer: 4, floorStream: 5, nextOrder: 6, lastDelivery: 7, lastAck: 8,
		skips: []uint64{9, 11}, exhausted: map[uint64]uint32{14: 15, 18: 16}, watches: true, count: 17,
	}
	c.pending.append(delivered{seq: 20, first: 21, due: 22, order: 23, tries: 24})
	c.pending.append(delivered{seq: 50, first: 25, due: 26, order: 27, tries: 28})
	written = c.appendCount(c.appendState(written))

	s := &Stream{
		first: 31, last: 32, lastStamp: 33, stored: 34, review: review{next: 36, end: 37, unneeded: true}, lastID: "last", intake: true,
		origins: map[string]*originState{"a": {seq: 38, at: 39, identity: "identity"}, "b": {seq: 40, at: 41, identity: "another"}},
		fast: map[string]*fastBatch{
			"fast": {seq: 42, stored: 43, flow: 44, gapOk: true, reply: "reply"}, "waiting": {seq: 45, stored: 46, flow: 47, waits: true, reply: "other"},
		},
	}
	s.dedup.next = 35
	written = s.appendState(written)
	s = &Stream{mirrorReady: true}
	written = s.appendState(written)
	for i := range namesPerPage + 3 {
		s.subjects.add(fmt.Sprint("subject.", i))
	}
	s.subjects.release(7)
	written = s.appendNames(s.appendNames(written, 0), 1)

	written = (&dedupPage{ids: []string{"first", "second"}, entries: []dedupEntry{{seq: 48, stamp: 49}, {seq: 50, stamp: 51}}}).append(written)
	// Pages that are full have a bound of their own, which whoever reads them knows.
	written = binary.BigEndian.AppendUint64(written, dedupPageEntries)
	written = binary.BigEndian.AppendUint64(written, blockMessages)
	written = binary.BigEndian.AppendUint64(written, entryChunkSize)
	limits := (&Account{name: "account"}).appendLimits(nil)
	return append(written, limits[:1+len("account")]...)
}
