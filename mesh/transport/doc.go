// Package transport carries frames between the members of a cluster over TCP,
// encrypted and authenticated both ways by TLS 1.3.
//
// # Connections
//
// Each direction is a connection of its own: the dialler sends, the acceptor
// reads. Two processes that start at once therefore never fight over one
// connection, and nobody waits for all connections to be up: every member is
// dialled on its own, again and again, with a short randomized pause, and at
// once when that member has just said hello to us.
//
// A connection opens with a preamble and a hello both ways. The acceptor
// refuses by name and reason what does not belong here (see Reason). Who comes
// later under a name that is already connected is judged so:
//
//   - The same process (incarnation): its newer connection replaces the older.
//   - The same store: the higher boot counter is the newer process and replaces
//     the older; a lower one, or the same one by another process, is a zombie, a
//     clone or a rolled-back disk and is refused (ReasonRegressed).
//   - Another store: the process already known is asked for a sign of life. If it
//     answers, two live processes share a name and the newcomer is refused
//     (ReasonDuplicate). If it is silent or its connection breaks, it is dead and
//     the newcomer replaces it. A process that answers at the member's configured
//     address is taken for the member without asking.
//
// The question is what makes this safe for recovery: a node that crashed, lost
// its memory and came back is never turned away because of its own corpse.
//
// # Links
//
// A link to a member is up when our outgoing connection was accepted by some
// process and an incoming connection of the very same process was admitted. It
// is down at the first sign of death of either. The handler hears of it:
//
//   - Connected(name) and Disconnected(name) alternate for a name, starting with
//     Connected, and Frame calls stay between them. Calls for one name never
//     overlap; calls for different names may.
//   - Frames arrive in the order in which Send accepted them, none twice. While
//     the sender sees no Disconnected, none is missing either. Across a
//     Disconnected some may be missing. The order holds across links all the
//     same: a frame never comes after a later one of the same process, nor after
//     Connected has told of a later process of that member.
//   - A hello is a moment in the past. What the owner says of itself may have
//     changed since; it sends its present status as the first frame of a link.
//
// A reset of a connection is noticed at once, a host that vanished within two
// seconds, on both ends, because each end of each connection sends a heartbeat
// and gives up after five silent ones.
//
// # What the owner does
//
// Handler methods are called from the transport's goroutines; they queue and
// return; until a Frame call returns, nothing more is read from that member. They
// may call Send and Queued but not Close. After Close has returned
// no method is called and no goroutine is left.
package transport
