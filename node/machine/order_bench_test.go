package machine

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// BenchmarkFilters asks a stream of a million subjects for filters, before its subjects
// are in order and when they are.
func BenchmarkFilters(b *testing.B) {
	const subjects = 1_000_000
	w := newWorld(b)
	w.machine = New(Options{})
	s := w.stream("BENCH", func(c *server.StreamConfig) { c.Subjects, c.MaxMsgsPer = []string{"kv.>"}, 1 })
	for i := range subjects {
		w.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "kv.user.%d.%d", i%1000, i), nil, make([]byte, 16))
		if i%1000 == 999 {
			w.apply()
			w.entries = make(map[uint64][]byte)
		}
	}
	created := 0
	create := func(filter string) func() {
		return func() {
			created++
			c := server.ConsumerConfig{Durable: fmt.Sprint("c", created), FilterSubject: filter, AckPolicy: server.AckExplicit, DeliverPolicy: server.DeliverLastPerSubject}
			normal, err := NormalizeConsumer(&c, s.Config(), Limits{}, false)
			if err != nil {
				b.Fatal(err)
			}
			w.batch.CreateConsumer(s.Incarnation(), normal, server.ActionCreate)
			w.apply()
			w.batch.DeleteConsumer(s.consumers[0].incarnation)
			w.apply()
			w.entries = make(map[uint64][]byte)
		}
	}
	for _, state := range []string{"before", "in order"} {
		if state == "in order" {
			for !s.subjects.order.ready(&s.subjects) {
				w.machine.OrderSubjects(2048)
			}
		}
		for _, ask := range []struct {
			name string
			do   func()
		}{
			{"last", func() { s.Last("kv.user.7.>") }},
			{"next", func() { s.Next(1, "kv.user.7.>") }},
			{"pending", func() { s.Pending(1, "kv.user.7.>") }},
			{"last of each", func() { s.LastOfEach([]string{"kv.user.7.>", "kv.user.8.>"}, subjects, 2000) }},
			{"consumer of some", create("kv.user.7.>")},
			{"consumer of all", create("kv.>")},
			{"page of some", func() { s.SubjectPage("kv.user.7.>", 0, 100) }},
			{"page of all", func() { s.SubjectPage("kv.>", 500_000, 100_000) }},
		} {
			b.Run(state+"/"+ask.name, func(b *testing.B) {
				for range b.N {
					ask.do()
				}
			})
		}
	}
}
