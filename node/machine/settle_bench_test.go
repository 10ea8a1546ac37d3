package machine

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// BenchmarkLongestApply changes a stream of two million messages, and tells how long
// the longest entry took until nothing was left to do, and how many entries it took.
func BenchmarkLongestApply(b *testing.B) {
	const messages, subjects = 2_000_000, 1000
	update := func(change func(c *server.StreamConfig)) func(w *world, s *Stream) {
		return func(w *world, s *Stream) {
			c := *s.Config()
			change(&c)
			w.batch.UpdateStream(w.normalStream(&c))
		}
	}
	filtered := server.ConsumerConfig{Durable: "one", FilterSubject: "bench.*.7", AckPolicy: server.AckExplicit}
	interest := func(c *server.StreamConfig) { c.Retention = server.InterestPolicy }
	create := func(c server.ConsumerConfig) func(w *world, s *Stream) {
		return func(w *world, s *Stream) {
			normal, err := NormalizeConsumer(&c, s.Config(), Limits{}, false)
			if err != nil {
				b.Fatal(err)
			}
			w.batch.CreateConsumer(s.Incarnation(), normal, server.ActionCreate)
		}
	}
	for _, test := range []struct {
		name   string
		before func(w *world, s *Stream)
		do     func(w *world, s *Stream)
	}{
		{"max_msgs", nil, update(func(c *server.StreamConfig) { c.MaxMsgs = 10 })},
		{"max_bytes", nil, update(func(c *server.StreamConfig) { c.MaxBytes = 1000 })},
		{"max_msgs_per_subject=1", nil, update(func(c *server.StreamConfig) { c.MaxMsgsPer = 1 })},
		{"max_msgs_per_subject=5", nil, update(func(c *server.StreamConfig) { c.MaxMsgsPer = 5 })},
		{"max_msgs_per_subject=9999", nil, update(func(c *server.StreamConfig) { c.MaxMsgsPer = 9999 })},
		{"max_age", nil, update(func(c *server.StreamConfig) { c.MaxAge, c.Duplicates = time.Second, time.Second })},
		{"interest", create(filtered), update(interest)},
		{"delete consumer", func(w *world, s *Stream) {
			update(interest)(w, s)
			create(filtered)(w, s)
			all := filtered
			all.Durable, all.FilterSubject = "all", ""
			create(all)(w, s)
		}, func(w *world, s *Stream) { w.batch.DeleteConsumer(s.Consumer("all").Incarnation()) }},
		{"delete stream", nil, func(w *world, s *Stream) { w.batch.DeleteStream(s.Incarnation()) }},
		{"create filtered consumer", nil, create(filtered)},
		{"create filtered consumer in the middle", nil, create(server.ConsumerConfig{
			Durable: "one", FilterSubject: "bench.*.7", DeliverPolicy: server.DeliverByStartSequence, OptStartSeq: messages / 2,
		})},
		{"create consumer of last messages", nil, create(server.ConsumerConfig{Durable: "one", DeliverPolicy: server.DeliverLastPerSubject, FilterSubject: "bench.>"})},
	} {
		b.Run(test.name, func(b *testing.B) {
			longest, entries := time.Duration(0), 0
			for range b.N {
				b.StopTimer()
				w := newWorld(b)
				w.machine = New(Options{})
				s := w.stream("BENCH", func(c *server.StreamConfig) { c.AllowDirect = true })
				if test.before != nil {
					test.before(w, s)
					w.apply()
				}
				for i := range messages {
					w.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "bench.%d.%d", i*7919%subjects/10, i*7919%subjects%10), nil, make([]byte, 16))
					if i%1000 == 999 {
						w.apply()
						w.entries = nil
						w.entries = make(map[uint64][]byte)
					}
				}
				w.pass(time.Minute)
				b.StartTimer()
				test.do(w, s)
				for {
					start := time.Now()
					w.apply()
					longest, entries = max(longest, time.Since(start)), entries+1
					if due := w.machine.NextExpiry(); due == 0 || due > w.now {
						break
					}
				}
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest")
			b.ReportMetric(float64(entries)/float64(b.N), "entries/op")
		})
	}
}
