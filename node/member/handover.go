package member

import "holdfast/replication"

// handoverPause is how long a change of the subscriptions takes at most until
// every node's NATS server knows it and what was picked before has arrived, in
// ticks.
const handoverPause = 10 // 200 ms

// handover is a planned change of leader. The order of its steps is what keeps
// every message from falling between two chairs; package bus tells why.
type handover struct {
	step  handoverStep
	since uint64 // tick at which the step began
}

type handoverStep uint8

const (
	noHandover   handoverStep = iota
	transferring              // another voter is asked to stand for election; messages are kept
	overlapping               // it leads and subscribes; messages are kept
	yielding                  // the NATS servers pick the new leader; what comes here is forwarded
	departed                  // the subscriptions are ended; what still comes is forwarded
)

func (l *life) enterHandover(step handoverStep) { l.handover = handover{step, l.now} }

func (l *life) handoverPaused() bool { return l.now-l.handover.since >= handoverPause }

// BeginHandover begins a planned stop: direct reads are left to the others, and
// the best prepared voter is asked to lead. It returns false when this member
// does not lead or is alone.
func (m *Member) BeginHandover() bool {
	l := m.life
	if l.ended != living {
		return false
	}
	l.departing = true
	l.door.LeaveDirect()
	if !l.serving {
		return false
	}
	if l.handover.step != noHandover {
		return true // one is under way, for want of room
	}
	l.door.Handover()
	if err := l.replica.Transfer(func(string) bool { return true }); err != nil {
		l.logger.Info("no member to hand the leadership to", "cause", err)
		l.door.Lead()
		return false
	}
	l.enterHandover(transferring)
	return true
}

// ContinueHandover looks whether the next step can be taken, and returns false
// when there is none. It is to be called with every tick.
func (m *Member) ContinueHandover() bool {
	return m.life.ended == living && m.life.continueHandover()
}

func (l *life) continueHandover() bool {
	status, holding := l.replica.Raft()
	another := holding && status.Role != replication.Leader && status.Leader.Name != ""
	switch l.handover.step {
	case noHandover:
		return false
	case transferring:
		if another {
			l.logger.Info("leadership handed over", "to", status.Leader.Name, "term", status.Term)
			l.enterHandover(overlapping)
		}
	case overlapping:
		if l.handoverPaused() && another {
			l.door.Yield()
			l.enterHandover(yielding)
		}
	case yielding:
		if l.handoverPaused() && another {
			l.door.Depart()
			l.enterHandover(departed)
			return false
		}
	case departed:
		return false
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

// Finish ends a member in order: with a checkpoint, so that the next start has
// nothing to apply again.
func (m *Member) Finish() {
	l := m.life
	if l.ended != living {
		return
	}
	l.endHandover()
	c := &l.checkpoints
	if c.held == 0 && c.writeID == 0 && c.entries > 0 {
		l.checkpoint()
		l.settle()
	}
	if l.serving {
		l.serving = false
		l.door.Shutdown() // nobody took over
	}
	l.end(stop, nil)
}
