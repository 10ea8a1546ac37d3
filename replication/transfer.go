package replication

import "holdfast/protocol"

// Transfer hands leadership to another voter: no more proposals are taken, the
// target is brought up to date and then asked to stand for election (thesis,
// section 3.10). Without success within an election timeout the transfer is
// over and the leader goes on. A second call replaces the target.
func (c *Core) Transfer(to protocol.Voter) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	p := c.peer(to)
	switch {
	case p == nil || p.learner:
		return ErrNotVoter
	case p.down || p.mode == modeCopy || !c.active(p):
		return ErrUnreachable
	}
	c.lead.transferTo, c.lead.transferSince, c.lead.transferAsked = to, c.now, false
	c.continueTransfer()
	return nil
}

// continueTransfer asks the target to stand for election once it has the whole
// log.
func (c *Core) continueTransfer() {
	if c.role != Leader || c.lead.transferAsked {
		return
	}
	if p := c.peer(c.lead.transferTo); p != nil && p.match == c.log.last() {
		c.lead.transferAsked = true
		c.send(Message{Type: TimeoutNow, To: p.voter})
	}
}
