package mesh

import "holdfast/protocol"

// Local is what the owner tells the core about its own store and the
// replication core on it.
type Local struct {
	// Status counts every write handed to the disk. Member and Store are the
	// core's own for its whole life.
	Status
	// Granted lists every attempt that this very store ever promised, its
	// promise included, in any order (rule P4). A grant that is missing here
	// costs no data: the store then waits for an operator where it could have
	// left its lineage by itself.
	Granted []protocol.Attempt
	// Foundings are the FOUND entries in the log, oldest first; the last one
	// began Lineage. Empty when the store is blank.
	Foundings []protocol.Founding
	// Log is the store's log; nil when it is blank. It may lag behind LastIndex
	// by writes that are not durable yet.
	Log Marks

	// Leader: the replication core leads. Ready: and an entry of its own term
	// is committed. InContact: and it heard from a quorum within an election
	// timeout.
	Leader, Ready, InContact bool
	// Standing: the replication core is a candidate that asks for votes.
	Standing bool
	// LeaderName is the member that leads this store's lineage as far as the
	// replication core knows; "" when it knows none. It may be out of date: the
	// core believes it only while that member says the same of itself.
	LeaderName string
	// ChangePending: the newest configuration in the log is not committed.
	ChangePending bool
	// InForce is the newest configuration in the log that is committed as far as this
	// store knows.
	InForce protocol.Configuration
	// Followers is what a leader knows of the other stores that it replicates
	// to, in any order.
	Followers []Follower

	// Hindrance says what beside the protocols keeps this node from serving, and
	// what helps ("the disk is full: …"); "" when nothing does. It is for people.
	Hindrance string
}

// Follower is a store to which a leader replicates, voter or learner.
type Follower struct {
	Voter protocol.Voter
	// CaughtUp: what it stores is close to the end of the leader's log.
	CaughtUp bool
	// Lagging: the leader does not keep the entry any more that it needs next.
	Lagging bool
}

// leads reports whether the store leads so that it may change the cluster.
func (l *Local) leads() bool { return l.Leader && l.Ready && l.InContact }

// follower returns what the leader knows of a store.
func (l *Local) follower(v protocol.Voter) (Follower, bool) {
	for _, f := range l.Followers {
		if f.Voter == v {
			return f, true
		}
	}
	return Follower{}, false
}

// Purpose says what a copy is for.
type Purpose uint8

const (
	// PurposeJoin: the copy becomes the store of a node that is blank or leaves
	// another lineage (rule P4).
	PurposeJoin Purpose = 1
	// PurposeRestage: the copy replaces a store that is frozen in the copy's own
	// lineage, and is at least as up to date as it (rule P4).
	PurposeRestage Purpose = 2
	// PurposeCatchUp: the copy takes the place of the log of a store that keeps
	// its identity: Raft's snapshot installation (Raft section 7).
	PurposeCatchUp Purpose = 3
)

// String prints the purpose's name.
func (p Purpose) String() string {
	switch p {
	case PurposeJoin:
		return "join"
	case PurposeRestage:
		return "restage"
	case PurposeCatchUp:
		return "catch-up"
	}
	return "unknown"
}

// Copy is a staged copy that is whole and durable beside the store. It ends at a
// committed entry and contains the FOUND entry of its lineage.
type Copy struct {
	From    string // the member that sent it
	Lineage protocol.Lineage
	Epoch   uint64 // of the copy's log: foundings and bumps, all committed
	// Foundings in the copy's log, oldest first.
	Foundings           []protocol.Founding
	LastIndex, LastTerm uint64
	// OwnLogIsPrefix: the copy begins with the whole log that the last SetLocal
	// told of; true for a blank store.
	OwnLogIsPrefix bool
}

// status returns the copy's log as one that can be compared.
func (c *Copy) status() *Status {
	return &Status{Lineage: c.Lineage, Epoch: c.Epoch, LastTerm: c.LastTerm, LastIndex: c.LastIndex}
}
