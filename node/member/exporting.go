package member

import (
	"fmt"

	"holdfast/wal"
)

const (
	chunksInFlight = 8
	// copyPatience bounds the silence of the other side of a copy, in ticks.
	copyPatience = 500 // 10 s
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
	last          bool   // the last chunk was sent
	reading       bool   // a chunk is being read
	stopped       bool   // the receiver does not want it any more
}

// export begins to send the store as of its newest checkpoint.
func (l *life) export(to string, session uint64) {
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
	switch {
	case x.reading:
	case x.stopped:
		l.endExport(x)
	case x.last && x.acked == x.number:
		l.endExport(x)
	case !x.last && x.number-x.acked < chunksInFlight:
		x.reading = true
		l.readChunk(x)
	}
}

func (l *life) readChunk(x *exporter) {
	message := stagingMessage{Type: stagingChunk, Session: x.session, Number: x.number + 1}
	var body []byte
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
		body = message.encode()
	}, func() {
		x.reading = false
		if failure != nil {
			l.endExport(x)
			l.storeFailed(fmt.Errorf("read the store for a copy: %w", failure))
			return
		}
		x.number = message.Number
		x.sent, x.total = int64(message.Sent), int64(message.Total)
		switch {
		case x.stopped:
		case l.environment.Send(x.to, frameStaging, body):
			x.last = message.Type == stagingEnd
		default:
			l.logger.Warn("copy of the store broken off: the link to the receiver is gone or full", "to", x.to, "sent", x.sent, "total", x.total)
			x.stopped = true
		}
		l.continueExport(x)
	})
}

// acknowledged takes note of how far the receiver is.
func (l *life) acknowledged(x *exporter, number uint64) {
	x.news = l.now
	x.acked = max(x.acked, min(number, x.number))
	l.continueExport(x)
}

// stopExport ends a copy as soon as no chunk is being read.
func (l *life) stopExport(x *exporter) {
	x.stopped = true
	l.continueExport(x)
}

// endExport forgets a copy; checkpoints may be made again. A copy of which every
// piece has left counts as sent also without its last acknowledgement: the
// receiver goes over to it at once, and its link ends with its life.
func (l *life) endExport(x *exporter) {
	if x.last {
		status, _ := l.replica.Raft()
		l.holds.lead(status.Term)
		l.logger.Info("copy of the store sent", "to", x.to, "bytes", x.sent, "last", x.end, "took", duration(l.now-x.started))
		l.holds.sent(x.to, x.end, l.now, l.now-x.started)
	}
	for i := range l.exporters {
		if l.exporters[i] == x {
			l.exporters = append(l.exporters[:i:i], l.exporters[i+1:]...)
			l.checkpoints.held--
			x.export.Close()
			return
		}
	}
}
