package replication

import "holdfast/protocol"

// mode is how a leader feeds another store.
type mode uint8

const (
	// modeProbe: where the logs agree is not known. One append at a time.
	modeProbe mode = iota
	// modeReplicate: the log agrees up to match; appends are pipelined, and
	// next runs ahead.
	modeReplicate
	// modeCopy: the next entry is gone from this log. Nothing is sent but
	// heartbeats, until the store has got a copy.
	modeCopy
)

// String prints the mode's name.
func (m mode) String() string {
	return [...]string{modeProbe: "probe", modeReplicate: "replicate", modeCopy: "needs-copy"}[m]
}

// peer is what a leader knows of one other store during its term.
type peer struct {
	voter protocol.Voter
	// learner: it is fed but counts nowhere.
	learner bool
	mode    mode

	// match < next. Every entry up to match is durable there. In modeProbe,
	// next-1 is the position to be tried; in modeReplicate, next-1 was sent.
	match, next uint64
	// paused: in modeProbe, the one append is on its way.
	paused bool
	// down: its connection is known to be broken.
	down bool

	// beaten is match as it was at the last answer to a heartbeat.
	beaten uint64

	// heard is the tick of its last message; 0 for never.
	heard uint64
	// round is the last read round that it has confirmed.
	round uint64
	// toldCommit and toldRelease are the watermarks that were sent, if nothing
	// was lost.
	toldCommit, toldRelease uint64

	// inflight are the appends of modeReplicate not yet acknowledged.
	inflight      queue[sent]
	inflightBytes int
}

// sent is an append on its way: its last entry and its size.
type sent struct {
	last  uint64
	bytes int
}

// probe makes next-1 the position to be tried.
func (p *peer) probe(next uint64) {
	p.mode, p.paused = modeProbe, false
	p.next = max(next, p.match+1)
	p.toldCommit, p.toldRelease = 0, 0
	p.inflight.cut(0)
	p.inflightBytes = 0
}

// acknowledge records that everything up to index is durable there, and
// reports whether that is news.
func (p *peer) acknowledge(index uint64) bool {
	news := index > p.match
	p.match = max(p.match, index)
	p.next = max(p.next, p.match+1)
	for p.inflight.len() > 0 && p.inflight.at(0).last <= index {
		p.inflightBytes -= p.inflight.at(0).bytes
		p.inflight.pop(1)
	}
	if p.mode != modeReplicate {
		p.probe(p.match + 1)
		p.mode = modeReplicate
	}
	return news
}

// launched records an append of modeReplicate.
func (p *peer) launched(last uint64, bytes int) {
	p.next = last + 1
	p.inflight.push(sent{last: last, bytes: bytes})
	p.inflightBytes += bytes
}

// sentTo is the index up to which the store should have received the log.
func (p *peer) sentTo() uint64 {
	if p.mode == modeReplicate {
		return p.next - 1
	}
	return p.match
}
