package member

import (
	"errors"
	"fmt"
	"time"

	"holdfast/mesh"
	"holdfast/node/jetstream"
	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/replication"
	"holdfast/wal"
)

// Member is one member of the cluster. See the package's documentation for who
// calls what.
type Member struct {
	options    Options
	clock      *clock
	precedence *precedence
	heard      mesh.Heard
	life       *life
	quarantine quarantine
	ticks      uint64 // since Open
	// failed is why there is no further life.
	failed error
}

// Open opens the current store and begins to live on it. A store that cannot be
// trusted is set aside first (a damaged memory is no memory).
func Open(options Options) (*Member, error) {
	options.complete()
	m := &Member{options: options, clock: newClock(&options), precedence: &precedence{self: options.Name, bus: buses(options.Accounts), others: len(options.Members) - 1, ranks: make(map[string]int)}}
	m.precedence.tell = m.tellRank
	if err := m.openLife(); err != nil {
		return nil, err
	}
	return m, nil
}

// ErrUnreadable: every checksum of the store is right, and still its content makes
// no sense to this program. That is a defect of the program, or a store of another
// version of it, and not damage: the store stays where it is, and a person has to
// look before anything is set aside.
var ErrUnreadable = errors.New("the store is undamaged but cannot be understood; nothing was changed")

// Heard is what this process has heard of the stores of the others.
func (m *Member) Heard() *mesh.Heard { return &m.heard }

// tellRank sends this member's rank to another.
func (m *Member) tellRank(to string, s standing) {
	if m.life.ended == living {
		m.options.Environment.Send(to, frameRank, s.encode())
	}
}

func (m *Member) openLife() error {
	m.precedence.alone()
	l, err := m.startLife()
	var damage *wal.DamageError
	if errors.As(err, &damage) {
		if err := m.setAside(err.Error()); err != nil {
			return err
		}
		l, err = m.startLife()
	}
	if err != nil {
		return err
	}
	m.life = l
	m.quarantine.look(m)
	return nil
}

// setAside puts the store, which is closed, into the quarantine.
func (m *Member) setAside(reason string) error {
	path, err := m.options.Dir.Quarantine(reason)
	if err != nil {
		return fmt.Errorf("set the damaged store aside: %w", err)
	}
	var who wal.Quarantined
	if all, err := m.options.Dir.Quarantined(); err == nil && len(all) > 0 {
		who = all[len(all)-1]
	}
	m.options.Logger.Error("store set aside: it cannot be trusted; this node goes on without its memory and joins again",
		"member", m.options.Name, "store", who.Store, "lineage", who.Lineage, "reason", reason, "kept_as", path)
	return nil
}

// Linked says that the link to a member came up, and what its hello said.
func (m *Member) Linked(name string, status []byte) { m.life.linked(name, status) }

// Unlinked says that the link to a member is gone.
func (m *Member) Unlinked(name string, cause error) { m.life.unlinked(name, cause) }

// Frame takes a frame that another member sent. The member keeps body.
func (m *Member) Frame(from string, kind byte, body []byte) { m.life.frame(from, kind, body) }

// Written reports that the write with this number, and all before it, are
// durable, or that it failed, after which nothing more is written.
func (m *Member) Written(id uint64, err error) { m.life.written(id, err) }

// Handle takes a message of a client in the account at that place in
// Options.Accounts.
func (m *Member) Handle(place int, message *jetstream.Message) {
	if m.life.ended == living {
		m.life.doors.list[place].Handle(message)
	}
}

// Tick is the passing of one TickInterval.
func (m *Member) Tick() {
	m.ticks++
	m.precedence.tick()
	m.grumble()
	if m.life.ended == living {
		m.life.tick()
	}
}

// Settle carries out what follows from everything that was reported.
func (m *Member) Settle() {
	for m.failed == nil {
		m.life.settle()
		if m.life.ended == living || m.life.ended == stop {
			return
		}
		if err := m.nextLife(); err != nil {
			m.options.Logger.Error("cannot go on", "cause", err)
			m.failed = err
		}
	}
}

// Wake is in how long Settle has something to do even if nothing is reported
// until then; false if it has not.
func (m *Member) Wake() (time.Duration, bool) {
	if m.failed != nil || m.life.ended != living {
		return 0, false
	}
	at := m.life.doors.wake()
	return time.Duration(at - m.clock.now()), at != 0
}

// Ended reports that the member does nothing any more, and why: nil when it was
// told to stop.
func (m *Member) Ended() (bool, error) {
	if m.failed != nil {
		return true, m.failed
	}
	return m.life.ended == stop, m.life.cause
}

// Stop ends the member at once. Nothing is handed over.
func (m *Member) Stop(cause error) { m.life.end(stop, cause) }

// SetAside gives the current store up because it is not what others have seen.
func (m *Member) SetAside(cause error) { m.life.end(setAside, cause) }

// Close releases the store of a member that ended.
func (m *Member) Close() error {
	if m.life == nil {
		return nil
	}
	return m.life.close()
}

// nextLife ends the present life and begins the one that it asked for.
func (m *Member) nextLife() error {
	old := m.life
	meta := old.store.Meta()
	err := old.close()
	switch old.ended {
	case activate:
		if err != nil {
			return err
		}
		if err := m.activate(old, &meta); err != nil {
			return err
		}
	case setAside:
		if err := m.setAside(old.cause.Error()); err != nil {
			return err
		}
	case reattach:
		if err := m.reattach(old); err != nil {
			return err
		}
	}
	return m.openLife()
}

// reattach writes the store again that somebody removed below the running node.
func (m *Member) reattach(old *life) error {
	who := []any{"member", m.options.Name, "store", old.identity.Store, "lineage", old.identity.Lineage, "file", old.store.Path()}
	m.options.Logger.Error("the file of the store was removed while the node uses it; it is written again from what the process has open",
		append(who, "cause", old.cause)...)
	if err := m.options.Dir.Reattach(); err != nil {
		return err
	}
	m.options.Logger.Info("the file of the store is where it was", who...)
	return nil
}

// activate makes the staged copy of the life that ended the current store.
func (m *Member) activate(old *life, meta *wal.Meta) error {
	activation := wal.Activation{Identity: old.activation.Identity, Reason: old.activation.Reason}
	if old.activation.Keep {
		activation.HardState, activation.Promise, activation.Granted, activation.Boot = meta.HardState, meta.Promise, meta.Granted, meta.Boot
		// What it knew to be released may lie beyond what the copy has applied.
		activation.HardState.Commit = old.stagedLast
		activation.HardState.Release = min(meta.HardState.Release, old.stagedLast)
	}
	store, err := m.options.Dir.Activate(old.staged, activation)
	if err != nil {
		return err
	}
	m.options.Logger.Info("switched to the copy", "purpose", old.activation.Purpose, "store", activation.Identity.Store,
		"lineage", activation.Identity.Lineage, "last", store.Last(), "replaced", meta.Identity.Store)
	return store.Close()
}

// Identity is that of the current store.
func (m *Member) Identity() protocol.Identity { return m.life.identity }

// Local is what the current store says of itself.
func (m *Member) Local() mesh.Local { return m.life.replica.Local() }

// Raft is the state of the replication core; false while the store is blank.
func (m *Member) Raft() (replication.Status, bool) { return m.life.replica.Raft() }

// View is the membership as this member sees it.
func (m *Member) View() mesh.View { return m.life.replica.View() }

// Machine is the state that was applied; it is only to be read.
func (m *Member) Machine() *machine.Machine { return m.life.machine }

// Store is the current store; it is only to be read.
func (m *Member) Store() *wal.Store { return m.life.store }

// Serving reports whether a client of this node reaches a leader that serves.
func (m *Member) Serving() bool {
	raft, holding := m.life.replica.Raft()
	if !holding {
		return false
	}
	if raft.Role == replication.Leader {
		return m.life.serving
	}
	return raft.Leader.Name != "" && raft.Configuration.Contains(m.life.replica.Self()) && raft.Open
}

// ReachesAPI tells whether clients of this node reach the JetStream API in every
// account.
func (m *Member) ReachesAPI() bool { return m.life.reachesAPI() }

// Copying is how far the copy of a store is that a member receives, in bytes:
// the one that comes here, for this member, or one that goes out.
func (m *Member) Copying(name string) (done, total int64, ok bool) {
	if i := m.life.importer; i != nil && name == m.options.Name {
		return int64(i.progress.done), int64(i.progress.total), true
	}
	for _, x := range m.life.exporters {
		if x.to == name {
			return x.sent, x.total, true
		}
	}
	return 0, 0, false
}
