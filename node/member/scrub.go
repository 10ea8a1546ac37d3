package member

import "time"

// A store is read from its beginning to its end again and again, so that what was
// damaged while nobody asked for it is found while the other members still have
// it. What is found takes the one way of all damage: the store is set aside, and
// the member heals from the others.
const (
	// scrubStep bounds the bytes that are read at once.
	scrubStep = 1 << 20
	// scrubRoundTicks is the least time from the beginning of one round to that of
	// the next: small stores need not be read all the time.
	scrubRoundTicks = uint64(10 * time.Second / TickInterval)
)

// scrub is how far the present round is.
type scrub struct {
	round interface {
		Next(maxBytes int) (bytes int, done bool, err error)
	} // nil between rounds
	began  uint64 // tick
	due    uint64 // tick of the next step
	busy   bool
	bytes  uint64 // checked in this life
	rounds uint64 // finished in this life
}

// scrubOn begins the next step when it is due.
func (l *life) scrubOn() {
	s, rate := &l.scrub, l.options.ScrubBytesPerSecond
	if rate == 0 || s.busy || l.now < s.due {
		return
	}
	if s.round == nil {
		s.round, s.began = l.store.Scrub(), l.now
	}
	round := s.round
	var bytes int
	var done bool
	var err error
	s.busy = true
	l.environment.Background(
		func() { bytes, done, err = round.Next(min(scrubStep, rate/5)) },
		func() { l.scrubbed(bytes, done, err) },
	)
}

func (l *life) scrubbed(bytes int, done bool, err error) {
	s := &l.scrub
	s.busy = false
	s.bytes += uint64(bytes)
	if err != nil {
		if l.ended == living {
			l.logger.Error("the background check of the store found damage", "cause", err)
			l.storeFailed(err)
		}
		return
	}
	s.due = l.now + uint64(bytes)*uint64(time.Second/TickInterval)/uint64(l.options.ScrubBytesPerSecond)
	if done {
		s.round, s.due = nil, max(s.due, s.began+scrubRoundTicks)
		s.rounds++
	}
}

// Scrubbed is how many bytes the background check has read since the store was
// opened, and how many rounds over the whole store it has finished.
func (m *Member) Scrubbed() (bytes, rounds uint64) { return m.life.scrub.bytes, m.life.scrub.rounds }
