package simulation

import "holdfast/protocol"

// image is an older state of a disk.
type image struct {
	folder string
	store  protocol.StoreID
	boot   uint64
}

// takeImage copies a disk, as a snapshot of a virtual machine or a backup does.
// The process may run: between two transactions the files are what a crash would
// leave.
func (w *world) takeImage(h *host) {
	p := h.process
	if p == nil || p.era == nil || p.cut || !h.sound() {
		return
	}
	meta := p.member.Store().Meta()
	h.image = &image{folder: h.disk.folder + ".image", store: meta.Identity.Store, boot: meta.Boot}
	h.disk.image(h.image.folder)
	h.note("disk is copied, store %s at boot %d", meta.Identity.Store, meta.Boot)
}

// rollBack gives an older state of the disk back. The rule is that the others
// notice, because they have seen the store with a boot counter that it does not
// reach again (DESIGN.md, processes and connections). So there has to have been
// another start since the image was taken, and all others must have seen it and
// still know. What they cannot know is outside of what the protocol promises
// (docs/argument.md, section 1).
func (w *world) rollBack(h *host) {
	if len(w.hosts) == 1 || h.image == nil || h.image.store != h.identity() || !w.mayForget(h) {
		return
	}
	for _, other := range w.hosts {
		if other != h && (other.process == nil || other.process.era == nil || other.process.era.stores[h.image.store].boot <= h.image.boot) {
			return
		}
	}
	h.crash()
	h.note("disk gives an older state back: store %s at boot %d", h.image.store, h.image.boot)
	h.disk.restore(h.image.folder)
	clear(h.damaged)
	h.suspect, h.left, w.regressed = h.image.store, nil, h
	h.image = nil
	h.restart(w.often(millisecond, 500*millisecond))
}

// regressing tells whether a disk that went back has not been noticed yet. Until
// then the others must not forget what they have seen of it.
func (w *world) regressing() bool {
	if h := w.regressed; h != nil && (h.process == nil || h.identity() == h.suspect) {
		return true
	}
	w.regressed = nil
	return false
}
