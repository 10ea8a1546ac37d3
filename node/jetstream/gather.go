package jetstream

import "time"

// maxGather bounds how long the open batch is held back for company.
const maxGather = 2 * time.Millisecond

// gather holds the open batch back for a moment after a batch was answered.
//
// Publishers that wait for their PubAck before they publish again fall into two
// groups of which one is always in the log while the other waits in the open
// batch: every message then waits for two commits, and every commit carries half
// of what it could. Those who were just answered will publish again at once, so
// it is worth waiting for them: at most half as long as the commit took, and no
// longer than maxGather. A lone publisher never waits, because when it is
// answered nobody else is in the open batch.
type gather struct {
	want  int   // commands in the open batch that end the wait; 0: no wait
	until int64 // the log's time, in nanoseconds, at which it ends in any case
}

// begin starts a wait when a batch with so many publishes was answered.
func (g *gather) begin(answered, open int, latency time.Duration, now int64) {
	*g = gather{}
	if answered > 0 && open > 0 {
		*g = gather{want: answered + open, until: now + int64(min(latency/2, maxGather))}
	}
}

// waits reports whether the open batch should stay open.
func (g *gather) waits(open int, now int64) bool {
	return open > 0 && open < g.want && now < g.until
}

// Wake is the log's time, in nanoseconds, at which Flush has something to do even
// if nothing happens until then; 0 for none. An owner that does not heed it delays
// batches until the next Tick.
func (d *Door) Wake() int64 {
	b := &d.batches
	if len(d.reports) > 0 || (len(d.direct.batches) > 0 || d.transfers.ready()) && d.bus.Pending() <= d.options.MaxOutbound {
		return d.node.Now()
	}
	if r := &d.reads; d.role == leading && !r.underWay && len(r.next) > 0 && !r.next[0].early(d.readable(), d.node.Now()) {
		return r.rest
	}
	if d.role != leading || len(b.flying) > 0 || b.builder.Slots() == 0 || b.gather.want == 0 {
		return 0
	}
	return b.gather.until
}
