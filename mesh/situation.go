package mesh

import (
	"fmt"
	"slices"

	"holdfast/protocol"
)

// situation says where this node stands, why, and what would let it go on.
// Nothing waits silently: whatever keeps a node from taking part has a sentence.
func (c *Core) situation() (state State, reason, remedy string) {
	if a := c.ownAlarm(); a != nil {
		return StateAlarmed, a.text, a.remedy
	}
	state, reason, remedy = c.standing()
	if c.local.Hindrance != "" { // without its disk nothing else that it waits for helps
		reason, remedy = c.local.Hindrance, ""
	}
	return state, reason, remedy
}

// standing is the situation as far as the protocols go.
func (c *Core) standing() (State, string, string) {
	switch leader := c.leader(); {
	case c.attempt != nil:
		return StateFounding, c.attempt.progress(), ""
	case c.stage != nil:
		return StateJoining, c.stage.progress(), ""
	case c.local.Blank() || c.local.Frozen():
		return c.withoutVoice()
	case leader == "":
		return c.withoutLeader()
	case c.local.Configuration.Contains(c.local.Voter()):
		reason, remedy := c.hampered(leader)
		return StateVoter, reason, remedy
	default:
		return StateLearner, c.notListed(leader), ""
	}
}

// progress says how far an attempt is.
func (a *attempt) progress() string {
	step := map[phase]string{confirming: "1 of 3, all confirm", promising: "2 of 3, its own promise", granting: "3 of 3, all grant"}[a.phase]
	text := fmt.Sprintf("asks to found a new lineage, epoch %d, step %s", a.Epoch, step)
	if waits := a.unanswered(); len(waits) > 0 && a.phase != promising {
		return text + "; waits for " + list(waits)
	}
	return text + "; waits for its own disk"
}

// progress says how far a copy is.
func (s *stage) progress() string {
	text := fmt.Sprintf("receives a copy of lineage %s from %s", s.Lineage, s.From)
	if s.total == 0 {
		return text
	}
	return text + fmt.Sprintf(": %d of %d bytes, %d %%", s.copied, s.total, min(100, 100*s.copied/s.total))
}

// hampered says what keeps a voter with a leader from serving, or "".
func (c *Core) hampered(leader string) (reason, remedy string) {
	if leader != c.options.Self {
		if p := c.peer(leader); !p.role.Leading {
			if p.role.Reason == "" {
				return fmt.Sprintf("%s leads and is not ready", leader), ""
			}
			return fmt.Sprintf("waits with its leader; %s says: %s", leader, p.role.Reason), p.role.Remedy
		}
	} else if !c.local.Ready {
		return fmt.Sprintf("leads in term %d and is not ready: a majority of the voters has to store its first entry, and %s",
			c.local.Term, list(c.laggards())), c.startMissing()
	}
	if voters := len(c.local.Configuration.Voters); voters < c.options.majority() {
		return fmt.Sprintf("lineage %s is closed to writes: %d of %d members vote in it, %d are needed",
			c.local.Lineage, voters, len(c.options.Members), c.options.majority()), c.startMissing()
	}
	return "", ""
}

// laggards lists the other voters and why each has not stored what a leader
// waits for.
func (c *Core) laggards() []string {
	var words []string
	for _, v := range c.local.Configuration.Voters {
		p := c.peer(v.Name)
		if p == nil {
			continue
		}
		why := "has not answered yet"
		switch f, _ := c.local.follower(v); {
		case !p.connected:
			why = "is missing"
		case p.status.Store != v.Store:
			why = "has lost the store that voted"
		case p.status.Frozen():
			why = "has promised a founder to take no part"
		case f.Lagging:
			why = "needs a copy first"
		}
		words = append(words, v.Name+" "+why)
	}
	if len(words) == 0 {
		return []string{"its own disk has not yet"}
	}
	return words
}

// notListed is the situation of a store that holds the lineage and does not vote.
func (c *Core) notListed(leader string) string {
	if old, listed := c.local.Configuration.Store(c.options.Self); listed {
		return fmt.Sprintf("holds lineage %s and waits for %s to replace its old store %s", c.local.Lineage, leader, old)
	}
	return fmt.Sprintf("holds lineage %s and waits for %s to add it", c.local.Lineage, leader)
}

func (o *Options) majority() int { return len(o.Members)/2 + 1 }

// withoutVoice is the situation of a store that is blank or frozen: it needs a
// leader to copy from, or a founding.
func (c *Core) withoutVoice() (State, string, string) {
	what := "the store is blank"
	if !c.local.Replaced.Blank() {
		what = fmt.Sprintf("the store is blank; the one before, of lineage %s, was set aside", c.local.Replaced)
	}
	if !c.local.Blank() {
		what = fmt.Sprintf("the store promised a founder of epoch %d to take no part in its lineage %s", c.promise().Epoch, c.local.Lineage)
	}
	for _, p := range c.peers {
		if p.connected && p.offer != nil {
			if v := c.judgeOffer(p.offer); v.why != "" {
				return StateWaiting, fmt.Sprintf("%s; %s leads lineage %s: %s", what, p.name, p.offer.leader.Lineage, v.why), ""
			}
			return StateWaiting, fmt.Sprintf("%s; a copy from %s comes next", what, p.name), ""
		}
	}
	for _, p := range c.peers {
		if p.connected && p.role.Leading {
			return StateWaiting, fmt.Sprintf("%s; %s leads and will offer a copy", what, p.name), ""
		}
	}
	state, reason, remedy := c.withoutLeader()
	return state, what + "; " + reason, remedy
}

// withoutLeader is the situation of a store that nobody leads: somebody is
// elected soon, or has to found, or is missing.
func (c *Core) withoutLeader() (State, string, string) {
	now := c.prospect(nil)
	switch {
	case now.winner != nil:
		return StateWaiting, fmt.Sprintf("no leader; %s can be elected in lineage %s", now.winner.Member, now.winner.Lineage),
			"that takes a second or two; if it lasts, see that the members reach each other's mesh addresses"
	case len(now.missing) > 0:
		return StateWaiting, c.voices() + "missing: " + list(c.describeMissing(now.missing)), c.startMissing()
	case now.lost && !c.options.Continue:
		return StateWaiting, fmt.Sprintf("the memory of a majority is lost (%s), and when_majority_lost = \"wait\" leaves the next step to you", list(c.lostVoters(&now))),
			fmt.Sprintf("bring the lost stores back, or run %s %s", foundCommand(nil, now.best.Member), outcome(now.best))
	case now.best.Member != c.options.Self:
		return StateWaiting, fmt.Sprintf("nobody can be elected; %s has the best memory and has to found a new lineage", now.best.Member), ""
	case c.obstacle != "":
		return StateWaiting, "this node has to found a new lineage and will try again; the last attempt ended because " + c.obstacle, ""
	}
	return StateWaiting, "this node is about to found a new lineage", ""
}

// voices says how many votes there are, or that this is the first start.
func (c *Core) voices() string {
	first := true
	for _, s := range c.knownStores() {
		first = first && s.Blank() && s.Replaced.Blank()
	}
	switch configuration := c.local.Configuration; {
	case first:
		return "nobody leads, and a first start needs every member once; "
	case c.local.Blank() || c.local.Frozen():
		return "nobody leads; "
	default:
		here, lost := 0, ""
		for _, v := range configuration.Voters {
			switch p := c.peer(v.Name); {
			case v == c.local.Voter():
				here++
			case p == nil || !p.connected:
			case p.status.Voter() != v:
				lost += fmt.Sprintf("%s has lost the store that voted; ", v.Name)
			case !c.holds(p):
				lost += fmt.Sprintf("%s has promised a founder to take no part; ", v.Name)
			default:
				here++
			}
		}
		return fmt.Sprintf("no leader: %d of %d voters are here, %d are needed; %s", here, len(configuration.Voters), configuration.Majority(), lost)
	}
}

// describeMissing adds to each name since when it is missing.
func (c *Core) describeMissing(names []string) []string {
	words := make([]string, len(names))
	for i, name := range names {
		p := c.peer(name)
		what := "not seen yet"
		if p.seen {
			what = "connection lost"
		}
		words[i] = fmt.Sprintf("%s (%s, %s)", name, what, c.seconds(c.now-p.lostAt))
	}
	return words
}

// seconds says a number of ticks in words.
func (c *Core) seconds(ticks uint64) string {
	return fmt.Sprintf("%d s", ticks/uint64(c.options.SecondTicks))
}

// holds reports whether a voter of the best survivor's lineage is in the view.
func (p *prospect) holds(v protocol.Voter) bool {
	return slices.ContainsFunc(p.view, func(s *Status) bool { return s.Voter() == v && s.Lineage == p.best.Lineage })
}

// lostVoters lists the members whose memory of the best survivor's lineage is
// gone; for a blank survivor those whose store was set aside.
func (c *Core) lostVoters(p *prospect) []string {
	var before protocol.Configuration // that a change which is not committed would replace
	if p.best.Member == c.options.Self {
		before = c.local.InForce
	}
	names := gone(p.holds, p.best.Configuration, before)
	for _, s := range p.view {
		if p.best.Blank() && !s.Replaced.Blank() {
			names = append(names, s.Member)
		}
	}
	return names
}

// report writes, every ReportTicks, what this node waits for, if it does.
func (c *Core) report() {
	if c.finished || c.now < c.reportAt {
		return
	}
	c.reportAt = c.now + uint64(c.options.ReportTicks)
	state, reason, remedy := c.situation()
	if reason == "" {
		return
	}
	c.event(Warning, sentence(reason, remedy), "state", state, "store", c.local.Store, "lineage", c.local.Lineage,
		"epoch", c.local.Epoch, "promise", c.local.Promise.Epoch)
}
