package mesh

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/protocol"
)

// attempt is a founding on its way (rule P5). It is volatile: a restart abandons
// it, and what it made others promise stays promised.
type attempt struct {
	protocol.Attempt
	// own is this store's status at the start. Until the founding, everything
	// in it but promise and counter stays as it is, or the attempt ends.
	own     Status
	inForce protocol.Configuration // the newest that is committed in the own log
	asked   []asked                // the other members of the view, by name
	without []string
	// operator: a person asked for it (rule P7).
	operator bool
	phase    phase
	writeID  uint64 // of the own promise, while promising
	askAt    uint64 // tick at which unanswered questions are asked again
	endAt    uint64 // tick at which it is given up
}

// asked is a member that has to agree.
type asked struct {
	pin                Status
	confirmed, granted bool
}

// phase is how far an attempt is. It only moves forward.
type phase uint8

const (
	confirming phase = iota // step 1: waits for every member to confirm
	promising               // step 2: waits for the own promise to be durable
	granting                // step 3: waits for every member's grant
)

// override is an operator's `found --without` until a founding or its end.
type override struct {
	without []string
	endAt   uint64
}

// prospect is what founding now would mean.
type prospect struct {
	view    []*Status // what is known of every member not named absent, by name
	missing []string  // members without a connection or a status
	winner  *Status   // somebody could win an election, or nil
	best    *Status   // the best survivor
	// lost: some store holds a lineage or took the place of one that did.
	// Otherwise it is a first boot.
	lost bool
}

// prospect looks at all members but those named absent.
func (c *Core) prospect(without []string) prospect {
	var found prospect
	for _, name := range slices.Sorted(slices.Values(c.options.Members)) {
		if slices.Contains(without, name) {
			continue
		}
		status := &c.local.Status
		if p := c.peer(name); p != nil {
			if !p.connected || !p.seen {
				found.missing = append(found.missing, name)
				continue
			}
			status = &p.status
		}
		found.view = append(found.view, status)
		found.lost = found.lost || !status.Blank() || !status.Replaced.Blank()
	}
	found.winner, found.best = electable(found.view, c.off), best(found.view, c.off)
	if c.off.everyMember && !found.lost && len(found.view) > len(c.options.Members)/2 {
		found.missing = nil
	}
	return found
}

// considerFounding starts an attempt when this store may found.
func (c *Core) considerFounding() {
	if c.finished || c.attempt != nil || c.unsettled() || c.now < c.retryAt {
		return
	}
	if o := c.override; o != nil {
		if now := c.prospect(o.without); c.objection(&now) == "" {
			c.startAttempt(&now, o.without, true)
		}
		return
	}
	if c.leader() != "" {
		return
	}
	now := c.prospect(nil)
	if c.objection(&now) == "" && (!now.lost || c.options.Continue) {
		c.startAttempt(&now, nil, false)
	}
}

// objection says why this store may not found by what is known, or "".
func (c *Core) objection(p *prospect) string {
	switch {
	case len(p.missing) > 0:
		return fmt.Sprintf("no status from %s", list(p.missing))
	case p.winner != nil:
		return fmt.Sprintf("%s can be elected in lineage %s", p.winner.Member, p.winner.Lineage)
	case p.best.Member != c.options.Self:
		return fmt.Sprintf("%s is the better survivor and has to do it: lineage %s, last entry %d of term %d",
			p.best.Member, p.best.Lineage, p.best.LastIndex, p.best.LastTerm)
	}
	return ""
}

// nextEpoch is above everything ever heard of, also from members that are named
// absent, and above what was set aside: it may be put back one day.
func (c *Core) nextEpoch() uint64 {
	epoch := max(c.promise().Epoch, c.local.Epoch, c.local.Replaced.Epoch)
	for _, q := range c.peers {
		epoch = max(epoch, q.status.Promise.Epoch, q.status.Epoch, q.status.Replaced.Epoch)
	}
	return epoch + 1
}

// startAttempt pins the view and asks every member to confirm.
func (c *Core) startAttempt(p *prospect, without []string, operator bool) {
	a := &attempt{
		Attempt: protocol.Attempt{Epoch: c.nextEpoch(), ID: protocol.AttemptID(c.fresh())},
		own:     c.local.Status, inForce: c.local.InForce, without: without, operator: operator, endAt: c.now + c.retry(patience<<c.silences),
	}
	for _, status := range p.view {
		if status.Member != c.options.Self {
			a.asked = append(a.asked, asked{pin: *status, confirmed: c.off.confirm})
		}
	}
	c.attempt = a
	if c.local.Leader { // without contact to a quorum, or somebody could be elected
		c.effects.StepDown = true
		c.followNobody()
	}
	if c.told != a.Epoch {
		c.told = a.Epoch
		c.startEvent(p, a)
	}
	c.pursueAttempt()
}

func (c *Core) startEvent(p *prospect, a *attempt) {
	c.event(Info, "asking all members to found a new lineage", "epoch", a.Epoch, "attempt", a.ID,
		"store", a.own.Store, "from_lineage", a.own.Lineage, "index", a.own.LastIndex, "term", a.own.LastTerm,
		"reason", p.reason(a.operator), "without", strings.Join(a.without, ","))
}

// reason says what kind of founding it would be.
func (p *prospect) reason(operator bool) string {
	switch {
	case operator:
		return "an operator ordered it"
	case !p.lost:
		return "first boot: every store is blank"
	default:
		return "majority lost: no member could win an election"
	}
}

// pursueAttempt moves the attempt on as far as the answers allow.
func (c *Core) pursueAttempt() {
	a := c.attempt
	if a == nil || c.finished {
		return
	}
	if why := c.obsolete(a); why != "" {
		c.abandon(why)
		return
	}
	if a.phase == confirming && !slices.ContainsFunc(a.asked, func(s asked) bool { return !s.confirmed }) {
		c.givePromise(a.Attempt) // step 2
		a.phase, a.writeID = promising, c.writeID
		c.event(Info, "all members confirmed; promised the own attempt", "epoch", a.Epoch, "attempt", a.ID, "store", a.own.Store)
	}
	if a.phase == granting && !slices.ContainsFunc(a.asked, func(s asked) bool { return !s.granted }) {
		c.install()
		return
	}
	if a.phase != promising && c.now >= a.askAt {
		a.askAt = c.now + c.retry(1)
		c.ask(a)
	}
}

// obsolete says why the attempt cannot succeed any more, or "".
func (c *Core) obsolete(a *attempt) string {
	switch {
	case !c.local.sameMemory(&a.own):
		return "the own store changed"
	case a.phase == confirming && c.promise() != a.own.Promise && !c.off.ownPromise:
		return fmt.Sprintf("this store promised epoch %d to another attempt", c.promise().Epoch)
	case a.phase != confirming && c.promise() != a.Attempt && !c.off.ownPromise:
		return fmt.Sprintf("this store promised epoch %d to another attempt", c.promise().Epoch)
	case c.now >= a.endAt:
		c.silences = min(c.silences+1, maxSilences)
		return "no answer from " + list(a.unanswered())
	}
	if a.phase == confirming {
		return c.doubtful(a)
	}
	return ""
}

// doubtful says why a member will not confirm, or "". Waiting for it would tell
// the same, later; while nothing is promised, starting again costs nothing.
func (c *Core) doubtful(a *attempt) string {
	for i := range a.asked {
		p := c.peer(a.asked[i].pin.Member)
		if !p.connected {
			return fmt.Sprintf("the connection to %s is lost", p.name)
		}
		if !c.off.counter && !p.status.Equal(&a.asked[i].pin) {
			return fmt.Sprintf("the status of %s changed", p.name)
		}
	}
	return ""
}

// unanswered lists the members that still have to agree in the present phase.
func (a *attempt) unanswered() []string {
	var names []string
	for _, s := range a.asked {
		if !s.confirmed || a.phase == granting && !s.granted {
			names = append(names, s.pin.Member)
		}
	}
	return names
}

// ask puts the question of the present phase to all who have not answered it.
func (c *Core) ask(a *attempt) {
	for i := range a.asked {
		s := &a.asked[i]
		m := Message{Type: TypeConfirm, Attempt: a.Attempt, Pinned: s.pin,
			Contained: contains(c.local.Log, &s.pin), Foundings: c.local.Foundings, Pins: a.pins()}
		if a.phase == granting {
			m.Type, m.Pins = TypeGrant, nil
		}
		if done := s.confirmed && a.phase == confirming || s.granted; !done {
			c.send(c.peer(s.pin.Member), m)
		}
	}
}

// pins are what every member has to see as the founder does; nothing when an
// operator named members absent, and so answers for what they may do.
func (a *attempt) pins() []Status {
	if len(a.without) > 0 {
		return nil
	}
	all := make([]Status, len(a.asked))
	for i := range a.asked {
		all[i] = a.asked[i].pin
	}
	return all
}

// agreed takes a member's answer.
func (c *Core) agreed(p *peer, m *Message) {
	a := c.attempt
	if a == nil || a.Attempt != m.Attempt {
		return
	}
	i := slices.IndexFunc(a.asked, func(s asked) bool { return s.pin.Member == p.name })
	if i < 0 || a.asked[i].pin.Store != m.Status.Store {
		return
	}
	switch {
	case m.Type == TypeConfirmed && a.phase == confirming:
		a.asked[i].confirmed = true
	case m.Type == TypeGranted && a.phase == granting:
		a.asked[i].granted = true
	}
}

// refused ends the attempt: a member does not agree.
func (c *Core) refused(p *peer, m *Message) {
	if a := c.attempt; a == nil || a.Attempt != m.Attempt {
		return
	}
	c.abandon(fmt.Sprintf("%s refuses (%s): %s", p.name, m.Refusal, m.Reason))
	if m.Refusal == RefusedLeave {
		c.alarm("refused/"+p.name, fmt.Sprintf("%s does not let %s found a new lineage: %s", p.name, c.options.Self, m.Reason),
			c.eitherStore(c.local.Voter(), m.Status.Voter()))
	}
}

// abandon ends the attempt. What others have promised to it stays promised; the
// next attempt takes a higher epoch, because it looks at those promises.
func (c *Core) abandon(why string) {
	a := c.attempt
	c.attempt = nil
	c.retryAt = c.backOff(2)
	if c.obstacle != why {
		c.event(Warning, "founding abandoned; it will be tried again", "epoch", a.Epoch, "attempt", a.ID, "reason", why)
	}
	c.obstacle = why
}

// install is step 4: all have granted, the own status is still the pinned one
// and the own promise still this attempt; obsolete has just said so.
func (c *Core) install() {
	a := c.attempt
	store := protocol.StoreID(c.fresh())
	if c.off.freshStore {
		store = c.local.Store
	}
	founding := protocol.Founding{
		Attempt: a.Attempt, Index: c.local.LastIndex + 1, Voter: protocol.Voter{Name: c.options.Self, Store: store},
		Loss: a.loss(),
	}
	c.effects.Install = &Install{Founding: founding, Term: c.local.Term + 1}
	c.finished, c.attempt = true, nil
	level := Info
	if founding.Loss != (protocol.Loss{}) {
		level = Warning
	}
	c.event(level, Account(founding), "epoch", a.Epoch, "attempt", a.ID, "from_lineage", a.own.Lineage,
		"index", founding.Index, "store", store, "replaces", a.own.Store, "without", strings.Join(a.without, ","))
}
