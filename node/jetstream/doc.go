// Package jetstream is the front door: it turns what NATS clients send (API
// requests, publishes, acknowledgements, pull requests) into commands of the
// state machine and reads of its state, and what the machine decides into
// answers, PubAcks and deliveries. The behaviour, down to the words of a
// status, is that of nats-server with JetStream.
//
// # What the caller owes
//
// One goroutine, the node's loop, owns a [Door] and the machine that it reads.
// It calls
//
//   - Lead, when this node leads and has applied every entry of earlier terms;
//   - Handover, before it gives leadership away, Yield, when another node has
//     it, and Follow, when nothing arrives any more; Follow alone, when
//     leadership is lost;
//   - Handle, for each message of the bus;
//   - Applied, after each entry of the term it leads in that the machine applied;
//   - Observe, after each entry that the machine applied, whoever leads;
//   - OpenDirect, while it knows who leads, LeaveDirect before it ends, and
//     CloseDirect when it does not know for long: direct reads are served by
//     every node;
//   - Report, once it may be called at all, and Silence, when it is not any more:
//     every node tells operators what it does;
//   - Barriered, for each barrier that the door asked for;
//   - Tick, about 50 times a second;
//   - Flush, after a round of these calls: it proposes what has come together.
//
// There is no goroutine, lock, timer or clock inside.
//
// # What the door decides, and what the log decides
//
// Every change of streams, messages and consumers, deliveries included, is a
// command in the log. The door decides when to propose a delivery, because it
// alone knows who waits; which messages it hands out is decided when the
// command is applied. So it is with the messages of schedules and the sums of
// counters: the door makes them, and they are stored if the schedule is still due
// then, and the sum was made from the last message. What the door keeps (pull requests, who waits for which
// answer, atomic batches before their commit) is volatile: a new leader starts
// without it, and clients ask again.
//
// Reads are linearizable. A read waits for a barrier, proof that this node
// still led after the read arrived; a burst of reads shares one. Direct reads
// do so as well, on a node that does not lead: it has the proof from the leader,
// and then applies what it lacks. A change is
// proposed at once, and refused only after a barrier, so that a deposed leader
// cannot answer "not found" from an old state.
//
// # Order
//
// Publishes, changes, acknowledgements and deliveries travel in the same
// batches. Messages of one connection are put into them in the order of their
// arrival, and so are the answers to them. Acknowledgements are gathered and
// written as one command for each consumer when the batch is closed. A
// request that reads waits until the batches with something for its stream that
// came before it are decided, and sees what is in them; so does a pull request that
// does not wait for messages.
//
// # Cost
//
// A publish, its PubAck, a delivery and an acknowledgement allocate nothing.
// A consumer that has nobody waiting and no inactivity threshold costs
// nothing, and one that waits costs a place in a heap of deadlines.
package jetstream
