package mesh

import (
	"fmt"
	"slices"

	"holdfast/protocol"
)

// promise is the highest attempt that this store promised, durable or on its way
// to the disk.
func (c *Core) promise() protocol.Attempt {
	if c.promised.Epoch > c.local.Promise.Epoch {
		return c.promised
	}
	return c.local.Promise
}

// unsettled reports whether a promise was handed out that local does not show.
func (c *Core) unsettled() bool { return c.promise() != c.local.Promise }

// givePromise persists a promise (rule P3). A promise never gets lower, discards
// a half-staged copy and drops leadership; the store is frozen from now on, not
// only from when the promise is durable.
func (c *Core) givePromise(attempt protocol.Attempt) {
	if attempt.Epoch <= c.promise().Epoch {
		panic(fmt.Sprintf("mesh: promise %d after %d", attempt.Epoch, c.promise().Epoch))
	}
	c.promised = attempt
	c.writeID++
	c.effects.Promise, c.effects.WriteID = &attempt, c.writeID
	c.effects.StepDown = true
	c.effects.Freeze = c.effects.Freeze || !c.local.Blank() && attempt.Epoch > c.local.Lineage.Epoch
	c.followNobody()
	if c.stage != nil && !c.off.promiseDropsStage {
		c.dropStage(fmt.Sprintf("the store promised epoch %d", attempt.Epoch))
	}
}

// followNobody is what StepDown does to local before the owner tells so.
func (c *Core) followNobody() {
	if c.local.Leader {
		c.local.Leader, c.local.Ready, c.local.InContact, c.local.LeaderName = false, false, false, ""
	}
}

// answerConfirm is step 1 of a founding at a member (rule P5): it answers only
// if its status is still the pinned one and it sees all others as the founder
// does, drops leadership, and persists nothing. The second condition fences what
// is still on its way from processes that are gone: links keep order, so whoever
// sees a member as it is now has had everything that an earlier process of that
// member, or this one in an earlier state, ever sent.
func (c *Core) answerConfirm(p *peer, m *Message) {
	p.asked = nil
	if refusal, reason := c.judge(m); refusal != 0 {
		c.refuse(p, m, refusal, reason)
		return
	}
	if !c.off.ownPicture {
		switch member, later := c.differs(m.Pins); {
		case later:
			c.refuse(p, m, RefusedStale, fmt.Sprintf("it has seen a later status of %s", member))
			return
		case member != "":
			p.asked, p.askedAt = m, c.now // the announcement is on its way
			return
		}
	}
	if !c.local.Blank() && !c.off.confirmStepsDown {
		c.effects.StepDown = true // also a candidate: votes of stores that are gone may be on their way
		if c.local.Leader {
			c.followNobody()
			c.event(Info, "leadership dropped: a founder asks and no quorum is in contact",
				"founder", m.Status.Voter(), "epoch", m.Attempt.Epoch, "attempt", m.Attempt.ID)
		}
	}
	if told := fmt.Sprint(m.Status.Voter(), m.Attempt.Epoch); c.confirmedTo != told {
		c.confirmedTo = told
		c.event(Info, "confirmed to a founder that this store is as it says, and leads nobody",
			"founder", m.Status.Voter(), "epoch", m.Attempt.Epoch, "attempt", m.Attempt.ID,
			"store", c.local.Store, "lineage", c.local.Lineage, "index", c.local.LastIndex)
	}
	c.send(p, Message{Type: TypeConfirmed, Attempt: m.Attempt})
}

// differs returns the first member that this store sees otherwise than the
// founder does, and whether it knows the later status.
func (c *Core) differs(pins []Status) (member string, later bool) {
	for i := range pins {
		pin := &pins[i]
		p := c.peer(pin.Member)
		if p == nil || p.seen && !p.refuted && p.status.Equal(pin) {
			continue // of this store itself judge has the last word
		}
		later := p.seen && p.status.Store == pin.Store &&
			(p.status.Boot > pin.Boot || p.status.Boot == pin.Boot && p.status.Counter > pin.Counter)
		return pin.Member, later
	}
	return "", false
}

// answerAsked looks again at requests to confirm that had to wait.
func (c *Core) answerAsked() {
	if c.finished {
		return
	}
	for _, p := range c.peers {
		if m := p.asked; m != nil {
			at := p.askedAt
			c.answerConfirm(p, m)
			p.askedAt = at
		}
	}
}

// answerGrant is step 3 of a founding at a member (rule P5): the same test, and
// the promise is durable before the answer leaves. A repeated request for what
// was granted is answered again: the store's log has not moved since.
func (c *Core) answerGrant(p *peer, m *Message) {
	if c.local.Promise == m.Attempt && c.local.sameMemory(&m.Pinned) {
		c.send(p, Message{Type: TypeGranted, Attempt: m.Attempt})
		return
	}
	if c.unsettled() && c.promised == m.Attempt {
		return // the answer waits for the write
	}
	if refusal, reason := c.judge(m); refusal != 0 {
		c.refuse(p, m, refusal, reason)
		return
	}
	c.event(Info, "promised a founder not to act in older lineages",
		"founder", m.Status.Voter(), "epoch", m.Attempt.Epoch, "attempt", m.Attempt.ID,
		"store", c.local.Store, "lineage", c.local.Lineage, "index", c.local.LastIndex)
	c.givePromise(m.Attempt)
	c.effects.AfterWrite = append(c.effects.AfterWrite, Envelope{To: p.name,
		Message: Message{Type: TypeGranted, Status: c.local.Status, Attempt: m.Attempt}})
}

// judge is the test of steps 1 and 3.
func (c *Core) judge(m *Message) (Refusal, string) {
	switch promise := c.promise(); {
	case c.unsettled():
		return RefusedBusy, fmt.Sprintf("a promise of epoch %d is being written", promise.Epoch)
	case promise.Epoch >= m.Attempt.Epoch:
		return RefusedPromised, fmt.Sprintf("it promised epoch %d", promise.Epoch)
	case !c.pinned(&m.Pinned):
		return RefusedChanged, "its status changed"
	case c.local.Leader && c.local.InContact && !c.off.leaderRefuses:
		return RefusedLeading, fmt.Sprintf("it leads lineage %s and hears from its quorum", c.local.Lineage)
	case !c.off.leaveTest && !c.mayLeaveForFounder(m):
		reason := fmt.Sprintf("its store %s holds lineage %s to index %d, which the log of %s, lineage %s to index %d, does not contain",
			c.local.Store, c.local.Lineage, c.local.LastIndex, m.Status.Member, m.Status.Lineage, m.Status.LastIndex)
		c.alarm("leave/"+m.Status.Member, fmt.Sprintf("%s asks to found a new lineage without what %s holds: %s", m.Status.Member, c.options.Self, reason),
			c.eitherStore(m.Status.Voter(), c.local.Voter()))
		return RefusedLeave, reason
	}
	return 0, ""
}

// pinned reports whether the founder's picture of this store is still true.
func (c *Core) pinned(pin *Status) bool {
	if c.off.counter {
		return c.local.sameMemory(pin)
	}
	return c.local.Status.Equal(pin)
}

// mayLeaveForFounder is the leave rule applied to the founder's log: what this
// store holds is in it, or ranks below it in the same lineage, so that nothing
// acknowledged can be missing.
func (c *Core) mayLeaveForFounder(m *Message) bool {
	if c.local.Blank() || c.mayLeave || c.grantedAny(m.Foundings) || m.Contained {
		return true
	}
	return m.Status.Lineage == c.local.Lineage && (m.Status.compareLogs(&c.local.Status) >= 0 || c.off.rankByFounding)
}

// grantedAny reports whether this very store granted one of the foundings. The
// attempt decides, not its number: another attempt may have the same.
func (c *Core) grantedAny(foundings []protocol.Founding) bool {
	for _, f := range foundings {
		if c.off.exactAttempt && c.local.Promise.Epoch >= f.Attempt.Epoch {
			return true
		}
		if f.Attempt.ID != 0 && (f.Attempt == c.local.Promise || slices.Contains(c.local.Granted, f.Attempt)) {
			return true
		}
	}
	return false
}

func (c *Core) refuse(p *peer, m *Message, refusal Refusal, reason string) {
	if told := fmt.Sprint(m.Status.Voter(), m.Attempt.Epoch, reason); c.refusedTo != told {
		c.refusedTo = told
		c.event(Info, "refused a founder", "founder", m.Status.Voter(), "epoch", m.Attempt.Epoch, "attempt", m.Attempt.ID,
			"refusal", refusal, "reason", reason, "store", c.local.Store, "lineage", c.local.Lineage, "index", c.local.LastIndex)
	}
	c.send(p, Message{Type: TypeRefused, Attempt: m.Attempt, Refusal: refusal, Reason: reason})
}
