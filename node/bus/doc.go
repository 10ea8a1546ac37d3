// Package bus attaches this process to the NATS server that it embeds, as a
// leaf node of that server.
//
// A client connection could not do it: a JetStream delivery reaches the
// subscription of a client's inbox but shows the subject of the stream. The
// server rewrites the subject only for what comes from a leaf, a route or
// itself, when the reply has the form $JS.ACK.…@<subject>; it does so at the
// last hop, also across routes.
//
// # Attaching
//
//  1. Listen opens a loopback port and draws a random credential.
//  2. Remote goes into the options of the server, the server is started and
//     dials us. Nobody without the credential gets further than INFO. The
//     server's own leaf node listener and its authorization are not touched.
//  3. Attach waits until the connection is registered with the account, lifts
//     the denies that the server puts on every leaf ($JS.API.>, $KV.>, $OBJ.>)
//     from this one connection, and tests itself: a client publishes a JetStream
//     API request, which has to arrive over the link. Otherwise Attach fails,
//     because the same failure would later show only as silence.
//  4. When the connection is lost, the server dials again after its
//     LeafNode.ReconnectInterval, and the link repeats step 3 and subscribes to
//     all that it was subscribed to. What was not yet written is thrown away.
//
// # Who calls what
//
// One goroutine, the owner, calls Subscribe, Yield, Unsubscribe, Publish,
// Deliver, Fence, Flush, Pending, Watch, Unwatch and Heard; none of them blocks
// on the network. It flushes now and then even when it has nothing to send.
// Everything takes effect in the order of these calls, with Flush at the
// latest. Options.Handler, Refuse, Up and Down are called by a reading
// goroutine, one at a time, and must not block. The rest may be called by anyone.
//
// The reader never waits for the owner: while more than Options.MaxUnread bytes
// of chunks are not released, it refuses messages. The writer never makes the
// owner wait: beyond Options.MaxPending messages are dropped. Both are counted.
//
// # What a leaf is not given
//
//   - Its own messages, and those of the other links: they share a leaf cluster
//     name, and the server sends nothing back to the cluster it came from.
//     Republishing and sourcing between streams are not for this package.
//   - Service for queue groups: the server passes a message from a leaf only to
//     the queue groups that it names. The link learns of all groups from the
//     server's announcements and names those that match.
//
// # When a subscription is known
//
// A Fence after Subscribe tells that our own server knows: its clients reach
// the link from then on. The other servers learn of it over their routes at
// the same time, but nothing tells when: on one machine 0.25 ms after
// Subscribe in the median of 600, 2.6 ms at most (the fence: 0.22 and 2.5 ms).
// To be sure, subscribe to a marker subject behind it and ask every other node
// whether Interest in the marker is true: the subscriptions of one account
// take one route, in order. Until then, clients of other servers are told that
// there are no responders, and nats.go repeats a publish for half a second.
//
// The other way round there is no gap. A client that subscribes to an inbox
// and then sends a request is ahead of its request on every way to the link,
// so Interest in the inbox is true when the request arrives.
//
// # When a subscription has ended
//
// The answer to a Fence after Unsubscribe is behind everything that the server
// will ever send for the subscription, whichever server it was published at:
// what arrives over a route afterwards goes to another member of the queue
// group, or nowhere.
//
// Unsubscribe alone has a gap of its own, in the server: a message for which
// the link was picked, and which is not queued for it at the moment of
// unsubscribing, is dropped; its publisher sees a timeout or no responders. With
// 6 busy clients about 1 in 10 hand-overs lost a message this way. So the
// leadership of a stream is handed over in this order:
//
//  1. The new leader subscribes, with the same queue group and a higher rank.
//  2. Every server knows (a marker, as above, or a tenth of a second).
//  3. The old leader yields: the servers pick it once in 10^6 times.
//  4. Every server knows, and what it has picked before is on its way (again a
//     tenth of a second; a busy server may hold a message for some time slices).
//     The old leader handles what still arrives, or forwards it.
//  5. The old leader unsubscribes.
//  6. Its Fence comes back: nothing more arrives.
//
// TestAHandOverLosesNothing walks through these steps. When a leader's process
// dies there is nothing to hand over: its server goes with it. When its host
// vanishes, or hangs, the other servers do not notice until their pings stay
// without an answer, and go on giving it its share of every queue group. So the
// next leader, and with it every node that knows of it, takes a higher rank
// ([Link.SetRank]), until those routes must be gone.
//
// # Bounds
//
// A payload from the server is at most 64 MiB (the largest max_payload that
// NATS allows) and 64 KiB, a control line 1 MiB; a connection that sends more
// is closed. To the server, header and payload together are at most 96 MiB,
// whatever its max_payload is (see unlimit); subject, reply and queue groups
// together 1 KiB less than 16 times its max_control_line. An oversize message
// would cost the connection, so it is dropped, counted and logged.
//
// # Costs
//
// For 128 bytes, reading and writing cost 0.1 to 0.2 µs of processor time a
// message and allocate nothing; the server's share is about ten times that (see
// the benchmarks).
package bus
