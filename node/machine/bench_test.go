package machine

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

const benchBatch = 400

// benchStream returns a machine with one stream and a batch of publishes to it.
func benchStream(b *testing.B, subjects int, change ...func(*server.StreamConfig)) (*world, *Stream) {
	w := newWorld(b)
	w.machine = New(Options{})
	s := w.stream("BENCH", change...)
	payload := make([]byte, 128)
	w.batch.Reset(w.now)
	for i := range benchBatch {
		w.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "bench.subject.%d", i%subjects), nil, payload)
	}
	return w, s
}

func (w *world) applyAgain() {
	w.index++
	if err := w.machine.Apply(w.index, w.batch.Bytes(), &w.results); err != nil {
		w.t.Fatal(err)
	}
}

func BenchmarkApplyPublish(b *testing.B) {
	for _, subjects := range []int{1, 16, 400} {
		b.Run(fmt.Sprintf("subjects=%d", subjects), func(b *testing.B) {
			w, _ := benchStream(b, subjects)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += benchBatch {
				w.applyAgain()
			}
		})
	}
}

func BenchmarkApplyPublishDiscardOld(b *testing.B) {
	w, _ := benchStream(b, 16, func(c *server.StreamConfig) { c.MaxMsgs = 100_000 })
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		w.applyAgain()
	}
}

// BenchmarkApplyPublishHistory keeps five messages each of many subjects.
func BenchmarkApplyPublishHistory(b *testing.B) {
	w, s := benchStream(b, 16, func(c *server.StreamConfig) { c.MaxMsgsPer = 5 })
	batches := make([]Batch, 64)
	for i := range batches {
		batches[i].Reset(w.now)
		for j := range benchBatch {
			batches[i].Publish(s.Incarnation(), fmt.Appendf(nil, "bench.%d", (i*benchBatch+j)*7919%20_000), nil, make([]byte, 128))
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		w.index++
		if err := w.machine.Apply(w.index, batches[n/benchBatch%64].Bytes(), &w.results); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyPublishMessageID(b *testing.B) {
	w, s := benchStream(b, 16)
	id := 0
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		b.StopTimer()
		w.now += 4_000_000
		w.batch.Reset(w.now)
		for range benchBatch {
			id++
			w.batch.Publish(s.Incarnation(), []byte("bench.a"), fmt.Appendf(nil, "NATS/1.0\r\nNats-Msg-Id: %d\r\n\r\n", id), make([]byte, 128))
		}
		b.StartTimer()
		w.applyAgain()
	}
}

func BenchmarkBatchPublish(b *testing.B) {
	var batch Batch
	subject, payload := []byte("bench.subject.1"), make([]byte, 128)
	b.ReportAllocs()
	for n := 0; n < b.N; n++ {
		if n%benchBatch == 0 {
			batch.Reset(epoch)
		}
		batch.Publish(1<<16, subject, nil, payload)
	}
}

// benchConsume publishes in advance and measures deliver and ack.
func benchConsume(b *testing.B, config server.ConsumerConfig) {
	w, s := benchStream(b, 16)
	published := w.batch
	w.batch = Batch{}
	for n := 0; n < b.N; n += benchBatch {
		w.index++
		if err := w.machine.Apply(w.index, published.Bytes(), &w.results); err != nil {
			b.Fatal(err)
		}
	}
	w.batch.Reset(w.now)
	c := w.consumer(s, config)
	acks := make([]Ack, 0, benchBatch)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		w.batch.Reset(w.now)
		w.batch.Deliver(c.Incarnation(), benchBatch, 0)
		w.applyAgain()
		acks = acks[:0]
		for i := range w.results.Slots[0].Deliveries {
			d := &w.results.Slots[0].Deliveries[i]
			acks = append(acks, Ack{Kind: AckDone, StreamSeq: d.StreamSeq, ConsumerSeq: d.ConsumerSeq, Deliveries: 1})
		}
		w.batch.Reset(w.now)
		w.batch.Acks(c.Incarnation(), acks)
		w.applyAgain()
	}
}

func BenchmarkDeliverAck(b *testing.B) {
	b.Run("all", func(b *testing.B) { benchConsume(b, server.ConsumerConfig{AckPolicy: server.AckExplicit}) })
	b.Run("filtered", func(b *testing.B) {
		benchConsume(b, server.ConsumerConfig{AckPolicy: server.AckExplicit, FilterSubject: "bench.subject.*"})
	})
}

func BenchmarkMatch(b *testing.B) {
	w := newWorld(b)
	for i := range 100 {
		w.stream(fmt.Sprintf("S%d", i), func(c *server.StreamConfig) {
			c.Subjects = []string{fmt.Sprintf("literal.%d", i), fmt.Sprintf("wild.%d.>", i)}
		})
	}
	for _, subject := range []string{"literal.42", "wild.42.a.b", "none.of.them"} {
		b.Run(subject, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				w.machine.Match([]byte(subject))
			}
		})
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	w, _ := benchStream(b, 16)
	b.ReportAllocs()
	for range b.N {
		for range 25 { // 10,000 messages between two checkpoints
			w.applyAgain()
		}
		w.machine.Checkpoint()
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryPerMessage measures the index: a million messages of 128 bytes,
// in batches and with one message per entry, over a thousand subjects.
func TestMemoryPerMessage(t *testing.T) {
	const messages = 1_000_000
	for _, perEntry := range []int{400, 1} {
		t.Run(fmt.Sprintf("%d per entry", perEntry), func(t *testing.T) {
			w := newWorld(t)
			w.machine = New(Options{})
			s := w.stream("MEMORY")
			subjects := make([][]byte, 1000)
			for i := range subjects {
				subjects[i] = fmt.Appendf(nil, "memory.device.%d.temperature", i)
			}
			payload := make([]byte, 128)
			w.entries = nil
			w.batch.Reset(w.now)
			before := heap()
			for n := 0; n < messages; n += perEntry {
				w.now += 1_000_003 // a millisecond between entries
				w.batch.Reset(w.now)
				for i := range perEntry {
					w.batch.Publish(s.Incarnation(), subjects[(n+i)*7919%1000], nil, payload)
				}
				w.applyAgain()
			}
			per := float64(heap()-before) / messages
			t.Logf("%.1f bytes per message", per)
			if per > 24 {
				t.Errorf("%.1f bytes per message, want at most 24", per)
			}
			runtime.KeepAlive(w)
		})
	}
}

// BenchmarkRestore reads the checkpoint of a million messages.
func BenchmarkRestore(b *testing.B) {
	for _, subjects := range []int{1, 400} {
		b.Run(fmt.Sprintf("subjects=%d", subjects), func(b *testing.B) {
			w, _ := benchStream(b, subjects)
			pairs := map[string][]byte{}
			for range 1_000_000 / benchBatch {
				w.applyAgain()
				puts, deletes := w.machine.Checkpoint()
				for _, p := range puts {
					pairs[string(p.Key)] = bytes.Clone(p.Value)
				}
				for _, key := range deletes {
					delete(pairs, string(key))
				}
			}
			keys := slices.Sorted(maps.Keys(pairs))
			for b.Loop() {
				_, err := Restore(Options{}, w.index, 0, w.machine.Stamp(), func(yield func(key, value []byte) error) error {
					for _, key := range keys {
						if err := yield([]byte(key), pairs[key]); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
