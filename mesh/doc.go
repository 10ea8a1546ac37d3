// Package mesh decides who belongs to the cluster: it founds lineages, lets
// members join them, replaces voters whose memory is gone, and fences what is
// older. It is the pure core of rules P1 to P7 of the design; it has no clock,
// socket, file or goroutine, and its only randomness is handed in.
//
// A Core acts for one store. The owner feeds it with ticks, connections,
// messages and the state of the store and of the replication core, and after
// each of these takes the Effects and carries them out. The safety of the
// protocol rests on what the owner does with them:
//
//   - SetLocal comes before every other input when anything in Local has
//     changed. Local counts every write that was handed to the disk, also one
//     that is not durable yet, so that no decision is taken on a log that is
//     about to change.
//   - StepDown and Freeze take effect before anything else of the batch, and
//     before the replication core gets another input. Freeze holds for ever.
//   - Promise is written behind all earlier writes; Persisted reports it. A
//     store remembers every attempt that it promised until it is replaced
//     (Local.Granted); a store that a copy or a founding put in its place has
//     promised nothing.
//   - A message leaves only when every write handed out before it is durable;
//     Effects.AfterWrite also waits for the Promise of its own batch.
//   - DropStage removes a copy, whole or not, before anything else of the batch
//     is written or sent.
//   - Install and Activate are atomic: after a crash either all or nothing of it
//     is there. Nothing else is written to the store meanwhile. The Core does
//     nothing more after it has handed out one of them; the owner makes a new
//     one over the store that is then current.
//
// Everything else is level-triggered: what a Core wants is derived anew from
// what it knows, and asked for again every RetryTicks, so messages and proposals
// may be lost, repeated and reordered.
//
// Three points where the rules leave room, and how it is filled:
//
//   - A store remembers all its grants, not only the last. Otherwise a founder
//     that holds the lineage of an earlier grant, and whose attempt comes to
//     nothing, would take from its granters the right to leave for what they
//     granted before, and they would wait for an operator without need.
//   - A fresh store has promised nothing, not even the epoch that began its
//     lineage. What must not reach it are requests that were made for its
//     predecessor; these pin another store ID and are refused.
//   - A store that lags behind what its leader keeps may take a copy and keep its
//     identity (PurposeCatchUp). That is Raft's snapshot installation, not
//     joining: the copy is committed, and at least as up to date as the log that
//     it replaces by (last term, last index), so it has every entry that the
//     store ever helped to commit.
//
// What an override can do: an operator who wrongly names members absent makes a
// second live lineage, and so may an attempt that is in flight at such a member
// and gets its last grant afterwards. Nothing is lost. A lineage acknowledges
// only what a majority of M stores, a member's store is in one lineage at a
// time, and a store leaves a lineage only for one that has all of its log or
// that it granted itself; so two lineages do not acknowledge side by side, and
// what one has acknowledged stays on a store until an operator gives that up.
// Both leaders raise an alarm, neither bumps, and they wait for a discard.
//
// What the package is made of: Status is what a member remembers, electable.go
// tells who could win an election, found.go and promise.go are the two sides of
// a founding (P5), join.go is the side that stages a copy (P4), lead.go is what
// a leader does for the others (P2, P4, P6), operator.go has the two commands of
// P7, and situation.go says in words what a node is waiting for.
package mesh
