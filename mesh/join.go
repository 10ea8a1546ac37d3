package mesh

import (
	"fmt"

	"holdfast/protocol"
)

// offer is a leader's word that a copy of its lineage can be had.
type offer struct {
	from      string
	leader    Status
	foundings []protocol.Founding
	pinned    Status // what the leader judged this store by
	contained bool   // its log contains all of pinned
	catchUp   bool
	voters    int
	at        uint64 // tick at which it came
}

// stage is a copy on its way, or one that is whole and waits.
type stage struct {
	StageRequest
	copied, total uint64
	// sender is the process that sends, by its store and boot: no other one has what
	// is missing.
	sender Trace
	// interrupted: the link to the sender broke at tick brokenAt, and has not come back.
	interrupted bool
	brokenAt    uint64
	whole       *Copy
	// as is the own status when the copy was whole: whether the own log is a
	// prefix of the copy was judged by that.
	as Status
}

// resumePatience is how long a copy waits for its sender to be linked again, in
// RetryTicks. The sender waits longer.
const resumePatience = 25 // 5 s

// maxCopyBackOff bounds the pause between two copies, in RetryTicks.
const maxCopyBackOff = 16

// verdict is whether this store may go over to a copy.
type verdict struct {
	purpose Purpose // zero: it may not, or need not
	why     string
	// remedy says how an operator can help where nobody else can; "" otherwise.
	remedy string
}

// takeOffer keeps a leader's latest offer. One for catching up may come from a
// leader that has not committed an entry of its own term yet.
func (c *Core) takeOffer(p *peer, m *Message) {
	p.role = m.Role
	if !m.Role.Leading && !m.CatchUp || m.Status.Blank() {
		p.offer = nil
		return
	}
	p.offer = &offer{
		from: p.name, leader: m.Status, foundings: m.Foundings, pinned: m.Pinned, contained: m.Contained,
		catchUp: m.CatchUp, voters: len(m.Status.Configuration.Voters), at: c.now,
	}
}

// join stages a copy when one is offered that this store may go over to, and
// goes over to it when it is whole (rule P4).
func (c *Core) join() {
	if c.finished {
		return
	}
	if c.stage != nil {
		c.pursueStage()
		return
	}
	if c.attempt != nil || c.unsettled() {
		return
	}
	var chosen *offer
	var purpose Purpose
	for _, p := range c.peers {
		if !p.connected || p.offer == nil {
			continue
		}
		v := c.judgeOffer(p.offer)
		if v.remedy != "" {
			c.alarm("stay/"+p.name, v.why, v.remedy)
		}
		if v.purpose != 0 && (chosen == nil || preferred(p.offer, chosen)) {
			chosen, purpose = p.offer, v.purpose
		}
	}
	if chosen == nil || c.now < c.stageAt {
		return
	}
	sender := &c.peer(chosen.from).status
	c.stage = &stage{
		StageRequest: StageRequest{From: chosen.from, Lineage: chosen.leader.Lineage, Purpose: purpose},
		sender:       Trace{Store: sender.Store, Boot: sender.Boot},
	}
	request := c.stage.StageRequest
	c.effects.Stage = &request
	c.event(Info, "copying the log of the leader", "from", chosen.leader.Voter(), "lineage", chosen.leader.Lineage,
		"epoch", chosen.leader.Epoch, "purpose", purpose, "store", c.local.Store, "own_lineage", c.local.Lineage)
}

// preferred chooses between two live lineages, which only a wrong override
// makes: the one with more voters can become whole first.
func preferred(a, b *offer) bool {
	if a.voters != b.voters {
		return a.voters > b.voters
	}
	return a.leader.Lineage.Epoch > b.leader.Lineage.Epoch
}

// judgeOffer applies the rules before anything is copied, by what the leader
// says of its log; the copy itself is judged again.
func (c *Core) judgeOffer(o *offer) verdict {
	if o.catchUp {
		// An offer to the process before may still have been on its way when that had
		// caught up: what lagged then need not lag now.
		current := o.pinned.Store == c.local.Store && o.pinned.Boot == c.local.Boot
		if o.leader.Lineage == c.local.Lineage && !c.local.Frozen() && current {
			return verdict{purpose: PurposeCatchUp}
		}
		return verdict{}
	}
	current := o.pinned.sameMemory(&c.local.Status)
	v := c.judgeLeave(o.leader.Lineage, o.foundings, o.contained && current, o.from)
	if v.remedy != "" && !current { // the next offer tells more; this is nothing for a person yet
		return verdict{why: fmt.Sprintf("%s has not seen yet how this store is", o.from)}
	}
	if v.purpose == 0 {
		return v
	}
	if why := c.promiseForbids(o.leader.Epoch, o.foundings); why != "" {
		return verdict{why: why}
	}
	return v
}

// judgeLeave is the leave rule (P4): a store that holds a lineage goes over to
// another only if that contains a FOUND entry which this very store granted, or
// all of its own log; or if an operator gave it up. In its own lineage it waits
// to be added, unless it is frozen.
func (c *Core) judgeLeave(lineage protocol.Lineage, foundings []protocol.Founding, prefix bool, from string) verdict {
	switch {
	case c.local.Blank():
		return verdict{purpose: PurposeJoin}
	case lineage == c.local.Lineage && (c.local.Frozen() || c.off.holderStays):
		return verdict{purpose: PurposeRestage}
	case lineage == c.local.Lineage:
		return verdict{why: fmt.Sprintf("it holds the lineage of %s and waits to be added", from)}
	case c.mayLeave || c.off.leaveRule || c.grantedAny(foundings):
		return verdict{purpose: PurposeJoin}
	case c.local.leads():
		return verdict{why: c.stays(lineage, from, "it leads its own lineage")} // with an alarm about the rival
	case c.leader() != "":
		// A lineage that lives is not left behind its leader's back.
		return verdict{why: c.stays(lineage, from, fmt.Sprintf("%s leads its own lineage", c.leader())), remedy: c.eitherLineage(c.local.Lineage, lineage)}
	case prefix:
		return verdict{purpose: PurposeJoin}
	case c.mayBeLed():
		return verdict{why: c.stays(lineage, from, "its own lineage can elect a leader")}
	}
	return verdict{
		why: c.stays(lineage, from, fmt.Sprintf("its log up to index %d is not contained in the other", c.local.LastIndex)),
		remedy: fmt.Sprintf("run %s to give up what only it holds and let %s join (acknowledged writes among it are lost to the cluster; %s)",
			discardCommand(c.local.Voter()), c.options.Self, kept),
	}
}

// mayBeLed reports whether the stores of this lineage that are here could elect
// a leader: then this is nothing for a person yet.
func (c *Core) mayBeLed() bool {
	var here []*Status
	for _, s := range c.knownStores() {
		if p := c.peer(s.Member); s.Lineage == c.local.Lineage && (p == nil || p.connected) {
			here = append(here, s)
		}
	}
	return electable(here, switches{}) != nil
}

// stays says that this store does not go over to another lineage.
func (c *Core) stays(lineage protocol.Lineage, from, why string) string {
	return fmt.Sprintf("store %s of %s stays in lineage %s and does not join lineage %s, which %s leads: %s",
		c.local.Store, c.options.Self, c.local.Lineage, lineage, from, why)
}

// promiseForbids says why a promise keeps this store from a copy, or "". The
// copy must contain the FOUND of the promised attempt, or have an epoch above
// it: a leader that commits a bump above a promise has outlived the attempt.
func (c *Core) promiseForbids(epoch uint64, foundings []protocol.Founding) string {
	promise := c.promise()
	if promise.Epoch == 0 || epoch > promise.Epoch || c.off.aboveEpoch && epoch == promise.Epoch {
		return ""
	}
	for _, f := range foundings {
		if f.Attempt == promise {
			return ""
		}
	}
	return fmt.Sprintf("it promised epoch %d, and waits until the leader has committed a higher epoch than %d", promise.Epoch, epoch)
}

// pursueStage goes over to the copy when it is whole, or gives it up.
func (c *Core) pursueStage() {
	s := c.stage
	if s.whole == nil {
		c.keepStage(s)
		return
	}
	if why := c.judgeCopy(s); why != "" {
		c.dropStage(why)
		return
	}
	a := &Activation{Purpose: s.Purpose, Keep: s.Purpose == PurposeCatchUp, Reason: c.reason(s)}
	a.Identity = protocol.Identity{Store: c.local.Store, Lineage: s.whole.Lineage}
	if !a.Keep {
		a.Identity.Store = protocol.StoreID(c.fresh())
	}
	c.effects.Activate = a
	c.finished = true
	c.event(Info, "going over to the copy", "from", s.From, "purpose", s.Purpose, "lineage", s.whole.Lineage, "epoch", s.whole.Epoch,
		"index", s.whole.LastIndex, "store", a.Identity.Store, "replaces", c.local.Store, "own_lineage", c.local.Lineage)
}

// keepStage lets a copy whose link broke go on with the process that sent it: what a
// copy holds was fixed when it began, so only that process can send the rest. It is
// given up when that process is gone, or is away while another member offers a copy.
func (c *Core) keepStage(s *stage) {
	p := c.peer(s.From)
	switch {
	case p.connected && !s.interrupted:
	case p.connected && p.status.Store == s.sender.Store && p.status.Boot == s.sender.Boot:
		s.interrupted = false
		request := s.StageRequest
		request.Resume = true
		c.effects.Stage = &request
		c.event(Info, "going on with the copy where it stopped", "from", s.From, "lineage", s.Lineage, "copied", s.copied, "total", s.total)
	case p.connected:
		c.dropStage(fmt.Sprintf("the process of %s that sent it is gone", s.From))
	case !s.interrupted:
		s.interrupted, s.brokenAt = true, c.now
		c.event(Info, "copy interrupted: the connection to the sender is gone", "from", s.From, "copied", s.copied, "total", s.total)
		fallthrough
	default:
		if other := c.otherOffer(s.From); other != "" {
			c.dropStage(fmt.Sprintf("the connection to %s is gone, and %s offers another", s.From, other))
		} else if c.now-s.brokenAt > c.retry(resumePatience) {
			c.dropStage(fmt.Sprintf("the connection to %s is gone", s.From))
		}
	}
}

// otherOffer names a member, not the one given, that offers a copy which this store
// may go over to; "" when there is none.
func (c *Core) otherOffer(than string) string {
	for _, p := range c.peers {
		if p.name != than && p.connected && p.offer != nil && c.judgeOffer(p.offer).purpose != 0 {
			return p.name
		}
	}
	return ""
}

// reason says why the store before is set aside, and whether it has anything that
// its copy lacks.
func (c *Core) reason(s *stage) string {
	why := fmt.Sprintf("replaced by a copy of lineage %s from %s; it held lineage %s to index %d", s.whole.Lineage, s.From, c.local.Lineage, c.local.LastIndex)
	if s.Purpose == PurposeCatchUp {
		why = fmt.Sprintf("caught up from a copy of %s to index %d; it ended at index %d", s.From, s.whole.LastIndex, c.local.LastIndex)
	}
	if s.whole.OwnLogIsPrefix && s.as.sameMemory(&c.local.Status) {
		return why + "; the copy contains all of its log"
	}
	return why + "; the copy does not contain all of its log"
}

// judgeCopy applies all rules to the copy itself and says what forbids it, or "".
func (c *Core) judgeCopy(s *stage) string {
	w := s.whole
	switch n := len(w.Foundings); {
	case w.From != s.From || w.Lineage != s.Lineage || n == 0 || protocol.Lineage(w.Foundings[n-1].Attempt) != w.Lineage:
		return fmt.Sprintf("the copy holds lineage %s of %s instead of %s of %s, or lacks its beginning", w.Lineage, w.From, s.Lineage, s.From)
	case w.LastIndex < w.Foundings[n-1].Index || w.Epoch < w.Lineage.Epoch:
		return fmt.Sprintf("the copy ends at index %d, before its lineage begins", w.LastIndex)
	}
	if s.Purpose != PurposeJoin && !c.off.holderStays {
		if w.Lineage != c.local.Lineage || c.local.Frozen() != (s.Purpose == PurposeRestage) {
			return fmt.Sprintf("a %s is not what the store needs any more", s.Purpose)
		}
		if w.status().compareLogs(&c.local.Status) < 0 {
			return fmt.Sprintf("the copy ends at index %d of term %d, behind the own log, index %d of term %d",
				w.LastIndex, w.LastTerm, c.local.LastIndex, c.local.LastTerm)
		}
	}
	if s.Purpose == PurposeCatchUp {
		return ""
	}
	v := c.judgeLeave(w.Lineage, w.Foundings, w.OwnLogIsPrefix && s.as.sameMemory(&c.local.Status), s.From)
	if v.purpose == 0 {
		return v.why
	}
	if c.off.promiseDropsStage {
		return ""
	}
	return c.promiseForbids(w.Epoch, w.Foundings)
}

// dropStage gives the copy up; another is asked for after a pause, if it is offered
// again: a store that was about to lag behind may have caught up meanwhile.
func (c *Core) dropStage(why string) {
	s := c.stage
	c.failures++
	c.stage, c.stageAt = nil, c.backOff(min(c.failures, maxCopyBackOff))
	c.effects.DropStage, c.effects.Stage = true, nil
	if p := c.peer(s.From); p != nil {
		p.offer = nil
	}
	c.event(Warning, "copy given up; it will be asked for again", "from", s.From, "lineage", s.Lineage, "reason", why)
}

// Staged reports that the copy of the last StageRequest is whole and durable.
func (c *Core) Staged(copied Copy) {
	if c.finished {
		return
	}
	if c.stage == nil || c.stage.From != copied.From {
		c.effects.DropStage = true // it was given up meanwhile
		return
	}
	c.stage.whole, c.stage.as = &copied, c.local.Status
	c.act()
}

// StageFailed reports that the copy of the last StageRequest cannot be had, or
// cannot be activated: a core that is asked to go on then goes on.
func (c *Core) StageFailed(reason string) {
	if c.stage == nil {
		return
	}
	c.finished = false
	c.dropStage(reason)
	c.act()
}

// StageProgress tells how many bytes of the copy have arrived, of how many.
func (c *Core) StageProgress(copied, total uint64) {
	if c.stage != nil {
		c.stage.copied, c.stage.total = copied, total
	}
}
