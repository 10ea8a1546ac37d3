package simulation

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"holdfast/mesh"
	"holdfast/protocol"
)

// calm ends all faults. From now on everything has to come back by itself.
func (w *world) calm() {
	w.trace.note(w.now, "", "no more faults")
	w.clients.quiet = true
	w.network.repeat = 0
	for a, h := range w.hosts {
		for b := range w.hosts {
			if a != b {
				w.network.unblock(a, b)
			}
		}
		h.pausedUntil, h.slowness, h.full, h.pace = w.now, 1, false, 1
		if h.process == nil {
			h.restart(w.between(0, second))
		}
		w.after(2*second, func() { w.scrub(h) })
	}
	for _, t := range w.clients.topics {
		for _, p := range t.publishers {
			p.done = 0
		}
		for _, b := range t.batchers {
			b.done = 0
		}
	}
	if w.clients.ledger != nil {
		w.clients.ledger.done = 0
	}
	if w.clients.diary != nil {
		w.clients.diary.done = 0
	}
	w.checks.disturbed()
	w.after(operatorPatience, w.operate)
}

// busy tells whether the load goes on in the quiet phase: until every member is a
// voter, which has to come about under it.
func (w *world) busy() bool { return w.clients.quiet && w.plan.busy && !w.formed }

// scrub finds damage that nobody has come across yet, now or the next time.
func (w *world) scrub(h *host) {
	w.after(2*second, func() { w.scrub(h) })
	p := h.process
	if p == nil || !h.damaged[p.member.Store().Path()] {
		return
	}
	p.put(mailCall, func() { p.member.SetAside(errors.New("a scrub found damage")) })
}

// operatorPatience is how long a person waits, after the last fault, for the
// cluster to come back by itself. Whoever founds without members that are only
// slow to connect loses what they hold.
const operatorPatience = 8 * second

// operate is a person who does what alarms and reports ask for.
func (w *world) operate() {
	for _, h := range w.hosts {
		if h.process != nil {
			w.attend(h.process)
		}
	}
	w.after(3*second, w.operate)
}

func (w *world) attend(p *process) {
	view := p.member.View()
	for _, m := range view.Members {
		if m.Name != p.host.name || m.State != mesh.StateAlarmed || !w.plan.disaster {
			continue
		}
		p.host.note("operator discards the store: %s", m.Remedy)
		p.put(mailCall, func() {
			if err := p.member.Discard(p.member.Identity().Store.String()); err != nil {
				p.host.note("discard refused: %v", err)
			}
		})
	}
	order := advice.FindStringSubmatch(view.Waiting)
	if !w.plan.wait || order == nil || order[2] != p.host.name {
		return
	}
	names := strings.FieldsFunc(order[1], func(r rune) bool { return r == ',' })
	p.host.note("operator founds without %q", names)
	p.put(mailCall, func() {
		if err := p.member.Found(names); err != nil {
			p.host.note("founding refused: %v", err)
		}
	})
}

// advice is how a member says what an operator could do, and where.
var advice = regexp.MustCompile("`holdfast found(?: --without ([^ `]+))?` on ([^ ;]+)")

// settled reports that everything is live again. It looks once a tick.
func (w *world) settled() bool {
	if w.now < w.nextLook {
		return false
	}
	w.nextLook = w.now + tick
	return w.missing() == ""
}

// missing says what is not as it should be yet; empty when everything is.
func (w *world) missing() string {
	leader := w.leader()
	if leader == nil {
		return "nobody leads"
	}
	status, _ := leader.member.Raft()
	if !leader.member.Serving() || !status.ConfigurationCommitted {
		return "the leader does not serve\n" + w.standing()
	}
	for _, h := range w.hosts {
		switch p := h.process; {
		case p == nil:
			return h.name + " does not run"
		case h.damaged[p.member.Store().Path()]:
			return h.name + " has damage that nobody has come across yet"
		case p.member.Identity().Lineage != leader.member.Identity().Lineage:
			return h.name + " is in another lineage\n" + w.standing()
		case !status.Configuration.Contains(protocol.Voter{Name: h.name, Store: p.member.Identity().Store}):
			return h.name + " is not a voter\n" + w.standing()
		}
	}
	if !w.formed {
		w.formed, w.formedAt = true, w.now
	}
	if text := w.clients.missing(leader); text != "" {
		return text
	}
	for _, h := range w.hosts {
		if h.process.member.Machine().Applied() != leader.member.Machine().Applied() {
			return h.name + " trails"
		}
	}
	return ""
}

// missing says what a client still waits for.
func (c *workload) missing(leader *process) string {
	for _, t := range c.topics {
		if text := t.missing(leader); text != "" {
			return text
		}
	}
	if h := c.hoard; h != nil {
		if text := h.missing(leader.member.Machine()); text != "" {
			return text
		}
	}
	if l := c.ledger; l != nil {
		if text := l.missing(); text != "" {
			return text
		}
	}
	if d := c.diary; d != nil {
		return d.missing(leader.member.Machine())
	}
	return ""
}

// standing describes all members, for a report.
func (w *world) standing() string {
	var b strings.Builder
	for _, h := range w.hosts {
		p := h.process
		if p == nil {
			fmt.Fprintf(&b, "  %s: down\n", h.name)
			continue
		}
		status, holding := p.member.Raft()
		local := p.member.Local()
		role := "blank"
		if holding {
			role = status.Role.String()
		}
		fmt.Fprintf(&b, "  %s: %s store %s lineage %s epoch %d promise %v term %d last %d commit %d release %d applied %d serving %v configuration %s (committed %v)\n",
			h.name, role, local.Store, local.Lineage, local.Epoch, local.Promise, local.Term, status.Last, status.Commit, status.Release,
			p.member.Machine().Applied(), p.member.Serving(), status.Configuration, status.ConfigurationCommitted)
		view := p.member.View()
		fmt.Fprintf(&b, "      waiting: %s; alarms: %v\n", view.Waiting, view.Alarms)
		for _, m := range view.Members {
			fmt.Fprintf(&b, "      %s %s connected %v %s %s\n", m.Name, m.State, m.Connected, m.Reason, m.Remedy)
		}
	}
	return b.String()
}
