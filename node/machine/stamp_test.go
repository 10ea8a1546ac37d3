package machine

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// TestTimeNearItsEnd lets time come to its end: what would be over only after that
// is never over, and nothing happens too early.
func TestTimeNearItsEnd(t *testing.T) {
	const hundredYears = 100 * 365 * 24 * time.Hour
	w := newWorld(t)
	w.now = MaxStamp - int64(time.Hour)
	aged := w.stream("AGED", func(c *server.StreamConfig) { c.MaxAge, c.Duplicates = hundredYears, hundredYears })
	mortal := w.stream("MORTAL", func(c *server.StreamConfig) { c.AllowMsgTTL = true })
	soon := w.stream("SOON", func(c *server.StreamConfig) { c.MaxAge, c.Duplicates = time.Minute, time.Minute })
	w.publish(aged, "aged.1", server.JSMsgId, "id")
	w.publish(mortal, "mortal.1", server.JSMessageTTL, "876000h")
	w.publish(soon, "soon.1")
	c := w.consumer(aged, server.ConsumerConfig{AckPolicy: server.AckExplicit, AckWait: hundredYears})
	expect(t, "delivered", w.deliver(c, 1) != "", true)
	backOff := w.consumer(aged, server.ConsumerConfig{Durable: "d", AckPolicy: server.AckExplicit, MaxDeliver: 3, BackOff: []time.Duration{hundredYears, hundredYears}})
	expect(t, "delivered", w.deliver(backOff, 1) != "", true)
	w.ack(backOff, AckNak, maxSpan, 1, 1)

	w.now = MaxStamp - 1000
	w.tick()
	expect(t, "messages that are old", soon.State().Msgs, 0)
	expect(t, "messages that are not", aged.State().Msgs, 1)
	expect(t, "messages that live long", mortal.State().Msgs, 1)
	expect(t, "duplicate", w.publish(aged, "aged.2", server.JSMsgId, "id").Duplicate, true)
	expect(t, "delivered again", w.deliver(c, 1)+w.deliver(backOff, 1), "")
	w.restored()
}

func TestStampsAreBounded(t *testing.T) {
	w := newWorld(t)
	data := append([]byte(nil), w.batch.Bytes()...)
	binary.LittleEndian.PutUint64(data[1:], MaxStamp+1)
	if err := w.machine.Apply(1, data, &w.results); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a stamp behind the last one: %v", err)
	}
	for _, c := range [][3]int64{{5, 3, 8}, {5, -3, 2}, {MaxStamp, math.MaxInt64, math.MaxInt64}, {MaxStamp, 1 << 60, math.MaxInt64 - (math.MaxInt64 - MaxStamp - 1<<60)}} {
		expect(t, "later", later(c[0], c[1]), c[2])
	}
}
