package member

import (
	"fmt"
	"slices"

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
		l.requested(from, message)
	case stagingAck:
		if x := l.exporterOf(from, message.Session); x != nil {
			l.acknowledged(x, message.Number)
		}
	case stagingCancel:
		if x := l.exporterOf(from, message.Session); x != nil {
			l.stopExport(x)
		}
	case stagingChunk, stagingEnd, stagingRefusal:
		l.importStep(from, message)
	}
	return nil
}

func (l *life) exporterOf(to string, session uint64) *exporter {
	for _, x := range l.exporters {
		if x.to == to && x.session == session {
			return x
		}
	}
	return nil
}

// requested begins a copy, or goes on with one whose link broke.
func (l *life) requested(from string, message stagingMessage) {
	if x := l.exporterOf(from, message.Session); x != nil && !x.stopped {
		l.resumeExport(x, message.Number)
		return
	}
	if message.Number > 0 {
		reason := []byte("it does not have that copy any more")
		l.environment.Send(from, frameStaging, stagingMessage{Type: stagingRefusal, Session: message.Session, Data: reason}.encode())
		return
	}
	l.startExport(from, message.Session)
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
		l.environment.Send(to, frameStaging, stagingMessage{Type: stagingRefusal, Session: session, Data: reason}.encode())
		return
	}
	l.stopExports(to) // its receiver asks anew
	c := &l.checkpoints
	c.held++
	if !c.busy() && c.held == 1 && c.index != l.machine.Applied() {
		l.checkpoint()
	}
	c.waiting = append(c.waiting, waitingCopy{to: to, since: l.now, begin: func() { l.export(to, session) }})
	l.beginCopies()
}

// stopExports ends the copies that go to a member.
func (l *life) stopExports(to string) {
	for _, x := range append([]*exporter(nil), l.exporters...) {
		if x.to == to {
			l.stopExport(x)
		}
	}
	c := &l.checkpoints
	before := len(c.waiting)
	c.waiting = slices.DeleteFunc(c.waiting, func(w waitingCopy) bool { return w.to == to })
	c.held -= before - len(c.waiting)
}

// startImport asks a member for a copy of its store.
func (l *life) startImport(from string) {
	l.stopImport()
	if l.abandoned != nil {
		l.replica.StageFailed("the copy before is still being given up")
		return
	}
	stage, err := l.options.Dir.NewStage()
	if err != nil {
		l.replica.StageFailed(err.Error())
		return
	}
	l.importer = &importer{from: from, session: l.options.Random(), stage: stage, started: l.now, news: l.now}
	l.logger.Info("asking for a copy of the store", "from", from)
	l.environment.Send(from, frameStaging, stagingMessage{Type: stagingRequest, Session: l.importer.session}.encode())
}

// resumeImport asks for the rest of the copy whose link broke.
func (l *life) resumeImport(from string) {
	m := l.importer
	if m == nil || m.from != from {
		l.stopImport()
		l.replica.StageFailed("what came of the copy is not there any more")
		return
	}
	m.interrupted, m.news = false, l.now
	l.logger.Info("asking for the rest of the copy of the store", "from", from, "bytes", m.progress.done, "total", m.progress.total)
	l.environment.Send(from, frameStaging, stagingMessage{Type: stagingRequest, Session: m.session, Number: m.received}.encode())
}

func (l *life) importStep(from string, message stagingMessage) {
	m := l.importer
	if m == nil || m.session != message.Session || m.from != from {
		if message.Type == stagingChunk {
			l.environment.Send(from, frameStaging, stagingMessage{Type: stagingCancel, Session: message.Session}.encode())
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
	m.news = l.now
	l.replica.StageProgress(m.progress.done, m.progress.total)
	if m.progress.percent()/10 != before {
		l.options.Restoring(m.progress.percent())
		l.logger.Info("receiving a copy of the store", "from", from, "bytes", m.progress.done, "total", m.progress.total, "percent", m.progress.percent())
	}
	l.writeChunks(m)
}

// imported takes over a copy that is whole and durable.
func (l *life) imported(m *importer, manifest *wal.Manifest) {
	l.logger.Info("copy of the store received", "from", m.from, "bytes", m.progress.done, "last", manifest.Last, "took", duration(l.now-m.started))
	l.importer = nil
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

// checkCopies gives copies up whose other side is silent.
func (l *life) checkCopies() {
	if m := l.importer; m != nil && !m.interrupted && l.now-m.news > copyPatience {
		l.failImport(fmt.Errorf("%s is silent for %s", m.from, duration(copyPatience)))
	}
	for _, x := range l.exporters {
		switch {
		case x.stopped:
		case x.interrupted && l.now >= x.deadline, !x.interrupted && l.now-x.news > copyPatience:
			if !x.last { // otherwise the receiver has most likely all of it
				l.logger.Warn("copy of the store broken off: the receiver is silent", "to", x.to, "sent", x.sent, "total", x.total)
			}
			l.stopExport(x)
			return // the list has changed; the others are looked at in the next tick
		}
	}
}

// interruptCopies keeps what went over a link that is gone: the copy goes on over
// the next link between the same two lives.
func (l *life) interruptCopies(name string) {
	if l.importer != nil && l.importer.from == name {
		l.importer.interrupted = true
	}
	l.interruptExports(name)
}

func (l *life) failImport(cause error) {
	l.logger.Warn("copy of the store not received", "from", l.importer.from, "bytes", l.importer.progress.done, "cause", cause)
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
	if m.writing {
		l.abandoned = m
		return
	}
	m.stage.Discard() // the next stage takes the place of what remains
}

// dropStage removes a copy, whole or not.
func (l *life) dropStage(reason string) {
	if l.importer == nil && l.staged == nil {
		return
	}
	l.logger.Info("copy of the store dropped", "reason", reason)
	l.stopImport()
	if l.staged != nil {
		l.staged.Discard()
		l.staged = nil
	}
}

// closeCopies removes what came of copies, once no work is under way.
func (l *life) closeCopies() {
	for _, m := range []*importer{l.importer, l.abandoned} {
		if m != nil {
			m.stage.Discard()
		}
	}
	l.importer, l.abandoned = nil, nil
	for _, x := range l.exporters {
		x.export.Close()
	}
	l.exporters = nil
}
