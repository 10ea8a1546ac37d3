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

func (r *Risk) add(format string, args ...any) {
	r.Lines = append(r.Lines, fmt.Sprintf(format, args...))
}

// PlanFound tells what Found would do and risk, and returns its errors.
func (c *Core) PlanFound(without []string) (Risk, error) {
	p, err := c.planFound(without)
	if err != nil {
		return Risk{}, err
	}
	without = named(without)
	var r Risk
	lost := c.lostVoters(p)
	switch b := p.best; {
	case b.Blank() && p.lost:
		r.add("%s founds a NEW, EMPTY cluster, epoch %d. The stores that were set aside on %s stay in quarantine/ there; nothing in them will be in the cluster.",
			b.Member, c.nextEpoch(), list(lost))
	case b.Blank():
		r.add("%s founds a NEW, EMPTY cluster, epoch %d.", b.Member, c.nextEpoch())
	default:
		r.add("%s founds a new lineage, epoch %d, from its own log: lineage %s up to index %d.", b.Member, c.nextEpoch(), b.Lineage, b.LastIndex)
		if mayLose(b.Configuration, p.holds) {
			r.add("LOST to the cluster: acknowledged writes that only %s held.", list(lost))
		} else {
			r.add("No acknowledged write is lost.")
		}
	}
	if len(without) > 0 {
		r.add("%s will count as gone. What their stores hold and %s does not, will not be in the cluster. If one of them still runs, or comes back with its memory, two lineages live, both raise an alarm, and you have to give one of them up by hand. Make sure first that they are off, or blank.",
			list(without), p.best.Member)
	}
	if present := len(p.view); present < c.options.majority() {
		r.add("Only %d of %d members take part: the new lineage takes no writes until %d have joined it.",
			present, len(c.options.Members), c.options.majority())
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
	without = named(without)
	c.override = &override{without: without, endAt: c.now + c.retry(overridePatience)}
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
	p := c.prospect(named(without))
	if why := c.objection(&p); why != "" {
		return nil, fmt.Errorf("found: %w: %s; %s", ErrCannotFound, why, c.instead(&p, named(without)))
	}
	return &p, nil
}

// PlanDiscard tells what Discard would give up, and returns its errors.
func (c *Core) PlanDiscard(store protocol.StoreID) (Risk, error) {
	if store != c.local.Store {
		for _, s := range c.knownStores() {
			if s.Store == store {
				return Risk{}, fmt.Errorf("discard %s: %w: it is that of %s, run the command there", store, ErrNotThisStore, s.Member)
			}
		}
		return Risk{}, fmt.Errorf("discard %s: %w, which is %s; `holdfast status` shows who has which", store, ErrNotThisStore, c.local.Store)
	}
	a := c.ownAlarm()
	if a == nil {
		return Risk{}, fmt.Errorf("discard %s: %w: no alarm of this node asks for it", store, ErrNotAlarmed)
	}
	var r Risk
	r.add("Store %s of %s is given up: lineage %s up to index %d.", store, c.options.Self, c.local.Lineage, c.local.LastIndex)
	r.add("LOST to the cluster: acknowledged writes that only this store holds. The file is kept in quarantine/ and can be read.")
	r.add("%s then takes a copy of the other lineage, as soon as somebody leads it.", c.options.Self)
	r.add("What asks for it: %s.", a.text)
	return r, nil
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

// named sorts names given on a command line; empty ones are none.
func named(names []string) []string {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	return slices.DeleteFunc(sorted, func(name string) bool { return name == "" })
}

func either(names []string, otherwise string) string {
	if len(names) == 0 {
		return otherwise
	}
	return list(names)
}
