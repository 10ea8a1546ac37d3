// Package replication is the Raft core of Holdfast: leader election, log
// replication, membership changes and linearizable reads for one lineage, as one
// store sees them. It follows Ongaro and Ousterhout, "In Search of an
// Understandable Consensus Algorithm" (the paper), and Ongaro's dissertation
// (the thesis); docs/replication.md lists the departures and argues for them.
//
// A Core is pure. It has no clock, socket, file, goroutine or lock, and its only
// randomness is handed in. Inputs are method calls; what is to be done about
// them comes out of Take.
//
// # What the owner does
//
// All calls come from one goroutine. After any number of inputs the owner takes
// effects until they are Empty, and acts on them:
//
//	for core.Take(&effects); !effects.Empty(); core.Take(&effects) {
//		queue(effects.WriteID, effects.HardState, effects.Entries) // one atomic write
//		send(effects.Messages)
//		sendAfter(effects.WriteID, effects.AfterWrite)
//		apply(effects.Released); core.Applied(last of them)
//		serve(effects.Reads); refuse(effects.ReadsDropped)
//	}
//
// and, later, calls Persisted with the ID of each write that has become durable
// (or of the last one of several that were joined).
//
// It owes the core:
//
//   - Writes become durable in the order of their IDs, each whole or not at all.
//     Only then does Log show them, and only then is Persisted called.
//   - A message of AfterWrite leaves only when the writes handed out up to then
//     are durable. This is the promise on which everything rests: a vote or an
//     acknowledgement that a crash could make untrue loses acknowledged data.
//   - Messages may be lost, repeated and reordered. They may not be changed, and
//     a message leaves only in the name of the store that it says it is from:
//     after a store was replaced, what it had to say is void.
//   - Entries at or below the last Applied may leave the Log, oldest first.
//     Others stay.
//   - A store that lost its memory is another voter, with another store ID. The
//     core never mistakes one for the other, whatever their names.
//   - Tick is called at regular intervals. Nothing but the time that things take
//     depends on it.
//   - The core is not used any more once it has Failed, and it is made anew over
//     what is durable whenever the log is replaced by a copy.
//
// # Two watermarks
//
// An entry is committed when a majority of the configuration stores it, together
// with an entry of the leader's own term. It is released, that is, may be applied
// and acknowledged to a client, when it is committed and every batch up to it is
// also stored by a majority of the members, whether they are voters or not (rule
// P2 of the design). With as many voters as members the two are the same. With
// fewer, a sole founder can get on with its founding, its configurations and its
// bumps, and yet acknowledge nothing that only it stores.
//
// # What the package is made of
//
// Core in core.go dispatches. election.go, leader.go, follower.go, transfer.go
// and reads.go are the protocol, one matter each; membership.go has
// configurations and peers, peer.go what a leader knows of one peer, tail.go the
// log in memory over the durable one, quorum.go the arithmetic of majorities.
// take.go and effects.go are the way out, message.go and encoding.go the wire.
//
// # How it is tested
//
// testdata has scripts that read like stories, with what the cores did in answer
// (interaction_test.go; go test -update rewrites the answers). simulation_test.go
// drives clusters at random under faults, from seeds; checker_test.go judges each
// step from outside, by what is on the disks and what was said. That the judge
// sees what it should is shown by breaking the rules of the protocol one at a
// time, from outside the production code (mutation_test.go, testdata/broken).
package replication
