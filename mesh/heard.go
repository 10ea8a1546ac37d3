package mesh

import (
	"cmp"
	"slices"

	"holdfast/protocol"
)

// Trace is how far a process was heard to be with its store. Everything in a
// status is durable before it is told, so a later process on the same store has
// at least that; one that has less runs on an older state of the disk.
//
// Promise and Term never fall in a store. Its log may: a leader takes back what
// was never committed. But within the term in which the last entry was written
// nothing is taken back, so Index is the last index if its entry has the present
// term, and zero otherwise. (Term, Index) never falls.
type Trace struct {
	Store protocol.StoreID
	// Boot and Counter are those of the newest status that the trace is made of.
	Boot, Counter uint64
	Promise       uint64 // epoch
	Term, Index   uint64
}

// Trace is what the status adds to what is remembered of its store.
func (s *Status) Trace() Trace {
	t := Trace{Store: s.Store, Boot: s.Boot, Counter: s.Counter, Promise: s.Promise.Epoch, Term: s.Term}
	if s.LastTerm == s.Term {
		t.Index = s.LastIndex
	}
	return t
}

// Exceeds reports whether something in t is above what o has of it.
func (t *Trace) Exceeds(o *Trace) bool {
	return t.Promise > o.Promise || cmp.Or(cmp.Compare(t.Term, o.Term), cmp.Compare(t.Index, o.Index)) > 0
}

// add makes t the least that has everything that t and o have.
func (t *Trace) add(o Trace) {
	t.Store, t.Promise = o.Store, max(t.Promise, o.Promise)
	if cmp.Or(cmp.Compare(o.Boot, t.Boot), cmp.Compare(o.Counter, t.Counter)) > 0 {
		t.Boot, t.Counter = o.Boot, o.Counter
	}
	if cmp.Or(cmp.Compare(o.Term, t.Term), cmp.Compare(o.Index, t.Index)) > 0 {
		t.Term, t.Index = o.Term, o.Index
	}
}

// maxRecollections bounds the stores of all members that a process remembers.
const maxRecollections = 256

// Heard is what one process has heard of the stores of the others, whichever
// store of its own it ran on meanwhile. The zero value is empty. It is lost with
// the process: who forgets accepts what it would have refused.
type Heard struct {
	stores []recollection // the one heard of last at the end
}

// recollection is what was heard of one store.
type recollection struct {
	// latest is of the newest process on the store, before of all earlier ones:
	// what the newest one had when it began, at least. before.Boot < latest.Boot.
	latest, before Trace
}

// hear takes in a status, in whatever order they come.
func (h *Heard) hear(s *Status) {
	told := s.Trace()
	i := slices.IndexFunc(h.stores, func(r recollection) bool { return r.latest.Store == s.Store })
	if i < 0 {
		if len(h.stores) == maxRecollections {
			h.stores = slices.Delete(h.stores, 0, 1)
		}
		h.stores = append(h.stores, recollection{latest: told})
		return
	}
	r := &h.stores[i]
	switch {
	case told.Boot > r.latest.Boot:
		r.before.add(r.latest)
		r.latest = told
	case told.Boot < r.latest.Boot:
		r.before.add(told)
	default:
		r.latest.add(told)
	}
	if last := len(h.stores) - 1; i < last {
		again := *r
		h.stores = append(slices.Delete(h.stores, i, i+1), again)
	}
}

// of returns what is remembered of a store; zero traces when nothing is.
func (h *Heard) of(store protocol.StoreID) recollection {
	for i := range h.stores {
		if h.stores[i].latest.Store == store {
			return h.stores[i]
		}
	}
	return recollection{}
}

// Reaches reports whether as much is remembered of a store as t has.
func (h *Heard) Reaches(t Trace) bool {
	r := h.of(t.Store)
	r.before.add(r.latest)
	return !t.Exceeds(&r.before)
}

// refutes reports whether an earlier process on the same store had more than s has.
func (h *Heard) refutes(s *Status) bool {
	r := h.of(s.Store)
	own := s.Trace()
	if s.Boot > r.latest.Boot {
		r.before.add(r.latest)
	}
	return s.Boot >= r.latest.Boot && r.before.Exceeds(&own)
}

// recall takes in a status of a member, and stops to heed it when an earlier
// process on the same store had more.
func (c *Core) recall(p *peer, s *Status) {
	c.heard.hear(s)
	r := c.heard.of(s.Store)
	p.doubted = s.Boot == r.latest.Boot && s.Counter < r.latest.Counter
	if p.refuted || c.Credible(s) {
		return
	}
	own := s.Trace()
	p.forget()
	p.connected, p.refuted, p.lostAt = false, true, c.now
	c.event(Warning, "member not heeded: its store is an older state of what it was, and has to be set aside there", "member", p.name, "store", s.Store,
		"boot", s.Boot, "term", own.Term, "index", own.Index, "promise", own.Promise,
		"heard_boot", r.before.Boot, "heard_term", r.before.Term, "heard_index", r.before.Index, "heard_promise", r.before.Promise)
}

// remind returns what the member has to know of what was heard of its store: what
// earlier processes had, or, when its last word was older than one before, what
// that was.
func (c *Core) remind(p *peer) Trace {
	r := c.heard.of(p.status.Store)
	if p.doubted {
		return r.latest
	}
	return r.before
}

// reminded judges what another member remembers of this store. Only this store
// itself knows with what it began, and what it said last: so words that were
// long on their way prove nothing here.
func (c *Core) reminded(p *peer, t *Trace) {
	own := c.local.Trace()
	earlier := t.Boot < own.Boot && t.Exceeds(&c.began)
	same := t.Boot == own.Boot && t.Counter > own.Counter
	if c.off.remember || t.Store != own.Store || !earlier && !same {
		return
	}
	c.effects.Regressed = "an older state of this store was put back: " + p.name + " remembers more of it"
	c.finished = true
	c.event(Warning, "this store is an older state of what it was: another member remembers more of it", "by", p.name, "store", own.Store, "boot", own.Boot,
		"term", c.began.Term, "index", c.began.Index, "promise", c.began.Promise,
		"heard_boot", t.Boot, "heard_term", t.Term, "heard_index", t.Index, "heard_promise", t.Promise)
}

// Credible reports whether nothing is known that speaks against a status: that an
// earlier process on the same store had more.
func (c *Core) Credible(s *Status) bool { return c.off.remember || !c.heard.refutes(s) }

// Heeds reports whether messages of the member's present store count for
// anything: not when it is known to be an older state of itself.
func (c *Core) Heeds(name string) bool {
	p := c.peer(name)
	return p == nil || !p.refuted
}
