// Package simulation runs whole clusters in one process, under one seeded
// scheduler and in virtual time. What runs is the real code, from the boundary
// where a client's message reaches the front door inward: package member with
// its doors, state machine, replica and both cores, over real stores of package
// wal in a folder in memory. Simulated are the clocks, the network, the disks,
// the processes, the NATS servers and the clients.
//
// # A run
//
// A run is a function of its seed: the seed draws the plan (1, 3 or 5 members,
// how bad the network and the disks are, what the clients do), every delay and
// every fault. Two runs of a seed have the same trace, which a test compares by
// its hash. A run has two phases:
//
//   - faults, for 10 to 40 virtual seconds, while clients work;
//   - quiet: the faults end, and within 3,000 ticks everything has to be live:
//     one lineage, every member a voter, every client done, every consumer at the
//     end of its stream. In half of the runs the load goes on until all members
//     are voters.
//
// # Workload
//
// Streams that keep everything (with a mirror and a stream that sources it), that
// are deleted and created again under the same name, that are limited by number,
// by number for each subject or by age and discard old or new messages, work
// queues, streams that keep messages while there is interest, and streams that get
// atomic and fast-ingest batches beside single messages; beside them, in half of the
// runs each, counters, and schedules that fire once or again and again. They are updated,
// purged, and messages deleted. In some, messages have times to live of their own, and
// leave markers. In some, messages replace those before them, of their subject or all, which
// takes many entries where an entry may do little. In half of the runs the account has room for only a few streams more,
// and a client creates and deletes those. Publishers use message IDs, expected sequences,
// several messages in flight, and publish again what they do not know to be
// stored. Consumers pull or are pushed to, acknowledge each or all or none, late,
// negatively, or with a confirmation; they are changed, paused, reset, and deleted and
// created again. Some have several clients in a priority group, of which one is pinned, rests
// too long, or is unpinned, or of which some want to be served only while messages pile
// up. Readers ask for infos and messages, of the leader and of any member; some
// publishers and readers stay at one host, also when that is cut off.
//
// # Faults
//
// Processes are killed, one or all, at random and in ambushes (when a publish
// was just acknowledged, a vote granted, a copy is on its way; see ambush.go),
// stopped in order, held up as by SIGSTOP, starved, and killed in the middle of
// what they do to their store folder. The power fails: of everything that was not
// synced any part is there afterwards, names in the folder (medium.go) as well as
// sectors of a transaction (torn.go). Disks are slow, full, fail, change the bytes of
// messages while the store is in use or not, are cut short, lose the pointer, are
// wiped, not mounted and mounted again later, and give an older state of everything
// back (rollback.go). The network delays, breaks links, blocks one or both
// directions, strands a leader, which may just be about to stop, with its clients;
// a link keeps order and loses nothing until it breaks, like the TCP of package
// mesh/transport, and in some runs frames come twice or after their link has broken.
// Wall clocks are wrong by up to 11 hours and jump, monotonic clocks drift, and
// ticks come at another pace.
//
// Three of four runs keep promise 1 meaningful: no more memories are lost at once
// than a majority can do without, and nothing acknowledged may be lost. The
// others are disasters: any memories may be lost, and a founding may leave
// behind only what no other store holds, and has to say so.
//
// # Checks
//
// What happened is what the log says (history.go): each entry when the first
// member applies it. Each property has a file of its own:
//
//   - check_acknowledged.go: what was acknowledged, in time or too late, is what the
//     log has, and at the end it is on every member; a founding loses only what
//     nobody holds;
//   - check_entries.go: at one index all members apply the same entry;
//   - check_state.go: at the same index all members have the same state;
//   - check_leaders.go: one leader in a term;
//   - check_memory.go: what a disk remembers of terms, votes, promises and entries
//     never goes back, and is all there after a crash;
//   - check_told.go: what a member tells another of its term, vote, promise and
//     entries is on its disk before;
//   - check_linear.go: changes and reads of a stream are linearizable, deletion and
//     creation included;
//   - check_sequences.go: no sequence is used twice;
//   - check_expected.go: expected sequences hold, and a message is stored once
//     under its ID;
//   - check_batches.go: atomic batches are stored whole or not at all, fast-ingest
//     batches in order, without gaps if they must not have any, and as far as their
//     publishers are told;
//   - check_counters.go: a counter has the sum of what was added, each time once;
//   - check_schedules.go: schedules fire in their time, once for each, and not after
//     their end;
//   - check_removed.go: messages leave for a reason, and limits are kept;
//   - check_mortal.go: a message is gone when its own time to live is over, on every
//     member and not before, and the last of its subject leaves a marker;
//   - check_rollups.go: what was replaced is shown to nobody from then on, and goes;
//   - check_consumers.go: a consumer never skips, and does not deliver what is known
//     to be acknowledged;
//   - check_limits.go: an account has never more streams than it may have;
//   - check_pauses.go: nothing is delivered while a consumer is paused but what was
//     under way;
//   - check_resets.go: a consumer that was reset delivers again from there on;
//   - check_groups.go: a consumer has one pinned client at a time, which keeps its pin
//     while it asks; who wants others to wait is served while they do;
//   - check_dead.go: an entry in which nothing lives leaves the file;
//   - check_copies.go: nobody copies a store without need, or again and again;
//   - check_time.go: time in the log passes at the rate of time;
//   - copies.go: mirrors and sourced streams have what their origin has;
//   - quiet.go: everything comes back.
//
// Any panic of the product's code fails a run as well. Mutations of what goes in
// and out of the members show with every test that checkers can fail
// (mutation_test.go). Besides, each was shown once to see a fault in the source:
//
//	fault put into the source                               seen by
//	a leader serves reads without proof that it leads       check_linear.go
//	any member serves reads from what it has applied        check_linear.go
//	a leader lets go of what linked followers still need    check_copies.go
//	a leader keeps no log for who opens a copy, restarts    rejoin_test.go
//	a door answers with what another leader's entry did     check_sequences.go (handover_test.go)
//	a promise is not written                                check_told.go
//	a vote is not written                                   check_leaders.go, check_told.go
//	a batch is committed with a store too few               check_entries.go
//	not the best survivor founds                            check_acknowledged.go (founding_test.go)
//	names in the store folder are not synced                check_memory.go (power_test.go)
//	a copy is not synced, nor the pointer to it             check_memory.go (power_test.go)
//	duplicates are forgotten; expected sequences too        check_expected.go
//	a limit lets one more in; a purge takes one more        check_removed.go
//	a consumer's floor skips a message                      check_consumers.go
//	a message ends a quarter of its time to live early      check_removed.go
//	or late; nobody proposes the ends that leave markers    check_mortal.go
//	the last message of a subject ends without a marker     check_mortal.go
//	the limits of an account are not written to the log     check_limits.go
//	a pause is ignored, or forgotten by the next leader     check_pauses.go
//	a reset does not lead back                              check_resets.go
//	who is not pinned is served; a pin ends before its time check_groups.go
//	two messages, or unanswered ones, are an overflow early check_groups.go
//	the state depends on the clock of a member              check_state.go
//	the log's clock is a wall clock, or not followed        check_time.go
//	a batch without gaps goes on behind a refused message   check_batches.go
//	what was dead before a crash is forgotten               check_dead.go
//	what was replaced is read, until it has gone            check_rollups.go
//	or is handed to a consumer                              check_rollups.go
//
// # What it leaves out
//
// TLS, the hello's encoding and the NATS server are tested with real processes.
// That a transaction of which the meta page is on the disk and others are not is
// either impossible or noticed is taken for granted here and tested in package wal. A disk that goes back is noticed
// only if the others have seen a later start of its store, or heard of what it lacks,
// and still know, so the simulation waits for such a moment; cloned disks are outside.
package simulation
