package member

import (
	"encoding/binary"
	"errors"

	"holdfast/node/jetstream"
	"holdfast/protocol"
	"holdfast/replication"
)

// A member that does not lead answers reads as well, and no older ones than the
// leader: it asks the leader for the index that a read has to see (Raft thesis,
// section 6.4), applies the log up to there, and serves the read from its own
// store.
//
//  1. The follower sends a readRequest with the lineage that it lives in.
//  2. The leader of that lineage proves that it still leads, with a round of
//     heartbeats that it began after the request came, and answers with the
//     commit index of that moment. Everybody else refuses.
//  3. The follower serves once it has applied the index. When the answer does
//     not come, or the leader changes, the door is told to ask again.

// readPatience is how long a follower waits for the leader's answer, in ticks.
const readPatience = 25 // 500 ms

// readRequest asks a leader for an index, and is its answer.
type readRequest struct {
	Context uint64 // chosen by the follower
	Lineage protocol.Lineage
	Granted bool   // answer: Index may be read from
	Index   uint64 // answer
}

func (r readRequest) encode() []byte {
	body := binary.LittleEndian.AppendUint64(nil, r.Context)
	body = binary.LittleEndian.AppendUint64(body, r.Lineage.Epoch)
	body = binary.LittleEndian.AppendUint64(body, uint64(r.Lineage.ID))
	granted := byte(0)
	if r.Granted {
		granted = 1
	}
	return binary.LittleEndian.AppendUint64(append(body, granted), r.Index)
}

func decodeRead(body []byte) (readRequest, error) {
	r := protocol.Reader{Rest: body}
	m := readRequest{Context: r.Uint64(), Lineage: protocol.Lineage{Epoch: r.Uint64(), ID: protocol.AttemptID(r.Uint64())}}
	granted := r.Byte()
	m.Granted, m.Index = granted == 1, r.Uint64()
	if r.Failed() || granted > 1 || len(r.Rest) > 0 {
		return m, errors.New("decode read request: malformed")
	}
	return m, nil
}

// distantReads is what a life knows of reads that go over the mesh.
type distantReads struct {
	asked   []askedRead           // at another member, by this one
	asking  map[uint64]remoteRead // at this one, by others; by the context of the replica's barrier
	last    uint64                // context of the last of these
	refused []uint64              // contexts of the door that get no answer
}

// askedRead waits for the answer of the member that leads.
type askedRead struct {
	context uint64
	leader  string
	since   uint64 // tick
}

type remoteRead struct {
	from    string
	context uint64
}

// remoteContexts begin here, far above those of the doors.
const remoteContexts = 1 << 63

// barrier asks for the proof that a door needs, see counter.
func (l *life) barrier(context uint64) {
	status, holding := l.replica.Raft()
	if holding && status.Role == replication.Leader {
		l.replica.ReadBarrier(context)
		return
	}
	request := readRequest{Context: context, Lineage: l.identity.Lineage}
	if !holding || status.Leader.Name == "" || !l.environment.Send(status.Leader.Name, frameReadIndex, request.encode()) {
		l.distant.refused = append(l.distant.refused, context)
		return
	}
	l.distant.asked = append(l.distant.asked, askedRead{context: context, leader: status.Leader.Name, since: l.now})
}

// handleReadIndex takes another member's question for an index.
func (l *life) handleReadIndex(from string, body []byte) error {
	request, err := decodeRead(body)
	if err != nil {
		return err
	}
	status, holding := l.replica.Raft()
	if !holding || status.Role != replication.Leader || request.Lineage != l.identity.Lineage {
		l.answerRead(remoteRead{from, request.Context}, false, 0)
		return nil
	}
	r := &l.distant
	if r.asking == nil {
		r.asking = make(map[uint64]remoteRead)
	}
	r.last++
	r.asking[remoteContexts|r.last] = remoteRead{from, request.Context}
	l.replica.ReadBarrier(remoteContexts | r.last)
	return nil
}

func (l *life) answerRead(to remoteRead, granted bool, index uint64) {
	answer := readRequest{Context: to.context, Lineage: l.identity.Lineage, Granted: granted, Index: index}
	l.environment.Send(to.from, frameReadAnswer, answer.encode())
}

// handleReadAnswer takes the leader's answer to a question of this member.
func (l *life) handleReadAnswer(from string, body []byte) error {
	answer, err := decodeRead(body)
	if err != nil {
		return err
	}
	l.settleAsked(func(a *askedRead) bool {
		if a.leader != from || a.context != answer.Context || answer.Lineage != l.identity.Lineage {
			return false
		}
		if answer.Granted {
			l.readReady(replication.Read{Context: a.context, Index: answer.Index})
		} else {
			l.distant.refused = append(l.distant.refused, a.context)
		}
		return true
	})
	return nil
}

// settleAsked removes the questions that are done with.
func (l *life) settleAsked(done func(*askedRead) bool) {
	kept := l.distant.asked[:0]
	for _, a := range l.distant.asked {
		if !done(&a) {
			kept = append(kept, a)
		}
	}
	l.distant.asked = kept
}

// checkReads gives up questions that nobody will answer.
func (l *life) checkReads(broken string) {
	status, _ := l.replica.Raft()
	l.settleAsked(func(a *askedRead) bool {
		lost := a.leader == broken || a.leader != status.Leader.Name || l.now-a.since > readPatience
		if lost {
			l.distant.refused = append(l.distant.refused, a.context)
		}
		return lost
	})
}

// finishReads takes what the replica says about barriers.
func (l *life) finishReads(ready []replication.Read, dropped []uint64) {
	for _, read := range ready {
		if remote, ok := l.takeRemote(read.Context); ok {
			l.answerRead(remote, true, read.Index)
			continue
		}
		l.readReady(read)
	}
	for _, context := range dropped {
		if remote, ok := l.takeRemote(context); ok {
			l.answerRead(remote, false, 0)
			continue
		}
		l.doors.barriered(context, false)
	}
	refused := l.distant.refused
	l.distant.refused = nil
	for _, context := range refused {
		l.doors.barriered(context, false)
	}
}

func (l *life) takeRemote(context uint64) (remoteRead, bool) {
	remote, ok := l.distant.asking[context]
	delete(l.distant.asking, context)
	return remote, ok
}

// followReads opens the door for direct reads while this member can prove that
// its answers are current, or could a moment ago: an election does not close it.
func (l *life) followReads() {
	if l.departing {
		return
	}
	status, holding := l.replica.Raft()
	if holding && status.Leader.Name != "" && status.Configuration.Contains(l.replica.Self()) {
		l.provable = l.now
		l.doors.each((*jetstream.Door).OpenDirect)
	} else if !holding || l.now-l.provable > unprovableTicks {
		l.doors.each((*jetstream.Door).CloseDirect)
	}
}

// unprovableTicks is how long direct reads wait for a leader before clients are
// told that nobody answers them here.
const unprovableTicks = 100 // 2 s
