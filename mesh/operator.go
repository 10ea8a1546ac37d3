package mesh

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/protocol"
)

// Errors of the operator's commands (rule P7).
var (
	// ErrNotMember: a named member is not configured, or is this node itself.
	ErrNotMember = errors.New("not another member")
	// ErrCannotFound: by what this node knows it may not found a lineage.
	ErrCannotFound = errors.New("this node may not found a new lineage")
	// ErrNotThisStore: the store is not the current one of this node.
	ErrNotThisStore = errors.New("not the store of this node")
	// ErrNotAlarmed: the store is in use and nothing asks to give it up.
	ErrNotAlarmed = errors.New("the store is in use")
)

// Risk is what an operator is told before a command is confirmed.
type Risk struct {
	// Lines are for people, most important first.
	Lines []string
}

// PlanFound tells what Found would do and risk, and returns its errors.
func (c *Core) PlanFound(without []string) (Risk, error) {
	p, err := c.planFound(without)
	if err != nil {
		return Risk{}, err
	}
	var r Risk
	if p.best.Blank() {
		r.Lines = append(r.Lines, "A new, empty cluster is founded. Whatever the stores of "+either(without, "absent members")+" hold will not be in it.")
	} else {
		r.Lines = append(r.Lines, fmt.Sprintf("A new lineage is founded from %s, lineage %s, up to index %d.", p.best.Member, p.best.Lineage, p.best.LastIndex))
	}
	if lost := c.lostVoters(p); mayLose(p.best.Configuration, len(lost)) && !p.best.Blank() {
		r.Lines = append(r.Lines, fmt.Sprintf("Acknowledged writes that only %s held are lost to it.", list(lost)))
	}
	if len(without) > 0 {
		r.Lines = append(r.Lines, fmt.Sprintf(
			"If %s in truth still live, or come back with their memory, two lineages are live; both raise an alarm, and one has to be discarded by hand.", list(without)))
	}
	if present := len(p.view); present < c.options.majority() {
		r.Lines = append(r.Lines, fmt.Sprintf("Only %d of %d members are present: the new lineage stays closed to writes until %d have joined it.",
			present, len(c.options.Members), c.options.majority()))
	}
	return r, nil
}

// Found starts a founding that treats the named members as gone (rule P7); with
// no name, or the empty one, it is the go-ahead that when_majority_lost = "wait"
// waits for. The
// other rules hold: this node is the best of those not named, all of them are
// connected, and none of them could win an election. Refused attempts are
// repeated for a while. A restart forgets the command. The errors wrap
// ErrNotMember or ErrCannotFound.
func (c *Core) Found(without []string) error {
	if _, err := c.planFound(without); err != nil {
		return err
	}
	without = slices.Compact(slices.Sorted(slices.Values(without)))
	c.override = &override{without: without, endAt: c.now + c.retry(5*patience)}
	c.event(Warning, "an operator orders a founding", "without", strings.Join(without, ","), "store", c.local.Store,
		"lineage", c.local.Lineage, "index", c.local.LastIndex, "epoch", c.local.Epoch)
	if c.attempt != nil {
		c.abandon("an operator ordered a founding without " + either(without, "nobody"))
	}
	c.retryAt = 0
	c.act()
	return nil
}

func (c *Core) planFound(without []string) (*prospect, error) {
	for _, name := range without {
		if name != "" && c.peer(name) == nil {
			return nil, fmt.Errorf("found without %s: %w: the others are %s", name, ErrNotMember, list(c.others()))
		}
	}
	if c.finished {
		return nil, fmt.Errorf("found: %w: it is changing its store; ask again", ErrCannotFound)
	}
	p := c.prospect(without)
	if why := c.objection(&p); why != "" {
		return nil, fmt.Errorf("found: %w: %s", ErrCannotFound, why)
	}
	return &p, nil
}

// PlanDiscard tells what Discard would give up, and returns its errors.
func (c *Core) PlanDiscard(store protocol.StoreID) (Risk, error) {
	if store != c.local.Store {
		return Risk{}, fmt.Errorf("discard %s: %w, which is %s", store, ErrNotThisStore, c.local.Store)
	}
	text := c.ownAlarm()
	if text == "" {
		return Risk{}, fmt.Errorf("discard %s: %w: no alarm asks for it", store, ErrNotAlarmed)
	}
	return Risk{Lines: []string{
		fmt.Sprintf("Store %s of %s, lineage %s up to index %d, is given up for the other lineage. Acknowledged writes that only it holds are lost to the cluster.",
			store, c.options.Self, c.local.Lineage, c.local.LastIndex),
		"It is set aside and can still be read.",
		"The alarm: " + text,
	}}, nil
}

// Discard lets this store leave its lineage although the leave rule forbids it
// (rule P7). The store stays as it is until a copy is whole. A restart forgets
// the command. The errors wrap ErrNotThisStore or ErrNotAlarmed.
func (c *Core) Discard(store protocol.StoreID) error {
	if _, err := c.PlanDiscard(store); err != nil {
		return err
	}
	c.mayLeave = true
	c.event(Warning, "an operator discards the store of this node", "store", store, "lineage", c.local.Lineage,
		"index", c.local.LastIndex, "epoch", c.local.Epoch)
	c.act()
	return nil
}

// others lists the names of the other members.
func (c *Core) others() []string {
	names := make([]string, len(c.peers))
	for i, p := range c.peers {
		names[i] = p.name
	}
	return names
}

func either(names []string, otherwise string) string {
	if len(names) == 0 {
		return otherwise
	}
	return list(names)
}
