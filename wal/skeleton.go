package wal

import (
	"time"

	"holdfast/protocol"
)

// Owner is who a store folder belongs to.
type Owner struct {
	Cluster string
	Member  string
}

// Options tune a folder and its stores. The zero value is right for use.
type Options struct {
	MapBytes int64            // address space reserved for the memory map; 0: 64 GiB
	MaxBytes int64            // the store's file never grows beyond this; 0: no limit
	Now      func() time.Time // for notes; nil: time.Now
	Random   func() uint64    // for store IDs; nil: crypto/rand
}

// Dir is a locked store folder.
type Dir struct{}

// Quarantined describes a store that was set aside.
type Quarantined struct {
	Path    string
	Store   protocol.StoreID
	Lineage protocol.Lineage
	Reason  string
	Time    time.Time
}

// Activation is who a staged copy becomes.
type Activation struct {
	Identity  protocol.Identity
	HardState protocol.HardState
	Promise   protocol.Attempt
	Boot      uint64
	Counter   uint64
	Reason    string // why the store before it is set aside
}

// Meta is what a store knows about itself.
type Meta struct {
	Owner           Owner
	Identity        protocol.Identity
	Boot            uint64
	Counter         uint64
	HardState       protocol.HardState
	Promise         protocol.Attempt
	Replaced        protocol.Lineage
	CheckpointIndex uint64
	Horizon         uint64
	Configuration   protocol.Configuration
	Epoch           uint64
	Foundings       []protocol.Founding
	Stamp           int64
}

// Store is one open store.
type Store struct{}

// Reader reads from one moment of a store.
type Reader struct{}

// Export is a checkpoint on its way to another node.
type Export struct{}

// Stage is a copy being received.
type Stage struct{}

// Manifest says what a staged copy holds.
type Manifest struct {
	Lineage       protocol.Lineage
	Last          uint64
	Horizon       uint64
	Marks         []protocol.Mark
	Configuration protocol.Configuration
	Epoch         uint64
	Foundings     []protocol.Founding
	Stamp         int64
}

func OpenDir(path string, owner Owner, opt Options) (*Dir, error)              { panic("skeleton") }
func (d *Dir) Open() (*Store, error)                                           { panic("skeleton") }
func (d *Dir) Quarantine(reason string) (string, error)                        { panic("skeleton") }
func (d *Dir) Quarantined() ([]Quarantined, error)                             { panic("skeleton") }
func (d *Dir) NewStage() (*Stage, error)                                       { panic("skeleton") }
func (d *Dir) Activate(stage *Stage, a Activation) (*Store, error)             { panic("skeleton") }
func (d *Dir) Close() error                                                    { panic("skeleton") }
func (s *Store) Meta() Meta                                                    { panic("skeleton") }
func (s *Store) Commit(writes ...*protocol.Write) error                        { panic("skeleton") }
func (s *Store) First() uint64                                                 { panic("skeleton") }
func (s *Store) Last() uint64                                                  { panic("skeleton") }
func (s *Store) Mark(index uint64) (protocol.Mark, bool)                       { panic("skeleton") }
func (s *Store) Entries(lo, hi uint64, maxBytes int) ([]protocol.Entry, error) { panic("skeleton") }
func (s *Store) View(fn func(*Reader) error) error                             { panic("skeleton") }
func (s *Store) Indices(lo, hi uint64, fn func(index uint64) error) error      { panic("skeleton") }
func (s *Store) LoadCheckpoint(fn func(key, value []byte) error) error         { panic("skeleton") }
func (s *Store) Export() (*Export, error)                                      { panic("skeleton") }
func (s *Store) Size() int64                                                   { panic("skeleton") }
func (s *Store) Room() int64                                                   { panic("skeleton") }
func (s *Store) Close() error                                                  { panic("skeleton") }
func (r *Reader) Read(dst []byte, index uint64, offset, size uint32) ([]byte, error) {
	panic("skeleton")
}
func (x *Export) Next(maxBytes int) (chunk []byte, done bool, err error) { panic("skeleton") }
func (x *Export) Progress() (sent, total int64)                          { panic("skeleton") }
func (x *Export) Close()                                                 { panic("skeleton") }
func (g *Stage) Write(chunk []byte) error                                { panic("skeleton") }
func (g *Stage) Finish() (Manifest, error)                               { panic("skeleton") }
func (g *Stage) Last() uint64                                            { panic("skeleton") }
func (g *Stage) Mark(index uint64) (protocol.Mark, bool)                 { panic("skeleton") }
func (g *Stage) Discard() error                                          { panic("skeleton") }
