package replication

// Take moves what is to be done into e. The owner acts on it, and takes again
// until it is Empty: what it does (Persisted, Applied) makes more.
func (c *Core) Take(e *Effects) {
	if c.role == Leader {
		c.startReads()
		c.feedPeers()
	}
	e.reset()
	*e, c.out = c.out, *e
	e.HardState = nil
	if c.stopped() {
		clear(e.Messages)
		clear(e.AfterWrite)
		e.Messages, e.AfterWrite = e.Messages[:0], e.AfterWrite[:0]
	} else {
		c.takeWrite(e)
	}
	if c.failed == nil {
		c.takeReleased(e)
	}
}

// takeWrite hands out one durable write, if one is needed. The watermarks of
// the hard state only shorten recovery and never cause a write of their own.
func (c *Core) takeWrite(e *Effects) {
	e.Entries = c.log.take(e.Entries)
	voted := c.state.Term != c.written.Term || c.state.Vote != c.written.Vote
	if len(e.Entries) == 0 && !voted {
		return
	}
	c.lastWrite++
	e.WriteID = c.lastWrite
	c.log.handed(c.lastWrite)
	if c.state != c.written {
		c.written = c.state
		e.hardState = c.state
		e.HardState = &e.hardState
	}
	if c.role == Candidate && c.ownVote == 0 {
		c.ownVote = c.lastWrite
	}
}

// takeReleased hands out what may be applied. It waits until the entries are
// durable here, so that whoever applies them can read them from the Log.
func (c *Core) takeReleased(e *Effects) {
	end := min(c.state.Release, c.log.durable)
	if c.applied < c.released || end <= c.released {
		return
	}
	entries, err := c.log.read(e.Released, c.released+1, end+1, c.options.MaxReleaseBytes)
	if err != nil {
		c.fail(err)
		e.Failed, c.out.Failed = err, nil
		return
	}
	e.Released = entries
	c.released += uint64(len(entries))
}

// Persisted tells that a write and all before it are durable.
func (c *Core) Persisted(writeID uint64) {
	writeID = min(writeID, c.lastWrite)
	c.log.persisted(writeID)
	if c.stopped() {
		return
	}
	c.countOwnVote(writeID)
	if c.role == Leader {
		c.advance()
	}
}

// Applied tells that the state machine has applied everything up to index,
// which lets the next entries be released.
func (c *Core) Applied(index uint64) {
	c.applied = max(c.applied, min(index, c.released))
}
