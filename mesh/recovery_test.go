package mesh

import "slices"

// recoveryTicks bounds how long a cluster may take to form once faults stop: a
// few back-offs, copies and membership changes one after the other.
const recoveryTicks = 60 * testRetryTicks

// campaign is an election as the replication core holds it: nobody votes who
// hears from a leader (pre-vote and stickiness, thesis sections 9.6 and 6.4.1).
func (c *cluster) campaign(name string) bool {
	var voters []string
	for _, other := range c.names {
		if c.nodes[other].following == "" {
			voters = append(voters, other)
		}
	}
	return len(voters) > 0 && c.nodes[name].following == "" && c.elect(name, voters...)
}

// live is one tick of a cluster in which everything works as far as it is up
// and linked.
func (c *cluster) live() {
	c.tick(1)
	c.orphans()
	for _, name := range c.names {
		c.copyWhole(name)
		c.quiet()
	}
	order := slices.Clone(c.names)
	c.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, name := range order {
		if n := c.nodes[name]; n.up && n.leader {
			c.round(name)
		}
	}
	for _, name := range order {
		if c.random.IntN(3) == 0 {
			c.campaign(name)
		}
	}
	c.quiet()
}

// recover stops all faults: every process starts anew, everything can be
// reached. It returns why no single whole lineage forms, or "".
func (c *cluster) recover() string {
	c.hold, c.proceed = nil, true
	c.net = nil
	for _, name := range c.names {
		c.crash(name)
		c.nodes[name].held = false
	}
	for _, name := range c.names {
		c.start(name)
	}
	c.link(c.names...)
	return c.settleDown()
}

// settleDown lives on until one whole lineage has formed.
func (c *cluster) settleDown() string {
	for range recoveryTicks {
		c.live()
		if c.judge.formed() == "" {
			return ""
		}
	}
	return c.judge.formed()
}
