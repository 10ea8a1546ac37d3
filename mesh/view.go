package mesh

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/protocol"
)

// State is where a member stands.
type State uint8

const (
	StateUnknown  State = 0 // never heard of
	StateGone     State = 1 // not connected
	StateWaiting  State = 2 // cannot proceed by itself; Reason says for what it waits
	StateJoining  State = 3 // stages a copy
	StateFounding State = 4 // asks the others for a new lineage
	StateLearner  State = 5 // holds the lineage, is not a voter yet
	StateVoter    State = 6 // takes part in the lineage's decisions
	StateAlarmed  State = 7 // needs an operator; Remedy says what to do
)

var stateNames = [...]string{"unknown", "gone", "waiting", "joining", "founding", "learner", "voter", "alarmed"}

// String prints the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// View is the cluster as this node sees it.
type View struct {
	Self    string
	Lineage protocol.Lineage
	Epoch   uint64
	Leader  string // "" when none is known
	// Waiting says in one sentence what this node waits for and what would let
	// it go on; "" while it takes part and nothing is missing.
	Waiting string
	// Alarms are sentences that say what happened and what to do.
	Alarms []string
	// Members in the order of their names, this one included.
	Members []MemberView
}

// MemberView is one member as this node sees it.
type MemberView struct {
	Name      string
	State     State
	Connected bool // true for this node itself
	// Status is the last that was heard of it. Of a member that was not heard of
	// it has only the store that votes for it, zero when none does.
	Status Status
	Reason string
	Remedy string // what would let it go on; "" when nothing is needed
	// Copied and Total count the bytes of the copy that a joining member stages.
	Copied, Total uint64
}

// View is the cluster as this node sees it, for people.
func (c *Core) View() View {
	v := View{Self: c.options.Self, Lineage: c.local.Lineage, Epoch: c.local.Epoch, Leader: c.leader()}
	for _, a := range c.alarms {
		v.Alarms = append(v.Alarms, sentence(a.text, a.remedy))
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
	if !p.seen { // what the log says of it is all that is known
		m.Status.Member = p.name
		m.Status.Store, _ = c.local.Configuration.Store(p.name)
	}
	const start = "start it and see that its mesh address can be reached"
	switch {
	case !p.seen:
		m.Reason, m.Remedy = fmt.Sprintf("not seen since %s opened its store %s ago", c.options.Self, c.seconds(c.now)), start
	case !p.connected:
		m.State, m.Reason, m.Remedy = StateGone, fmt.Sprintf("its connection was lost %s ago", c.seconds(c.now-p.lostAt)), start
	default:
		m.State, m.Reason, m.Remedy, m.Copied, m.Total = p.role.State, p.role.Reason, p.role.Remedy, p.role.Copied, p.role.Total
		votes := c.local.Configuration.Contains(p.status.Voter()) && c.holds(p)
		switch {
		case votes && (m.State == StateUnknown || m.State == StateLearner): // it has not heard yet
			m.State, m.Reason = StateVoter, ""
		case m.State == StateUnknown:
			m.State, m.Reason = StateWaiting, "connected; has not said yet how it is"
		}
	}
	return m
}
