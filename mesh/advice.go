package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"holdfast/protocol"
)

// What a person is told to do. Every piece of advice names the command, the node
// on which it is accepted, and what it gives up; a test of the texts follows the
// advice and sees that it helps.

// discardCommand gives up a store; only the node that has it takes the command.
func discardCommand(v protocol.Voter) string {
	return fmt.Sprintf("`holdfast discard %s` on %s", v.Store, v.Name)
}

// foundCommand founds a new lineage without the named, if any; only the best
// survivor among the others takes the command.
func foundCommand(without []string, on string) string {
	if len(without) == 0 {
		return fmt.Sprintf("`holdfast found` on %s", on)
	}
	return fmt.Sprintf("`holdfast found --without %s` on %s", strings.Join(without, ","), on)
}

// kept says what becomes of a store that is given up.
const kept = "the file is kept in quarantine/ on that node and can be read"

// eitherStore is the advice where a founder's log lacks what another member's
// store holds, so that one of the two has to be given up.
func (c *Core) eitherStore(founder, holder protocol.Voter) string {
	others := c.prospect([]string{founder.Name})
	return fmt.Sprintf("decide which of the two to keep; to go on without what only %s holds, run %s (acknowledged writes among it are lost to the cluster; %s); to go on with it and without what only %s holds, run %s and, once %s raises an alarm, %s",
		holder.Name, discardCommand(holder), kept, founder.Name, foundCommand([]string{founder.Name}, others.best.Member), founder.Name, discardCommand(founder))
}

// eitherLineage is the advice where two lineages live; the same on either side.
func (c *Core) eitherLineage(a, b protocol.Lineage) string {
	if cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.ID, b.ID)) > 0 {
		a, b = b, a
	}
	return fmt.Sprintf("an override named members absent that were not, or an old store came back; find out which lineage to keep, and give up the other: to give up %s run %s, to give up %s run %s (acknowledged writes that only these stores hold are lost to the cluster; %s)",
		c.describeLineage(a), c.discardsOf(a), c.describeLineage(b), c.discardsOf(b), kept)
}

// describeLineage names a lineage and what there is of it, as far as it is known.
func (c *Core) describeLineage(l protocol.Lineage) string {
	var newest *Status
	for _, s := range c.knownStores() {
		if s.Lineage == l && (newest == nil || s.compareLogs(newest) > 0) {
			newest = s
		}
	}
	if newest == nil {
		return l.String()
	}
	text := fmt.Sprintf("%s (its log goes to index %d", l, newest.LastIndex)
	if voters := len(newest.Configuration.Voters); voters < c.options.majority() {
		text += fmt.Sprintf("; closed to writes, %d of %d members vote in it", voters, len(c.options.Members))
	}
	return text + ")"
}

// discardsOf lists the commands that give up the stores of a lineage, as far as
// they are known.
func (c *Core) discardsOf(l protocol.Lineage) string {
	var commands []string
	for _, s := range c.knownStores() {
		if s.Lineage == l {
			commands = append(commands, discardCommand(s.Voter()))
		}
	}
	return list(commands)
}

// knownStores are the newest statuses of all members, by name.
func (c *Core) knownStores() []*Status {
	all := []*Status{&c.local.Status}
	for _, p := range c.peers {
		if p.seen {
			all = append(all, &p.status)
		}
	}
	slices.SortFunc(all, func(a, b *Status) int { return strings.Compare(a.Member, b.Member) })
	return all
}

// instead says what helps where a founding is refused, or "".
func (c *Core) instead(p *prospect, without []string) string {
	switch {
	case len(p.missing) > 0:
		more := slices.Sorted(slices.Values(slices.Concat(without, p.missing)))
		survivors := c.prospect(more)
		return fmt.Sprintf("start %s or, only if the memory of %s will not return, run %s",
			list(p.missing), list(p.missing), foundCommand(more, survivors.best.Member))
	case p.winner != nil:
		return "there is nothing to be founded"
	}
	return "run " + foundCommand(without, p.best.Member)
}

// startMissing says which members to start. When all of them have been missing
// for a while it adds what an operator can do if they will not return: not
// before, as members that start together miss each other for a moment.
func (c *Core) startMissing() string {
	var names []string
	patient := false
	for _, p := range c.peers {
		if !p.connected {
			names = append(names, p.name)
			patient = patient || c.now-p.lostAt < uint64(c.options.AdviseTicks)
		}
	}
	if len(names) == 0 {
		return ""
	}
	advice := fmt.Sprintf("start %s and see that the mesh addresses can be reached", list(names))
	survivors := c.prospect(names)
	if patient || survivors.winner != nil || len(survivors.view) == 0 {
		return advice
	}
	return advice + fmt.Sprintf("; or, only if the memory of %s will not return, run %s %s", list(names), foundCommand(names, survivors.best.Member), outcome(survivors.best))
}

// outcome says what a founding by the best survivor leads to.
func outcome(best *Status) string {
	if best.Blank() {
		return "to begin with a NEW, EMPTY cluster"
	}
	return fmt.Sprintf("to go on with what %s holds", best.Member)
}

// sentence joins what is wrong with what helps.
func sentence(reason, remedy string) string {
	if remedy == "" {
		return reason
	}
	return reason + "; " + remedy
}
