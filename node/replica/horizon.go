package replica

import (
	"holdfast/protocol"
	"holdfast/replication"
)

// Horizon is the log index up to which nobody needs whole entries any more, for
// a leader: what is above it follows from entry to entry, what is below it only
// by a copy of the whole store. So a leader keeps what is missing at each store
// that it replicates to and that it is in touch with, or linked with, however
// slow its disk is. One that is linked with and not yet asked about its log, or
// not replicated to yet because it has just copied the store, counts with what
// its hello said.
//
// Those that the leader gives up waiting for do not count; they get a copy of its
// store. Those that it awaits count although nothing is heard of them, unless
// their member is linked with another store.
//
// Other nodes keep what they may need to follow another leader, should this one
// fail: theirs is the release watermark.
func (r *Replica) Horizon(giveUp, awaits func(name string) bool) uint64 {
	if r.raft == nil {
		return 0
	}
	status := r.raft.Status()
	horizon := status.Release
	if status.Role != replication.Leader {
		return horizon
	}
	fed := make(map[protocol.Voter]bool)
	for _, p := range r.raft.Progress() {
		if p.NeedsCopy {
			continue
		}
		fed[p.Voter] = true
		if giveUp(p.Voter.Name) {
			continue
		}
		peer, linked := r.peers[p.Voter.Name]
		if p.Active || linked && peer.store == p.Voter.Store || !linked && awaits(p.Voter.Name) {
			horizon = min(horizon, p.Match)
		}
	}
	first := r.options.Log.First()
	for name, p := range r.peers { // the order does not show
		if p.follows && !giveUp(name) && !fed[protocol.Voter{Name: name, Store: p.store}] && p.last+1 >= first {
			horizon = min(horizon, p.last)
		}
	}
	return horizon
}
