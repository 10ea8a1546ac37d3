package simulation

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"holdfast/node/member"
	"holdfast/protocol"
	"holdfast/wal"
)

// start of virtual time on a wall clock.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()

// host is a machine: a clock, a disk, and at most one process.
type host struct {
	world   *world
	name    string
	number  int
	process *process // nil: none runs

	folder  string     // of the store that is mounted
	left    *wal.Store // of the last process, closed: it still knows its marks
	retired []string   // folders of stores that could be mounted again
	folders int

	skew        int64            // of the wall clock, in nanoseconds
	pace        float64          // length of a tick relative to the right one
	pausedUntil int64            // the process is held up, as by SIGSTOP
	suspect     protocol.StoreID // a store that was damaged, perhaps not noticed yet

	slowness   int64 // factor of the disk's latency
	full       bool  // the disk has no room
	restarting bool  // somebody will start the process
	starts     int
}

func (w *world) addHost(number int) *host {
	h := &host{world: w, number: number, name: fmt.Sprintf("n%d", number+1), pace: 1, slowness: 1}
	h.mountBlank()
	return h
}

// mountBlank gives the host an empty store folder; the one before remains.
func (h *host) mountBlank() {
	h.folders++
	h.left = nil
	h.folder = filepath.Join(h.world.options.Folder, fmt.Sprintf("%s-%d", h.name, h.folders))
}

// clock is the host's wall clock.
func (h *host) clock() int64 { return epoch + h.world.now + h.skew }

func (h *host) note(format string, args ...any) {
	h.world.trace.note(h.world.now, h.name, fmt.Sprintf(format, args...))
}

// process is one run of the program on a host.
type process struct {
	host   *host
	dir    *wal.Dir
	member *member.Member
	port   *port
	era    *era       // of the present life; nil between lives
	opened *wal.Store // of the newest life

	mail     [kinds][]func()
	cut      bool // it is to be killed in the middle of what it does
	awake    bool // a round of the loop is on its way
	handover bool // it is being stopped in order
}

// The kinds of mail, in the order in which the loop of a node takes them.
const (
	mailCall = iota
	mailWritten
	mailFrame
	mailMessage
	mailTick
	kinds
)

// start runs the program. A start that fails is tried again, as systemd does.
func (h *host) start() {
	w := h.world
	h.restarting = false
	if h.process != nil {
		return
	}
	h.starts++
	h.note("process starts (%d)", h.starts)
	p := &process{host: h, port: newPort(h)}
	if err := p.open(); err != nil {
		if !p.cut {
			w.fail("%s does not start: %v", h.name, err)
		}
		h.note("process is killed while it starts")
		p.abandon()
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

func (p *process) open() (err error) {
	h, w := p.host, p.host.world
	p.dir, err = wal.OpenDir(h.folder, wal.Owner{Cluster: "simulated", Member: h.name}, wal.Options{
		MapBytes: 64 << 20,
		Now:      func() time.Time { return time.Unix(0, h.clock()) },
		Random:   w.random.Uint64,
		Before:   p.beforeChange,
	})
	if err != nil {
		return err
	}
	var names []string
	for _, other := range w.hosts {
		names = append(names, other.name)
	}
	p.member, err = member.Open(member.Options{
		Name: h.name, Cluster: "simulated", Members: names, Continue: !w.plan.wait,
		Dir: p.dir, Environment: &environment{p}, Bus: p.port, MaxPayload: 1 << 20,
		Now: h.clock, Elapsed: func() int64 { return w.now }, Random: w.random.Uint64, Restoring: func(uint64) {},
		Logger:          slog.New(&logHandler{world: w, who: h.name, watch: func(level slog.Level, line string) { w.checks.heard(h, level, line) }}),
		CheckpointBytes: w.plan.checkpointBytes, CheckpointInterval: w.plan.checkpointInterval,
		CopyChunkBytes: 16 << 10, TailBytes: w.plan.tailBytes,
	})
	return err
}

// put gives the loop something to do. The loop takes together what came while
// it was busy or asleep.
func (p *process) put(kind int, act func()) {
	if p.host.process != p {
		return
	}
	p.mail[kind] = append(p.mail[kind], act)
	if !p.awake {
		p.awake = true
		p.host.world.after(p.host.world.often(5*microsecond, millisecond), p.round)
	}
}

// round is one turn of the loop.
func (p *process) round() {
	h, w := p.host, p.host.world
	if h.process != p {
		return
	}
	if w.now < h.pausedUntil {
		w.at(h.pausedUntil, p.round)
		return
	}
	p.awake = false
	mail := p.mail
	p.mail = [kinds][]func(){}
	for _, acts := range mail {
		for _, act := range acts {
			act()
		}
	}
	p.member.Settle()
	p.port.flush()
	w.observe(p)
	if p.cut {
		h.crash()
		h.restart(w.often(millisecond, second))
		return
	}
	if ended, err := p.member.Ended(); ended {
		h.note("process ends: %v", err)
		if err != nil {
			w.checks.ended(h, err)
		}
		if err := p.member.Close(); err != nil {
			w.fail("%s cannot close its store: %v", h.name, err)
		}
		h.process = nil
		w.nats.gone(h)
		p.release()
		h.restart(w.between(10*millisecond, second))
	}
}

func (p *process) scheduleTick() {
	h := p.host
	h.world.after(int64(float64(member.TickInterval)*h.pace), func() {
		if h.process != p {
			return
		}
		if len(p.mail[mailTick]) == 0 { // a late tick takes the place of those missed
			p.put(mailTick, p.tick)
		}
		p.scheduleTick()
	})
}

func (p *process) tick() {
	p.member.Tick()
	if p.handover && !p.member.ContinueHandover() {
		p.handover = false
		p.member.Finish()
	}
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

// crash ends the process at once. What the disk was about to write is written or
// not; what was queued behind it is lost.
func (h *host) crash() {
	p := h.process
	if p == nil {
		return
	}
	h.note("process is killed")
	h.process = nil
	h.pausedUntil = 0
	h.world.nats.gone(h)
	p.abandon()
}

// abandon is the end of a process that is killed.
func (p *process) abandon() {
	if p.era != nil {
		p.era.cutOff()
		p.host.world.network.leave(p.era, "connection reset")
		p.era = nil
	}
	p.release()
}

// release closes the files of a process that is gone.
func (p *process) release() {
	if p.member != nil {
		p.host.left = p.member.Store()
		p.host.left.Close() // the process is gone, nobody takes note of an error
		if _, err := os.Stat(p.host.left.Path()); err != nil {
			p.host.left = nil // it was set aside a moment ago
		}
	}
	if p.opened != nil {
		p.opened.Close()
	}
	if p.dir != nil {
		if err := p.dir.Close(); err != nil {
			p.host.world.fail("%s cannot release its store folder: %v", p.host.name, err)
		}
	}
}

// wipe takes the host's memory away, as a restart of a machine with a RAM disk
// does. The process must not run.
func (h *host) wipe() {
	h.note("store is wiped")
	h.left = nil
	if err := os.RemoveAll(h.folder); err != nil {
		h.world.fail("wipe %s: %v", h.name, err)
	}
}

// identity is that of the store on the host's disk; zero when there is none.
func (h *host) identity() protocol.StoreID {
	if store := h.store(); store != nil {
		return store.Meta().Identity.Store
	}
	return 0
}

// store is what the host has on its disk: of the process that runs, or of the
// last one that did; nil when it was wiped since.
func (h *host) store() *wal.Store {
	if h.process != nil {
		return h.process.member.Store()
	}
	return h.left
}
