package member

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/wal"
)

// TickInterval is the time between two calls of Tick. The periods of this
// package are counted in ticks: a wall clock may jump, and a process that was
// held up must not take its own pause for the silence of others.
const TickInterval = 20 * time.Millisecond

func ticks(d time.Duration) uint64 { return uint64(d / TickInterval) }

func duration(ticks uint64) time.Duration { return time.Duration(ticks) * TickInterval }

// Environment is where a member lives: the mesh, the disk, and hands for work
// that would hold up the loop. No method blocks, except End.
type Environment interface {
	// Begin begins a life over an open store: writes go to that store, and the
	// member joins the mesh as a new incarnation that says status of itself.
	Begin(store *wal.Store, status mesh.Status) error
	// Announce renews what the member says of itself to whoever connects.
	Announce(status mesh.Status)
	// Send queues a frame for a member, whose links keep the order of frames. It
	// returns false when there is no link or it is full. rest belongs behind body;
	// the environment keeps both.
	Send(to string, kind byte, body []byte, rest ...[]byte) bool
	// Write queues a durable change of the store. Changes are made in order;
	// Written reports them, the last of several that were made together.
	Write(id uint64, write *protocol.Write)
	// Background does work beside the loop, and then calls done as the loop. Work
	// reads the store or writes a staged copy; several may be under way.
	Background(work, done func())
	// End ends the life: it closes the links and waits until every queued write
	// was made or has failed and no work is under way. Nothing of this life is
	// reported any more, and no done is called. The store stays open.
	End()
}

// Options configure a member.
type Options struct {
	Name    string
	Cluster string
	Members []string // names of all, this one included
	// Continue founds from survivors without asking when a majority is lost.
	Continue bool

	Dir         *wal.Dir // its store is closed
	Environment Environment
	// Accounts are those that have JetStream. What the log holds of others stays,
	// and nobody reaches it.
	Accounts   []Account
	Domain     string                                       // of JetStream; empty: none
	MaxPayload int                                          // of a client's message, in bytes
	Now        func() int64                                 // the wall clock, nanoseconds since 1970; it may be wrong and jump
	Elapsed    func() int64                                 // nanoseconds since any moment; it never jumps
	Random     func() uint64                                // identifiers and seeds
	Zone       func(name string) (*time.Location, error)    // of schedules; nil: there are none
	Server     func() *server.ServerInfo                    // what the NATS server is called, see jetstream.Options; nil: nobody asks
	Inspect    func(read func(*server.Server), done func()) // has the NATS server read, see jetstream.Options
	Storage    server.JetStreamConfig                       // what reports tell of the store
	// Restoring is told how far a copy of another member's store is, in percent.
	Restoring func(percent uint64)
	Logger    *slog.Logger
	// Applied is told of every entry that the state machine has just applied,
	// before anybody is answered. The entry is only to be read. Nil: nobody is.
	Applied func(entry *protocol.Entry)

	// CheckpointBytes is how much log is applied between two checkpoints, and
	// CheckpointInterval the pause after which a quieter log gets one too.
	// Zero: 12 MiB, a minute.
	CheckpointBytes    int
	CheckpointInterval time.Duration
	// CaptureWork bounds a step of a checkpoint, of which there is one in a tick, in
	// about microseconds. Zero: 2,000.
	CaptureWork int
	// SettleWork bounds what an entry does of large changes, see machine.Options: it has
	// to be the same on all members, always. Zero: what the machine does by itself.
	SettleWork int
	// RewriteSlackBytes is how much the log may take beyond its share of what lives
	// before mostly dead entries are written again. Zero: 4 MiB.
	RewriteSlackBytes int64
	// HoldBytes is how much log is kept for a member that is not heard of, so that
	// a restart costs it no copy. Zero: 16 times CheckpointBytes.
	HoldBytes int64
	// CopyChunkBytes is the size of the pieces in which a store is copied to
	// another member. Zero: 512 KiB.
	CopyChunkBytes int
	// QuarantineStores and QuarantineBytes are how much may be set aside without
	// a word. Zero: 4, 1 GiB.
	QuarantineStores int
	QuarantineBytes  int64
	// ScrubBytesPerSecond is how fast the store is read in the background to find
	// damage. Zero: it is not.
	ScrubBytesPerSecond int
	// FeedBytes bounds the durable entries that the replication core keeps in memory
	// for followers. Zero: 16 MiB.
	FeedBytes int
	// TailBytes bounds the entries that are kept in memory after they were
	// applied. Zero: 32 MiB.
	TailBytes int
}

func (o *Options) complete() {
	if o.CheckpointBytes == 0 {
		o.CheckpointBytes = 12 << 20
	}
	if o.CheckpointInterval == 0 {
		o.CheckpointInterval = time.Minute
	}
	if o.CaptureWork == 0 {
		o.CaptureWork = captureWork
	}
	if o.RewriteSlackBytes == 0 {
		o.RewriteSlackBytes = 4 << 20
	}
	if o.HoldBytes == 0 {
		o.HoldBytes = 16 * int64(o.CheckpointBytes)
	}
	if o.CopyChunkBytes == 0 {
		o.CopyChunkBytes = 512 << 10
	}
	if o.QuarantineStores == 0 {
		o.QuarantineStores = 4
	}
	if o.QuarantineBytes == 0 {
		o.QuarantineBytes = 1 << 30
	}
	if o.TailBytes == 0 {
		o.TailBytes = 32 << 20
	}
}
