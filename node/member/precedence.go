package member

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"holdfast/node/jetstream"
	"holdfast/protocol"
)

// maxRank is the highest rank that the bus knows.
const maxRank = 3

// Bus is what the doors of an account use in a member's lives, one after the other.
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

// twilight is what is left of a shadow once the member is linked again. Either it
// is the same process, which knows by then that another leads, or its host tells
// whoever uses a connection of the process before that there is none; the NATS
// servers use theirs every two seconds (package node).
const twilight = 3 * time.Second

// precedence keeps messages from going to a leader that is gone. When another
// leads than before, every member takes a rank above all that it knows of, and it
// goes back to the lowest when nobody can be in the way any more: all are linked
// for a while, or the last change is long ago. Members tell each other their ranks,
// so one that begins knows how the others stand, also above a host that vanished
// before it began.
//
// Ranks can be equal only after more than maxRank changes of the leader, each
// within the time of a shadow of the one before, with some member missing all the
// time, or back for less than a twilight. Then some messages are lost on their way
// until the routes are closed, which package node has them be well within a shadow
// of the host's end: nothing that is acknowledged is among them, and their
// publishers and clients ask again.
type precedence struct {
	self   string
	bus    interface{ SetRank(rank int) }
	others int // how many members there are beside this one
	// tell sends this member's standing to one that is linked.
	tell   func(to string, s standing)
	now    uint64         // ticks since the beginning
	leader string         // the one seen last, "" at first
	since  uint64         // tick at which the rank was last raised
	linked []string       // the members that are linked, by name
	whole  uint64         // tick since which all are linked, if they are
	lost   uint64         // tick at which a link was lost last
	ranks  map[string]int // what each member said last
	standing
}

// standing is what members tell each other.
type standing struct {
	// term is the newest in which the member knows of a leader; its rank is above
	// those that lead in terms before.
	term uint64
	rank int
}

// alone is the beginning of a life, which has no links yet.
func (p *precedence) alone() { p.linked = nil }

func (p *precedence) link(name string) {
	if at, found := slices.BinarySearch(p.linked, name); !found {
		p.linked = slices.Insert(p.linked, at, name)
	}
	p.whole = p.now
	p.tell(name, p.standing)
}

func (p *precedence) unlink(name string) {
	if at, found := slices.BinarySearch(p.linked, name); found {
		p.linked = slices.Delete(p.linked, at, at+1)
	}
	p.lost = p.now
}

// heard takes the standing of another member. One below it does not know of a
// change that the other knows of; the same change raises the rank only once.
func (p *precedence) heard(name string, s standing) {
	p.ranks[name] = s.rank
	if s.rank > p.rank {
		p.term = max(p.term, s.term)
		p.set(s.rank)
	}
}

// follow takes note of who leads in a term, "" for nobody. It comes before the
// door of the leader subscribes.
func (p *precedence) follow(leader string, term uint64) {
	if leader == "" || leader == p.leader && term == p.term {
		return
	}
	known := leader == p.leader || term <= p.term
	first := p.leader == ""
	p.leader, p.term = leader, max(p.term, term)
	if known {
		return
	}
	highest := p.rank
	for _, rank := range p.ranks {
		highest = max(highest, rank)
	}
	// The first leader that a process sees is no change, unless it is this
	// process and others have seen one before.
	if !first || leader == p.self && highest > 0 {
		p.set(min(highest+1, maxRank))
	}
}

func (p *precedence) tick() {
	p.now++
	if p.rank == 0 {
		return
	}
	last := max(p.since, p.lost)
	if len(p.linked) == p.others {
		last = max(p.since, p.whole)
		if p.now-last >= ticks(twilight) {
			p.set(0)
		}
		return
	}
	if p.now-last >= ticks(shadow) {
		// What the others say of themselves stays: one of them may have vanished a
		// moment ago, with a rank.
		maps.DeleteFunc(p.ranks, func(name string, _ int) bool {
			_, linked := slices.BinarySearch(p.linked, name)
			return !linked
		})
		p.set(0)
	}
}

func (p *precedence) set(rank int) {
	if rank >= p.rank {
		p.since = p.now
	}
	if rank == p.rank {
		return
	}
	p.rank = rank
	p.bus.SetRank(rank)
	for _, name := range p.linked {
		p.tell(name, p.standing)
	}
}

// encode returns the body of a frameRank.
func (s standing) encode() []byte {
	return binary.LittleEndian.AppendUint64([]byte{byte(s.rank)}, s.term)
}

// decodeStanding reads it.
func decodeStanding(body []byte) (standing, error) {
	r := protocol.Reader{Rest: body}
	s := standing{rank: int(r.Byte()), term: r.Uint64()}
	if s.rank > maxRank {
		r.Fail()
	}
	return s, r.Done("rank")
}
