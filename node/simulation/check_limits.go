package simulation

// allowed: an account has never more streams than the configuration of every node
// says, whoever leads and wherever its state comes from.
func (c *checks) allowed(p *process) {
	limits := c.world.allowed
	if limits == nil {
		return
	}
	if count := len(p.member.Machine().Streams()); count > limits.MaxStreams {
		c.world.fail("over its limit: %s has %d streams of at most %d", p.host.name, count, limits.MaxStreams)
	}
}
