package mesh

import "holdfast/protocol"

// Type says what a message is for.
type Type uint8

const (
	// TypeStatus announces the sender's status and role. Sent on connection, on
	// change and every RetryTicks.
	TypeStatus Type = 1
	// TypeAsk asks for the receiver's status; TypeAnswer repeats its Nonce.
	TypeAsk    Type = 2
	TypeAnswer Type = 3
	// TypeOffer: a leader tells a member that does not hold its lineage, or is
	// frozen in it, or lags behind its log, that a copy can be had from it.
	TypeOffer Type = 4
	// TypeConfirm and TypeGrant are the founder's two questions (rule P5, steps
	// 1 and 3); the receiver answers with TypeConfirmed, TypeGranted or
	// TypeRefused.
	TypeConfirm   Type = 5
	TypeConfirmed Type = 6
	TypeGrant     Type = 7
	TypeGranted   Type = 8
	TypeRefused   Type = 9
)

var typeNames = [...]string{
	TypeStatus: "status", TypeAsk: "ask", TypeAnswer: "answer", TypeOffer: "offer", TypeConfirm: "confirm",
	TypeConfirmed: "confirmed", TypeGrant: "grant", TypeGranted: "granted", TypeRefused: "refused",
}

// String prints the type's name.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return "unknown"
}

// Message goes from one member's core to another's.
type Message struct {
	Type Type
	// Status is the sender's, in every message.
	Status Status
	// Role is the sender's, in TypeStatus and TypeOffer.
	Role Role
	// Heard is what the sender remembers of the receiver's store, in TypeStatus.
	Heard Trace
	// Nonce of TypeAsk and TypeAnswer.
	Nonce uint64
	// Attempt of the founding messages.
	Attempt protocol.Attempt
	// Pinned is the receiver's status as the sender knows it, in TypeConfirm,
	// TypeGrant and TypeOffer.
	Pinned Status
	// Contained: the sender's log contains the whole log that Pinned tells of.
	Contained bool
	// Foundings of the sender's log, oldest first, in TypeConfirm, TypeGrant
	// and TypeOffer.
	Foundings []protocol.Founding
	// Pins is the founder's whole picture, in TypeConfirm: the statuses that it
	// pinned of the other members. Empty when members are named absent.
	Pins []Status
	// CatchUp: the offer is for a voter or learner of the sender's lineage whose
	// next entry the sender no longer keeps.
	CatchUp bool
	// Refusal of TypeRefused, with a sentence for the log.
	Refusal Refusal
	Reason  string
}

// Envelope is a message with its receiver.
type Envelope struct {
	To      string
	Message Message
}

// Role is the volatile part of what a member tells: nothing durable follows
// from it.
type Role struct {
	// Leading: the sender leads its lineage, has committed an entry of its own
	// term and is in contact with a quorum.
	Leading bool
	// Leader is the member that the sender follows, itself when Leading, or "".
	Leader string
	State  State
	// Reason and Remedy are for people: why the member is in State and what
	// would let it go on.
	Reason, Remedy string
	// Copied and Total count the bytes of a copy that is being staged.
	Copied, Total uint64
}

// Refusal says why a member did not confirm or grant.
type Refusal uint8

const (
	// RefusedBusy: a write is in flight that changes the status; ask again.
	RefusedBusy Refusal = 1
	// RefusedChanged: the status is not the pinned one any more.
	RefusedChanged Refusal = 2
	// RefusedPromised: the member promised this epoch or a higher one.
	RefusedPromised Refusal = 3
	// RefusedLeading: the member leads and is in contact with its quorum.
	RefusedLeading Refusal = 4
	// RefusedLeave: the member may not leave its lineage for the founder's log.
	RefusedLeave Refusal = 5
	// RefusedStale: the member has seen a later status of another member than
	// the founder pinned.
	RefusedStale Refusal = 6
)

var refusalNames = [...]string{
	RefusedBusy: "busy", RefusedChanged: "changed", RefusedPromised: "promised", RefusedLeading: "leading", RefusedLeave: "may-not-leave",
	RefusedStale: "stale",
}

// String prints the refusal's name.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) && refusalNames[r] != "" {
		return refusalNames[r]
	}
	return "unknown"
}
