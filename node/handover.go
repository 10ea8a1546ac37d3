package node

import (
	"time"

	"holdfast/replication"
)

// handoverPause is how long a change of the subscriptions takes at most until
// every node's NATS server knows it and what was picked before has arrived.
const handoverPause = 100 * time.Millisecond

// handover is a planned change of leader. The order of its steps is what keeps
// every message from falling between two chairs; package bus tells why.
type handover struct {
	step  handoverStep
	since time.Time // beginning of the step
}

type handoverStep uint8

const (
	noHandover   handoverStep = iota
	transferring              // another voter is asked to stand for election; messages are kept
	overlapping               // it leads and subscribes; messages are kept
	yielding                  // the NATS servers pick the new leader; what comes here is forwarded
)

func (h *handover) enter(step handoverStep) { h.step, h.since = step, time.Now() }

func (h *handover) paused() bool { return time.Since(h.since) >= handoverPause }

// beginHandover asks the best prepared voter to lead. It returns false when this
// node does not lead or is alone.
func (l *life) beginHandover() bool {
	if l.ended != living || !l.serving {
		return false
	}
	l.door.Handover()
	if err := l.replica.Transfer(); err != nil {
		l.node.logger.Info("no member to hand the leadership to", "cause", err)
		l.door.Lead()
		return false
	}
	l.handover.enter(transferring)
	return true
}

// continueHandover looks whether the next step can be taken, and returns false
// when there is none.
func (l *life) continueHandover() bool {
	if l.ended != living {
		return false
	}
	status, holding := l.replica.Raft()
	another := holding && status.Role != replication.Leader && status.Leader.Name != ""
	switch l.handover.step {
	case noHandover:
		return false
	case transferring:
		if another {
			l.node.logger.Info("leadership handed over", "to", status.Leader.Name, "term", status.Term)
			l.handover.enter(overlapping)
		}
	case overlapping:
		if l.handover.paused() && another {
			l.door.Yield()
			l.handover.enter(yielding)
		}
	case yielding:
		if l.handover.paused() && another {
			l.endHandover()
			return false
		}
	}
	return true
}

// endHandover lets the door go, or lead again when nobody took over.
func (l *life) endHandover() {
	if l.handover.step == noHandover {
		return
	}
	l.handover.step = noHandover
	if status, holding := l.replica.Raft(); holding && status.Role == replication.Leader && status.Term == l.leadTerm {
		l.door.Lead()
	}
	l.followRole()
}

// finish ends the life of a node that stops: with a checkpoint, so that the next
// start has nothing to apply again.
func (l *life) finish() {
	l.endHandover()
	c := &l.checkpoints
	if c.held == 0 && c.writeID == 0 && c.entries > 0 {
		l.checkpoint()
		l.settle()
	}
	l.end(stop, nil)
}
