package simulation

import (
	"slices"

	"holdfast/protocol"
	"holdfast/replication"
)

// fault is a way to make trouble, and how often it is made relative to others.
type fault struct {
	weight int
	make   func(w *world, h *host)
}

var faults = []fault{
	{3, (*world).kill},
	{2, (*world).killMost},
	{2, (*world).stopSomebody},
	{2, (*world).hold},
	{5, (*world).partition},
	{4, (*world).strand},
	{3, (*world).strandStopping},
	{2, (*world).breakLinks},
	{2, (*world).turnClock},
	{3, (*world).slow},
	{2, (*world).fill},
	{8, (*world).layAmbush},
	{9, (*world).forget},
	{2, (*world).takeImage},
	{3, (*world).rollBack},
	{4, (*world).loseMost},
}

// trouble makes one fault after the other, until the quiet phase begins.
func (w *world) trouble() {
	if w.clients.quiet {
		return
	}
	w.after(w.often(10*millisecond, 4*w.plan.pause), w.trouble)
	if w.regressing() {
		return
	}
	h := w.hosts[w.random.IntN(len(w.hosts))]
	w.checks.faults++
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	draw := w.random.IntN(total)
	for _, f := range faults {
		if draw -= f.weight; draw < 0 {
			f.make(w, h)
			return
		}
	}
}

// killMost kills nearly all at once.
func (w *world) killMost(*host) {
	for _, h := range w.hosts {
		if w.chance(0.8) {
			w.kill(h)
		}
	}
}

// loseMost is a disaster: all processes end, and only a minority keeps its memory,
// of which one was cut off a moment before and has less.
func (w *world) loseMost(*host) {
	if !w.plan.disaster || len(w.hosts) < 3 {
		return
	}
	kept := w.random.Perm(len(w.hosts))[:len(w.hosts)/2]
	behind := w.hosts[kept[0]]
	behind.note("network blocks %v", w.waysOf(behind))
	for _, way := range w.waysOf(behind) {
		w.network.block(way[0], way[1])
	}
	w.after(w.between(20*millisecond, 500*millisecond), func() {
		for _, way := range w.waysOf(behind) {
			w.network.unblock(way[0], way[1])
		}
		for _, h := range w.hosts {
			h.crash()
			if !slices.Contains(kept, h.number) {
				h.wipe()
			}
			h.restart(w.often(millisecond, 2*second))
		}
	})
}

// stopSomebody stops a process in order, mostly the one that leads.
func (w *world) stopSomebody(h *host) {
	if leader := w.leader(); leader != nil && w.chance(0.7) {
		h = leader.host
	}
	h.stop()
}

// strand cuts the leader off from all other members, but not from the clients at
// its host, while its process gets little time to run, so that it takes long to
// see that others go on without it. It may just be about to stop.
func (w *world) strand(*host) {
	leader := w.leader()
	if leader == nil || len(w.hosts) < 2 {
		return
	}
	h := leader.host
	h.note("leader is stranded")
	h.pace = 1 + 4*w.random.Float64()
	cut := w.waysOf(h)
	if w.chance(0.3) { // it still hears the others, or they still hear it
		kept := w.random.IntN(2)
		for i := range cut {
			if i%2 == kept {
				cut[i] = [2]int{-1, -1}
			}
		}
	}
	w.blockFor(h, cut, w.between(300*millisecond, 4*second), func() { h.pace = 1 })
	if w.chance(0.4) {
		w.after(w.often(0, second), h.stop)
	}
}

// strandStopping cuts the leader off from all other members when it is about to
// stop: it keeps what it has proposed, and those who wait for it, until it finds
// its way back to a leader whose log has something else at the same places.
func (w *world) strandStopping(*host) {
	leader := w.leader()
	if leader == nil || len(w.hosts) < 2 {
		return
	}
	h := leader.host
	h.note("leader is stranded and stops")
	asked := w.between(20*millisecond, 400*millisecond) // while it still takes the others for there
	w.after(asked, h.stop)
	w.blockFor(h, w.waysOf(h), asked+w.between(700*millisecond, 2800*millisecond), func() {})
}

// waysOf are the ways between a host and all others, in both directions.
func (w *world) waysOf(h *host) [][2]int {
	var ways [][2]int
	for _, other := range w.hosts {
		if other != h {
			ways = append(ways, [2]int{h.number, other.number}, [2]int{other.number, h.number})
		}
	}
	return ways
}

// kill ends a process at once and starts it again after a while.
func (w *world) kill(h *host) {
	h.crash()
	h.restart(w.often(millisecond, 5*second))
}

// hold stops a process from running for a while, as SIGSTOP does.
func (w *world) hold(h *host) {
	if h.process == nil {
		return
	}
	pause := w.often(50*millisecond, 6*second)
	h.note("process is held up for %d ms", pause/millisecond)
	w.checks.disturbed()
	h.pausedUntil = w.now + pause
}

// partition cuts a host off from some others, in one or both directions.
func (w *world) partition(h *host) {
	both := w.chance(0.6)
	var cut [][2]int
	for _, other := range w.hosts {
		if other == h || w.chance(0.2) {
			continue
		}
		if both || w.chance(0.5) {
			cut = append(cut, [2]int{h.number, other.number})
		}
		if both || len(cut) == 0 || w.chance(0.3) {
			cut = append(cut, [2]int{other.number, h.number})
		}
	}
	w.blockFor(h, cut, w.often(50*millisecond, 8*second), func() {})
}

// blockFor blocks ways of the network for a while.
func (w *world) blockFor(h *host, cut [][2]int, pause int64, after func()) {
	cut = slices.DeleteFunc(cut, func(c [2]int) bool { return c[0] < 0 })
	h.note("network blocks %v", cut)
	for _, c := range cut {
		w.network.block(c[0], c[1])
	}
	w.after(pause, func() {
		h.note("network lets through %v", cut)
		for _, c := range cut {
			w.network.unblock(c[0], c[1])
		}
		after()
	})
}

// breakLinks resets connections.
func (w *world) breakLinks(*host) {
	for a := range w.hosts {
		for b := range a {
			if l := w.network.links[key(a, b)]; l != nil && w.chance(0.5) {
				w.network.cut(l, 50*millisecond, "reset")
			}
		}
	}
}

// maxSkew bounds how wrong a wall clock is. Two of them differ by less than a
// day, from which on the clock of the log steps (package member).
const maxSkew = 11 * 3600 * second

// turnClock makes a wall clock jump and go at another pace.
func (w *world) turnClock(h *host) {
	h.skew = w.between(-maxSkew, maxSkew)
	h.pace = 0.8 + 0.5*w.random.Float64()
	h.note("clock is off by %d ms, a tick takes %.2f", h.skew/millisecond, h.pace)
}

// slow makes a disk slow for a while.
func (w *world) slow(h *host) {
	h.slowness = 1 + w.random.Int64N(200)
	h.note("disk is %d times slower", h.slowness)
	w.after(w.often(100*millisecond, 8*second), func() { h.slowness = 1 })
}

// fill leaves a disk without room for a while.
func (w *world) fill(h *host) {
	h.full = true
	h.note("disk is full")
	w.after(w.often(100*millisecond, 8*second), func() { h.full = false })
}

// forget takes memory away, in one of several ways, if that is allowed now.
func (w *world) forget(h *host) {
	if !w.mayForget(h) {
		return
	}
	kind := w.random.IntN(5)
	if len(h.retired) > 0 && w.chance(0.5) {
		kind = 3
	}
	switch kind {
	case 0, 1:
		h.crash()
		h.wipe()
	case 2: // a mount fails: the process goes on with an empty folder
		h.crash()
		h.retired = append(h.retired, h.disk)
		h.mountBlank()
		h.note("store is not mounted")
	case 3:
		if len(h.retired) == 0 || w.plan.disaster {
			return
		}
		h.crash()
		h.disk, h.retired = h.retired[0], append(h.retired[1:], h.disk)
		h.left, h.image = nil, nil
		h.note("an old store is mounted again")
	case 4:
		w.damage(h)
		return
	}
	h.restart(w.often(millisecond, 3*second))
}

// mayForget keeps promise 1 meaningful: unless the run is about disasters, a
// majority keeps its memory. A host whose memory was taken counts until its
// store is a voter again.
func (w *world) mayForget(victim *host) bool {
	if w.plan.disaster {
		return true
	}
	leader := w.leader()
	if leader == nil {
		return false
	}
	status, _ := leader.member.Raft()
	if !status.ConfigurationCommitted || !status.Ready {
		return false
	}
	unsound := 0
	for _, h := range w.hosts {
		store := h.identity()
		if h == victim || !h.sound() || !status.Configuration.Contains(protocol.Voter{Name: h.name, Store: store}) {
			unsound++
		}
	}
	return unsound <= (len(w.hosts)-1)/2
}

// leader is the process that leads with the consent of a majority, if any.
func (w *world) leader() *process {
	var best *process
	var term uint64
	for _, h := range w.hosts {
		if h.process == nil {
			continue
		}
		status, holding := h.process.member.Raft()
		if holding && status.Role == replication.Leader && status.InContact && status.Term > term {
			best, term = h.process, status.Term
		}
	}
	return best
}
