package mesh

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/protocol"
)

// situation says where this node stands, why, and what would let it go on.
// Nothing waits silently: whatever keeps a node from taking part has a sentence.
func (c *Core) situation() (state State, reason, remedy string) {
	if len(c.alarms) > 0 {
		if text := c.ownAlarm(); text != "" {
			return StateAlarmed, text, ""
		}
	}
	switch _, listed := c.local.Configuration.Store(c.options.Self); {
	case c.attempt != nil:
		a := c.attempt
		return StateFounding, fmt.Sprintf("asks to found epoch %d, waits for %s", a.Epoch, list(a.unanswered())), ""
	case c.stage != nil:
		return StateJoining, fmt.Sprintf("copies lineage %s from %s, %d of %d bytes so far", c.stage.Lineage, c.stage.From, c.stage.copied, c.stage.total), ""
	case c.local.Blank() || c.local.Frozen():
		return c.withoutVoice()
	case c.leader() == "":
		return c.withoutLeader()
	case c.local.Configuration.Contains(c.local.Voter()):
		if voters := len(c.local.Configuration.Voters); voters < c.options.majority() && c.local.Leader {
			return StateVoter, fmt.Sprintf("lineage %s is closed to writes: %d of %d members vote in it, %d are needed",
				c.local.Lineage, voters, len(c.options.Members), c.options.majority()), c.startMissing()
		}
		return StateVoter, "", ""
	case listed:
		return StateLearner, fmt.Sprintf("holds lineage %s, waits for %s to replace its old store", c.local.Lineage, c.leader()), ""
	default:
		return StateLearner, fmt.Sprintf("holds lineage %s, waits for %s to add it", c.local.Lineage, c.leader()), ""
	}
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
		what = fmt.Sprintf("the store promised epoch %d to a founder and takes no part in its older lineage %s", c.promise().Epoch, c.local.Lineage)
	}
	for _, p := range c.peers {
		if p.connected && p.offer != nil {
			if v := c.judgeOffer(p.offer); v.why != "" {
				return StateWaiting, fmt.Sprintf("%s; %s leads lineage %s: %s", what, p.name, p.offer.leader.Lineage, v.why), ""
			}
			return StateWaiting, fmt.Sprintf("%s; a copy from %s comes next", what, p.name), ""
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
		return StateWaiting, fmt.Sprintf("no leader yet; %s can be elected in lineage %s", now.winner.Member, now.winner.Lineage), ""
	case len(now.missing) > 0:
		return StateWaiting, "no leader, and no status from " + list(c.describeMissing(now.missing)), c.startMissing()
	case now.lost && !c.options.Continue:
		lost := c.lostVoters(&now)
		return StateWaiting, fmt.Sprintf("a majority of the cluster's memory is lost (%s), and when_majority_lost is \"wait\"", list(lost)),
			fmt.Sprintf("bring the lost stores back, or run `holdfast found --without %s` on %s to go on with what it holds", c.nameable(lost, now.best), now.best.Member)
	case now.best.Member != c.options.Self:
		return StateWaiting, fmt.Sprintf("nobody can be elected; %s is the best survivor and has to found a new lineage", now.best.Member), ""
	case c.obstacle != "":
		return StateWaiting, fmt.Sprintf("this node has to found a new lineage and will try again; the last attempt ended because %s", c.obstacle), ""
	}
	return StateWaiting, "this node is about to found a new lineage", ""
}

// describeMissing adds to each name how long it is missing.
func (c *Core) describeMissing(names []string) []string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = name + " (never seen)"
		if c.peer(name).seen {
			words[i] = name + " (connection lost)"
		}
	}
	return words
}

// startMissing says which members to start, and what an operator can do when
// they will not return.
func (c *Core) startMissing() string {
	var names []string
	for _, p := range c.peers {
		if !p.connected {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	survivors := c.prospect(names)
	advice := fmt.Sprintf("start %s and see that the mesh addresses can be reached", list(names))
	if survivors.winner != nil || len(survivors.view) == 0 {
		return advice
	}
	return advice + fmt.Sprintf("; or, only if their memory will not return, run `holdfast found --without %s` on %s", strings.Join(names, ","), survivors.best.Member)
}

// lostVoters lists the members whose memory of the best survivor's lineage is
// gone; for a blank survivor those whose store was set aside.
func (c *Core) lostVoters(p *prospect) []string {
	var names []string
	for _, v := range p.best.Configuration.Voters {
		if !slices.ContainsFunc(p.view, func(s *Status) bool { return s.Voter() == v && s.Lineage == p.best.Lineage }) {
			names = append(names, v.Name)
		}
	}
	for _, s := range p.view {
		if p.best.Blank() && !s.Replaced.Blank() {
			names = append(names, s.Member)
		}
	}
	return names
}

// nameable is the operator's list: those who are lost, save the founder.
func (c *Core) nameable(lost []string, founder *Status) string {
	named := slices.DeleteFunc(slices.Clone(lost), func(name string) bool { return name == founder.Member })
	if len(named) == 0 {
		return `""`
	}
	return strings.Join(named, ",")
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

func sentence(reason, remedy string) string {
	if remedy == "" {
		return reason
	}
	return reason + "; " + remedy
}

// View is the cluster as this node sees it, for people.
func (c *Core) View() View {
	v := View{Self: c.options.Self, Lineage: c.local.Lineage, Epoch: c.local.Epoch, Leader: c.leader()}
	for _, a := range c.alarms {
		v.Alarms = append(v.Alarms, a.text)
	}
	role := c.role()
	v.Waiting = sentence(role.Reason, role.Remedy)
	own := MemberView{Name: c.options.Self, State: role.State, Connected: true, Status: c.local.Status, Reason: role.Reason,
		Remedy: role.Remedy, Copied: role.Copied, Total: role.Total}
	v.Members = append(v.Members, own)
	for _, p := range c.peers {
		v.Members = append(v.Members, c.viewOf(p))
	}
	slices.SortFunc(v.Members, func(a, b MemberView) int { return strings.Compare(a.Name, b.Name) })
	return v
}

// viewOf is another member: what it says of itself while it is connected.
func (c *Core) viewOf(p *peer) MemberView {
	m := MemberView{Name: p.name, Connected: p.connected, Status: p.status}
	switch {
	case !p.seen:
		m.Reason, m.Remedy = "never seen", "start it and see that its mesh address can be reached"
	case !p.connected:
		m.State, m.Reason, m.Remedy = StateGone, "the connection is lost", "start it and see that its mesh address can be reached"
	default:
		m.State, m.Reason, m.Remedy, m.Copied, m.Total = p.role.State, p.role.Reason, p.role.Remedy, p.role.Copied, p.role.Total
		if c.local.Configuration.Contains(protocol.Voter{Name: p.name, Store: p.status.Store}) && c.holds(p) && m.State != StateAlarmed {
			m.State = StateVoter
		}
	}
	return m
}
