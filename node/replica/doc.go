// Package replica is one store's part in the cluster: it composes the
// membership core (mesh) with the replication core (replication) and keeps the
// two in step with what the store has durably written.
//
// It is pure, like the two: inputs go in by method calls, effects come out by
// Take. The owner, a loop or a simulator, must
//
//   - perform Effects.Writes in order and report each with Written, in order;
//   - send Effects.Frames at once and without waiting for the writes;
//   - apply Effects.Released in order and report it with Applied;
//   - on Effects.Reopen, Effects.Activate or Effects.Fatal stop using the
//     replica, and go on with a new one over the store that is then current.
//
// The order of durable facts is what the safety of the protocol rests on. Both
// cores hand out messages that may leave only after something is on disk. The
// replica numbers all writes in one row, so "after" has one meaning: a promise
// is never durable before the log that it was given on, and an answer of the
// membership core leaves only when every write queued before it is durable.
package replica
