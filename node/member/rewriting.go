package member

import (
	"errors"
	"fmt"

	"holdfast/node/machine"
	"holdfast/wal"
)

// A leader has what lives in mostly dead entries written again (machine.Rewrite says
// which and when), so that those entries leave the file. It does this in small steps,
// one at a time: the next is read when the one before was applied, so a log that is
// slow is not made slower than by one step, and never more than one in a tick.
const (
	// rewriteStep is what a step carries at least, in bytes: it fits into a frame of
	// the journal, together with a few publishes. Steps grow with what there is to do,
	// so that what is published at any rate is caught up with: a step is one
	// rewriteShare-th of that, and as large as a batch of the door at most.
	rewriteStep    = 96 << 10
	rewriteFarStep = 512 << 10
	rewriteShare   = 64
	// rewriteShortStep is that of a store that has hardly any room.
	rewriteShortStep = 32 << 10
	// rewriteRows bounds the rows of the index that a step looks at and changes.
	rewriteRows = 32 << 10
	// rewriteReads is how many messages are read in one transaction.
	rewriteReads = 64
)

// rewriting is how far a leader is with that.
type rewriting struct {
	round *machine.Rewrite // nil between rounds
	term  uint64           // in which it began
	// ended is how many checkpoints had been made at the end of the last round. The
	// next one begins after another: only a checkpoint lets entries go.
	ended   uint64
	reading bool   // a step is being read
	index   uint64 // of the step that was proposed last
	found   bool   // the round has found everything, its last step may be on its way

	began    uint64 // tick
	messages int
	bytes    int64
}

// rewriteOn begins the next step when there is something to do.
func (l *life) rewriteOn() {
	r := &l.rewriting
	if r.reading {
		return
	}
	if !l.serving || l.departing || l.handover.step != noHandover || r.term != l.leadTerm {
		*r = rewriting{term: l.leadTerm}
		return
	}
	step := l.rewriteStep()
	if step == 0 || l.machine.Applied() < r.index {
		return
	}
	switch {
	case r.round != nil && r.found:
		l.endRewrite()
		return
	case r.round == nil && l.checkpoints.made <= r.ended:
		return
	case r.round == nil:
		if r.round = l.machine.BeginRewrite(l.options.RewriteSlackBytes, l.store.PairBytes()); r.round == nil {
			return
		}
		r.began, r.messages, r.bytes, r.found = l.now, 0, 0, false
	}
	var found []machine.Moved
	found, r.found = l.machine.Sparse(r.round, nil, step, rewriteRows)
	if r.messages += len(found); len(found) > 0 {
		l.readMoves(found)
	}
}

// endRewrite ends a round of which every step was applied.
func (l *life) endRewrite() {
	r := &l.rewriting
	r.round, r.ended = nil, l.checkpoints.made
	if r.messages > 0 {
		stored, live := l.machine.Space()
		l.logger.Info("live messages of mostly dead entries written again", "messages", r.messages, "bytes", r.bytes,
			"took", duration(l.now-r.began), "log_bytes", stored, "live_bytes", live)
	}
}

// rewriteStep is how many bytes the next step may have, 0 if there must be none:
// while a copy is sent nothing leaves the file, and a full disk has room for
// little, which soon makes room for more.
func (l *life) rewriteStep() int {
	spare, _ := l.quorumRoom(l.options.Members)
	spare = min(spare, l.room.spare)
	switch {
	case l.checkpoints.held > 0 || spare < -l.room.reserve/4:
		return 0
	case spare < l.room.reserve:
		return rewriteShortStep
	}
	return rewriteBytes(l.machine.Excess())
}

// rewriteBytes is how much a step carries while there is so much to do.
func rewriteBytes(excess int64) int {
	return int(min(max(excess/rewriteShare, rewriteStep), rewriteFarStep))
}

// readMoves reads messages beside the loop and proposes to move them.
func (l *life) readMoves(found []machine.Moved) {
	r := &l.rewriting
	var move machine.Batch
	var failure error
	r.reading = true
	l.environment.Background(func() {
		move.BeginMove()
		for len(found) > 0 && failure == nil {
			some := found[:min(rewriteReads, len(found))]
			failure = l.store.View(func(reader *wal.Reader) error { return appendMoves(&move, reader, some) })
			found = found[len(some):]
		}
	}, func() {
		r.reading = false
		switch {
		case failure != nil:
			l.storeFailed(fmt.Errorf("read what is to be written again: %w", failure))
		case !l.serving || l.leadTerm != r.term || l.departing || l.handover.step != noHandover:
		default:
			data := move.Bytes()
			if index, err := l.Propose(data); err == nil {
				r.index = index
				r.bytes += int64(len(data))
			}
		}
	})
}

// appendMoves adds messages to a move. One whose entry has left the log meanwhile
// does not live any more.
func appendMoves(move *machine.Batch, reader *wal.Reader, found []machine.Moved) error {
	var raw []byte
	for i := range found {
		m := &found[i]
		var err error
		raw, err = reader.Read(raw[:0], m.Index, m.Offset, m.Size)
		switch {
		case errors.Is(err, wal.ErrNotPresent):
		case err != nil:
			return fmt.Errorf("message at %d+%d: %w", m.Index, m.Offset, err)
		default:
			move.Move(m, raw)
		}
	}
	return nil
}
