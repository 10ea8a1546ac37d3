package node

import (
	"errors"
	"fmt"
	"time"

	"holdfast/mesh"
	"holdfast/replication"
	"holdfast/wal"
)

// handleStaging takes one step of a copy, as sender or as receiver.
func (l *life) handleStaging(from string, body []byte) error {
	message, err := decodeStaging(body)
	if err != nil {
		return err
	}
	switch message.Type {
	case stagingRequest:
		l.startExport(from, message.Session)
	case stagingAck:
		for x := range l.exporters {
			if x.session == message.Session && x.to == from {
				x.acknowledge(message.Number)
			}
		}
	case stagingCancel:
		for x := range l.exporters {
			if x.session == message.Session && x.to == from {
				x.stop()
			}
		}
	case stagingChunk, stagingEnd, stagingRefusal:
		l.importStep(from, message)
	}
	return nil
}

// startExport begins to send a copy of the store as of a fresh checkpoint, or
// of the newest one while another copy is under way. Only a leader sends, because
// what it has applied is committed and nobody knows more. It need not have
// committed an entry of its own term yet: the voter that asks may be the very one
// whose acknowledgement is missing for that.
func (l *life) startExport(to string, session uint64) {
	status, holding := l.replica.Raft()
	if !holding || status.Role != replication.Leader {
		reason := []byte("it does not lead")
		l.transport.Send(to, frameStaging, stagingMessage{Type: stagingRefusal, Session: session, Data: reason}.encode())
		return
	}
	for x := range l.exporters {
		if x.to == to {
			x.stop() // its receiver asked anew
		}
	}
	begin := func() { l.export(to, session) }
	c := &l.checkpoints
	c.held++
	switch {
	case c.writeID != 0:
		c.waiting = append(c.waiting, begin)
	case c.held > 1 || c.index == l.machine.Applied():
		begin()
	default:
		l.checkpoint()
		c.waiting = append(c.waiting, begin)
	}
}

func (l *life) export(to string, session uint64) {
	logger := l.node.logger
	status, _ := l.replica.Raft()
	end := wal.Extent{Last: max(min(status.Commit, l.store.Last()), l.checkpoints.index)}
	end.Configuration, end.Epoch, end.Foundings = l.replica.LogFacts(end.Last)
	export, err := l.store.Export(end)
	if err != nil {
		l.checkpoints.held--
		l.storeFailed(fmt.Errorf("read the store for a copy: %w", err))
		return
	}
	mail := l.node.mail
	x := &exporter{
		to: to, session: session, export: export, send: l.transport.Send, logger: logger,
		acked: make(chan uint64, 1), cancel: make(chan struct{}), gone: make(chan struct{}),
		failed: func(err error) { mail.call(func() { l.storeFailed(err) }) },
		done: func(x *exporter) {
			mail.call(func() {
				if l.exporters[x] {
					delete(l.exporters, x)
					l.checkpoints.held--
				}
			})
		},
	}
	l.exporters[x] = true
	logger.Info("sending a copy of the store", "to", to, "checkpoint", l.checkpoints.index)
	go x.run()
}

// startImport asks a member for a copy of its store.
func (l *life) startImport(from string) {
	l.stopImport()
	stage, err := l.node.dir.NewStage()
	if err != nil {
		l.replica.StageFailed(err.Error())
		return
	}
	mail := l.node.mail
	l.importer = &importer{
		from: from, session: l.node.randomSeed(), stage: stage, send: l.transport.Send, logger: l.node.logger,
		ended: func(m *importer, manifest *wal.Manifest, err error) {
			mail.call(func() { l.importEnded(m, manifest, err) })
		},
	}
	l.importer.start()
	l.node.logger.Info("asking for a copy of the store", "from", from)
	l.transport.Send(from, frameStaging, stagingMessage{Type: stagingRequest, Session: l.importer.session}.encode())
}

func (l *life) importStep(from string, message stagingMessage) {
	m := l.importer
	if m == nil || m.session != message.Session || m.from != from {
		if message.Type == stagingChunk {
			l.transport.Send(from, frameStaging, stagingMessage{Type: stagingCancel, Session: message.Session}.encode())
		}
		return
	}
	if message.Type == stagingRefusal {
		l.failImport(fmt.Errorf("%s refused: %s", from, message.Data))
		return
	}
	before := m.progress.percent() / 10
	if err := m.take(message); err != nil {
		l.failImport(err)
		return
	}
	l.replica.StageProgress(m.progress.done, m.progress.total)
	if m.progress.percent()/10 != before {
		l.node.notify.restoring(m.progress.percent())
		l.node.logger.Info("receiving a copy of the store", "from", from, "bytes", m.progress.done, "total", m.progress.total, "percent", m.progress.percent())
	}
}

// importEnded takes the outcome of a copy from the goroutine that wrote it.
func (l *life) importEnded(m *importer, manifest *wal.Manifest, err error) {
	if m != l.importer {
		return
	}
	if err != nil {
		l.failImport(err)
		return
	}
	l.importer = nil
	m.stop()
	l.staged, l.stagedLast = m.stage, manifest.Last
	l.replica.Staged(mesh.Copy{
		From: m.from, Lineage: manifest.Lineage, Epoch: manifest.Epoch, Foundings: manifest.Foundings,
		LastIndex: manifest.Last, LastTerm: manifest.Marks[len(manifest.Marks)-1].Term,
		OwnLogIsPrefix: l.isPrefix(m.stage),
	})
}

// isPrefix tells whether this store's log is a prefix of the copy's: whether the
// copy has the same entry at the end of ours (Log Matching).
func (l *life) isPrefix(stage *wal.Stage) bool {
	last := l.store.Last()
	if last == 0 {
		return true
	}
	own, ok := l.store.Mark(last)
	theirs, found := stage.Mark(last)
	return ok && found && last <= stage.Last() && own.Term == theirs.Term && own.Lineage == theirs.Lineage
}

// checkImport gives a copy up when its sender is silent.
func (l *life) checkImport(now time.Time) {
	if m := l.importer; m != nil && now.Sub(m.lastNews) > stagingPatience {
		l.failImport(fmt.Errorf("%s is silent for %s", m.from, stagingPatience))
	}
}

// unlinked gives up what went over a link that is gone.
func (l *life) unlinked(name string) {
	if l.importer != nil && l.importer.from == name {
		l.failImport(errors.New("the link broke"))
	}
	for x := range l.exporters {
		if x.to == name {
			x.stop()
		}
	}
}

func (l *life) failImport(cause error) {
	l.node.logger.Warn("copy of the store not received", "from", l.importer.from, "bytes", l.importer.progress.done, "cause", cause)
	l.stopImport()
	l.replica.StageFailed(cause.Error())
}

// stopImport ends a copy that is being received and removes what came of it.
func (l *life) stopImport() {
	m := l.importer
	if m == nil {
		return
	}
	l.importer = nil
	m.stop()
	m.stage.Discard()
}

// dropStage removes a copy, whole or not.
func (l *life) dropStage(reason string) {
	if l.importer == nil && l.staged == nil {
		return
	}
	l.node.logger.Info("copy of the store dropped", "reason", reason)
	l.stopImport()
	if l.staged != nil {
		l.staged.Discard()
		l.staged = nil
	}
}
