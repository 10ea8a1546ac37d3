package machine

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// BenchmarkRollup rolls up streams of one and four million messages, and tells how
// long the longest entry took until nothing was left to do, and how many entries it
// took: a subject that has all of the messages, all subjects, and a subject with ten
// messages among the others.
func BenchmarkRollup(b *testing.B) {
	for _, messages := range []int{1_000_000, 4_000_000} {
		for _, test := range []struct{ name, subject, rollup string }{
			{"sub", "bench.much", "sub"},
			{"all", "bench.much", "all"},
			{"sub of few", "bench.few", "sub"},
		} {
			b.Run(fmt.Sprintf("%s of %d", test.name, messages), func(b *testing.B) {
				longest, entries := time.Duration(0), 0
				for range b.N {
					b.StopTimer()
					w := newWorld(b)
					w.machine = New(Options{})
					s := w.stream("BENCH", func(c *server.StreamConfig) { c.AllowRollup = true })
					w.fill(s, messages)
					b.StartTimer()
					w.batch.Publish(s.Incarnation(), []byte(test.subject), header(server.JSMsgRollup, test.rollup), nil)
					most, steps := w.longest()
					longest, entries = max(longest, most), entries+steps
				}
				b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest")
				b.ReportMetric(float64(entries)/float64(b.N), "entries/op")
			})
		}
	}
}

// fill publishes so many messages, ten of them to a subject of their own.
func (w *world) fill(s *Stream, messages int) {
	for i := range messages {
		subject := "bench.much"
		if i%(messages/10) == 0 {
			subject = "bench.few"
		}
		w.batch.Publish(s.Incarnation(), []byte(subject), nil, make([]byte, 16))
		if i%1000 == 999 {
			w.apply()
			w.entries = make(map[uint64][]byte)
		}
	}
}

// longest applies the batch and then ticks until nothing is left to do, and returns
// how much processor time the longest entry took and how many there were.
func (w *world) longest() (longest time.Duration, entries int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		start := processorTime()
		w.apply()
		longest, entries = max(longest, processorTime()-start), entries+1
		if due := w.machine.NextExpiry(); due == 0 || due > w.now {
			return longest, entries
		}
	}
}

// processorTime is what the thread has used, which others on the machine do not change.
func processorTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}
