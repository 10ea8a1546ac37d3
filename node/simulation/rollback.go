package simulation

import (
	"slices"

	"holdfast/mesh"
	"holdfast/protocol"
)

// image is an older state of a disk.
type image struct {
	folder string
	store  protocol.StoreID
	boot   uint64
	trace  mesh.Trace
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
	h.image = &image{folder: h.disk.folder + ".image", store: meta.Identity.Store, boot: meta.Boot, trace: h.memory().trace()}
	h.disk.image(h.image.folder)
	h.note("disk is copied, store %s at boot %d", meta.Identity.Store, meta.Boot)
}

// rollBack gives an older state of the disk back. The rule is that the others
// notice: they have seen the store with a boot counter that it does not reach
// again, or have heard that it had more than it has now. So there has to have been
// another start since the image was taken, or something that the image lacks, and
// all others must have seen it and still know. What they cannot know is outside of
// what the protocol promises (docs/argument.md, section 1). For a moment the host
// hears nothing, so that it can tell all that it has.
func (w *world) rollBack(h *host) {
	if h.image == nil {
		w.takeImage(h)
		return
	}
	if len(w.hosts) == 1 || h.image.store != h.identity() {
		return
	}
	ways := slices.DeleteFunc(w.waysOf(h), func(way [2]int) bool { return way[1] != h.number })
	w.blockFor(h, ways, 500*millisecond, func() {})
	w.rollBackWithin(h, h.image, 25)
}

// rollBackWithin gives the image back as soon as all know what it lacks; it looks
// for so many times.
func (w *world) rollBackWithin(h *host, back *image, looks int) {
	if looks == 0 || h.image != back || w.clients.quiet || w.regressing() {
		return
	}
	if back.store != h.identity() || !w.mayForget(h) || !w.remembered(h) {
		w.after(20*millisecond, func() { w.rollBackWithin(h, back, looks-1) })
		return
	}
	h.crash()
	h.note("disk gives an older state back: store %s at boot %d", back.store, back.boot)
	h.disk.restore(back.folder)
	clear(h.damaged)
	h.suspect, h.left, w.regressed = back.store, nil, h
	h.image = nil
	h.restart(w.often(millisecond, 500*millisecond))
}

// remembered tells whether all others know of something that a host's image lacks,
// and of all else that the host has.
func (w *world) remembered(h *host) bool {
	now := h.memory().trace()
	for _, other := range w.hosts {
		if other == h {
			continue
		}
		p := other.process
		if p == nil || p.era == nil || p.era.stores[h.image.store].boot <= h.image.boot && !(now.Exceeds(&h.image.trace) && p.member.Heard().Reaches(now)) {
			return false
		}
	}
	return true
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
