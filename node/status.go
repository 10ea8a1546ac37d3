package node

import (
	"time"

	"holdfast/mesh"
	"holdfast/protocol"
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
	Serving bool `json:"serving"`
	// Waiting is what this node waits for and what would let it go on; "" when
	// nothing is missing.
	Waiting string         `json:"waiting,omitempty"`
	Members []MemberStatus `json:"members"`
	// Alarms need a person; each says which command on which node helps.
	Alarms []string `json:"alarms"`
	// Foundings says what each founding of the lineage kept and what was lost, the
	// newest last, at most shownFoundings of them.
	Foundings []string `json:"foundings"`
	// LossyFoundings is how many of all foundings may have lost something.
	LossyFoundings int `json:"lossy_foundings"`
	// StoreBytes is the size of the store's file.
	StoreBytes int64 `json:"store_bytes"`
	// RoomBytes is about how many bytes the store can still take, what is kept in
	// reserve included. Shortage says that this is too little for new messages,
	// here or on a majority of the members, and what to do; "" otherwise.
	RoomBytes int64  `json:"room_bytes"`
	Shortage  string `json:"shortage,omitempty"`
	// ScrubbedBytes were checked in the background since the store was opened, in
	// ScrubRounds whole rounds and the present one.
	ScrubbedBytes uint64 `json:"scrubbed_bytes"`
	ScrubRounds   uint64 `json:"scrub_rounds"`
	Streams       int    `json:"streams"`
	// Quarantine lists the stores that were set aside, oldest first.
	QuarantinedStores int                 `json:"quarantined_stores"`
	Quarantine        []QuarantinedStatus `json:"quarantine"`
	// QuarantineExcess says that more is set aside than the configuration wants,
	// and what to do; "" otherwise.
	QuarantineExcess string  `json:"quarantine_excess,omitempty"`
	UptimeSeconds    float64 `json:"uptime_seconds"`
}

// MemberStatus is one member as this node sees it.
type MemberStatus struct {
	Name  string `json:"name"`
	State string `json:"state"` // see mesh.State
	// Store is the last one that was heard of, else the one that votes for the
	// member; "" when neither is known.
	Store string `json:"store"`
	// Connected: over the mesh; true for this node itself. Votes: its store is a
	// voter, by the log of this node.
	Connected bool `json:"connected"`
	Votes     bool `json:"votes"`
	// Reason says why it is in that state, and Remedy what would let it go on.
	Reason  string         `json:"reason,omitempty"`
	Remedy  string         `json:"remedy,omitempty"`
	Joining *JoiningStatus `json:"joining,omitempty"`
}

// JoiningStatus is how far the copy of a store is that a member receives.
type JoiningStatus struct {
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"` // estimated
}

// QuarantinedStatus is one store that was set aside.
type QuarantinedStatus struct {
	File    string    `json:"file"`
	Store   string    `json:"store"`
	Lineage string    `json:"lineage"`
	Bytes   int64     `json:"bytes"`
	Time    time.Time `json:"time"`
	Reason  string    `json:"reason"`
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
		StoreBytes: m.Store().Size(), Streams: m.Machine().StreamCount(),
		QuarantinedStores: len(m.Quarantine()), Quarantine: []QuarantinedStatus{}, QuarantineExcess: m.QuarantineExcess(),
		Serving: m.Serving() && m.ReachesAPI(), UptimeSeconds: time.Since(n.started).Seconds(),
	}
	if raft, holding := m.Raft(); holding {
		s.Role, s.Term, s.Leader = raft.Role.String(), raft.Term, raft.Leader.Name
		s.Commit, s.Last = raft.Commit, raft.Last
	}
	s.Shortage, s.RoomBytes = m.Shortage()
	s.ScrubbedBytes, s.ScrubRounds = m.Scrubbed()
	s.Foundings, s.LossyFoundings = n.history.tell(local.Foundings)
	view := m.View()
	s.Waiting = view.Waiting
	s.Alarms = append(s.Alarms, view.Alarms...)
	for _, member := range view.Members {
		s.Members = append(s.Members, n.memberStatus(&member, local.Configuration))
	}
	for _, q := range m.Quarantine() {
		s.Quarantine = append(s.Quarantine, QuarantinedStatus{File: q.Path, Store: q.Store.String(), Lineage: q.Lineage.String(),
			Bytes: q.Bytes, Time: q.Time, Reason: q.Reason})
	}
	return s
}

// shownFoundings bounds the foundings in a status.
const shownFoundings = 10

// history is what was told of the foundings of a log; it seldom changes.
type history struct {
	last     protocol.Founding
	accounts []string
	lossy    int
}

func (h *history) tell(foundings []protocol.Founding) (accounts []string, lossy int) {
	if len(foundings) == 0 {
		return []string{}, 0
	}
	if last := foundings[len(foundings)-1]; h.last != last {
		*h = history{last: last}
		for i, f := range foundings {
			if f.Loss != (protocol.Loss{}) {
				h.lossy++
			}
			if i >= len(foundings)-shownFoundings {
				h.accounts = append(h.accounts, mesh.Account(f))
			}
		}
	}
	return h.accounts, h.lossy
}

func (s *Status) quarantinedBytes() (sum int64) {
	for i := range s.Quarantine {
		sum += s.Quarantine[i].Bytes
	}
	return sum
}

func (n *Node) memberStatus(member *mesh.MemberView, voters protocol.Configuration) MemberStatus {
	s := MemberStatus{Name: member.Name, State: member.State.String(), Connected: member.Connected,
		Votes: voters.Contains(member.Status.Voter()), Reason: member.Reason, Remedy: member.Remedy}
	if member.Status.Store != 0 {
		s.Store = member.Status.Store.String()
	}
	if done, total, ok := n.member.Copying(member.Name); ok {
		s.Joining = &JoiningStatus{Bytes: done, Total: total}
	} else if member.Total > 0 {
		s.Joining = &JoiningStatus{Bytes: int64(member.Copied), Total: int64(member.Total)}
	}
	return s
}
