// Package explore checks the rules of founding, joining and fencing on the code
// that runs, not on a model of it: worlds of real replicas (node/replica, which
// composes the mesh and replication cores) in one process, driven through every
// order of what can happen, within bounds.
//
// A World is a state of a whole cluster: the stores, the replicas over them, the
// writes that are not durable yet, the copies under way and the packets between
// members. An Action is one step: a mailbox or one of its packets is delivered,
// duplicated or lost; a member's clock reaches its next heartbeat or its election
// timeout; a write becomes durable; a copy begins, is whole, or is switched to; a
// client writes; a member makes a checkpoint and trims its log; a process dies, losing what it had not written, and starts; a store is
// wiped, or an old one returns, or an older state of it; a disk stalls; a link
// breaks; an operator gives a command. Search.Run goes breadth-first through the
// worlds that these lead to
// and keeps one of each Fingerprint; Search.Walk goes far at random.
//
// # What is judged
//
// After each step (judge.go): S1, an older lineage commits nothing after a newer
// one was founded; S2, no acknowledged entry is lost while a store that the rules
// may use holds it; S3, no automatic promise makes a lineage unelectable in which
// somebody could win an election. Besides, what is a contradiction in itself: two
// leaders of one term, a founding that the own promise does not name, a listed
// store that holds another lineage, a core that stops or panics. And from reached
// states (recover.go), L1: once faults stop, one live lineage has every member as
// a voter, none frozen. In a long check, the searches that exhaust their limits look
// at L1 in every state, the others in one of a hundred.
//
// The judge looks at stores and at what replicas say to the outside. It shares no
// code with the rules.
//
// # Bounds
//
// A Search names how often each fault may happen on the way to one state. Beyond
// that, these choices make the worlds finite. Randomness gives the shortest pause
// and a fresh ID (draws.go); that pauses differ is explored by the order in which
// clocks advance, each by at least a heartbeat or an election timeout. What a
// member does about one packet is one step. A copy is one step too, unless the
// search makes it in Steps: then what its leader sends is settled when it begins,
// and anything may happen before it is whole and before it is used. Packets of one
// direction stay in order unless Reorder allows otherwise, and of two
// announcements in a row, or two equal packets, one is lost. Members are
// connected as soon as they can be; hellos arrive late, like any packet. Logs are
// trimmed (Compact) as far as the owner of a replica may, with or without patience
// for who lags, but not while it recovers, nor for the time after a copy in which
// the owner keeps the log: that race with the log is the simulation's.
//
// There are three grains. By default an action delivers a whole mailbox and
// writes are durable at once unless the disk is stalled. Packets and Careful make
// every packet and every write an action. Brisk delivers everything that is not
// held after each action, so that few actions reach far: that is the grain in
// which the schedules are told.
//
// # That it can fail
//
// The schedules that broke weaker versions (schedules_*_test.go) are replayed
// step by step with all clauses on, where no check fires, and with one clause
// off, where the named check does. In faults_test.go and staging_test.go the search
// finds each of them by itself, and R2, which no clause prevents, with all on. The clauses are switched off through the build tag "explore",
// which production builds do not have.
package explore
