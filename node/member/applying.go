package member

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/jetstream"
	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/replication"
	"holdfast/wal"
)

// apply hands released entries to the state machine and what came of them to
// the door.
func (l *life) apply(entries []protocol.Entry) {
	for i := range entries {
		entry := &entries[i]
		l.tail.add(entry.Index, entry.Data)
		if entry.Kind == protocol.KindBatch {
			if err := l.machine.Apply(entry.Index, entry.Data, &l.results); err != nil {
				l.storeFailed(fmt.Errorf("apply entry %d: %w", entry.Index, err))
				return
			}
			l.tell(entry)
			// During a hand-over the doors still wait for their own batches.
			l.doors.applied(entry.Index, &l.results, !l.serving || entry.Term == l.leadTerm)
		} else {
			l.machine.Skip(entry.Index)
			l.tell(entry)
		}
		l.appliedTerm = entry.Term
		l.counted(len(entry.Data))
	}
	if n := len(entries); n > 0 {
		l.replica.Applied(entries[n-1].Index)
		l.tail.trim(l.store.Last())
		l.passBarriers()
	}
}

func (l *life) tell(entry *protocol.Entry) {
	if l.options.Applied != nil {
		l.options.Applied(entry)
	}
}

// barrier is a read that waits until everything up to index is applied.
type barrier struct {
	index   uint64
	context uint64
}

// readReady lets a confirmed read go on as soon as it may.
func (l *life) readReady(read replication.Read) {
	l.barriers = append(l.barriers, barrier{read.Index, read.Context})
	l.passBarriers()
}

func (l *life) passBarriers() {
	passed := 0
	for passed < len(l.barriers) && l.barriers[passed].index <= l.machine.Applied() {
		l.doors.barriered(l.barriers[passed].context, true)
		passed++
	}
	l.barriers = append(l.barriers[:0], l.barriers[passed:]...)
}

// The methods below are what the door needs of its node (jetstream.Node).

// Propose hands a batch to the replicated log.
func (l *life) Propose(data []byte) (uint64, error) {
	l.room.proposed += int64(len(data))
	return l.replica.Propose(data)
}

// Read appends the bytes of a stored message to dst.
func (l *life) Read(dst []byte, at machine.Location) ([]byte, error) {
	if data := l.tail.get(at.Index); data != nil {
		if end := uint64(at.Offset) + uint64(at.Size); end <= uint64(len(data)) {
			return append(dst, data[at.Offset:end]...), nil
		}
	}
	err := l.store.View(func(r *wal.Reader) (err error) {
		dst, err = r.Read(dst, at.Index, at.Offset, at.Size)
		return err
	})
	if err != nil {
		l.storeFailed(fmt.Errorf("read message at %d+%d: %w", at.Index, at.Offset, err))
	}
	return dst, err
}

// Cluster describes leader and replicas as JetStream's infos do.
func (l *life) Cluster() *server.ClusterInfo {
	if len(l.options.Members) < 2 {
		return nil
	}
	status, holding := l.replica.Raft()
	info := &server.ClusterInfo{Name: l.options.Cluster}
	if !holding {
		return info
	}
	info.Leader = status.Leader.Name
	if l.serving {
		since := l.leadSince
		info.LeaderSince = &since
	}
	for _, p := range l.replica.Progress() {
		if p.Voter.Name == status.Leader.Name {
			continue
		}
		lag := status.Commit - min(p.Match, status.Commit)
		info.Replicas = append(info.Replicas, &server.PeerInfo{
			Name: p.Voter.Name, Current: p.Active && lag < replicaCurrentLag, Offline: !p.Active, Lag: lag,
			// Never zero, which clients show as "not seen".
			Active: time.Duration(p.Silent)*TickInterval + time.Millisecond,
		})
	}
	return info
}

// replicaCurrentLag is the number of entries by which a replica may trail and
// still be shown as current.
const replicaCurrentLag = 64

// forward hands messages of an account that came during a hand-over to the new leader.
func (l *life) forward(account string, messages []jetstream.Message) {
	status, holding := l.replica.Raft()
	if !holding || status.Leader.Name == "" || status.Leader.Name == l.options.Name {
		return
	}
	var body []byte
	for _, m := range messages {
		body = appendForward(body, forwarded{[]byte(account), m.Subject, m.Reply, m.Header, m.Payload})
	}
	if !l.environment.Send(status.Leader.Name, frameForward, body) {
		l.logger.Warn("messages lost in the hand-over: the link to the new leader is down", "leader", status.Leader.Name, "messages", len(messages))
	}
}

// handleForward takes what another node forwarded to this one as leader.
func (l *life) handleForward(body []byte) error {
	return decodeForward(body, func(f forwarded) {
		d := l.doorOf(string(f.account))
		if d == nil {
			l.logger.Warn("message dropped that another member forwarded: its account has no JetStream here; include the same NATS configuration on every member", "account", string(f.account))
			return
		}
		d.Handle(&jetstream.Message{Subject: f.subject, Reply: f.reply, Header: f.header, Payload: f.payload})
	})
}
