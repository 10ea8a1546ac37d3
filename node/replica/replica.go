package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/replication"
)

// State is what a store says of itself when it is opened.
type State struct {
	Identity  protocol.Identity
	Boot      uint64
	HardState protocol.HardState
	Promise   protocol.Attempt
	Granted   []protocol.Attempt // every attempt that this store ever promised
	Replaced  protocol.Lineage
	// As of the checkpoint, whose index is Applied.
	Applied       uint64
	Configuration protocol.Configuration
	Epoch         uint64
	Foundings     []protocol.Founding
	// Landmarks are the entries above the checkpoint that are neither batches
	// nor no-ops, in order.
	Landmarks []protocol.Entry
}

// Options configure a replica.
type Options struct {
	Member  string
	Members []string // M, this member included
	// Continue founds from survivors without asking when a majority is lost.
	Continue bool
	State    State
	Log      replication.Log
	// ElectionTicks and HeartbeatTicks are in calls of Tick.
	ElectionTicks, HeartbeatTicks int
	// RetryTicks is the least pause between attempts to found or to join, and
	// ReportTicks that between reports of what a stuck node waits for. See
	// mesh.Options for AdviseTicks and SecondTicks.
	RetryTicks, ReportTicks, AdviseTicks, SecondTicks int
	MaxAppendBytes                                    int
	MaxInflightBytes                                  int
	MaxReleaseBytes                                   int
	// FeedBytes is replication.Options.TailBytes.
	FeedBytes int
	Random    *rand.Rand
	// Heard is mesh.Options.Heard.
	Heard *mesh.Heard
}

// counterBits is how many changes of a status one process may count (a million
// a second for 12 days) before they run into those of the next.
const counterBits = 40

// Replica is the state of one store in the protocols. Not safe for concurrent
// use.
type Replica struct {
	options Options
	off     switches
	mesh    *mesh.Core
	raft    *replication.Core // nil while the store is blank
	history history
	promise protocol.Attempt
	granted []protocol.Attempt // every attempt that this store ever promised
	hard    protocol.HardState
	// counter rises with every change that a status shows. It begins above all
	// that earlier processes on this store can have reached.
	counter uint64
	local   mesh.Local

	peers map[string]peer // linked members

	// pending are the writes handed out and not yet durable, oldest first.
	pending []pendingWrite
	lastID  uint64
	// stopped is set once this replica must not act any more.
	stopped bool

	out         Effects
	raftEffects replication.Effects
	meshEffects mesh.Effects
}

// peer is what is known of a linked member.
type peer struct {
	store protocol.StoreID
	// follows: it holds the lineage of this store, and follows whoever leads it.
	// When it was linked, its log ended at last.
	follows bool
	last    uint64
}

// New returns a replica over an opened store.
func New(options Options) (*Replica, error) {
	r := &Replica{
		options: options,
		history: newHistory(options.State),
		promise: options.State.Promise,
		granted: slices.Clone(options.State.Granted),
		hard:    options.State.HardState,
		peers:   map[string]peer{},
		counter: options.State.Boot << counterBits,
	}
	if !options.State.Identity.Lineage.Blank() {
		if err := r.openLog(); err != nil {
			return nil, err
		}
	}
	r.refreshLocal()
	r.mesh = mesh.New(mesh.Options{
		Self:        options.Member,
		Members:     options.Members,
		Continue:    options.Continue,
		RetryTicks:  options.RetryTicks,
		ReportTicks: options.ReportTicks,
		AdviseTicks: options.AdviseTicks,
		SecondTicks: options.SecondTicks,
		Random:      options.Random,
		Heard:       options.Heard,
	}, r.local)
	return r, nil
}

func (r *Replica) openLog() (err error) {
	state := &r.options.State
	r.raft, err = replication.New(replication.Options{
		Self:             r.self(),
		Lineage:          state.Identity.Lineage,
		Members:          len(r.options.Members),
		Log:              r.options.Log,
		HardState:        state.HardState,
		Configurations:   r.history.configurations(),
		Applied:          state.Applied,
		ElectionTicks:    r.options.ElectionTicks,
		HeartbeatTicks:   r.options.HeartbeatTicks,
		MaxAppendBytes:   r.options.MaxAppendBytes,
		MaxInflightBytes: r.options.MaxInflightBytes,
		MaxReleaseBytes:  r.options.MaxReleaseBytes,
		TailBytes:        r.options.FeedBytes,
		Frozen:           r.frozen(),
		Random:           r.options.Random,
	})
	if err != nil {
		return fmt.Errorf("start replication of lineage %s: %w", state.Identity.Lineage, err)
	}
	return nil
}

// Self is this store as a voter.
func (r *Replica) Self() protocol.Voter { return r.self() }

func (r *Replica) self() protocol.Voter {
	return protocol.Voter{Name: r.options.Member, Store: r.options.State.Identity.Store}
}

// frozen tells whether the store promised above its lineage's founding epoch,
// after which it neither votes nor acknowledges in it (rule P3).
func (r *Replica) frozen() bool {
	return r.promise.Epoch > r.options.State.Identity.Lineage.Epoch
}

// Tick advances both cores by one tick.
func (r *Replica) Tick() {
	if r.stopped {
		return
	}
	if r.raft != nil {
		r.raft.Tick()
	}
	r.syncLocal()
	r.mesh.Tick()
}

// StageProgress tells how far the copy is that Effects.Stage asked for, in bytes.
func (r *Replica) StageProgress(copied, total uint64) { r.mesh.StageProgress(copied, total) }

// Linked says that a member is connected and what its hello said of its store.
func (r *Replica) Linked(name string, status mesh.Status) {
	if r.mesh.Credible(&status) {
		r.peers[name] = peer{store: status.Store, follows: r.raft != nil && status.Lineage == r.options.State.Identity.Lineage && !status.Frozen(), last: status.LastIndex}
		if r.raft != nil { // before the membership core could offer what this store needed before
			r.raft.PeerUp(protocol.Voter{Name: name, Store: status.Store})
		}
	}
	r.syncLocal()
	r.mesh.Connected(name, status)
}

// Unlinked says that the connection to a member is gone.
func (r *Replica) Unlinked(name string) {
	gone, known := r.peers[name]
	delete(r.peers, name)
	r.syncLocal()
	r.mesh.Disconnected(name)
	if r.raft != nil && known {
		r.raft.PeerDown(protocol.Voter{Name: name, Store: gone.store})
	}
}

// StepMembership takes a message of another member's membership core.
func (r *Replica) StepMembership(from string, body []byte) error {
	message, err := mesh.DecodeMessage(body)
	if err != nil {
		return err
	}
	if r.stopped {
		return nil
	}
	r.syncLocal()
	r.mesh.Step(from, message)
	// What the answer promises binds at once, not with the next Take: the
	// replication core must not get another input before.
	r.settle()
	return nil
}

// StepRaft takes a message of another member's replication core. A message that
// claims to come from another member than the one that sent it is refused.
func (r *Replica) StepRaft(from string, body []byte) error {
	message, err := replication.DecodeMessage(body)
	if err != nil {
		return err
	}
	if message.From.Name != from {
		return fmt.Errorf("message of %s came over the link of %s", message.From, from)
	}
	if r.stopped || r.raft == nil || !r.mesh.Heeds(from) {
		return nil
	}
	if r.off.liftPromise != nil {
		r.off.liftPromise(r, &message)
	}
	r.raft.Step(message)
	return nil
}

// Propose appends a batch to the log of the lineage. The entry is applied under
// the returned index, unless this node loses the leadership before.
func (r *Replica) Propose(data []byte) (index uint64, err error) {
	if r.stopped || r.raft == nil {
		return 0, replication.ErrNotLeader
	}
	return r.raft.Propose(data)
}

// ReadBarrier asks for a confirmation that this node leads; see Effects.Reads.
func (r *Replica) ReadBarrier(context uint64) {
	if r.stopped || r.raft == nil {
		r.out.ReadsDropped = append(r.out.ReadsDropped, context)
		return
	}
	r.raft.ReadIndex(context)
}

// Applied reports that all released entries up to index are applied.
func (r *Replica) Applied(index uint64) {
	if r.raft != nil {
		r.raft.Applied(index)
	}
}

// Transfer hands the leadership to the voter that is best prepared for it, of
// those that suit. It returns an error when there is none.
func (r *Replica) Transfer(suits func(name string) bool) error {
	if r.stopped || r.raft == nil {
		return replication.ErrNotLeader
	}
	var best *replication.Progress
	for _, p := range r.raft.Progress() {
		if p.Learner || p.Voter == r.self() || !p.Active || p.NeedsCopy || !suits(p.Voter.Name) {
			continue
		}
		if best == nil || p.Match > best.Match {
			best = &p
		}
	}
	if best == nil {
		return fmt.Errorf("hand over the leadership: no other voter follows")
	}
	return r.raft.Transfer(best.Voter)
}

// Staged reports that a copy which Effects.Stage asked for is whole.
func (r *Replica) Staged(staged mesh.Copy) {
	r.syncLocal()
	r.mesh.Staged(staged)
}

// StageFailed reports that a copy which Effects.Stage asked for cannot be had.
func (r *Replica) StageFailed(reason string) {
	r.syncLocal()
	r.mesh.StageFailed(reason)
}

// PlanFound tells what Found would do and risk.
func (r *Replica) PlanFound(without []string) (mesh.Risk, error) { return r.mesh.PlanFound(without) }

// PlanDiscard tells what Discard would give up.
func (r *Replica) PlanDiscard(store protocol.StoreID) (mesh.Risk, error) {
	return r.mesh.PlanDiscard(store)
}

// Found is the operator's `found --without` (rule P7).
func (r *Replica) Found(without []string) error {
	r.syncLocal()
	return r.mesh.Found(without)
}

// Discard is the operator's `discard` of the current store (rule P7).
func (r *Replica) Discard(store protocol.StoreID) error {
	r.syncLocal()
	return r.mesh.Discard(store)
}

// Hinder says what beside the protocols keeps the node from serving, and what
// helps; "" when nothing does. It is for people.
func (r *Replica) Hinder(hindrance string) {
	if r.local.Hindrance != hindrance {
		r.local.Hindrance = hindrance
		r.syncLocal()
	}
}

// View is the membership as this node sees it.
func (r *Replica) View() mesh.View { return r.mesh.View() }

// Durable reports whether all writes handed out are durable.
func (r *Replica) Durable() bool { return len(r.pending) == 0 }

// Local is what this store says of itself.
func (r *Replica) Local() mesh.Local { return r.local }

// Raft is the state of the replication core; false while the store is blank.
func (r *Replica) Raft() (replication.Status, bool) {
	if r.raft == nil {
		return replication.Status{}, false
	}
	return r.raft.Status(), true
}

// LogFacts are what a checkpoint at index records of the log itself.
func (r *Replica) LogFacts(index uint64) (protocol.Configuration, uint64, []protocol.Founding) {
	return r.history.at(index)
}

// Forget says that a checkpoint at index is durable: earlier landmarks are no
// longer needed one by one.
func (r *Replica) Forget(index uint64) { r.history.forget(index) }

// Progress is what this node, as leader, knows of the other stores' logs.
func (r *Replica) Progress() []replication.Progress {
	if r.raft == nil {
		return nil
	}
	return r.raft.Progress()
}
