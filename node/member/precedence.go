package member

import (
	"time"

	"holdfast/node/jetstream"
)

// maxRank is the highest rank that the bus knows.
const maxRank = 2

// Bus is what the doors of a member's lives use, one after the other.
type Bus interface {
	jetstream.Bus
	// SetRank puts this member before those of a lower rank wherever the NATS
	// servers choose one of several: from 0, as it begins, to maxRank.
	SetRank(rank int)
}

// shadow is for how long the NATS servers may go on giving a share of the
// messages to a leader whose host has vanished: until they close their routes to
// it (package node sets how soon), and some more.
const shadow = 30 * time.Second

// precedence keeps messages from going to a leader that is gone. Every member
// raises its rank when another leads than before, and lowers it when the one
// before cannot be in the way any more. So those who know the present leader
// outrank one who does not.
//
// A process that begins does not know how the others stand, and puts itself
// above the leader that it finds: that one may have begun to lead a moment ago,
// with a raised rank. All this only tips a balance. After a third leader within
// the time of the shadow ranks may be equal, and then some messages are lost on
// their way until the routes are closed.
type precedence struct {
	self   string
	bus    Bus
	now    uint64 // ticks since the beginning
	leader string // the one seen last, "" at first
	since  uint64 // tick at which it was first seen
	rank   int
}

// follow takes note of who leads, "" for nobody. It comes before the door of the
// leader subscribes.
func (p *precedence) follow(leader string) {
	if leader == "" || leader == p.leader {
		return
	}
	if p.leader != "" || leader != p.self {
		p.set(min(p.rank+1, maxRank))
	}
	p.leader, p.since = leader, p.now
}

func (p *precedence) tick() {
	p.now++
	if p.rank > 0 && p.now-p.since >= ticks(shadow) {
		p.set(0)
	}
}

func (p *precedence) set(rank int) {
	p.rank = rank
	p.bus.SetRank(rank)
}
