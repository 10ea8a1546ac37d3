package simulation

import (
	"errors"
	"fmt"
	"slices"

	"holdfast/mesh"
)

// maxQueued is how many bytes may be on their way to one member.
const maxQueued = 16 << 20

// network carries frames as package mesh/transport does: a link between two
// members keeps their order and loses none, until it breaks.
type network struct {
	world *world
	links map[[2]int]*link
	// blockades[a][b] is not zero while nothing gets from a to b; the number
	// tells one blockade from the next.
	blockades [][]uint64
	last      uint64  // the newest blockade
	delay     int64   // most that a frame takes
	repeat    float64 // how many frames arrive twice
}

// link is a connection between two lives, a being on the host with the lower
// number.
type link struct {
	ends   [2]*linkEnd
	broken bool
}

// linkEnd is what one side knows and has on its way.
type linkEnd struct {
	link    *link
	side    int
	era     *era
	up      bool  // it was told, and not yet that the link is gone
	arrival int64 // of the newest frame that it sent
	queued  int   // bytes that it sent and that did not arrive
	held    []sentFrame
}

type sentFrame struct {
	kind  byte
	body  []byte
	clock int // which clock of the log the sender kept, for the check of time
}

// seenStore is the newest process that was seen with a store.
type seenStore struct{ boot, incarnation uint64 }

func newNetwork(w *world, hosts int) *network {
	n := &network{world: w, links: map[[2]int]*link{}, delay: w.plan.delay, repeat: w.plan.repeat}
	for range hosts {
		n.blockades = append(n.blockades, make([]uint64, hosts))
	}
	return n
}

func key(a, b int) [2]int { return [2]int{min(a, b), max(a, b)} }

// join lets a life connect to all others.
func (n *network) join(x *era) {
	for _, other := range n.world.hosts {
		if other != x.process.host {
			n.dial(x, other)
		}
	}
}

// dial tries to connect to a host until there is a link or the life ends.
func (n *network) dial(x *era, to *host) {
	n.world.after(n.world.often(100*microsecond, 150*millisecond), func() {
		if x.ended {
			return
		}
		if !n.connect(x, to) {
			n.dial(x, to)
		}
	})
}

// connect makes a link, and reports whether there is one now.
func (n *network) connect(x *era, to *host) bool {
	from := x.process.host
	if to.process == nil || to.process.era == nil || !n.reaches(from.number, to.number) {
		return false
	}
	y := to.process.era
	if n.world.now < from.pausedUntil || n.world.now < to.pausedUntil {
		return false // the kernel takes the connection, nobody says hello
	}
	k := key(from.number, to.number)
	if old := n.links[k]; old != nil {
		if !old.broken && old.joins(x, y) {
			return true
		}
		n.lose(old, "replaced") // whoever did not know yet hears of it now
		delete(n.links, k)
	}
	if !n.admit(x, y) || !n.admit(y, x) {
		return false
	}
	eras := [2]*era{x, y}
	if from.number > to.number {
		eras = [2]*era{y, x}
	}
	l := &link{}
	for side, era := range eras {
		l.ends[side] = &linkEnd{link: l, side: side, era: era, up: true}
	}
	n.links[k] = l
	for side, end := range l.ends {
		peer := l.ends[1-side].era
		hello := mesh.AppendStatus(nil, &peer.status)
		end.arrival = n.world.now
		end.era.process.put(mailFrame, end.era.living(func() { end.era.process.member.Linked(peer.process.host.name, hello) }))
	}
	n.world.trace.note(n.world.now, "", fmt.Sprintf("link %s-%s", from.name, to.name))
	return true
}

// living lets something happen unless the life has ended meanwhile.
func (x *era) living(act func()) func() {
	return func() {
		if !x.ended {
			act()
		}
	}
}

func (l *link) joins(x, y *era) bool {
	return l.ends[0].era == x && l.ends[1].era == y || l.ends[0].era == y && l.ends[1].era == x
}

// admit is the judgement of x about the hello of y (see mesh/transport).
func (n *network) admit(x, y *era) bool {
	s := &y.status
	seen, known := x.stores[s.Store]
	if known && seen.incarnation != y.incarnation && seen.boot >= s.Boot {
		refusal := fmt.Errorf("%s refused %s: store %s comes with boot counter %d but was already seen with %d", x.process.host.name, s.Member, s.Store, s.Boot, seen.boot)
		y.process.put(mailFrame, y.living(func() { y.process.member.SetAside(refusal) }))
		return false
	}
	x.stores[s.Store] = seenStore{boot: s.Boot, incarnation: y.incarnation}
	return true
}

// send puts a frame on its way.
func (n *network) send(x *era, to string, kind byte, body []byte) bool {
	from := x.process.host
	other := slices.IndexFunc(n.world.hosts, func(h *host) bool { return h.name == to })
	l := n.links[key(from.number, other)]
	if l == nil {
		return false
	}
	end := l.ends[0]
	if from.number > other {
		end = l.ends[1]
	}
	if end.era != x || !end.up || end.queued+len(body) > maxQueued {
		return false
	}
	if l.broken {
		return true // nobody knows yet
	}
	n.world.checks.told(x, kind, body)
	n.world.watchFrame(from, kind, body)
	end.queued += len(body)
	n.carry(end, sentFrame{kind, body, x.process.clock})
	if n.repeat > 0 && n.world.chance(n.repeat) {
		again := sentFrame{kind, slices.Clone(body), x.process.clock}
		n.world.after(n.world.between(0, second), func() {
			if !l.broken {
				n.deliver(end, again)
			}
		})
	}
	return true
}

// carry brings a frame to the other end, after all earlier ones.
func (n *network) carry(end *linkEnd, f sentFrame) {
	delay := n.world.often(20*microsecond, n.delay) + int64(len(f.body)) // about 1 GB/s
	end.arrival = max(end.arrival+1, n.world.now+delay)
	n.world.at(end.arrival, func() {
		if end.link.broken {
			n.straggle(end, f)
			return
		}
		from, to := end.era.process.host.number, end.link.ends[1-end.side].era.process.host.number
		if len(end.held) > 0 || n.blockades[from][to] != 0 {
			end.held = append(end.held, f)
			return
		}
		end.queued -= len(f.body)
		n.deliver(end, f)
	})
}

// straggle lets a few frames of a broken link arrive after all, perhaps after
// those of the next one, as long as both ends are the same processes.
func (n *network) straggle(end *linkEnd, f sentFrame) {
	if n.repeat == 0 || end.link.ends[1-end.side].era.ended || end.era.ended || n.world.chance(0.8) {
		return
	}
	n.world.after(n.world.often(0, second), func() {
		if !end.era.ended {
			n.deliver(end, f)
		}
	})
}

func (n *network) deliver(end *linkEnd, f sentFrame) {
	from, y := end.era.process.host, end.link.ends[1-end.side].era
	arrives := n.world.mutateFrame(f)
	if arrives == nil {
		return
	}
	f = *arrives
	n.world.trace.bytes(n.world.now, f.body)
	y.process.put(mailFrame, y.living(func() {
		n.world.checks.tellsTime(y.process, from.name, f)
		y.process.member.Frame(from.name, f.kind, f.body)
	}))
}

// cut breaks a link; each side hears of it after a while.
func (n *network) cut(l *link, within int64, why string) {
	if l.broken {
		return
	}
	l.broken = true
	a, b := l.ends[0].era, l.ends[1].era
	n.world.trace.note(n.world.now, "", fmt.Sprintf("link %s-%s breaks: %s", a.process.host.name, b.process.host.name, why))
	for _, end := range l.ends {
		end.held = nil
		n.world.after(n.world.often(100*microsecond, within), func() { n.hear(end, why) })
	}
}

// hear tells one side that its link is gone.
func (n *network) hear(end *linkEnd, why string) {
	if !end.up {
		return
	}
	end.up = false
	peer := end.link.ends[1-end.side].era.process.host
	if end.era.ended {
		return
	}
	end.era.process.put(mailFrame, end.era.living(func() { end.era.process.member.Unlinked(peer.name, errors.New(why)) }))
	if end.side == 0 || end.link.ends[0].era.ended {
		n.dial(end.era, peer)
	}
}

// lose breaks a link and tells both sides at once.
func (n *network) lose(l *link, why string) {
	n.cut(l, millisecond, why)
	for _, end := range l.ends {
		n.hear(end, why)
	}
}

// leave breaks all links of a life that ended.
func (n *network) leave(x *era, why string) {
	for _, other := range n.world.hosts {
		if other == x.process.host {
			continue
		}
		if l := n.links[key(x.process.host.number, other.number)]; l != nil && (l.ends[0].era == x || l.ends[1].era == x) {
			within := 2 * millisecond
			if n.world.chance(0.1) {
				within = 2 * second // the whole host vanished
			}
			n.cut(l, within, why)
		}
	}
}

// block lets nothing through from one host to another. A link notices within
// two seconds; a shorter pause only delays what it carries.
func (n *network) block(from, to int) {
	if n.blockades[from][to] != 0 {
		return
	}
	n.world.checks.disturbed()
	n.last++
	n.blockades[from][to] = n.last
	mine := n.last
	n.world.after(n.world.between(400*millisecond, 2*second), func() {
		if l := n.links[key(from, to)]; l != nil && n.blockades[from][to] == mine {
			n.cut(l, second, "silent")
		}
	})
}

func (n *network) unblock(from, to int) {
	if n.blockades[from][to] == 0 {
		return
	}
	n.blockades[from][to] = 0
	l := n.links[key(from, to)]
	if l == nil || l.broken {
		return
	}
	end := l.ends[0]
	if from > to {
		end = l.ends[1]
	}
	held := end.held
	end.held = nil
	for _, f := range held {
		n.carry(end, f)
	}
}

// linked tells whether two lives have a link that both know of and that works.
func (n *network) linked(x, y *era) bool {
	l := n.links[key(x.process.host.number, y.process.host.number)]
	return l != nil && !l.broken && l.joins(x, y) && l.ends[0].up && l.ends[1].up
}

// reaches reports whether a message of the NATS servers gets from one host to
// another.
func (n *network) reaches(from, to int) bool {
	return n.blockades[from][to] == 0 && n.blockades[to][from] == 0
}
