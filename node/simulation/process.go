package simulation

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"holdfast/node/member"
	"holdfast/wal"
)

// process is one run of the program on a host.
type process struct {
	host    *host
	started int64
	dir     *wal.Dir
	member  *member.Member
	port    *port
	era     *era       // of the present life; nil between lives
	opened  *wal.Store // of the newest life
	lives   int

	mail     [kinds][]func()
	awake    bool  // a round of the loop is on its way
	alarm    int64 // when the loop wakes up by itself; 0: it does not
	handover bool  // it is being stopped in order
	clock    int   // which clock of the log it keeps; zero: it knows of none

	committing bool        // the writer is in a transaction
	cut        bool        // it is to be killed in the middle of what it does
	unreported unreported  // see check_dead.go
	torn       *tornCommit // and this transaction of it is to be torn
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

func (p *process) open() (err error) {
	h, w := p.host, p.host.world
	p.dir, err = wal.OpenDir(h.disk.folder, wal.Owner{Cluster: "simulated", Member: h.name}, wal.Options{
		MapBytes:     64 << 20,
		Now:          func() time.Time { return time.Unix(0, h.clock()) },
		Random:       w.random.Uint64,
		Before:       p.before,
		JournalBytes: journalBytes,
		DropPieces:   2,
		Room:         h.room,
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
		Dir: p.dir, Environment: &environment{p}, Accounts: []member.Account{{Bus: p.port, Allowed: w.allowed}}, MaxPayload: 1 << 20,
		Now: h.clock, Elapsed: h.elapsed, Random: w.random.Uint64, Restoring: func(uint64) {},
		Logger:          slog.New(&logHandler{world: w, who: h.name, watch: func(level slog.Level, line string) { w.heard(p, level, line) }}),
		Applied:         p.applied,
		CheckpointBytes: w.plan.checkpointBytes, CheckpointInterval: w.plan.checkpointInterval, CaptureWork: w.plan.captureWork,
		SettleWork:        w.plan.settleWork,
		RewriteSlackBytes: int64(w.plan.checkpointBytes / 10),
		CopyChunkBytes:    max(16<<10, 2*w.plan.largest), TailBytes: w.plan.tailBytes, FeedBytes: w.plan.tailBytes,
	})
	return err
}

// before is asked before each change in the store folder. It fills the disk, and
// kills the process now and then in the middle of what it does.
func (p *process) before(operation, path string) error {
	h, w := p.host, p.host.world
	if p.cut {
		return errCutOff
	}
	asked := false
	if operation != "commit" {
		h.disk.look()
		h.changes++
		asked = h.changes == h.cutAt
	}
	staged := strings.HasSuffix(path, "stage.db")
	grows := operation == "write" || operation == "create" || operation == "mkdir" || operation == "commit" && staged
	if h.full && grows {
		return wal.ErrDiskFull
	}
	chance := w.plan.cuts
	if staged {
		chance /= 10 // a copy has many transactions
	}
	if asked || !p.committing && !w.clients.quiet && !w.regressing() && w.chance(chance) {
		p.cut = true
		if operation != "commit" || staged || strings.HasSuffix(path, ".tmp") {
			return errCutOff
		}
		p.torn = w.beginTorn(path)
	}
	h.disk.before(operation, path)
	return nil
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
	if p.cut {
		h.crash()
		h.restart(w.often(millisecond, second))
		return
	}
	p.port.flush()
	w.observe(p)
	if ended, err := p.member.Ended(); ended {
		p.end(err)
		return
	}
	p.setAlarm()
}

// setAlarm has the loop wake up when the door wants to.
func (p *process) setAlarm() {
	wait, ok := p.member.Wake()
	w := p.host.world
	if at := w.now + max(int64(wait), microsecond); ok && (p.alarm <= w.now || at < p.alarm) {
		p.alarm = at
		w.at(at, func() {
			if p.alarm == at {
				p.put(mailCall, func() {})
			}
		})
	}
}

// end is the end of a process that went by itself.
func (p *process) end(err error) {
	h, w := p.host, p.host.world
	h.note("process ends: %v", err)
	if err != nil && !(h.full && noRoom(err)) {
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

// noRoom tells whether a start or an end has a full disk as its cause.
func noRoom(err error) bool { return errors.Is(err, wal.ErrDiskFull) }

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

// abandon is the end of a process that is killed, or loses its power.
func (p *process) abandon(power bool) {
	h := p.host
	if p.member != nil {
		if _, begun := p.member.Capturing(); begun {
			h.world.checks.halves++
		}
	}
	if p.member != nil && len(p.member.Store().Dying()) > 0 {
		h.world.checks.undropped++
	}
	var last *lastCommit
	if p.era != nil {
		last = p.era.cutOff()
		h.world.network.leave(p.era, "connection reset")
		p.era = nil
	}
	p.release()
	if last != nil {
		last.judge(h)
	}
	if p.torn != nil {
		p.torn.end(h)
	}
	if power {
		h.disk.losePower()
	}
	if p.cut {
		h.left = nil // it may have been about to change stores
	}
}

// release closes the files of a process that is gone.
func (p *process) release() {
	if p.member != nil {
		p.host.left = memoryOf(p.member.Store())
		p.member.Store().Abandon() // nobody takes note of an error
		if _, err := os.Stat(p.member.Store().Path()); err != nil {
			p.host.left = nil // it was set aside a moment ago
		}
	}
	if p.opened != nil {
		p.opened.Abandon()
	}
	if p.dir != nil {
		if err := p.dir.Close(); err != nil {
			p.host.world.fail("%s cannot release its store folder: %v", p.host.name, err)
		}
	}
}
