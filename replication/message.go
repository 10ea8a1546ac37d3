package replication

import (
	"fmt"
	"strings"

	"holdfast/protocol"
)

// MessageType says what a message asks or answers.
type MessageType uint8

// The numbers are the wire format.
const (
	// PreVote asks whether a vote in Term, one above the sender's, could be
	// won. It binds nobody and changes no term (thesis, section 9.6).
	PreVote      MessageType = 1
	PreVoteReply MessageType = 2
	// Vote asks for the vote in Term. At is the candidate's last entry.
	Vote      MessageType = 3
	VoteReply MessageType = 4
	// Append carries entries that follow At.
	Append MessageType = 5
	// AppendReply acknowledges every entry up to Index, or rejects the append
	// that followed Index, with a hint in At.
	AppendReply MessageType = 6
	// Heartbeat tells that the leader lives, and the watermarks. Index is what
	// the follower has acknowledged, At.Index what it was sent.
	Heartbeat MessageType = 7
	// HeartbeatReply answers at once. Index is the follower's last entry;
	// Reject says that it has not received all that was sent.
	HeartbeatReply MessageType = 8
	// TimeoutNow asks the receiver to stand for election at once: the leader
	// hands over to it (thesis, section 3.10).
	TimeoutNow MessageType = 9
)

// Message is what cores tell each other. Which fields mean something depends
// on the type; the others are zero.
type Message struct {
	Type     MessageType
	From, To protocol.Voter
	Lineage  protocol.Lineage
	// Term is the sender's, except in PreVote and a granting PreVoteReply,
	// where it is the term that the vote would be for.
	Term uint64
	// Reject refuses what is answered.
	Reject bool
	// Transfer marks a Vote that the leader itself asked for, so that a voter
	// need not stay with that leader.
	Transfer bool
	// At is a position of the sender's log: the index of one entry, with its
	// term and lineage.
	At    protocol.Mark
	Index uint64
	// Commit and Release are the leader's watermarks, bounded by what the
	// receiver is known to have where the message does not prove it itself.
	Commit, Release uint64
	// Round numbers the leader's confirmations for reads; echoed.
	Round uint64
	// Entries have consecutive indices from At.Index+1 on.
	Entries []protocol.Entry
}

var messageTypeNames = [...]string{
	PreVote: "pre-vote", PreVoteReply: "pre-vote-reply",
	Vote: "vote", VoteReply: "vote-reply",
	Append: "append", AppendReply: "append-reply",
	Heartbeat: "heartbeat", HeartbeatReply: "heartbeat-reply",
	TimeoutNow: "timeout-now",
}

func (t MessageType) valid() bool { return t >= PreVote && t <= TimeoutNow }

// String prints the type's name.
func (t MessageType) String() string {
	if t.valid() {
		return messageTypeNames[t]
	}
	return fmt.Sprintf("message(%d)", uint8(t))
}

// String prints what means something in a message of its type, for traces.
func (m *Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s->%s %s term=%d", m.From.Name, m.To.Name, m.Type, m.Term)
	if m.Reject {
		b.WriteString(" reject")
	}
	if m.Transfer {
		b.WriteString(" transfer")
	}
	if m.At != (protocol.Mark{}) {
		fmt.Fprintf(&b, " at=%d/%d", m.At.Term, m.At.Index)
	}
	for _, field := range []struct {
		name  string
		value uint64
	}{{"index", m.Index}, {"commit", m.Commit}, {"release", m.Release}, {"round", m.Round}} {
		if field.value != 0 {
			fmt.Fprintf(&b, " %s=%d", field.name, field.value)
		}
	}
	if n := len(m.Entries); n > 0 {
		fmt.Fprintf(&b, " entries=%d..%d", m.Entries[0].Index, m.Entries[n-1].Index)
	}
	return b.String()
}
