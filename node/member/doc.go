// Package member is what one member of the cluster does, from opening its store
// to the end of its process: it joins the replica, the state machine and the
// front door over one store, and goes on with the next store when this one is
// founded anew, replaced by a copy of another member's, or set aside as damaged.
//
// It has no goroutine, socket, clock or randomness of its own. Everything that
// takes time goes through the [Environment], and comes back as a call from
// whoever owns the member. In production that is the loop of package node; in
// package node/simulation it is a seeded scheduler, which runs this very code.
//
// # What the owner does
//
// It calls the methods of a [Member] from one goroutine: Linked, Unlinked and
// Frame for what the mesh brings, Written for writes that became durable, Handle
// for what clients send, and Tick every [TickInterval]. After any number of such
// calls it calls Settle, which carries out what follows from them, and then
// flushes the bus. Once Ended, the member does nothing any more.
//
// # Lives
//
// What a member does with one store, until it is closed, given up for a copy or
// set aside, is a life. Each life has its own incarnation: the environment
// begins it (Begin) with new links to the other members, and nothing that an
// earlier life asked for or was sent is reported to it.
//
// # The time of the log
//
// Ack waits, back-offs, ages and the window for duplicates are decided by the
// stamps of entries, so that every member decides alike. Stamps must not go
// back. Wall clocks do: they are wrong by hours, jump when somebody sets them,
// and differ from leader to leader. A leader that stamped with its own wall clock,
// and waited where that is behind the newest stamp, would stop time for as long
// as its predecessor's clock was ahead; one whose clock is ahead would let
// everything that waits end at once, messages for whose age somebody relies on
// included.
//
// So the log has a clock of its own (clock.go). It is set once and then goes at
// the rate of the leader's monotonic clock, from leader to leader:
//
//   - A leader tells its followers every second what the log's clock shows, and
//     they keep it going by their own monotonic clocks. Who begins to lead goes on
//     from there, and in any case not below the newest stamp. What is lost or won
//     with a change of leaders is the time that such a report was on its way.
//   - While some member has led or heard of the log's clock since it started, one
//     that starts takes it over from whoever links with it first. Only a leader
//     that found none (all restarted together, or there is one member) sets it:
//     to the median of the members' wall clocks, or to the newest stamp where that
//     is later.
//   - The leader draws it near to that median by a twentieth of the time that
//     passes, faster or slower. One clock that is wrong among three members that
//     are linked, or two among five, has no effect; and whatever the clocks do, a duration takes
//     between 20/21 and 20/19 of what it should.
//
// Going back is excluded by construction: the leader's clock only adds positive
// amounts, the door's stamps are at least one above the last one, and the state
// machine raises a stamp that is not. It steps forward in two cases, and says so
// in the log: when it was set to the newest stamp because the clocks were behind
// that or fewer than a majority of them was known, and they then turn out to be
// ahead (a machine without a clock of its own is told the date some time after it
// has started, and the time in which all were down counts as passed); and when it
// is behind the median by more than a day. It never steps for less: an age
// that ends too early deletes messages, one that ends too late does not.
//
// What this leaves: with a majority of clocks wrong in the same direction the
// times of messages are wrong, as they would be with any of these clocks, and
// drift back slowly once the clocks are right; and a restart of all members
// together may lengthen or shorten what waits by as much as the median is wrong.
package member
