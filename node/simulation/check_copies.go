package simulation

import (
	"strings"
	"time"

	"holdfast/protocol"
	"holdfast/replication"
	"holdfast/wal"
)

// contact is an undisturbed connection of a follower to its leader.
type contact struct {
	leader, follower *era
	term             uint64
	since            int64
}

// inContact takes note of who follows a leader without a disturbance: the leader
// has all that the follower needs, both run, and nothing blocks the way.
func (c *checks) inContact(p *process) {
	status, holding := p.member.Raft()
	if !holding || status.Role != replication.Leader || p.era == nil {
		return
	}
	w := c.world
	for _, h := range w.hosts {
		if h == p.host {
			continue
		}
		now := contact{leader: p.era, term: status.Term, since: w.now}
		was, known := c.touch[h]
		undisturbed := h.process != nil && h.process.era != nil && w.network.linked(p.era, h.process.era) &&
			w.network.reaches(p.host.number, h.number) && w.now >= h.pausedUntil && p.host.pace < 1.5 && h.pace < 1.5
		if !undisturbed {
			if was.leader == p.era {
				delete(c.touch, h)
			}
			continue
		}
		now.follower = h.process.era
		if known && was.leader == now.leader && was.follower == now.follower && was.term == now.term {
			continue
		}
		if agreed(h.process.member.Store(), p.member.Store())+1 >= p.era.first() {
			c.touch[h] = now
		}
	}
}

// agreed is the last index up to which two logs are the same (Log Matching).
func agreed(a, b *wal.Store) uint64 {
	for index := min(a.Last(), b.Last()); index > 0; {
		of, known := a.Mark(index)
		other, also := b.Mark(index)
		switch {
		case !known || !also:
			return 0
		case of.Term == other.Term && of.Lineage == other.Lineage:
			return index
		}
		index = max(of.Index, other.Index) - 1
	}
	return 0
}

// first is where a store's whole entries begin, once all is written that is under
// way: a checkpoint begun as a follower may end after the election.
func (x *era) first() uint64 {
	first := x.store.First()
	if horizon, begun := x.process.member.Capturing(); begun {
		first = max(first, horizon+1)
	}
	look := func(write *protocol.Write) {
		if write.Checkpoint != nil {
			first = max(first, write.Checkpoint.Horizon+1)
		}
	}
	for _, write := range x.writing {
		look(write)
	}
	for _, queued := range x.queue {
		look(queued.write)
	}
	return first
}

// disturbed is told of what a follower may lag behind for.
func (c *checks) disturbed() { clear(c.touch) }

// maxCopies is how many copies a member may begin in the quiet phase: the one that
// it needs, one that was overtaken by what the faults left, and one more because
// its first source may have stopped leading.
const maxCopies = 3

// copyAsked counts copies in the quiet phase. One that is not asked for, because a
// slow disk still writes the one before that was given up, costs nothing.
func (c *checks) copyAsked(p *process) {
	h, w := p.host, c.world
	if !w.clients.quiet {
		return
	}
	if c.copies[h.name]++; c.copies[h.name] > maxCopies {
		w.fail("copied again and again: %s begins copy %d of the quiet phase", h.name, c.copies[h.name])
	}
}

// copying: a copy of the whole store is the last resort. A follower that could
// take every entry from its leader is not left behind by what the leader lets go
// of, however slow its disk is; and who needs a copy does not need copies again
// and again.
func (c *checks) copying(p *process, line string) {
	h, w := p.host, c.world
	if !strings.Contains(line, "purpose=catch-up") {
		return
	}
	if t, ok := c.touch[h]; ok && t.follower == p.era && !t.leader.ended {
		if status, holding := t.leader.process.member.Raft(); holding && status.Role == replication.Leader && status.Term == t.term {
			w.fail("copied without need: %s follows %s for %s and has to copy the whole store", h.name, t.leader.process.host.name, time.Duration(w.now-t.since))
		}
	}
}
