// Package wal keeps one node's memory: the log with its messages, the hard
// state of Raft, the promise of the mesh, the checkpoint of the state machine
// and the identity under which all of this was acknowledged. It is one bbolt
// file, with a journal for small commits inside, in a folder that one process at a
// time may hold.
//
// # Folder and store
//
// OpenDir takes the folder's lock and refuses, by a clear error and without
// touching anything, a folder of another cluster or member, of a newer format,
// or one in use. Dir.Open opens the current store and creates a blank one when
// there is none. At most one Store of a Dir is open at a time; Activate and
// Quarantine need it closed.
//
// # Threads
//
// Store.Commit (and Close) is called by one goroutine at a time. Everything
// else may be called by any goroutine at any time, also during a Commit. The
// function given to View must not call Commit, View or Close: a read transaction
// inside another can wait for a writer that waits for the outer one. Keep a View
// short; pages freed meanwhile are reused only after it. A Stage and an Export
// belong to one goroutine each.
//
// First, Last, Mark and Meta answer from memory with what is durable. They
// change when a Commit returns, and not before.
//
// # Damage
//
// What is read is copied out of the memory map first and verified then, so the
// caller has exactly the bytes whose checksum was right. Whatever goes wrong with
// the file, while opening, reading or writing, is one thing, a *DamageError, and
// the store gives it for every call from then on. A store that failed once holds
// nothing that may be acknowledged, voted with or served: the node closes it,
// calls Dir.Quarantine and goes on as one that lost its memory. The only
// exception is ErrDiskFull, after which the store is as it was before the call.
//
// A file that somebody removes below an open store is not damage: see ErrRemoved and
// Dir.Reattach.
//
// docs/storage.md has the formats on disk and the argument for crashes.
package wal
