package member

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/node/machine"
)

const hour = int64(time.Hour)

// machines are clocks of members on machines whose wall clocks can be wrong.
type machines struct {
	real   int64 // the true time, which nobody knows
	skew   []int64
	clocks []*clock
}

const trueTime = int64(1_800_000_000_000_000_000)

func newMachines(skew ...int64) *machines {
	m := &machines{real: trueTime, skew: skew}
	for i := range skew {
		m.clocks = append(m.clocks, nil)
		m.restart(i)
	}
	return m
}

// restart gives a member a clock that knows nothing.
func (m *machines) restart(i int) {
	started := m.real
	m.clocks[i] = newClock(&Options{
		Name: fmt.Sprint(i), Members: make([]string, len(m.skew)),
		Now:     func() int64 { return m.real + m.skew[i] },
		Elapsed: func() int64 { return m.real - started },
	})
}

// report lets everybody hear of everybody; leader -1: nobody leads.
func (m *machines) report(leader int) {
	for from := range m.clocks {
		for to, c := range m.clocks {
			if from != to {
				c.adopt(fmt.Sprint(from), m.clocks[from].report(), from == leader && to != leader)
			}
		}
	}
}

// pass lets time pass under a leader, with a report every second.
func (m *machines) pass(d time.Duration, leader int) (stepped time.Duration) {
	for end := m.real + int64(d); m.real < end; {
		m.real += min(int64(time.Second), end-m.real)
		for i, c := range m.clocks {
			stepped += c.tick(i == leader)
		}
		m.report(leader)
	}
	return stepped
}

// near fails unless two times differ by less than a bound.
func near(t *testing.T, what string, got, want, bound int64) {
	t.Helper()
	if got-want > bound || want-got > bound {
		t.Errorf("%s: %v, want %v", what, time.Duration(got-trueTime), time.Duration(want-trueTime))
	}
}

func TestClockOfTheLogIsTheMedianWhenItBegins(t *testing.T) {
	for _, skew := range [][]int64{{5 * hour, 0, 0}, {-5 * hour, 0, 0}, {5 * hour, 0, -5 * hour}} {
		m := newMachines(skew...)
		m.report(-1)
		m.clocks[0].begin(0)
		near(t, fmt.Sprint(skew), m.clocks[0].now(), m.real, 0)
	}
}

// The clock goes on from leader to leader, whatever their own clocks show.
func TestClockGoesOnUnderAnotherLeader(t *testing.T) {
	m := newMachines(0, 9*hour, -9*hour)
	m.report(-1)
	m.clocks[0].begin(0)
	m.pass(10*time.Second, 0)
	for leader := range 3 {
		before := m.clocks[leader].now()
		m.clocks[leader].begin(before)
		m.pass(time.Minute, leader)
		near(t, "after a minute", m.clocks[leader].now(), before+int64(time.Minute), 0)
	}
}

// A leader whose stamps were far ahead leaves them to one with the right time:
// time goes on, a little slower, until the two agree.
func TestClockAheadDoesNotStopTime(t *testing.T) {
	m := newMachines(0, 0, 0)
	m.report(-1)
	c := m.clocks[0]
	c.begin(m.real + hour)
	near(t, "it begins", c.now(), m.real+hour, 0)
	before := c.now()
	m.pass(20*time.Second, 0)
	near(t, "after 20 s", c.now(), before+19*int64(time.Second), 1000)
	m.pass(21*time.Hour, 0)
	near(t, "after a day", c.now(), m.real, 1000)
}

// Clocks that jump change the rate, and only a little.
func TestClockDoesNotJumpWithTheClocks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	m := newMachines(0, 0, 0, 0, 0)
	m.report(-1)
	m.clocks[0].begin(0)
	leader := 0
	for range 500 {
		for i := range m.skew {
			if random.IntN(4) == 0 {
				m.skew[i] = random.Int64N(22*hour) - 11*hour
			}
		}
		if random.IntN(3) == 0 {
			m.restart((leader + 1 + random.IntN(4)) % 5) // not all at once
			m.report(leader)
		}
		before := m.clocks[leader].now()
		if random.IntN(3) == 0 {
			leader = random.IntN(5)
			m.clocks[leader].begin(before)
			near(t, "the next leader begins", m.clocks[leader].now(), before, maxHeard*int64(time.Second)/slew)
			before = m.clocks[leader].now()
		}
		passed := time.Duration(random.Int64N(int64(2 * time.Minute)))
		if stepped := m.pass(passed, leader); stepped != 0 {
			t.Fatalf("stepped by %v", stepped)
		}
		near(t, "duration", m.clocks[leader].now(), before+int64(passed), int64(passed)/slew+1000)
	}
}

// Machines without a clock of their own start with an old date and are told the
// right one later. The time in which they were down has then passed.
func TestClockStepsWhenTheDateComes(t *testing.T) {
	m := newMachines(-300*hour, -300*hour, -300*hour)
	newest := m.real - 7*hour // the stamp before all went down
	m.report(-1)
	m.clocks[1].begin(newest)
	m.pass(time.Minute, 1)
	near(t, "with the old date", m.clocks[1].now(), newest+int64(time.Minute)*19/20, 1000)
	m.skew = []int64{0, 0, -300 * hour}
	m.pass(time.Second, 1)
	m.report(1)
	m.pass(time.Second, 1)
	near(t, "with the right date", m.clocks[1].now(), m.real, 1000)
	m.skew = []int64{7 * hour, 7 * hour, 0}
	if stepped := m.pass(time.Minute, 1); stepped != 0 {
		t.Errorf("a clock that is settled stepped by %v", stepped)
	}
	m.skew = []int64{50 * hour, 50 * hour, 0}
	m.pass(2*time.Second, 1)
	near(t, "days behind", m.clocks[1].now(), m.real+50*hour, 1000)
}

// A report that was on its way for long does not hold the clock back.
func TestClockOfALateReport(t *testing.T) {
	m := newMachines(0, 0)
	m.report(-1)
	m.clocks[0].begin(0)
	m.pass(10*time.Second, 0)
	late := m.clocks[0].report()
	m.pass(2*time.Second, 0)
	m.real += 4 * int64(time.Second)
	m.clocks[1].adopt("0", late, true)
	near(t, "after the late report", m.clocks[1].now(), m.clocks[0].now(), 0)
}

// What waited for a process that was held up is old, however few reports came
// before; the clock goes on without it.
func TestClockOfAPausedFollowerGoesOn(t *testing.T) {
	m := newMachines(0, 0, 0)
	m.report(-1)
	m.clocks[0].begin(0)
	m.pass(3*time.Second, 0)
	m.real += int64(time.Second) / 10
	waited := m.clocks[0].report()
	m.real += 5 * int64(time.Second)
	c := m.clocks[1]
	c.leader, c.heard = "", nil // it had not heard that this one leads
	c.adopt("0", waited, true)
	near(t, "after the pause", c.now(), m.clocks[0].now(), 1000)
	before := c.clocks["0"]
	c.tick(false)
	c.adopt("0", m.clocks[0].report(), true)
	near(t, "after the next report", c.now(), m.clocks[0].now(), 1000)
	if c.clocks["0"] == before {
		t.Error("the next report does not count")
	}
}

// A process that was held up finds the clock as far on as the others.
func TestClockOfAPausedLeaderGoesOn(t *testing.T) {
	m := newMachines(3*hour, 0, 0)
	m.report(-1)
	c := m.clocks[0]
	c.begin(m.real - 100)
	m.real += int64(time.Minute)
	near(t, "after the pause", c.now(), m.real, 1000)
}

func TestClockOfOneMemberIsItsOwn(t *testing.T) {
	m := newMachines(2 * hour)
	c := m.clocks[0]
	c.begin(5)
	near(t, "it begins", c.now(), m.real+2*hour, 0)
	m.skew[0] = -2 * hour
	m.pass(20*time.Second, 0)
	near(t, "set back", c.now(), m.real+2*hour-int64(time.Second), int64(time.Second)/10)
}

func FuzzDecodeClock(f *testing.F) {
	f.Add(clockReport{Wall: trueTime, Time: trueTime + 1, Known: true, Settled: true}.encode())
	f.Add(clockReport{Wall: trueTime}.encode())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeClock(body)
		if err == nil && string(r.encode()) != string(body) {
			t.Fatalf("%+v encodes to other bytes", r)
		}
	})
}

// A clock that shows the year 2200 stands still: a stamp that the state machine
// refuses would be in the log for ever.
func TestClockEnds(t *testing.T) {
	m := newMachines(0)
	m.skew[0] = maxClock - trueTime + 100*hour
	c := m.clocks[0]
	c.begin(0)
	for range 50 {
		m.real += 10 * 365 * 24 * hour
		c.tick(true)
	}
	if now := c.now(); now != maxClock || now > machine.MaxStamp-20*365*24*hour {
		t.Errorf("it shows %d", now)
	}
	if _, err := decodeClock(c.report().encode()); err != nil {
		t.Error(err)
	}
	// What was stamped later counts: no message goes back in time.
	if c.begin(maxClock + 5); c.now() < maxClock+5 {
		t.Errorf("it is behind a stamp: %d", c.now())
	}
}
