package machine

import (
	"iter"
	"math/bits"
	"strings"
)

// subjectTable gives every subject of a stream a small number, under which the
// index knows it. A number whose last message is gone is given away again.
type subjectTable struct {
	ids  map[string]uint32
	list []subjectState // by ID
	free []uint32       // IDs without messages
	live int            // subjects with messages
	// common is a beginning, up to a dot, of the names of all subjects with messages.
	common string
	order  *subjectOrder // of the names, if there is one

	last uint32 // ID of the last lookup, a guess for the next one
}

// subjectState counts the live messages of one subject. While count is above
// zero, no live message is below first or above last; the exact flags say
// whether these two are live themselves, which is found out when asked for.
type subjectState struct {
	name        string // empty: the ID is free
	first, last uint64
	count       uint32
	firstExact  bool
	lastExact   bool
}

// fill sets the IDs of all subjects with messages.
func (t *subjectTable) fill(set idSet) {
	for i := range set {
		set[i] = ^uint64(0)
	}
	if rest := len(t.list) % 64; rest != 0 {
		set[len(set)-1] = 1<<rest - 1
	}
	for _, id := range t.free {
		set.set(id, false)
	}
}

// lookup finds a subject with live messages. It does not allocate.
func (t *subjectTable) lookup(subject []byte) (uint32, bool) {
	if int(t.last) < len(t.list) && t.list[t.last].name == string(subject) && len(subject) > 0 {
		return t.last, true
	}
	id, ok := t.ids[string(subject)]
	if ok {
		t.last = id
	}
	return id, ok
}

// nextID is the ID that the next subject gets.
func (t *subjectTable) nextID() uint32 {
	if n := len(t.free); n > 0 {
		return t.free[n-1]
	}
	return uint32(len(t.list))
}

// add interns a subject that has no ID.
func (t *subjectTable) add(subject string) uint32 {
	if t.ids == nil {
		t.ids = make(map[string]uint32)
	}
	id := t.nextID()
	if n := len(t.free); n > 0 {
		t.free = t.free[:n-1]
		t.list[id] = subjectState{name: subject}
	} else {
		t.list = append(t.list, subjectState{name: subject})
	}
	t.ids[subject] = id
	t.counted(subject)
	t.last = id
	if o := t.order; o != nil && id == o.next && int(id) == len(t.list)-1 {
		o.next++ // it keeps up
	}
	if o := t.order; o != nil && id < o.next {
		o.insert(subject, id)
	}
	return id
}

// counted takes note of one more subject with messages.
func (t *subjectTable) counted(subject string) {
	if t.live++; t.live == 1 {
		t.common = subject
	}
	for !strings.HasPrefix(subject, t.common) || !strings.HasSuffix(t.common, ".") && t.common != "" {
		t.common = t.common[:strings.LastIndexByte(strings.TrimSuffix(t.common, "."), '.')+1]
	}
}

// all tells whether a filter covers every subject with messages, as far as that shows
// without a look at them. An empty one covers all.
func (t *subjectTable) all(filter string) bool {
	if filter == "" {
		return true
	}
	head := literalHead(filter)
	return filter[len(head):] == anyTail && strings.HasPrefix(t.common, head)
}

// release frees an ID whose count fell to zero.
func (t *subjectTable) release(id uint32) {
	if t.order != nil && id < t.order.next {
		t.order.remove(t.list[id].name)
	}
	delete(t.ids, t.list[id].name)
	t.list[id] = subjectState{}
	t.free = append(t.free, id)
	t.live--
}

// rebuild derives the rest of the table from the counts in list.
func (t *subjectTable) rebuild() {
	t.ids = make(map[string]uint32, len(t.list))
	for id := range t.list {
		if sub := &t.list[id]; sub.count > 0 {
			t.ids[sub.name] = uint32(id)
			t.counted(sub.name)
		} else {
			*sub = subjectState{}
			t.free = append(t.free, uint32(id))
		}
	}
}

// stored counts a new message, which is the last of its subject.
func (s *subjectState) stored(seq uint64) {
	if s.count == 0 {
		s.first, s.firstExact = seq, true
	}
	s.last, s.lastExact = seq, true
	s.count++
}

// removed uncounts a message and keeps the bounds as tight as is free.
func (s *subjectState) removed(seq uint64) {
	s.count--
	switch {
	case seq == s.first && s.count == 1 && s.lastExact && s.last != seq:
		s.first, s.firstExact = s.last, true
	case seq == s.first:
		s.first, s.firstExact = seq+1, false
	}
	switch {
	case seq == s.last && s.count == 1 && s.firstExact && s.first != seq:
		s.last, s.lastExact = s.first, true
	case seq == s.last:
		s.last, s.lastExact = seq-1, false
	}
}

// idSet is a set of subject IDs.
type idSet []uint64

func (s idSet) has(id uint32) bool {
	w := int(id >> 6)
	return w < len(s) && s[w]&(1<<(id&63)) != 0
}

// each returns the IDs, ascending.
func (s idSet) each() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for w, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(uint32(w<<6 | bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

func (s *idSet) set(id uint32, in bool) {
	w := int(id >> 6)
	for in && w >= len(*s) {
		*s = append(*s, 0)
	}
	if in {
		(*s)[w] |= 1 << (id & 63)
	} else if w < len(*s) {
		(*s)[w] &^= 1 << (id & 63)
	}
}
