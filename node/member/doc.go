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
package member
