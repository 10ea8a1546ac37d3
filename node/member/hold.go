package member

import (
	"math"
	"slices"
	"time"

	"holdfast/replication"
)

// holds keep whole entries for members that are not there to say what they have:
// one that has just received a copy and opens it, and one that is being
// restarted. Without them such a member finds, under load, that the log has moved
// past it, and takes a copy of the whole store, again and again if the store is
// large and opening it takes longer than the log needs to move on.
//
// Each hold is bounded, so that a member which does not come back costs little:
// that of a copy by a time, that of an absence by the log's growth, and both by
// half of the room that the disk has. They are a leader's, and end with its term.
type holds struct {
	term     uint64
	copies   []copyHold
	absences []absence
	bytes    int64 // applied in this term
}

// copyHold begins when a copy was sent and ends when its store answers, or at a
// tick.
type copyHold struct {
	to    string
	index uint64 // last of the copy
	until uint64
	bytes int64 // applied when it began
}

// absence is a member that was found missing when bytes were applied.
type absence struct {
	name  string
	bytes int64
}

// copyHoldTicks is the least time for which the log is kept where a copy ends. It
// is kept for as long as the copy itself took where that is more: opening it is
// the faster part, and while it was sent the log was kept as well.
const copyHoldTicks = uint64(time.Minute / TickInterval)

// lead lets go of what was held in another term.
func (h *holds) lead(term uint64) {
	if h.term != term {
		*h = holds{term: term}
	}
}

// sent begins a hold: a copy that ends at index has arrived after so many ticks.
func (h *holds) sent(to string, index, now, took uint64) {
	h.copies = slices.DeleteFunc(h.copies, func(c copyHold) bool { return c.to == to })
	h.copies = append(h.copies, copyHold{to: to, index: index, until: now + max(copyHoldTicks, took), bytes: h.bytes})
}

// copied is the index up to which no copy that was sent needs entries. No more
// than so many bytes are kept.
func (h *holds) copied(now uint64, limit int64) uint64 {
	h.copies = slices.DeleteFunc(h.copies, func(c copyHold) bool { return now >= c.until || h.bytes-c.bytes >= limit })
	bound := uint64(math.MaxUint64)
	for _, c := range h.copies {
		bound = min(bound, c.index)
	}
	return bound
}

// heard takes note of what another store says it has: one that is there needs no
// hold, and one that goes on from the end of its copy neither.
func (h *holds) heard(p *replication.Progress) {
	if !p.Active {
		return
	}
	h.absences = slices.DeleteFunc(h.absences, func(a absence) bool { return a.name == p.Voter.Name })
	if p.Replicating {
		h.copies = slices.DeleteFunc(h.copies, func(c copyHold) bool { return c.to == p.Voter.Name && p.Match >= c.index })
	}
}

// awaits reports whether the log is kept for a member that is missing: until so
// many bytes were applied since that was noticed.
func (h *holds) awaits(name string, limit int64) bool {
	i := slices.IndexFunc(h.absences, func(a absence) bool { return a.name == name })
	if i < 0 {
		h.absences = append(h.absences, absence{name, h.bytes})
		return limit > 0
	}
	return h.bytes-h.absences[i].bytes < limit
}

// horizon is up to where entries may go. Short of room, the leader does not wait
// for a follower whose disk takes nothing any more: that one gets a copy later.
func (l *life) horizon() uint64 {
	status, _ := l.replica.Raft()
	l.holds.lead(status.Term)
	progress := l.replica.Progress()
	for i := range progress {
		l.holds.heard(&progress[i])
	}
	room := l.room.spare / 2
	limit := min(l.options.HoldBytes, room)
	bound := l.replica.Horizon(
		func(name string) bool { return l.short() && l.left(name) < -l.room.reserve/2 },
		func(name string) bool { return l.holds.awaits(name, limit) })
	return min(bound, l.holds.copied(l.now, room))
}
