package simulation

import "holdfast/replication"

// ambush is a moment at which a crash is most likely to break something. Random
// crashes rarely hit the instant between an answer and the disk; an ambush waits
// for it.
type ambush int

const (
	noAmbush    ambush = iota
	uponAck            // a publish was acknowledged
	uponVote           // a vote was granted
	uponLeading        // a member leads
	uponWrite          // a write was queued
	uponCopy           // a piece of a store is on its way
	uponPromise        // the membership cores talk
	ambushes
)

// layAmbush waits for one of the moments.
func (w *world) layAmbush(*host) {
	w.waiting = ambush(1 + w.random.IntN(int(ambushes)-1))
	if w.chance(0.4) {
		w.waiting = uponAck
	}
	w.victims = w.random.IntN(5)
}

// spring kills when it is the moment that is waited for: the member at which it
// came, or others with it.
func (w *world) spring(moment ambush, at *host) {
	if w.waiting != moment || w.clients.quiet || w.regressing() || w.chance(0.5) {
		return
	}
	w.waiting = noAmbush
	at.note("ambush %d", moment)
	w.after(w.often(0, millisecond), func() {
		for _, h := range w.hosts {
			if w.victims == 0 && h != at || w.victims == 1 && h == at || w.victims == 2 && w.chance(0.4) {
				continue
			}
			h.crash()
			// Some come back at once, and others only when those have gone on.
			if w.chance(0.5) {
				h.restart(w.between(millisecond, 20*millisecond))
			} else {
				h.restart(w.between(second, 5*second))
			}
		}
	})
}

// watchFrame looks for moments in what is sent.
func (w *world) watchFrame(from *host, kind byte, body []byte) {
	if kind == frameStaging && w.plan.breaks > 0 && !w.clients.quiet && w.chance(w.plan.breaks) {
		w.after(w.often(0, 5*millisecond), func() { w.breakLinks(from) }) // in the middle of a copy
	}
	switch {
	case w.waiting == uponPromise && kind == frameMembership:
		w.spring(uponPromise, from)
	case w.waiting == uponCopy && kind == frameStaging:
		w.spring(uponCopy, from)
	case w.waiting == uponVote && kind == frameRaft:
		if m, err := replication.DecodeMessage(body); err == nil && m.Type == replication.VoteReply && !m.Reject {
			w.spring(uponVote, from)
		}
	}
}
