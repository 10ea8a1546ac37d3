package member

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// pauses are the longest times that one store kept its loop, and its writer, busy with
// one thing.
type pauses struct {
	apply   time.Duration // an entry of at most 32 KiB, with what it ages out
	capture time.Duration // a step of a checkpoint, on the loop
	commit  time.Duration // the write of a checkpoint, beside it
	drop    time.Duration // the write of a portion of what it says to be dead
	move    time.Duration // a step of a rewrite
	values  int           // of one checkpoint
	bytes   int           // of one checkpoint
	steps   int           // of one checkpoint
}

// BenchmarkPauses fills streams of several sizes, goes on for a while in the same way,
// and tells the longest pauses of that while.
func BenchmarkPauses(b *testing.B) {
	payload := make([]byte, 128)
	loads := []struct {
		name   string
		change func(c *server.StreamConfig, messages int)
		key    func(f *footprint, i, messages int) int
	}{
		{"appended", func(*server.StreamConfig, int) {}, nil},
		{"aged", func(c *server.StreamConfig, messages int) { c.MaxMsgs = int64(messages) }, nil},
		{"overwritten", func(c *server.StreamConfig, _ int) { c.MaxMsgsPer = 1 }, func(f *footprint, i, messages int) int {
			if i < messages {
				return i
			}
			return f.rand.IntN(messages)
		}},
	}
	for _, load := range loads {
		for _, messages := range []int{250_000, 1_000_000, 4_000_000} {
			b.Run(fmt.Sprintf("%s/%d", load.name, messages), func(b *testing.B) {
				for range b.N {
					f := newFootprint(b, 12<<20)
					s := f.stream("S", func(c *server.StreamConfig) { load.change(c, messages) })
					for i := 0; i < messages+600_000; {
						if i < messages+100_000 {
							f.pauses = pauses{}
						}
						for ; f.batch.Len() < 32<<10; i++ {
							subject := []byte("S.a")
							if load.key != nil {
								subject = fmt.Appendf(nil, "S.%d", load.key(f, i, messages))
							}
							f.batch.Publish(s, subject, nil, payload)
						}
						f.apply()
					}
					b.ReportMetric(float64(f.pauses.apply.Microseconds())/1000, "apply-ms")
					b.ReportMetric(float64(f.pauses.capture.Microseconds())/1000, "capture-ms")
					b.ReportMetric(float64(f.pauses.commit.Microseconds())/1000, "commit-ms")
					b.ReportMetric(float64(f.pauses.drop.Microseconds())/1000, "drop-ms")
					b.ReportMetric(float64(f.pauses.move.Microseconds())/1000, "move-ms")
					b.ReportMetric(float64(f.pauses.values), "values")
					b.ReportMetric(float64(f.pauses.bytes), "bytes")
					b.ReportMetric(float64(f.pauses.steps), "steps")
					b.ReportMetric(0, "ns/op")
				}
			})
		}
	}
}
