package mesh

import "holdfast/protocol"

// tell writes a line for each transition of the replication core that the owner
// reports: who leads, and who votes.
func (c *Core) tell(before *Local) {
	now := &c.local
	if now.Blank() {
		return
	}
	if now.Standing && (!before.Standing || now.Term != before.Term) {
		c.event(Info, "stands for election", "term", now.Term, "store", now.Store, "lineage", now.Lineage, "epoch", now.Epoch,
			"index", now.LastIndex, "voters", now.Configuration)
	}
	if before.Standing && !now.Standing && !now.Leader {
		c.event(Info, "not elected", "stood_in", before.Term, "reason", c.lostTo(before), "term", now.Term,
			"store", now.Store, "lineage", now.Lineage, "epoch", now.Epoch)
	}
	if now.Leader != before.Leader {
		c.tellLeadership(before)
	}
	if name := now.LeaderName; name != "" && name != c.options.Self && (name != c.followed || now.Term != c.followedIn) {
		c.event(Info, "following a leader", "leader", name, "term", now.Term, "store", now.Store, "lineage", now.Lineage, "epoch", now.Epoch)
		c.followed, c.followedIn = name, now.Term
	}
	if !now.Configuration.Equal(before.Configuration) {
		c.tellVoters(&before.Configuration)
	}
}

// lostTo says why a candidate is one no more.
func (c *Core) lostTo(before *Local) string {
	switch now := &c.local; {
	case now.Frozen():
		return "the store promised a founder to take no part"
	case now.LeaderName != "":
		return now.LeaderName + " leads"
	case now.Term > before.Term:
		return "another term has begun"
	}
	return "no majority of the voters answered in time, or a founder asked"
}

func (c *Core) tellLeadership(before *Local) {
	now := &c.local
	about := []any{"term", now.Term, "store", now.Store, "lineage", now.Lineage, "epoch", now.Epoch}
	switch {
	case now.Leader:
		c.event(Info, "elected leader", append(about, "voters", now.Configuration)...)
	case now.Term > before.Term:
		c.event(Info, "leads no more: another term has begun", append(about, "led_term", before.Term)...)
	case now.LeaderName == c.options.Self || now.LeaderName == "":
		c.event(Info, "leads no more: no contact with a majority of the voters, or it stepped down", append(about, "led_term", before.Term)...)
	}
}

// tellVoters names the voters when they change in the own log; a change that is
// not committed yet may be taken back, which is another change.
func (c *Core) tellVoters(before *protocol.Configuration) {
	now := &c.local
	text := "the voters change"
	switch own := now.Voter(); {
	case now.Configuration.Contains(own) && !before.Contains(own):
		text = "the voters change: this store is one of them now"
	case !now.Configuration.Contains(own) && before.Contains(own):
		text = "the voters change: this store is none of them any more"
	}
	c.event(Info, text, "voters", now.Configuration, "before", *before, "term", now.Term, "store", now.Store,
		"lineage", now.Lineage, "epoch", now.Epoch, "index", now.LastIndex)
}
