package replication

// reads are the requests of clients that want to see every write acknowledged
// before. A round of heartbeats proves that this leader still led when the
// round began (thesis, section 6.4). One round is under way at a time; what is
// asked meanwhile shares the next.
type reads struct {
	waiting []uint64 // contexts for the next round
	asked   []uint64 // contexts of the round under way
	index   uint64   // the commit index when that round began
	round   uint64   // its number; the last one's when none is under way
}

// ReadIndex asks when a read may be served. The answer comes in Effects.Reads,
// once a majority has confirmed that this is the leader, or in
// Effects.ReadsDropped when it is not or no longer. A leader that is not ready
// waits until it is.
//
// The index is the commit index, not the release index: after a change of
// leaders a batch may be acknowledged that the new leader does not yet know to
// be stored by enough members.
func (c *Core) ReadIndex(context uint64) {
	if c.role != Leader {
		c.out.ReadsDropped = append(c.out.ReadsDropped, context)
		return
	}
	c.lead.reads.waiting = append(c.lead.reads.waiting, context)
}

// startReads begins a round if one is wanted and none is under way.
func (c *Core) startReads() {
	r := &c.lead.reads
	if len(r.waiting) == 0 || len(r.asked) > 0 || !c.ready() {
		return
	}
	r.asked, r.waiting = r.waiting, r.asked[:0]
	r.index = c.state.Commit
	r.round++
	for _, p := range c.lead.peers {
		if !p.learner {
			c.heartbeat(p)
		}
	}
	c.confirmReads()
}

// confirmReads answers the round under way once a majority has confirmed it.
func (c *Core) confirmReads() {
	r := &c.lead.reads
	if len(r.asked) == 0 || !c.quorum(func(p *peer) bool { return p.round >= r.round }) {
		return
	}
	for _, context := range r.asked {
		c.out.Reads = append(c.out.Reads, Read{Context: context, Index: r.index})
	}
	r.asked = r.asked[:0]
}

// dropReads answers that there will be no answer.
func (c *Core) dropReads() {
	r := &c.lead.reads
	c.out.ReadsDropped = append(c.out.ReadsDropped, r.asked...)
	c.out.ReadsDropped = append(c.out.ReadsDropped, r.waiting...)
}
