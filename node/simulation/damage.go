package simulation

// damage makes a store that cannot be trusted: the next write of a process that
// runs fails.
func (w *world) damage(h *host) {
	p := h.process
	if p == nil || p.era == nil {
		return
	}
	h.note("disk fails")
	x := p.era
	p.put(mailWritten, func() {
		if !x.ended {
			x.broken = true
			p.member.Written(0, errBadSector)
		}
	})
}
