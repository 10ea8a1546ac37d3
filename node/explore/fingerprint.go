package explore

import (
	"cmp"
	"math/bits"
	"slices"

	"holdfast/protocol"
)

// Fingerprint identifies a world up to what cannot make a difference to its
// future. Two worlds with one fingerprint are explored once.
//
// What makes no difference: the numbers that IDs happen to have (they are only
// compared for equality, and new ones are unique), the absolute values of clocks
// (only how long ago something was, up to when it is over), of the counters and
// boots in statuses (only their order within one store; new ones are higher than
// all before) and of write numbers (only their order), and words for people. See
// encode.go for each field. Names of members make a difference: ties are broken
// by name.
type Fingerprint [2]uint64

// encoder turns a world into a row of numbers.
type encoder struct {
	words []uint64
	ids   map[uint64]uint64 // an ID's number in the order of first appearance
	// counters are the places of values of which only the order matters.
	counters []counterAt
	// present are the stores that are somewhere: of others nothing will be heard.
	present []protocol.StoreID
	base    bases
}

// bases are what relative numbers of one node are relative to.
type bases struct {
	meshNow, raftNow uint64
	raftWrite        uint64 // last write of the replication core
	meshWrite        uint64
	write            uint64 // last write of the replica
}

type counterAt struct {
	place int
	owner uint64 // which store's, and which of its counters
	value uint64
}

func newEncoder() *encoder { return &encoder{ids: map[uint64]uint64{}} }

func (e *encoder) put(word uint64) { e.words = append(e.words, word) }

func (e *encoder) putBool(b bool) {
	if b {
		e.put(1)
		return
	}
	e.put(0)
}

func (e *encoder) putString(s string) {
	e.put(uint64(len(s)))
	word, n := uint64(0), 0
	for i := range len(s) {
		word = word<<8 | uint64(s[i])
		if n++; n == 8 {
			e.put(word)
			word, n = 0, 0
		}
	}
	if n > 0 {
		e.put(word)
	}
}

// putID renames an ID. Zero is "none" and stays zero.
func (e *encoder) putID(id uint64) {
	if id == 0 {
		e.put(0)
		return
	}
	number, known := e.ids[id]
	if !known {
		number = uint64(len(e.ids)) + 1
		e.ids[id] = number
	}
	e.put(number)
}

// putCounter leaves room for the rank of a store's counter. Zero stays zero.
func (e *encoder) putCounter(store protocol.StoreID, which, value uint64) {
	e.put(0)
	if value != 0 {
		e.counters = append(e.counters, counterAt{len(e.words) - 1, e.ids[uint64(store)]<<1 | which, value})
	}
}

// rank fills in the counters.
func (e *encoder) rank() {
	slices.SortFunc(e.counters, func(a, b counterAt) int {
		return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.value, b.value))
	})
	rank := uint64(0)
	for i, c := range e.counters {
		switch {
		case i == 0 || e.counters[i-1].owner != c.owner:
			rank = 1
		case e.counters[i-1].value != c.value:
			rank++
		}
		e.words[c.place] = rank
	}
}

// sum condenses the words. Two independent lanes of 64 bits: among a hundred
// million states the chance of any collision is below 10^-22.
func (e *encoder) sum() Fingerprint {
	a, b := uint64(0x9e3779b97f4a7c15), uint64(0xc2b2ae3d27d4eb4f)
	for _, word := range e.words {
		a = mix(a^word, 0xa0761d6478bd642f)
		b = mix(b+word, 0xe7037ed1a0b428db) ^ a
	}
	return Fingerprint{mix(a, 0x8ebc6af09c88c6e3), mix(b^uint64(len(e.words)), 0x589965cc75374cc3)}
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a|1<<63, b)
	return hi ^ lo ^ a
}

// fingerprint of the world. The encoder is reused.
func (w *World) fingerprint(e *encoder) Fingerprint {
	clear(e.ids)
	e.words, e.counters = e.words[:0], e.counters[:0]
	e.present = e.present[:0]
	for _, n := range w.nodes {
		for _, s := range [...]*store{n.store, n.aside, n.image} {
			if s != nil {
				e.present = append(e.present, s.identity.Store)
			}
		}
	}
	for i, n := range w.nodes {
		e.node(n)
		e.putBool(w.parked[i])
		for j := range w.nodes {
			e.putBool(w.linked[i][j])
			e.putBool(w.cut[i][j])
			e.putBool(w.held[i][j])
			e.put(uint64(len(w.mail[i][j])))
			for _, p := range w.mail[i][j] {
				e.packet(p)
			}
		}
	}
	e.judge(&w.judge)
	for op, count := range w.used {
		if limited[op] {
			e.put(uint64(count))
		}
	}
	e.rank()
	return e.sum()
}

// limited are the operations of which a search allows only so many.
var limited = [opCount]bool{
	Duplicate: true, Lose: true, Propose: true, Crash: true, Wipe: true, Return: true, Stall: true, Cut: true, Found: true, Discard: true,
	Image: true, Rollback: true, Timeout: true, Beat: true, Compact: true, DeliverAt: true, Hold: true, Park: true,
}

func (e *encoder) judge(j *judge) {
	e.putBool(j.returned)
	e.put(uint64(len(j.acked)))
	for i := range j.acked {
		a := &j.acked[i]
		e.put(a.entry.Index)
		e.put(a.entry.Term)
		e.lineage(a.entry.Lineage)
		e.lineage(a.lineage)
		e.putBool(a.lost)
	}
	e.put(uint64(len(j.founds)))
	for _, f := range j.founds {
		e.lineage(f.lineage)
		e.putBool(f.operator)
		e.putBool(f.acked)
	}
	e.put(uint64(len(j.operators)))
	for _, a := range j.operators {
		e.putID(uint64(a.ID))
	}
	e.put(uint64(len(j.faults)))
}

func (e *encoder) lineage(l protocol.Lineage) {
	e.put(l.Epoch)
	e.putID(uint64(l.ID))
}
