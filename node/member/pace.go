package member

// pace slows copies of the store down while messages come in: they share processors,
// disk and network with them, and a publisher waits while a joiner only takes longer.
type pace struct {
	applied int64  // bytes, at the last tick
	busy    uint64 // tick until which messages count as coming in; zero: they do not
	left    int    // bytes of copies that may still be read in this tick, while busy
}

const (
	// busyTickBytes applied within a tick are a load that copies make room for.
	busyTickBytes = 32 << 10 // 1.6 MB/s
	// busyTicks is how long after that a load counts as there.
	busyTicks = 25 // 500 ms
	// copyTickBytes is how much is read for copies in a tick beside a load.
	copyTickBytes = 1 << 20 // 52 MB/s
)

// tick looks at what was applied since the tick before.
func (p *pace) tick(now uint64, applied int64) {
	if applied-p.applied >= busyTickBytes {
		p.busy = now + busyTicks
	}
	p.applied, p.left = applied, copyTickBytes
}

// allows reports whether a piece of a copy may be read now.
func (p *pace) allows(now uint64) bool { return now >= p.busy || p.left > 0 }

func (p *pace) read(bytes int) { p.left -= bytes }

// paceCopies lets copies go on that have waited for this tick.
func (l *life) paceCopies() {
	l.pace.tick(l.now, l.holds.bytes)
	for _, x := range append([]*exporter(nil), l.exporters...) {
		l.continueExport(x)
	}
}
