package simulation

import (
	"bytes"
	"strings"

	"holdfast/node/jetstream"
	"holdfast/protocol"
	"holdfast/replication"
)

// Mutation breaks something on purpose, to prove that a checker sees it. They
// change what goes in and out of the members; the members' code is the real one.
type Mutation int

const (
	NoMutation      Mutation = iota
	EarlyWritten             // writes are reported before they are made
	EntriesSwapped           // two entries of an append change places
	EntryChanged             // another member gets another message
	VotesForAll              // every vote is granted
	AckInvented              // a message is acknowledged that its client never got
	SequenceShifted          // a PubAck names the sequence before
	ReadCached               // an info is the one that was given before
	FramesLost               // nothing that the membership cores say arrives
	ClocksStop               // monotonic clocks stand still
	IDsRemoved               // messages lose the IDs that tell duplicates
	BatchesRemoved           // messages lose what makes them an atomic batch
	StepsChanged             // increments below zero are other ones
	TimesChanged             // schedules are due long ago
	LifetimesCut             // messages ask for less time to live
	AcksForgotten            // acknowledgements are confirmed and dropped
)

// Kinds of frames, of package member.
const frameMembership, frameRaft, frameStaging = 16, 17, 18

// mutateFrame returns what arrives in the place of a frame; nil: nothing does.
func (w *world) mutateFrame(f sentFrame) *sentFrame {
	if w.options.Mutation == FramesLost && f.kind == frameMembership {
		return nil
	}
	if f.kind != frameRaft || w.options.Mutation == NoMutation {
		return &f
	}
	m, err := replication.DecodeMessage(bytes.Clone(f.body))
	if err != nil {
		w.fail("a frame cannot be read: %v", err)
	}
	switch w.options.Mutation {
	case VotesForAll:
		if (m.Type == replication.VoteReply || m.Type == replication.PreVoteReply) && m.Reject {
			m.Reject = false
		}
	case EntriesSwapped:
		for i := 1; i < len(m.Entries); i++ {
			a, b := &m.Entries[i-1], &m.Entries[i]
			if a.Kind == protocol.KindBatch && b.Kind == protocol.KindBatch {
				a.Data, b.Data = b.Data, a.Data
				break
			}
		}
	case EntryChanged:
		for i := range m.Entries {
			if e := &m.Entries[i]; e.Kind == protocol.KindBatch && w.chance(0.1) {
				e.Data = bytes.ReplaceAll(e.Data, []byte("/0/1"), []byte("/0/2"))
			}
		}
	}
	return &sentFrame{f.kind, replication.AppendMessage(nil, &m), f.clock}
}

// mutateAnswer changes what a member answers to a client.
func (w *world) mutateAnswer(r *request, payload []byte) []byte {
	switch {
	case r == nil:
	case w.options.Mutation == SequenceShifted && r.publish != nil && w.chance(0.05):
		return bytes.Replace(payload, []byte(`"seq":`), []byte(`"seq":1`), 1)
	case w.options.Mutation == ReadCached && strings.Contains(r.subject, ".INFO."):
		if old := w.cached[r.subject]; old != nil {
			return old
		}
		w.cached[r.subject] = bytes.Clone(payload)
	}
	return payload
}

// mutateMessage changes what a client sends to a member, or drops it.
func (w *world) mutateMessage(m *jetstream.Message) (dropped bool) {
	switch w.options.Mutation {
	case IDsRemoved:
		m.Header = bytes.ReplaceAll(m.Header, []byte("Nats-Msg-Id"), []byte("Other"))
	case BatchesRemoved:
		m.Header = bytes.ReplaceAll(m.Header, []byte("Nats-Batch"), []byte("Other-Batch"))
	case StepsChanged:
		m.Header = bytes.ReplaceAll(m.Header, []byte("Nats-Incr: -"), []byte("Nats-Incr: 1"))
	case TimesChanged:
		m.Header = bytes.ReplaceAll(m.Header, []byte("Nats-Schedule: @at 2"), []byte("Nats-Schedule: @at 1"))
	case LifetimesCut:
		m.Header = bytes.ReplaceAll(m.Header, []byte("Nats-TTL: 4s"), []byte("Nats-TTL: 2s"))
	case AcksForgotten:
		c, request := w.nats.addressee(string(m.Reply))
		if c == nil || !bytes.HasPrefix(m.Subject, []byte("$JS.ACK.")) {
			return false
		}
		c.receive(request, &outgoing{to: string(m.Reply)})
		return true
	}
	return false
}
