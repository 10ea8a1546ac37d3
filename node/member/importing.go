package member

import (
	"fmt"

	"holdfast/wal"
)

// importer receives a copy of another member's store into a staged file. Chunks
// are written beside the loop; the store in use stays as it is.
type importer struct {
	from    string
	session uint64
	stage   *wal.Stage
	started uint64 // tick
	news    uint64 // tick of the newest chunk, or of the beginning

	received uint64 // number of the newest chunk that came
	progress stagingProgress
	waiting  []stagingMessage // chunks to be written
	writing  bool             // some are being written
	// interrupted: the link to the sender is gone. The membership core decides how
	// long to wait for it.
	interrupted bool
}

// stagingProgress is how far a copy is, in bytes.
type stagingProgress struct{ done, total uint64 }

func (p stagingProgress) percent() uint64 {
	if p.total == 0 {
		return 0
	}
	return min(100, p.done*100/p.total)
}

// take queues a chunk. Chunks come in order over one connection; a gap means
// that the connection was another one meanwhile. One that comes again is the
// same one.
func (m *importer) take(message stagingMessage) error {
	if message.Number <= m.received {
		return nil
	}
	if message.Number != m.received+1 {
		return fmt.Errorf("chunk %d came after chunk %d", message.Number, m.received)
	}
	m.received = message.Number
	m.progress = stagingProgress{message.Sent, message.Total}
	m.waiting = append(m.waiting, message)
	return nil
}

// write puts chunks into the stage; the manifest is that of a whole copy.
func (m *importer) write(chunks []stagingMessage) (manifest *wal.Manifest, err error) {
	for _, chunk := range chunks {
		if err := m.stage.Write(chunk.Data); err != nil {
			return nil, fmt.Errorf("write the copy: %w", err)
		}
		if chunk.Type == stagingEnd {
			whole, err := m.stage.Finish()
			if err != nil {
				return nil, fmt.Errorf("finish the copy: %w", err)
			}
			return &whole, nil
		}
	}
	return nil, nil
}

// writeChunks lets everything that came be written, in the order in which it came.
func (l *life) writeChunks(m *importer) {
	if m.writing || len(m.waiting) == 0 {
		return
	}
	chunks := m.waiting
	m.waiting, m.writing = nil, true
	var manifest *wal.Manifest
	var failure error
	l.environment.Background(func() {
		manifest, failure = m.write(chunks)
	}, func() {
		m.writing = false
		switch {
		case m == l.abandoned:
			l.abandoned = nil
			m.stage.Discard() // the next stage takes the place of what remains
		case failure != nil:
			l.failImport(failure)
		default:
			number := chunks[len(chunks)-1].Number
			l.environment.Send(m.from, frameStaging, stagingMessage{Type: stagingAck, Session: m.session, Number: number}.encode())
			if manifest != nil {
				l.imported(m, manifest)
				return
			}
			l.writeChunks(m)
		}
	})
}
