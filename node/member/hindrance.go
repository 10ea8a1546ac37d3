package member

import (
	"fmt"
	"time"

	"holdfast/node/jetstream"
	"holdfast/replication"
)

const (
	// slowDisk is how long a write may take before it is worth a word, in ticks.
	slowDisk = uint64(2 * time.Second / TickInterval)
	// noRoom is the room below which a write that waits is taken to wait for
	// room, in bytes.
	noRoom = 2 << 20
)

// disk tells how long a write has been waiting.
type disk struct {
	moved uint64 // tick at which a write was finished last, or none was queued
}

// hindrance says what beside the protocols keeps this node from serving, and
// what helps; "" when nothing does.
func (l *life) hindrance() string {
	if l.replica.Durable() {
		l.disk.moved = l.now
	}
	if waits := l.now - l.disk.moved; waits > slowDisk {
		return l.stalled(waits)
	}
	status, holding := l.replica.Raft()
	switch leads := status.Role == replication.Leader; {
	case !holding || status.Leader.Name == "" || !status.Configuration.Contains(l.replica.Self()):
		return "" // the membership core says what is missing
	case leads && (!status.Ready || !status.Open):
		return ""
	case leads && l.appliedTerm != status.Term:
		return fmt.Sprintf("leads and applies its log before it serves: %d of %d", l.machine.Applied(), status.Commit)
	case l.reachesAPI():
		return ""
	case leads:
		return "leads, and its NATS server has not taken the subscriptions of the JetStream API yet"
	}
	return fmt.Sprintf("%s leads, and no route between the NATS servers brings the JetStream API here yet; see that the members reach each other's routes addresses", status.Leader.Name)
}

// reachesAPI tells whether clients of this node reach the JetStream API in every
// account: the leader's subscriptions have to be known here, over the routes.
func (l *life) reachesAPI() bool {
	for i := range l.options.Accounts {
		if a := &l.options.Accounts[i]; !a.Bus.Interest(jetstream.Presence(a.System)) {
			return false
		}
	}
	return true
}

// stalled says for how long the disk has not finished a write, and why.
func (l *life) stalled(waits uint64) string {
	text := fmt.Sprintf("a write has waited %d s for the disk of %s", waits*uint64(TickInterval)/uint64(time.Second), l.store.Path())
	if l.store.Room() < noRoom {
		return text + ", which is full: nothing is acknowledged until there is room; make some, or give up what was set aside (`holdfast status` lists it)"
	}
	return text + ", which has room and does not answer: look at the kernel's log for errors of the disk"
}
