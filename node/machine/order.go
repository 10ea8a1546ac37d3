package machine

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// subjectOrder has the subjects of a stream in the order of their names, in which those
// that a filter covers lie together as far as the filter has no wildcard. With it a
// filter costs what it finds; without it, a look at every subject. It is made, in steps,
// for large streams that are asked for such filters, and goes when they are not any more.
//
// It is derived from the subjects, and no answer depends on whether it is there.
type subjectOrder struct {
	blocks [][]orderedSubject // none is empty; in order, within and between them
	next   uint32             // the subjects with lower IDs are in it
	idle   int                // steps since it was asked last
}

type orderedSubject struct {
	name string
	id   uint32
}

const (
	// scannedSubjects is how many subjects are looked at one by one: that takes about
	// as long as to apply an entry.
	scannedSubjects = 16 << 10
	// orderBlock is the most subjects in a block; what is inserted moves half of them.
	orderBlock = 512
	// orderIdle is after how many steps without a question an order goes, a quarter of
	// an hour if they are ticks of 20 ms.
	orderIdle = 15 * 60 * 50
)

// OrderSubjects goes on with the orders that streams need: at most so many subjects are
// put into one of them. It is to be called with every tick.
func (m *Machine) OrderSubjects(most int) {
	m.ordered = slices.DeleteFunc(m.ordered, func(s *Stream) bool {
		o := s.subjects.order
		if o == nil || m.byID[s.incarnation] != s {
			return true
		}
		if o.idle++; o.idle > orderIdle {
			s.subjects.order = nil
			return true
		}
		most -= o.extend(s.subjects.list, most)
		return false
	})
}

// wantOrder begins an order if looking for a filter has become expensive.
func (s *Stream) wantOrder() {
	if t := &s.subjects; t.order == nil && len(t.list) > scannedSubjects {
		t.order = &subjectOrder{}
		s.machine.ordered = append(s.machine.ordered, s)
	}
}

// ready tells whether all subjects of a table are in its order.
func (o *subjectOrder) ready(t *subjectTable) bool { return o != nil && int(o.next) == len(t.list) }

// extend puts in subjects that are not in yet, and returns how many it looked at.
func (o *subjectOrder) extend(list []subjectState, most int) int {
	from := o.next
	for int(o.next) < len(list) && int(o.next-from) < most {
		if sub := &list[o.next]; sub.count > 0 {
			o.insert(sub.name, o.next)
		}
		o.next++
	}
	return int(o.next - from)
}

// at returns the place of the first name that is not below the given one: a block, and
// an index in it, or the end, the number of blocks and 0.
func (o *subjectOrder) at(name string) (block, index int) {
	block = sort.Search(len(o.blocks), func(i int) bool {
		b := o.blocks[i]
		return b[len(b)-1].name >= name
	})
	if block < len(o.blocks) {
		index, _ = slices.BinarySearchFunc(o.blocks[block], name, orderedSubject.compare)
	}
	return block, index
}

func (s orderedSubject) compare(name string) int { return cmp.Compare(s.name, name) }

// insert adds a name that is not there.
func (o *subjectOrder) insert(name string, id uint32) {
	block, index := o.at(name)
	switch {
	case len(o.blocks) == 0:
		o.blocks = append(o.blocks, nil)
	case block == len(o.blocks): // behind all
		block--
		index = len(o.blocks[block])
	}
	b := slices.Insert(o.blocks[block], index, orderedSubject{name, id})
	o.blocks[block] = b
	if len(b) <= orderBlock {
		return
	}
	// What comes in order fills each block.
	half := len(b) / 2
	if index == len(b)-1 {
		half = index
	}
	o.blocks[block] = b[:half:half]
	o.blocks = slices.Insert(o.blocks, block+1, slices.Clone(b[half:]))
}

// remove takes a name out.
func (o *subjectOrder) remove(name string) {
	block, index := o.at(name)
	if block == len(o.blocks) || o.blocks[block][index].name != name {
		return
	}
	if o.blocks[block] = slices.Delete(o.blocks[block], index, index+1); len(o.blocks[block]) == 0 {
		o.blocks = slices.Delete(o.blocks, block, block+1)
	}
}

// each calls yield with the subjects that a filter covers, in order, until it returns
// false. What they have in common, head, is what the filter says before its first
// wildcard.
func (o *subjectOrder) each(filter, head string, yield func(name string, id uint32) bool) {
	o.idle = 0
	all := filter[len(head):] == anyTail
	block, index := o.at(head)
	for ; block < len(o.blocks); block, index = block+1, 0 {
		for _, s := range o.blocks[block][index:] {
			if !strings.HasPrefix(s.name, head) {
				return
			}
			if (all || covers(filter, s.name)) && !yield(s.name, s.id) {
				return
			}
		}
	}
}

// literalHead is what a filter says before its first token that is a wildcard, with the
// dot; all of it if there is none.
func literalHead(filter string) string {
	for at := 0; ; {
		token, _, more := strings.Cut(filter[at:], ".")
		if token == anyToken || token == anyTail {
			return filter[:at]
		}
		if !more {
			return filter
		}
		at += len(token) + 1
	}
}
