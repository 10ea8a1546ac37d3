package member

import (
	"fmt"
	"slices"

	"holdfast/wal"
)

const (
	chunksInFlight = 8
	// copyPatience bounds the silence of the other side of a copy, in ticks, and how
	// long a copy whose link broke is kept for its receiver.
	copyPatience = 500 // 10 s
	// resumeTicks is how long a receiver that is linked again may take to ask for the
	// rest of its copy. One that is whole does not ask.
	resumeTicks = 50 // 1 s
)

// exporter sends one copy of the store to a member that asked for it. Chunks are
// read beside the loop in short transactions, so that neither the loop nor the
// reuse of pages waits for the receiver.
type exporter struct {
	to      string
	session uint64
	export  *wal.Export
	end     uint64 // last index of the copy
	started uint64 // tick
	news    uint64 // tick of the last acknowledgement, or of the beginning

	number, acked uint64 // newest chunk that was read, that is on the receiver's disk
	sent, total   int64  // bytes
	// flight are the chunks after acked, up to number; those up to given were handed
	// to the link.
	flight  []stagingMessage
	given   uint64
	last    bool // the last chunk was handed to the link
	reading bool // a chunk is being read
	stopped bool // the receiver does not want it any more
	left    bool // the store is not needed any more
	// interrupted: the link broke, and the receiver has not asked for the rest yet. It
	// may until the tick deadline.
	interrupted bool
	deadline    uint64
}

// export begins to send the store as of its newest checkpoint.
func (l *life) export(to string, session uint64) {
	if l.exporterOf(to, session) != nil { // asked for twice, over two links, while a checkpoint was made
		l.checkpoints.held--
		return
	}
	status, _ := l.replica.Raft()
	end := wal.Extent{Last: max(min(status.Commit, l.store.Last()), l.checkpoints.index)}
	end.Configuration, end.Epoch, end.Foundings = l.replica.LogFacts(end.Last)
	export, err := l.store.Export(end)
	if err != nil {
		l.checkpoints.held--
		l.storeFailed(fmt.Errorf("read the store for a copy: %w", err))
		return
	}
	x := &exporter{to: to, session: session, export: export, end: end.Last, started: l.now, news: l.now}
	l.exporters = append(l.exporters, x)
	l.logger.Info("sending a copy of the store", "to", to, "checkpoint", l.checkpoints.index)
	l.continueExport(x)
}

// continueExport reads the next chunk, unless enough of them are on their way.
func (l *life) continueExport(x *exporter) {
	x.give(l.environment)
	switch {
	case x.reading:
	case x.stopped:
		l.endExport(x)
	case x.last && x.acked == x.number:
		l.endExport(x)
	case !x.whole() && x.number-x.acked < chunksInFlight && l.pace.allows(l.now):
		x.reading = true
		l.readChunk(x)
	}
}

func (l *life) readChunk(x *exporter) {
	message := stagingMessage{Type: stagingChunk, Session: x.session, Number: x.number + 1}
	var failure error
	l.environment.Background(func() {
		chunk, last, err := x.export.Next(l.options.CopyChunkBytes)
		if err != nil {
			failure = err
			return
		}
		if last {
			message.Type = stagingEnd
		}
		sent, total := x.export.Progress()
		message.Sent, message.Total, message.Data = uint64(sent), uint64(total), chunk
	}, func() {
		x.reading = false
		if failure != nil {
			l.endExport(x)
			l.storeFailed(fmt.Errorf("read the store for a copy: %w", failure))
			return
		}
		x.number = message.Number
		x.sent, x.total = int64(message.Sent), int64(message.Total)
		x.flight = append(x.flight, message)
		l.pace.read(len(message.Data))
		l.continueExport(x)
	})
}

// whole reports whether the last chunk was read.
func (x *exporter) whole() bool {
	n := len(x.flight)
	return x.last || n > 0 && x.flight[n-1].Type == stagingEnd
}

// give hands chunks to the link, as many as it takes. What it does not take is given
// with a later tick, or when the receiver has asked for the rest.
func (x *exporter) give(environment Environment) {
	if x.stopped || x.interrupted {
		return
	}
	for i := range x.flight {
		m := &x.flight[i]
		if m.Number <= x.given {
			continue
		}
		if !environment.Send(x.to, frameStaging, m.header(), m.Data) {
			return
		}
		x.given, x.last = m.Number, x.last || m.Type == stagingEnd
	}
}

// acknowledged takes note of how far the receiver is.
func (l *life) acknowledged(x *exporter, number uint64) {
	x.news = l.now
	x.acked = max(x.acked, min(number, x.number))
	x.flight = slices.DeleteFunc(x.flight, func(m stagingMessage) bool { return m.Number <= x.acked })
	l.continueExport(x)
}

// interruptExports keeps the copies that go to a member whose link broke.
func (l *life) interruptExports(to string) {
	for _, x := range l.exporters {
		if x.to == to && !x.interrupted {
			x.interrupted, x.deadline = true, l.now+copyPatience
			if x.last { // if a piece is lost it is among those in flight
				l.leave(x)
			}
		}
	}
}

// expectResume gives a receiver that is linked again a moment to ask for the rest.
func (l *life) expectResume(to string) {
	for _, x := range l.exporters {
		if x.to == to && x.interrupted {
			x.deadline = min(x.deadline, l.now+resumeTicks)
		}
	}
}

// resumeExport goes on behind the chunks that the receiver has.
func (l *life) resumeExport(x *exporter, received uint64) {
	x.interrupted = false
	received = min(received, x.number)
	x.given = received
	l.logger.Info("going on with a copy of the store", "to", x.to, "sent", x.sent, "total", x.total, "again", x.number-received)
	l.acknowledged(x, received)
}

// stopExport ends a copy as soon as no chunk is being read.
func (l *life) stopExport(x *exporter) {
	x.stopped = true
	l.continueExport(x)
}

// endExport forgets a copy.
func (l *life) endExport(x *exporter) {
	l.leave(x)
	l.exporters = slices.DeleteFunc(l.exporters, func(y *exporter) bool { return y == x })
}

// leave lets go of the store, of which a copy that is sent needs no more: checkpoints
// may be made again. A copy of which every piece has left counts as sent also without
// its last acknowledgement: the receiver goes over to it at once, and its link ends
// with its life.
func (l *life) leave(x *exporter) {
	if x.left {
		return
	}
	x.left = true
	if x.last {
		status, _ := l.replica.Raft()
		l.holds.lead(status.Term)
		l.logger.Info("copy of the store sent", "to", x.to, "bytes", x.sent, "last", x.end, "took", duration(l.now-x.started))
		l.holds.sent(x.to, x.end, l.now, l.now-x.started)
	}
	l.checkpoints.held--
	x.export.Close()
}
