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
//   - faults, for 10 to 40 virtual seconds, while clients publish, create and
//     delete streams, consume, acknowledge and ask for the state of streams;
//   - quiet: the faults end, and within 3,000 ticks everything has to be live:
//     one lineage, every member a voter, every client done.
//
// # Faults
//
// Processes are killed, one or all, at random and in ambushes (when a publish
// was just acknowledged, a vote granted, a copy is on its way; see ambush.go),
// stopped in order, held up as by SIGSTOP, and killed in the middle of what they
// do to their store folder. What a disk had queued is then lost, and the
// transaction under way is durable as a whole or not at all, which is what bbolt
// promises (package wal tests that). Disks are slow, full, or fail; stores are
// wiped, damaged (changed bytes, cut short, without a pointer), or not mounted
// and mounted again later. The network delays, breaks links, blocks one or both
// directions; a link keeps order and loses nothing until it breaks, like the TCP
// of package mesh/transport, and in some runs frames come twice or after their
// link has broken. Clocks are wrong by up to 11 hours, jump, and tick at another pace.
//
// Three of four runs keep promise 1 meaningful: no more memories are lost at once
// than a majority can do without, and nothing acknowledged may be lost. The
// others are disasters: any memories may be lost, and a founding may leave
// behind only what no other store holds, and has to say so.
//
// # Checks
//
// Each has a file, and a mutation that it has to see (mutation_test.go): what was
// acknowledged is on every member at the end, in its place and with its content,
// and no sequence is used twice (check_acknowledged.go); states at the same index
// are the same (check_state.go); one leader in a term (check_leaders.go); a
// consumer never skips (check_consumers.go); what a disk remembers of terms, votes
// and promises never goes back (check_memory.go); a question about a stream that is
// asked after an acknowledgement knows of it (check_reads.go); and everything
// comes back (quiet.go). Any panic of the product's code fails a run as well.
//
// # What it leaves out
//
// TLS, the hello's encoding and the NATS server are tested with real processes.
// Pages of a file are not torn: that is the subject of package wal's own tests.
// Rolled-back and cloned disks are outside, as they are in the protocol's
// assumptions, except for the refusal by boot counter.
package simulation
