package jetstream

import (
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// Message is one NATS message, as it comes from the bus. The slices may alias
// memory that the bus uses again; the door copies what it keeps. Header is a
// whole NATS header block ("NATS/1.0\r\n…\r\n\r\n") or empty.
type Message struct {
	Subject, Reply, Header, Payload []byte
}

// Bus is the attachment to the NATS server. All methods are called from the
// goroutine that calls the door, none blocks, and slices are not kept.
type Bus interface {
	// Subscribe asks for the messages of a subject, as a member of a queue.
	// The server knows of the subscription before it sees anything that is
	// delivered or published afterwards.
	Subscribe(subject, queue string)
	// Yield leaves the messages of a queue to its other members, if it has any.
	Yield(subject, queue string)
	Unsubscribe(subject, queue string)
	// Deliver sends to the subscription of `to`. A reply of the form
	// "$JS.ACK.….@<subject>" makes the client see <subject> as the subject
	// and the part before the @ as the reply.
	Deliver(to, reply, header, payload []byte)
	// Publish sends an ordinary message.
	Publish(subject, reply, header, payload []byte)
	// Interest reports whether anybody in the cluster subscribes to subject.
	Interest(subject string) bool
	// Watch reports whether anybody in the cluster subscribes to exactly that
	// subject, in that queue group or, when queue is empty, in none. Until Unwatch,
	// Heard calls f when that has changed.
	Watch(subject, queue string) bool
	Unwatch(subject, queue string)
	Heard(f func(subject, queue string, listens bool))
	// Pending is the number of bytes that the server has not yet taken.
	Pending() int
}

// Node is what the door needs of the node that it belongs to.
type Node interface {
	// Propose hands one batch to the replicated log and keeps data. The
	// result comes with [Door.Applied] under the returned index, or never
	// when leadership is lost.
	Propose(data []byte) (index uint64, err error)
	// Barrier asks for proof that nothing acknowledged before the call is missing
	// here: that this node still leads, or, when it does not, from the leader.
	// [Door.Barriered] answers with the same context once all that was applied.
	Barrier(context uint64)
	// Read appends the bytes of a stored message to dst; they are what
	// machine.DecodeMessage reads.
	Read(dst []byte, at machine.Location) ([]byte, error)
	// Now is the time of the log in nanoseconds since 1970. While this node leads
	// it does not go back, passes at about the rate at which time does, and is not
	// less than the machine's Stamp was when it began to lead.
	Now() int64
	// Cluster describes leader and replicas for info responses; nil for none.
	// The door does not change it.
	Cluster() *server.ClusterInfo
	// StepDown asks for the leadership to be given to another member: to the named
	// one, or to whoever is prepared best. It happens after the present call.
	StepDown(to string)
	// Forward hands messages to the node that leads now. They are copies that
	// the node may keep.
	Forward(messages []Message)
}
