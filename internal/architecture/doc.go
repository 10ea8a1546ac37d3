// Package architecture keeps the shape of the code: which package may import
// which, what the pure packages must not touch, and how long a file and a
// function may grow. Its tests read the source of the whole module; nothing
// else uses it.
//
// Imports point one way: main → node → {machine, bus, jetstream, mesh,
// replication, wal} → protocol. A pure package has no clock, socket, file,
// goroutine, lock or global randomness: what it does follows from what it is
// handed, so a simulation of it is the real thing.
package architecture
