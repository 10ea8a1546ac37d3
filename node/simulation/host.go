package simulation

import (
	"fmt"
	"path/filepath"
	"time"

	"holdfast/protocol"
)

// start of virtual time on a wall clock.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()

// host is a machine: clocks, a disk, and at most one process.
type host struct {
	world   *world
	name    string
	number  int
	process *process // nil: none runs

	disk    *medium   // that is mounted
	left    *memory   // what the last process left on it; nil: nothing, or nobody knows
	retired []*medium // stores that could be mounted again
	media   int
	image   *image // an older state that the disk could give back

	skew        int64            // of the wall clock, in nanoseconds
	pace        float64          // length of a tick relative to the right one
	drift       float64          // of the monotonic clock, a fraction
	pausedUntil int64            // the process is held up, as by SIGSTOP
	suspect     protocol.StoreID // a store that was damaged, perhaps not noticed yet
	damaged     map[string]bool  // files that were

	slowness   int64 // factor of the disk's latency
	full       bool  // the disk has no room
	restarting bool  // somebody will start the process
	changes    int   // of names in the store folder, begun by any process
	cutAt      int   // before which of them the process is killed; zero: no particular one
	starts     int
}

func (w *world) addHost(number int) *host {
	h := &host{world: w, number: number, name: fmt.Sprintf("n%d", number+1), pace: 1, slowness: 1, damaged: map[string]bool{}}
	h.drift = float64(w.between(-200, 200)) / 1e6
	h.mountBlank()
	return h
}

// mountBlank gives the host an empty store folder; the one before remains.
func (h *host) mountBlank() {
	h.media++
	h.left, h.image = nil, nil
	h.disk = h.world.newMedium(filepath.Join(h.world.options.Folder, fmt.Sprintf("%s-%d", h.name, h.media)))
}

// clock is the host's wall clock.
func (h *host) clock() int64 { return epoch + h.world.now + h.skew }

// elapsed is the host's monotonic clock.
func (h *host) elapsed() int64 {
	if h.world.options.Mutation == ClocksStop {
		return 0
	}
	return h.world.now + int64(float64(h.world.now)*h.drift)
}

// room is what the disk can still take, and what the store keeps of it in reserve.
func (h *host) room() (room, reserve int64) {
	if h.full {
		return 0, 4 << 20
	}
	return 1 << 40, 4 << 20
}

func (h *host) note(format string, args ...any) {
	h.world.trace.note(h.world.now, h.name, fmt.Sprintf(format, args...))
}

// start runs the program. A start that fails is tried again, as systemd does.
func (h *host) start() {
	w := h.world
	h.restarting = false
	if h.process != nil {
		return
	}
	h.starts++
	h.note("process starts (%d)", h.starts)
	p := &process{host: h, port: newPort(h), started: w.now}
	if err := p.open(); err != nil || p.cut {
		switch {
		case p.cut:
			h.note("process is killed while it starts")
		case noRoom(err):
			h.note("process does not start: no room")
		default:
			w.fail("%s does not start: %v", h.name, err)
		}
		p.abandon(p.cut && w.chance(w.plan.power))
		h.restart(w.often(millisecond, second))
		return
	}
	h.process = p
	p.scheduleTick()
	w.observe(p)
}

// restart starts the process after a while, unless somebody did already.
func (h *host) restart(delay int64) {
	if h.restarting {
		return
	}
	h.restarting = true
	h.world.after(delay, func() {
		if h.restarting {
			h.start()
		}
	})
}

// stop ends the process in order, after it handed over its leadership.
func (h *host) stop() {
	p := h.process
	if p == nil || p.handover {
		return
	}
	h.note("process is asked to stop")
	p.put(mailCall, func() {
		if p.handover = p.member.BeginHandover(); !p.handover {
			p.member.Finish()
		}
	})
	h.world.after(3*second, func() { // it does not wait for ever
		if p.handover {
			p.put(mailCall, p.member.Finish)
		}
	})
}

// crash ends the process at once, now and then because the machine lost its power.
// What the disk was about to write is written, or not, or in part; what was
// queued behind it is lost.
func (h *host) crash() {
	p := h.process
	if p == nil {
		return
	}
	power := h.world.chance(h.world.plan.power)
	if h.note("process is killed"); power {
		h.note("power is lost")
	}
	h.process = nil
	h.pausedUntil = 0
	h.world.nats.gone(h)
	p.abandon(power)
}

// wipe takes the host's memory away, as a restart of a machine with a RAM disk
// does. The process must not run.
func (h *host) wipe() {
	h.note("store is wiped")
	clear(h.damaged)
	h.left, h.image = nil, nil
	h.disk.wipe()
}

// memory is what the host has on its disk: of the process that runs, or of the
// last one that did; nil when it was wiped since or nobody knows.
func (h *host) memory() *memory {
	if h.process != nil {
		return memoryOf(h.process.member.Store())
	}
	return h.left
}

// identity is that of the store on the host's disk; zero when there is none.
func (h *host) identity() protocol.StoreID {
	if h.process != nil {
		return h.process.member.Identity().Store
	}
	return h.left.store()
}

// sound tells whether the host has a memory that nobody damaged or took back.
func (h *host) sound() bool {
	store := h.identity()
	return store != 0 && store != h.suspect && (h.process == nil || !h.damaged[h.process.member.Store().Path()])
}
