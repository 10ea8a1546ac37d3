package jetstream

import (
	"fmt"
	"testing"
)

// BenchmarkPublish is a 128-byte publish from the bus to its PubAck, the state
// machine included, in batches as they form under load.
func BenchmarkPublish(b *testing.B) {
	f := newFixture(b)
	f.createStream(orders())
	f.bus.quiet = true
	m := Message{Subject: []byte("orders.a"), Reply: []byte("_INBOX.0123456789.abcdef"), Payload: make([]byte, 128)}
	const chunk = 500
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += chunk {
		for range min(chunk, b.N-n) {
			f.door.Handle(&m)
		}
		f.run()
		f.node.now += 1000
	}
	b.StopTimer()
	if f.bus.count < b.N {
		b.Fatalf("%d of %d answered", f.bus.count, b.N)
	}
}

// BenchmarkDeliverAndAck is a 128-byte message from the pull request to the
// acknowledgement, the state machine included.
func BenchmarkDeliverAndAck(b *testing.B) {
	f := newFixture(b)
	f.createStream(orders())
	config := work()
	config.MaxAckPending = 100_000
	f.createConsumer("ORDERS", config)
	f.bus.quiet = true
	m := Message{Subject: []byte("orders.a"), Payload: make([]byte, 128)}
	for n := 0; n < b.N; n++ {
		f.door.Handle(&m)
		if n%1000 == 999 {
			f.run()
		}
	}
	f.run()
	const batch = 500
	subjects := make([][]byte, 0, batch)
	request := []byte(fmt.Sprintf(`{"batch":%d}`, batch))
	next := []byte(nextPrefix + "ORDERS.work")
	recorder := &ackRecorder{fakeBus: f.bus, subjects: &subjects}
	f.door.bus = recorder
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		recorder.count = 0
		f.door.Handle(&Message{Subject: next, Reply: []byte("_INBOX.0123456789.abcdef"), Payload: request})
		f.run()
		for _, subject := range subjects[:recorder.count] {
			f.door.Handle(&Message{Subject: subject})
		}
		f.run()
		f.node.now += 1000
	}
	b.StopTimer()
	if state := f.machine.Consumer("ORDERS", "work").State(); state.AckFloor.Stream != uint64(b.N) {
		b.Fatalf("%d of %d acknowledged", state.AckFloor.Stream, b.N)
	}
}

// ackRecorder keeps the reply subjects of deliveries, in memory that it reuses.
type ackRecorder struct {
	*fakeBus
	subjects *[][]byte
	count    int
}

func (r *ackRecorder) Deliver(_, reply, _, _ []byte) {
	all := *r.subjects
	if r.count == len(all) {
		all = append(all, make([]byte, 0, 128))
		*r.subjects = all
	}
	end := len(reply)
	for i, c := range reply {
		if c == '@' {
			end = i
			break
		}
	}
	all[r.count] = append(all[r.count][:0], reply[:end]...)
	r.count++
}

// BenchmarkCreateStream is what an API request costs.
func BenchmarkCreateStream(b *testing.B) {
	f := newFixture(b)
	f.bus.quiet = true
	for n := 0; n < b.N; n++ {
		name := fmt.Sprintf("S%d", n)
		f.send(apiPrefix+"STREAM.CREATE."+name, "reply", "", fmt.Sprintf(`{"name":%q,"subjects":[%q],"storage":"file"}`, name, name))
		f.run()
	}
	if len(f.machine.Streams()) != b.N {
		b.Fatal("not created")
	}
}
