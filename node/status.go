package node

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/mesh"
)

// Status is what `holdfast status` and the monitor's /status show. Numbers of
// the log are zero while the store is blank.
type Status struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	Store   string `json:"store"`
	Lineage string `json:"lineage"` // epoch/attempt, or "blank"
	Epoch   uint64 `json:"epoch"`
	Term    uint64 `json:"term"`
	Role    string `json:"role"`   // leader, follower, candidate, pre-candidate or blank
	Leader  string `json:"leader"` // "" when none is known
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	Last    uint64 `json:"last"`
	// Serving: clients of this node can use the JetStream API.
	Serving bool           `json:"serving"`
	Waiting string         `json:"waiting,omitempty"` // what it waits for while it is not serving
	Members []MemberStatus `json:"members"`
	Alarms  []string       `json:"alarms"`
	// StoreBytes is the size of the store's file.
	StoreBytes int64 `json:"store_bytes"`
	Streams    int   `json:"streams"`
	// QuarantinedStores is the number of stores that were set aside.
	QuarantinedStores int     `json:"quarantined_stores"`
	UptimeSeconds     float64 `json:"uptime_seconds"`
}

// MemberStatus is one member as this node sees it.
type MemberStatus struct {
	Name    string         `json:"name"`
	State   string         `json:"state"`
	Store   string         `json:"store"`
	Reason  string         `json:"reason,omitempty"`
	Joining *JoiningStatus `json:"joining,omitempty"`
}

// JoiningStatus is how far the copy of a store is that a member receives.
type JoiningStatus struct {
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
}

// publishStatus makes the present state visible to the monitor.
func (n *Node) publishStatus() {
	status := n.status()
	if status.Serving {
		n.notify.serving()
	} else {
		n.notify.waiting(status.Waiting)
	}
	n.snapshot.Store(status)
}

// Status is what this node last said of itself; at most a tick old.
func (n *Node) Status() *Status { return n.snapshot.Load() }

func (n *Node) status() *Status {
	m := n.member
	identity, local := m.Identity(), m.Local()
	s := &Status{
		Name: n.config.Name, Cluster: n.config.Cluster.Name,
		Store: identity.Store.String(), Lineage: identity.Lineage.String(), Epoch: local.Epoch,
		Role: "blank", Applied: m.Machine().Applied(), Alarms: []string{},
		StoreBytes: m.Store().Size(), Streams: m.Machine().StreamCount(), QuarantinedStores: m.Quarantined(),
		Serving: m.Serving() && n.reachesAPI(), UptimeSeconds: time.Since(n.started).Seconds(),
	}
	if raft, holding := m.Raft(); holding {
		s.Role, s.Term, s.Leader = raft.Role.String(), raft.Term, raft.Leader.Name
		s.Commit, s.Last = raft.Commit, raft.Last
	}
	view := m.View()
	s.Waiting = view.Waiting
	s.Alarms = append(s.Alarms, view.Alarms...)
	for _, member := range view.Members {
		s.Members = append(s.Members, n.memberStatus(&member))
	}
	return s
}

// reachesAPI tells whether a client of this node reaches the JetStream API: the
// leader's subscription has to be known here, over the routes.
func (n *Node) reachesAPI() bool { return n.link.Interest(server.JSApiAccountInfo) }

func (n *Node) memberStatus(member *mesh.MemberView) MemberStatus {
	s := MemberStatus{Name: member.Name, State: member.State.String(), Store: member.Status.Store.String(), Reason: member.Reason}
	if done, total, ok := n.member.Copying(member.Name); ok {
		s.Joining = &JoiningStatus{Bytes: done, Total: total}
	}
	return s
}

// String is the status for people, a few lines.
func (s *Status) String() string {
	text := fmt.Sprintf("%s of cluster %s: %s", s.Name, s.Cluster, s.Role)
	if s.Leader != "" && s.Role != "leader" {
		text += fmt.Sprintf(", the leader is %s", s.Leader)
	}
	if !s.Serving {
		text += "; NOT SERVING"
	}
	text += fmt.Sprintf("\nstore %s, lineage %s, epoch %d, term %d\nlog: last %d, committed %d, applied %d; %d streams, %d bytes on disk\n",
		s.Store, s.Lineage, s.Epoch, s.Term, s.Last, s.Commit, s.Applied, s.Streams, s.StoreBytes)
	if s.Waiting != "" {
		text += "waiting: " + s.Waiting + "\n"
	}
	for _, member := range s.Members {
		text += fmt.Sprintf("  %-12s %-10s store %s", member.Name, member.State, member.Store)
		if member.Joining != nil && member.Joining.Total > 0 {
			text += fmt.Sprintf("  %d of %d bytes (%d %%)", member.Joining.Bytes, member.Joining.Total, 100*member.Joining.Bytes/member.Joining.Total)
		}
		if member.Reason != "" {
			text += "  " + member.Reason
		}
		text += "\n"
	}
	for _, alarm := range s.Alarms {
		text += "ALARM: " + alarm + "\n"
	}
	return text
}
