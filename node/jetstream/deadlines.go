package jetstream

import "container/heap"

// deadlines is a heap of the consumers that have something to do at some time,
// the earliest first. A consumer is in it at most once; its place is
// consumer.heapIndex, -1 for none. A deadline may be too early, never too late:
// when it comes the consumer looks at what is really due.
type deadlines []*consumer

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i, j
}
func (h *deadlines) Push(x any) {
	c := x.(*consumer)
	c.heapIndex = len(*h)
	*h = append(*h, c)
}
func (h *deadlines) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	c.heapIndex = -1
	return c
}

// wakeAt makes sure that the consumer is looked at when the time comes; 0 asks
// for nothing.
func (d *Door) wakeAt(c *consumer, at int64) {
	switch {
	case at == 0 || c.gone:
	case c.heapIndex < 0:
		c.deadline = at
		heap.Push(&d.deadlines, c)
	case at < c.deadline:
		c.deadline = at
		heap.Fix(&d.deadlines, c.heapIndex)
	}
}

// forgetDeadline takes the consumer out of the heap.
func (d *Door) forgetDeadline(c *consumer) {
	if c.heapIndex >= 0 {
		heap.Remove(&d.deadlines, c.heapIndex)
	}
}

// runDeadlines looks at the consumers whose time has come.
func (d *Door) runDeadlines(now int64) {
	for len(d.deadlines) > 0 && d.deadlines[0].deadline <= now {
		c := heap.Pop(&d.deadlines).(*consumer)
		d.consumerDue(c, now)
	}
}
