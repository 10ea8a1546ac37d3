package member

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"holdfast/protocol"
)

const (
	// clockTicks is the pause between two reports of one's clock to the others.
	clockTicks = 50 // 1 s
	// clockTrust is for how long a report counts after it came.
	clockTrust = int64(time.Minute)
	// slew: the log's clock goes by at most a twentieth faster or slower than time
	// passes, while it draws near to the members' clocks.
	slew = 20
	// maxBehind is by how much the log's clock may be behind those of the members
	// before it steps forward, which cuts short whatever waits for a time. A
	// difference like this comes from machines that start without a clock of their
	// own and are told the date later.
	maxBehind = int64(24 * time.Hour)
)

// clock is what a member takes for the time of the log: the time with which a
// leader stamps entries. See the package's documentation for why it is neither
// the wall clock of the leader nor independent of the wall clocks.
type clock struct {
	members int          // |M|
	wall    func() int64 // nanoseconds since 1970; may be wrong, and jump
	elapsed func() int64 // nanoseconds since some moment; neither wrong nor jumps

	// known: the log's clock showed time when elapsed showed at; gap is how far
	// the members' clocks were ahead of it then, zero if that is not known.
	known         bool
	time, at, gap int64
	// settled: time was once taken from the members' clocks. If not, it was
	// begun from the newest stamp alone, because they were behind that or could
	// not be known, and it steps forward once they turn out to be ahead.
	settled bool

	clocks map[string]reading // of other members, by name
	ticked int64              // elapsed at the last tick

	// heard is by how much the log's clock was ahead of elapsed in the newest
	// reports of leader. A report that took long to come shows less than one that
	// came at once.
	leader string
	heard  []int64
}

// late: this process did not run for so long, and what comes now may have waited
// for it.
const late = int64(10 * TickInterval)

// maxHeard is how many reports of a leader are compared.
const maxHeard = 4

// reading is another member's wall clock.
type reading struct {
	offset int64 // it is this far ahead of elapsed
	at     int64 // when it came
}

func newClock(o *Options) *clock {
	return &clock{
		members: len(o.Members),
		wall:    func() int64 { return min(max(o.Now(), 0), maxClock) },
		elapsed: o.Elapsed,
		clocks:  map[string]reading{},
	}
}

// now is the time of the log in nanoseconds since 1970, as far as this member
// knows. Between begin and the next adopt it never goes back.
func (c *clock) now() int64 {
	if !c.known {
		return c.wall()
	}
	passed := c.elapsed() - c.at
	return min(c.time+passed+min(max(c.gap, -passed/slew), passed/slew), max(c.time, maxClock))
}

// target is the median of the members' wall clocks, the lower one of two; false
// while fewer than a majority of them are known.
func (c *clock) target() (int64, bool) {
	now := c.elapsed()
	shown := make([]int64, 1, 8)
	shown[0] = c.wall()
	for _, r := range c.clocks { // the order does not show: they are sorted
		if now-r.at <= clockTrust {
			shown = append(shown, r.offset+now)
		}
	}
	slices.Sort(shown)
	return shown[(len(shown)-1)/2], len(shown) > c.members/2
}

// begin is called when this member begins to lead and no stamp may be below
// floor. It returns by how much the clock is ahead of the members' clocks, and
// whether it had to be set because nobody had told of it.
func (c *clock) begin(floor int64) (ahead time.Duration, set bool) {
	target, trusted := c.target()
	if set = !c.known; set {
		c.known, c.at, c.gap, c.settled = true, c.elapsed(), 0, trusted && target >= floor
		switch {
		case trusted:
			c.time = target
		case floor > 0:
			c.time = floor
		default:
			c.time = c.wall()
		}
	}
	c.rebase(max(c.now(), floor))
	if trusted {
		c.gap = target - c.time
	}
	return time.Duration(-c.gap), set
}

func (c *clock) rebase(now int64) { c.time, c.at = now, c.elapsed() }

// tick draws the clock near to the members' clocks. It returns by how much it
// stepped forward, which is zero nearly always, and unless this member leads.
func (c *clock) tick(leads bool) (step time.Duration) {
	c.ticked = c.elapsed()
	if !c.known {
		return 0
	}
	c.rebase(c.now())
	target, trusted := c.target()
	if !trusted {
		c.gap = 0
		return 0
	}
	c.gap = target - c.time
	if leads && (c.gap > maxBehind || c.gap > 0 && !c.settled) {
		step = time.Duration(c.gap)
		c.time, c.gap = target, 0
	}
	c.settled = c.settled || step > 0
	return step
}

// adopt takes note of what another member reports. Its idea of the time of the
// log is taken over when it leads, or when there is none here.
func (c *clock) adopt(from string, r clockReport, leads bool) {
	now := c.elapsed()
	if c.known && c.ticked > 0 && now-c.ticked > late {
		return // the next one tells more
	}
	c.clocks[from] = reading{offset: r.Wall - now, at: now}
	if !r.Known || c.known && !leads {
		return
	}
	if from != c.leader {
		c.leader, c.heard = from, nil
	}
	if len(c.heard) == maxHeard {
		c.heard = c.heard[1:]
	}
	c.heard = append(c.heard, r.Time-now)
	c.known, c.time, c.at, c.gap, c.settled = true, now+slices.Max(c.heard), now, 0, r.Settled
}

// report is what this member tells the others.
func (c *clock) report() clockReport {
	r := clockReport{Wall: c.wall(), Known: c.known, Settled: c.settled}
	if c.known {
		r.Time = c.now()
	}
	return r
}

// clockReport is the body of a frameClock.
type clockReport struct {
	Wall           int64 // the sender's wall clock
	Time           int64 // the time of the log; zero unless Known
	Known, Settled bool
}

const clockVersion byte = 1

// encode returns the frame body: version, flags, two times.
func (r clockReport) encode() []byte {
	flags := byte(0)
	if r.Known {
		flags |= 1
	}
	if r.Settled {
		flags |= 2
	}
	body := binary.LittleEndian.AppendUint64([]byte{clockVersion, flags}, uint64(r.Wall))
	return binary.LittleEndian.AppendUint64(body, uint64(r.Time))
}

// maxClock bounds what a clock may show (the year 2200): stamps must not reach
// machine.MaxStamp, whatever a machine takes for the time. A clock that has come
// there stands still, and messages are stamped a nanosecond apart.
const maxClock = int64(7_258_118_400_000_000_000)

func decodeClock(body []byte) (clockReport, error) {
	r := protocol.Reader{Rest: body}
	version, flags := r.Byte(), r.Byte()
	report := clockReport{Wall: int64(r.Uint64()), Time: int64(r.Uint64()), Known: flags&1 != 0, Settled: flags&2 != 0}
	sane := flags < 4 && report.Wall >= 0 && report.Wall <= maxClock && report.Time >= 0 && report.Time <= maxClock &&
		(report.Known || !report.Settled && report.Time == 0)
	if r.Failed() || len(r.Rest) > 0 || version != clockVersion || !sane {
		return clockReport{}, errors.New("decode clock report: malformed")
	}
	return report, nil
}
