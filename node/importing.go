package node

import (
	"fmt"
	"log/slog"
	"time"

	"holdfast/wal"
)

// importer receives a copy of another member's store into a staged file. Chunks
// are written by a goroutine of its own; the store in use stays as it is.
type importer struct {
	from    string
	session uint64
	stage   *wal.Stage
	send    func(name string, kind byte, body []byte) bool
	logger  *slog.Logger
	chunks  queue[stagingMessage]
	// ended is told once, from the importer's goroutine: the manifest of a whole
	// copy, or why there is none.
	ended func(*importer, *wal.Manifest, error)

	started  time.Time
	received uint64 // loop: number of the newest chunk that came
	progress stagingProgress
	lastNews time.Time // loop: when the sender was last heard of
	gone     chan struct{}
}

// stagingProgress is how far a copy is, in bytes.
type stagingProgress struct{ done, total uint64 }

func (p stagingProgress) percent() uint64 {
	if p.total == 0 {
		return 0
	}
	return min(100, p.done*100/p.total)
}

func (m *importer) start() {
	m.chunks.init()
	m.started, m.lastNews = time.Now(), time.Now()
	m.gone = make(chan struct{})
	go m.run()
}

// take hands a chunk to the goroutine that writes it. Chunks come in order over
// one connection; a gap means that the connection was another one meanwhile.
func (m *importer) take(message stagingMessage) error {
	if message.Number != m.received+1 {
		return fmt.Errorf("chunk %d came after chunk %d", message.Number, m.received)
	}
	m.received = message.Number
	m.lastNews = time.Now()
	m.progress = stagingProgress{message.Sent, message.Total}
	m.chunks.put(message)
	return nil
}

func (m *importer) run() {
	defer close(m.gone)
	var batch []stagingMessage
	for {
		var ok bool
		if batch, ok = m.chunks.takeAll(batch[:0]); !ok {
			return
		}
		for _, chunk := range batch {
			if err := m.stage.Write(chunk.Data); err != nil {
				m.ended(m, nil, fmt.Errorf("write the copy: %w", err))
				return
			}
			if chunk.Type == stagingEnd {
				manifest, err := m.stage.Finish()
				if err != nil {
					m.ended(m, nil, fmt.Errorf("finish the copy: %w", err))
					return
				}
				m.acknowledge(chunk.Number)
				m.logger.Info("copy of the store received", "from", m.from, "bytes", chunk.Sent, "last", manifest.Last, "took", time.Since(m.started).Round(time.Millisecond))
				m.ended(m, &manifest, nil)
				return
			}
			m.acknowledge(chunk.Number)
		}
	}
}

func (m *importer) acknowledge(number uint64) {
	m.send(m.from, frameStaging, stagingMessage{Type: stagingAck, Session: m.session, Number: number}.encode())
}

// stop ends the writing goroutine and waits for it.
func (m *importer) stop() {
	m.chunks.close()
	<-m.gone
}
