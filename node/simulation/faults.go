package simulation

import (
	"holdfast/protocol"
	"holdfast/replication"
)

// trouble makes one fault after the other, until the quiet phase begins.
func (w *world) trouble() {
	if w.clients.quiet {
		return
	}
	h := w.hosts[w.random.IntN(len(w.hosts))]
	w.checks.faults++
	switch w.random.IntN(24) {
	case 0, 1:
		w.kill(h)
	case 2:
		if leader := w.leader(); leader != nil && w.chance(0.7) {
			h = leader.host
		}
		h.stop()
	case 3:
		for _, h := range w.hosts {
			if w.chance(0.8) {
				w.kill(h)
			}
		}
	case 4:
		w.hold(h)
	case 5, 6, 7:
		w.partition(h)
	case 8:
		w.breakLinks()
	case 9:
		w.turnClock(h)
	case 10:
		w.slow(h)
	case 11:
		w.fill(h)
	case 12, 13, 14, 15, 16:
		w.layAmbush()
	default:
		w.forget(h)
	}
	w.after(w.often(10*millisecond, 4*w.plan.pause), w.trouble)
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
	h.note("network blocks %v", cut)
	for _, c := range cut {
		w.network.block(c[0], c[1])
	}
	w.after(w.often(50*millisecond, 8*second), func() {
		h.note("network lets through %v", cut)
		for _, c := range cut {
			w.network.unblock(c[0], c[1])
		}
	})
}

// breakLinks resets connections.
func (w *world) breakLinks() {
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
		h.retired = append(h.retired, h.folder)
		h.mountBlank()
		h.note("store is not mounted")
	case 3:
		if len(h.retired) == 0 || w.plan.disaster {
			return
		}
		h.crash()
		h.folder, h.retired = h.retired[0], append(h.retired[1:], h.folder)
		h.left = nil
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
		store := h.store()
		if h == victim || store == nil || h.suspect == store.Meta().Identity.Store || !status.Configuration.Contains(protocol.Voter{Name: h.name, Store: store.Meta().Identity.Store}) {
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
