package machine

// timer says when an unanswered message is to be delivered again.
type timer struct {
	due   int64
	order uint64 // of the delivery that it belongs to
	seq   uint64
}

func (t *timer) before(other *timer) bool {
	return t.due < other.due || (t.due == other.due && t.order < other.order)
}

// timerHeap orders timers by due and then order. Setting a timer that is due
// after all others, which is the common case, moves nothing. A timer whose
// message was answered or delivered again meanwhile is stale; it is dropped
// when it comes to the top, or with all other stale ones when they are many.
type timerHeap struct {
	items []timer
}

func (h *timerHeap) push(t timer) {
	h.items = append(h.items, t)
	h.up(len(h.items) - 1)
}

func (h *timerHeap) pop() {
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items = h.items[:last]
	h.down(0)
}

func (h *timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.items[i].before(&h.items[parent]) {
			return
		}
		h.items[i], h.items[parent] = h.items[parent], h.items[i]
		i = parent
	}
}

func (h *timerHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.items[child+1].before(&h.items[child]) {
			child++
		}
		if !h.items[child].before(&h.items[i]) {
			return
		}
		h.items[i], h.items[child] = h.items[child], h.items[i]
		i = child
	}
}

// compact drops the timers that are not current.
func (h *timerHeap) compact(current func(t *timer) bool) {
	kept := h.items[:0]
	if cap(kept) > maxIdlePending {
		kept = nil
	}
	for i := range h.items {
		if current(&h.items[i]) {
			kept = append(kept, h.items[i])
		}
	}
	h.items = kept
	for i := len(kept)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}
