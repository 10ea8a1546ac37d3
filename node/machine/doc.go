// Package machine is the replicated state machine: streams, the index of their
// messages, and consumers. It is pure. Entries of the log go in, results come
// out; there is no clock, file, socket, goroutine, lock or randomness inside,
// so every node that applied the same entries holds the same state (Digest).
//
// # What the caller owes
//
// One goroutine owns a Machine. It calls Apply for every entry of kind batch
// and Skip for every other entry, in the order of the log, each index once.
// Entries are built with Batch. The leader stamps an entry with the time; a
// stamp is at least the stamp before it plus the number of slots of that
// entry, so that message times (stamp plus slot, in nanoseconds) are unique
// and rise. A stamp that does not follow this rule is raised to the least one
// that does, on every node alike.
//
// Batches carry validated configurations: NormalizeStream and
// NormalizeConsumer apply the defaults and the checks that depend on the
// request alone, before a command is proposed. What depends on the state (is
// the name in use, may this field change) is decided by Apply.
//
// # What the caller gets
//
// One Result per command, in the order of the slots, with the same
// server.ApiError that JetStream would have answered, and Events for what
// happened besides. A command that names a stream or consumer incarnation that
// is gone is answered "not found" or counted in an EventStale; it changes
// nothing.
//
// Messages are not copied. The index knows where in the log a message is (a
// Location: entry, offset, size); the bytes are read from there and taken
// apart by DecodeMessage. An entry may be dropped from the log when Dead
// reports it. A Location is good until the next entry is applied: a move (see
// move.go) gives a message another one.
//
// # Durability
//
// Checkpoint hands out what changed since the call before, as key and value
// pairs. Put together in order, the pairs of all checkpoints are the state;
// Restore reads them back, and the log's entries after it are applied again.
// The same write must carry the checkpoint and the entries that Dead reported
// right after it: an entry that a durable index still refers to must not go.
package machine
