package replication

// queue is a first-in-first-out sequence that keeps its memory.
type queue[T any] struct {
	items []T // items[head:] are the elements, items[:head] are zero
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

// at returns element i, 0 being the oldest.
func (q *queue[T]) at(i int) *T { return &q.items[q.head+i] }

func (q *queue[T]) push(item T) { q.items = append(q.items, item) }

// pop removes the n oldest elements. Elements move to the front of their
// memory only when at least half of it is free, so that the cost per element
// is constant.
func (q *queue[T]) pop(n int) {
	clear(q.items[q.head : q.head+n])
	q.head += n
	if q.head*2 < len(q.items) {
		return
	}
	left := copy(q.items, q.items[q.head:])
	clear(q.items[max(left, q.head):])
	q.items, q.head = q.items[:left], 0
}

// cut keeps the n oldest elements and removes the others.
func (q *queue[T]) cut(n int) {
	clear(q.items[q.head+n:])
	q.items = q.items[:q.head+n]
}
