package machine

import "sort"

// maxIdlePending bounds the memory that an empty list keeps for the next messages.
const maxIdlePending = 16_384

// delivered is a message that a consumer was given and has not answered.
type delivered struct {
	seq   uint64
	first uint64 // consumer sequence of the first delivery; 0: answered, the place is free
	due   int64  // stamp at which it is to be delivered again
	order uint64 // tells deliveries of the same due apart; unique per consumer
	tries uint32 // deliveries so far, without those that were returned
}

// pendingList holds the unanswered messages of a consumer in the order of the
// stream, which is the order of their first deliveries. Appending, and
// answering in order, cost the same for any length.
type pendingList struct {
	items []delivered // ascending by seq; neither the first nor the last is free
	head  int         // items before it are gone
	count int         // not answered
}

// at returns the message with that sequence, or nil. The pointer is good until
// the next append or remove.
func (p *pendingList) at(seq uint64) *delivered {
	items := p.items[p.head:]
	if len(items) == 0 || seq < items[0].seq || seq > items[len(items)-1].seq {
		return nil
	}
	// Sequences ascend, so none is further in than its distance to the first.
	guess := min(int(min(seq-items[0].seq, uint64(len(items)))), len(items)-1)
	if items[guess].seq != seq {
		guess = sort.Search(guess, func(i int) bool { return items[i].seq >= seq })
	}
	if d := &items[guess]; d.seq == seq && d.first > 0 {
		return d
	}
	return nil
}

// append adds a message behind all others.
func (p *pendingList) append(d delivered) {
	if free := len(p.items) - p.count; len(p.items) == cap(p.items) && free > p.count {
		p.compact()
	}
	p.items = append(p.items, d)
	p.count++
}

// remove frees the place of a message that at returned.
func (p *pendingList) remove(d *delivered) {
	d.first = 0
	p.count--
	if p.count == 0 {
		p.head = 0
		if p.items = p.items[:0]; cap(p.items) > maxIdlePending {
			p.items = nil
		}
		return
	}
	for p.items[p.head].first == 0 {
		p.head++
	}
	for p.items[len(p.items)-1].first == 0 {
		p.items = p.items[:len(p.items)-1]
	}
}

// compact moves what is not answered to the front.
func (p *pendingList) compact() {
	kept := p.items[:0]
	for i := p.head; i < len(p.items); i++ {
		if p.items[i].first > 0 {
			kept = append(kept, p.items[i])
		}
	}
	p.items, p.head = kept, 0
}

// after returns the first message above seq, or nil.
func (p *pendingList) after(seq uint64) *delivered {
	items := p.items[p.head:]
	if len(items) > 0 && items[0].seq > seq {
		return &items[0]
	}
	at := sort.Search(len(items), func(i int) bool { return items[i].seq > seq })
	for ; at < len(items); at++ {
		if items[at].first > 0 {
			return &items[at]
		}
	}
	return nil
}

// each calls f for every message in order. f must not change the list.
func (p *pendingList) each(f func(d *delivered)) {
	for i := p.head; i < len(p.items); i++ {
		if p.items[i].first > 0 {
			f(&p.items[i])
		}
	}
}
