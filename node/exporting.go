package node

import (
	"log/slog"
	"sync/atomic"
	"time"

	"holdfast/wal"
)

const (
	chunkBytes     = 512 << 10
	chunksInFlight = 8
	// stagingPatience bounds the silence of the other side of a copy.
	stagingPatience = 10 * time.Second
)

// exporter sends one copy of the store to a member that asked for it. It runs
// in a goroutine of its own and reads the store in short transactions, so that
// neither the loop nor the reuse of pages waits for the receiver.
type exporter struct {
	to      string
	session uint64
	export  *wal.Export
	send    func(name string, kind byte, body []byte) bool
	logger  *slog.Logger
	acked   chan uint64   // number of the newest chunk on the receiver's disk
	cancel  chan struct{} // closed by stop
	gone    chan struct{} // closed at the end of run

	stopped     bool         // loop: cancel is closed
	sent, total atomic.Int64 // bytes, for the status
	// failed is told when the store itself cannot be read.
	failed func(error)
	done   func(*exporter)
}

func (x *exporter) run() {
	defer close(x.gone)
	defer x.done(x)
	defer x.export.Close()
	started := time.Now()
	if !x.sendAll() {
		return
	}
	sent, _ := x.export.Progress()
	x.logger.Info("copy of the store sent", "to", x.to, "bytes", sent, "took", time.Since(started).Round(time.Millisecond))
}

// sendAll sends chunks as fast as they are acknowledged and reports whether
// the last one was.
func (x *exporter) sendAll() bool {
	var number, acked uint64
	ended := false
	for !ended || acked < number {
		if !ended && number-acked < chunksInFlight {
			chunk, last, err := x.export.Next(chunkBytes)
			if err != nil {
				x.failed(err)
				return false
			}
			number++
			sent, total := x.export.Progress()
			x.sent.Store(sent)
			x.total.Store(total)
			message := stagingMessage{Type: stagingChunk, Session: x.session, Number: number, Sent: uint64(sent), Total: uint64(total), Data: chunk}
			if last {
				ended, message.Type = true, stagingEnd
			}
			if !x.send(x.to, frameStaging, message.encode()) {
				x.logger.Warn("copy of the store broken off: the link to the receiver is gone or full", "to", x.to, "sent", sent, "total", total)
				return false
			}
			continue
		}
		select {
		case acked = <-x.acked:
		case <-x.cancel:
			return false
		case <-time.After(stagingPatience):
			x.logger.Warn("copy of the store broken off: the receiver is silent", "to", x.to, "patience", stagingPatience)
			return false
		}
	}
	return true
}

// acknowledge passes on how far the receiver is. It never blocks: only the
// newest number counts.
func (x *exporter) acknowledge(number uint64) {
	select {
	case <-x.acked:
	default:
	}
	select {
	case x.acked <- number:
	default:
	}
}

// stop makes run end soon; gone tells when.
func (x *exporter) stop() {
	if !x.stopped {
		x.stopped = true
		close(x.cancel)
	}
}
