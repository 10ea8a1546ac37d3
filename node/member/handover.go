package member

import (
	"holdfast/node/jetstream"
	"holdfast/replication"
)

// handoverPause is how long a change of the subscriptions takes at most until
// every node's NATS server knows it and what was picked before has arrived, in
// ticks.
const handoverPause = 10 // 200 ms

// stepDownLimit bounds a change of leader that somebody asked for, in ticks: what
// is kept for the new leader must not wait for ever.
const stepDownLimit = 150 // 3 s

// handover is a planned change of leader. The order of its steps is what keeps
// every message from falling between two chairs; package bus tells why.
type handover struct {
	step  handoverStep
	since uint64 // tick at which the step began

	// wanted: somebody asked this member to step down, for the benefit of to or,
	// when that is empty, of any other member.
	wanted bool
	to     string
	// stays: the member goes on after the change, which drives itself; a member
	// that stops is driven by its owner.
	stays bool
	begun uint64 // tick
}

type handoverStep uint8

const (
	noHandover   handoverStep = iota
	transferring              // another voter is asked to stand for election; messages are kept
	overlapping               // it leads and subscribes; messages are kept
	yielding                  // the NATS servers pick the new leader; what comes here is forwarded
	departed                  // the subscriptions are ended; what still comes is forwarded
)

func (l *life) enterHandover(step handoverStep) { l.handover.step, l.handover.since = step, l.now }

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
	l.doors.each((*jetstream.Door).LeaveDirect)
	if !l.serving {
		return false
	}
	if l.handover.step != noHandover { // one is under way, for want of room or on request
		l.handover.stays = false
		return true
	}
	return l.beginHandover(func(string) bool { return true })
}

// beginHandover asks a voter that suits to lead; see Replica.Transfer.
func (l *life) beginHandover(suits func(name string) bool) bool {
	l.doors.each((*jetstream.Door).Handover)
	if err := l.replica.Transfer(suits); err != nil {
		l.logger.Info("no member to hand the leadership to", "cause", err)
		l.doors.each((*jetstream.Door).Lead)
		return false
	}
	l.handover = handover{begun: l.now}
	l.enterHandover(transferring)
	return true
}

// StepDown has the leadership given to another member with the next tick.
func (l *life) StepDown(to string) { l.handover.wanted, l.handover.to = true, to }

// followHandover begins a change of leader that was asked for, and continues and ends
// one that this member survives. It is called with every tick.
func (l *life) followHandover() {
	h := &l.handover
	switch {
	case h.step == noHandover:
		to, wanted := h.to, h.wanted && l.serving && !l.departing
		h.wanted = false
		if wanted {
			l.logger.Info("stepping down, as a client asked", "to", to)
			h.stays = l.beginHandover(func(name string) bool { return to == "" || to == name })
		}
	case !h.stays:
	case l.continueHandover() && !l.handoverFailed():
	case h.step == departed && !l.handoverPaused() && !l.handoverFailed():
	default:
		l.endHandover()
	}
}

// handoverFailed reports that nobody took over, or not for long.
func (l *life) handoverFailed() bool {
	status, holding := l.replica.Raft()
	leads := holding && status.Role == replication.Leader
	return l.now-l.handover.begun >= stepDownLimit || leads && !(l.handover.step == transferring && status.Transferring)
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
			l.doors.each((*jetstream.Door).Yield)
			l.enterHandover(yielding)
		}
	case yielding:
		if l.handoverPaused() && another {
			l.doors.each((*jetstream.Door).Depart)
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
	l.handover = handover{}
	if status, holding := l.replica.Raft(); holding && status.Role == replication.Leader && status.Term == l.leadTerm {
		l.doors.each((*jetstream.Door).Lead)
	} else {
		l.stopServing(status)
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
	l.lastCheckpoint()
	if l.serving {
		l.serving = false
		l.doors.each((*jetstream.Door).Shutdown) // nobody took over
	}
	l.end(stop, nil)
}
