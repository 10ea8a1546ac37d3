package node

import (
	"time"

	"holdfast/replication"
)

// handoverOverlap is how long the old leader still takes messages after it knows
// the new one: until the new one's subscriptions are known on every node. What
// comes meanwhile is forwarded to the new leader.
const handoverOverlap = 150 * time.Millisecond

// handOver is one step of a planned change of leader, called again until it
// returns false: nothing more to wait for.
func (l *life) handOver(first bool) bool {
	if l.ended != living {
		return false
	}
	if first {
		if !l.serving {
			return false
		}
		if err := l.replica.Transfer(); err != nil {
			l.node.logger.Info("no member to hand the leadership to", "cause", err)
			return false
		}
		l.handingOver = true
		l.door.Handover()
		return true
	}
	status, holding := l.replica.Raft()
	if !holding || !l.handingOver {
		return false
	}
	if status.Role == replication.Leader {
		return true
	}
	if status.Leader.Name == "" {
		return true
	}
	if l.newLeaderSince.IsZero() {
		l.newLeaderSince = time.Now()
		l.node.logger.Info("leadership handed over", "to", status.Leader.Name, "term", status.Term)
	}
	if time.Since(l.newLeaderSince) < handoverOverlap {
		return true
	}
	l.handingOver = false // followRole lets the door go
	return false
}

// finish ends the life of a node that stops: with a checkpoint, so that the next
// start has nothing to apply again.
func (l *life) finish() {
	l.handingOver = false
	c := &l.checkpoints
	if c.held == 0 && c.writeID == 0 && c.entries > 0 {
		l.checkpoint()
		l.settle()
	}
	l.end(stop, nil)
}
