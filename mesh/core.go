package mesh

import (
	"math/rand/v2"

	"holdfast/protocol"
)

// Options configure a core.
type Options struct {
	Self    string
	Members []string // M, this member included; the same on every node
	// Continue: a founding from survivors starts by itself when a majority is
	// lost (when_majority_lost = "continue").
	Continue bool
	// RetryTicks is the pause after which an unanswered question or proposal is
	// repeated, and the unit of every back-off; at least 2.
	RetryTicks int
	// ReportTicks is the pause between two reports of what a stuck node waits
	// for; at least 1.
	ReportTicks int
	Random      *rand.Rand
}

// Core is the membership of one store. Not safe for concurrent use.
type Core struct {
	options Options
	local   Local
	effects Effects
}

// New returns the core of the store that local tells of.
func New(options Options, local Local) *Core { return &Core{options: options, local: local} }

// Tick advances time by one tick.
func (c *Core) Tick() {}

// Connected says that messages to the member get through, and what its hello
// said of its store. A new connection may come without a Disconnected.
func (c *Core) Connected(name string, status Status) {}

// Disconnected says that the connection is gone.
func (c *Core) Disconnected(name string) {}

// Step takes a message that came over the connection of the member from.
func (c *Core) Step(from string, m Message) {}

// SetLocal tells what changed in the store or the replication core.
func (c *Core) SetLocal(local Local) {}

// Persisted reports that the promise of Effects.WriteID is durable.
func (c *Core) Persisted(writeID uint64) {}

// Staged reports that the copy of the last StageRequest is whole and durable.
func (c *Core) Staged(copied Copy) {}

// StageFailed reports that the copy of the last StageRequest cannot be had.
func (c *Core) StageFailed(reason string) {}

// StageProgress tells how many bytes of the copy have arrived.
func (c *Core) StageProgress(copied, total uint64) {}

// PlanFound tells what Found would do and risk.
func (c *Core) PlanFound(without []string) (Risk, error) { return Risk{}, nil }

// Found starts a founding that treats the named members as gone (rule P7).
func (c *Core) Found(without []string) error { return nil }

// PlanDiscard tells what Discard would give up.
func (c *Core) PlanDiscard(store protocol.StoreID) (Risk, error) { return Risk{}, nil }

// Discard lets this store leave its lineage although the leave rule forbids it.
func (c *Core) Discard(store protocol.StoreID) error { return nil }

// Take moves what the owner has to do into effects, whose slices are reused.
func (c *Core) Take(effects *Effects) {
	effects.reset()
	c.effects, *effects = *effects, c.effects
}

// View is the cluster as this node sees it, for people.
func (c *Core) View() View { return View{} }

// Risk is what an operator is told before a command is confirmed.
type Risk struct {
	// Lines are for people, most important first.
	Lines []string
}

// Admit judges the hello of a member before the connection is used.
func (c *Core) Admit(name string, status Status) error { return nil }
