package mesh

import (
	"fmt"
	"slices"

	"holdfast/protocol"
)

// leadership is what a leader keeps while it leads one term.
type leadership struct {
	term     uint64 // of the leadership that the rest belongs to; zero: none
	learners []protocol.Voter
	// changed is the configuration that a change was last proposed on, at
	// changedAt; the proposal may have failed.
	changed   protocol.Configuration
	changedAt uint64
	bumped    uint64 // epoch proposed last, at bumpedAt
	bumpedAt  uint64
}

// question is what a leader asked a member before it replaces its store: "A
// leader replaces a listed storeID only on a reply to a request that it sent
// after it knew that ID was listed" (rule P2). A status that was on its way
// before cannot be told from one that tells of the listed store's end.
type question struct {
	listed protocol.StoreID // zero: nothing was asked
	nonce  uint64
	at     uint64           // tick of the last request
	store  protocol.StoreID // of the reply; zero: none yet
}

func (q *question) answered(m *Message) {
	if q.listed != 0 && q.nonce == m.Nonce {
		q.store = m.Status.Store
	}
}

// leadMembers does what a leader does for the others: offers copies, replaces
// stores that are gone, adds those that caught up, and bumps the epoch.
func (c *Core) leadMembers() {
	if c.finished {
		return
	}
	if !c.local.leads() {
		if c.lead.term != 0 {
			c.endLeadership()
		}
		if c.local.Leader && c.local.InContact && !c.off.serveLagging {
			c.serveLagging()
		}
		return
	}
	if c.lead.term != c.local.Term {
		c.endLeadership()
		c.lead.term = c.local.Term
	}
	for _, p := range c.peers {
		c.serve(p)
	}
	c.relearn()
	c.change()
	c.bump()
}

func (c *Core) endLeadership() {
	c.lead = leadership{}
	for _, p := range c.peers {
		p.question, p.offeredAt = question{}, 0
	}
}

// holds reports whether the member's present store is one of this lineage that
// can follow.
func (c *Core) holds(p *peer) bool {
	return p.seen && p.status.Lineage == c.local.Lineage && !p.status.Frozen()
}

// serve offers a copy to a member that needs one, and asks the question that a
// replacement needs.
func (c *Core) serve(p *peer) {
	if !p.connected || !p.seen {
		return
	}
	listed, isListed := c.local.Configuration.Store(p.name)
	f, _ := c.local.follower(p.status.Voter())
	switch {
	case !c.holds(p):
		c.offer(p, false)
	case f.Lagging:
		c.offer(p, true)
	case c.off.holderStays && (!isListed || listed != p.status.Store):
		c.offer(p, false)
	}
	if !c.holds(p) || !isListed || listed == p.status.Store {
		return
	}
	if q := &p.question; q.listed != listed || q.store == 0 && c.now >= q.at+c.retry(1) {
		*q = question{listed: listed, nonce: c.fresh(), at: c.now}
		c.send(p, Message{Type: TypeAsk, Nonce: q.nonce})
	}
}

// serveLagging offers copies to those that lag behind what this store keeps,
// before the leader has committed an entry of its own term: that entry may wait
// for the acknowledgement of just such a voter. It changes nothing else, and the
// copy has only what is committed.
func (c *Core) serveLagging() {
	for _, p := range c.peers {
		if f, _ := c.local.follower(p.status.Voter()); p.connected && c.holds(p) && f.Lagging {
			c.offer(p, true)
		}
	}
}

// offer tells the member that a copy can be had, when it has not been told of
// the present state, and again every RetryTicks.
func (c *Core) offer(p *peer, catchUp bool) {
	if p.offeredAt != 0 && c.now < p.offeredAt+c.retry(1) && p.offered.Equal(&p.status) {
		return
	}
	p.offeredAt, p.offered = max(c.now, 1), p.status
	c.send(p, Message{
		Type: TypeOffer, Role: c.role(), Pinned: p.status, Contained: contains(c.local.Log, &p.status),
		Foundings: c.local.Foundings, CatchUp: catchUp,
	})
}

// relearn sets the stores to which the leader replicates before they are voters:
// those that hold the lineage under a name that no store is listed for.
func (c *Core) relearn() {
	same := true
	count := 0
	for _, p := range c.peers {
		if !c.learner(p) {
			continue
		}
		same = same && count < len(c.lead.learners) && c.lead.learners[count] == p.status.Voter()
		count++
	}
	if same && count == len(c.lead.learners) {
		return
	}
	learners := make([]protocol.Voter, 0, count)
	for _, p := range c.peers {
		if c.learner(p) {
			learners = append(learners, p.status.Voter())
		}
	}
	before := c.lead.learners
	c.lead.learners = learners
	c.effects.Relearn, c.effects.Learners = true, learners
	for _, v := range learners {
		if slices.Contains(before, v) {
			continue
		}
		c.event(Info, "replicating to a store that is not a voter yet", "voter", v, "lineage", c.local.Lineage, "epoch", c.local.Epoch)
	}
}

func (c *Core) learner(p *peer) bool {
	_, listed := c.local.Configuration.Store(p.name)
	return p.connected && c.holds(p) && !listed
}

// change proposes the next change of the configuration, one at a time: first it
// adds a learner that caught up, then it removes a listed store in whose place
// the member has another (rule P2: remove, then add).
func (c *Core) change() {
	l := &c.lead
	if c.local.ChangePending || l.changedAt != 0 && c.now < l.changedAt+c.retry(1) && l.changed.Equal(c.local.Configuration) {
		return
	}
	for _, p := range c.peers {
		if f, ok := c.local.follower(p.status.Voter()); c.learner(p) && ok && f.CaughtUp && !f.Lagging {
			v := p.status.Voter()
			c.effects.Add = &v
			c.proposed("adding a voter: it holds the lineage and has caught up", "voter", v)
			return
		}
	}
	for _, p := range c.peers {
		listed, ok := c.local.Configuration.Store(p.name)
		if !ok || !c.holds(p) || listed == p.status.Store {
			continue
		}
		gone := p.question.listed == listed && p.question.store != 0 && p.question.store != listed
		if !gone && !c.off.nonce {
			continue
		}
		now := p.status.Voter()
		if c.off.removeThenAdd {
			c.effects.Add = &now
			c.proposed("replacing a voter in one step", "voter", now)
			return
		}
		c.effects.Remove = &protocol.Voter{Name: p.name, Store: listed}
		c.proposed("removing a voter: its member has another store now", "voter", *c.effects.Remove, "store", now.Store)
		return
	}
}

func (c *Core) proposed(text string, details ...any) {
	c.lead.changed, c.lead.changedAt = c.local.Configuration, max(c.now, 1)
	c.event(Info, text, append(details, "lineage", c.local.Lineage, "epoch", c.local.Epoch, "configuration", c.local.Configuration)...)
}

// bump commits an epoch above every foreign promise and epoch, so that the
// stores which gave or hold them can join (rule P6). Of two live lineages
// neither bumps: they would outbid each other, and none of them is the right one.
func (c *Core) bump() {
	for _, v := range c.local.Configuration.Voters {
		if !slices.Contains(c.options.Members, v.Name) {
			c.alarm("stranger/"+v.Name, fmt.Sprintf("voter %s is not among the configured members", v),
				fmt.Sprintf("give every node the same member list, with %s in it, and restart them", v.Name))
		}
	}
	foreign, source := c.foreign()
	rival := c.rival()
	if rival != nil {
		c.alarm("rival/"+rival.Lineage.String(), fmt.Sprintf("two lineages are live: %s leads %s with voters %s, and %s is in %s with voters %s",
			c.options.Self, c.local.Lineage, c.local.Configuration, rival.Member, rival.Lineage, rival.Configuration),
			c.eitherLineage(c.local.Lineage, rival.Lineage))
		if !c.off.oneLive {
			return
		}
	}
	l := &c.lead
	if foreign < c.local.Epoch || c.off.bump || l.bumped > foreign && c.now < l.bumpedAt+c.retry(1) {
		return
	}
	l.bumped, l.bumpedAt = foreign+1, c.now
	c.effects.Bump = l.bumped
	c.event(Info, "raising the epoch above a foreign one", "epoch", c.local.Epoch, "foreign", foreign, "of", source,
		"to", l.bumped, "lineage", c.local.Lineage)
}

// foreign returns the highest epoch that another member promised or holds and
// that does not belong to this lineage's own foundings.
func (c *Core) foreign() (epoch uint64, source protocol.Voter) {
	for _, p := range c.peers {
		if !p.seen {
			continue
		}
		s := &p.status
		own := slices.ContainsFunc(c.local.Foundings, func(f protocol.Founding) bool { return f.Attempt == s.Promise })
		if s.Promise.Epoch > epoch && !own {
			epoch, source = s.Promise.Epoch, s.Voter()
		}
		if s.Epoch > epoch && !s.Blank() && s.Lineage != c.local.Lineage {
			epoch, source = s.Epoch, s.Voter()
		}
	}
	return epoch, source
}

// rival returns a member of another lineage that lives: that has a leader or
// could elect one.
func (c *Core) rival() *Status {
	var others []*Status
	for _, p := range c.peers {
		if !p.connected || !p.seen || p.status.Blank() || p.status.Lineage == c.local.Lineage {
			continue
		}
		if p.role.Leading {
			return &p.status
		}
		others = append(others, &p.status)
	}
	if len(others) == 0 {
		return nil
	}
	return electable(others, switches{})
}
