package machine

// ordered is an element of a dueQueue: before is a strict order.
type ordered[T any] interface{ before(T) bool }

// dueQueue is a binary heap: the element before all others is the first.
type dueQueue[T ordered[T]] []T

func (q *dueQueue[T]) push(p T) {
	h := append(*q, p)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*q = h
}

// pop removes the first element; there must be one.
func (q *dueQueue[T]) pop() {
	var none T
	h := *q
	last := len(h) - 1
	h[0], h[last] = h[last], none
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*q = h
}
