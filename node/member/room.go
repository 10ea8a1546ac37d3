package member

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"holdfast/replication"
)

// A full disk refuses new messages and nothing else. The leader admits a publish
// only while its own disk and those of a majority have room for it beyond what
// their stores keep in reserve (wal.Store.Reserve); docs/storage.md has the
// reasons. For this every member tells the others what it can spare, and the
// leader counts what it has proposed since.
const (
	// roomTicks is the pause between two looks at the disk.
	roomTicks = 5 // 100 ms
	// roomReportTicks is the pause between two reports.
	roomReportTicks = 10 // 200 ms
	// reliefTicks is the pause between two attempts to leave the lead to a member
	// that has room.
	reliefTicks = uint64(10 * time.Second / TickInterval)
	// Short of room, a checkpoint comes after so many bytes or ticks: only a
	// checkpoint frees what died.
	shortCheckpointBytes = 1 << 20
	shortCheckpointTicks = uint64(time.Second / TickInterval)
)

// plenty is what a member can spare that has not said anything else.
const plenty = math.MaxInt64

// room is what a life knows of the members' disks.
type room struct {
	spare    int64 // bytes here beyond the reserve; negative: the reserve is in use
	reserve  int64
	reported map[string]spareRoom // of the members that are linked
	proposed int64                // bytes that this life proposed
	// refusing: the door takes no new messages, for the reason in why.
	refusing bool
	why      string
	relieved uint64 // tick of the last attempt to leave the lead
}

// spareRoom is another member's report.
type spareRoom struct {
	spare    int64 // bytes; negative: its reserve is in use
	proposed int64 // room.proposed when it came
}

// left is what the member can spare after what was proposed since its report.
func (l *life) left(name string) int64 {
	if name == l.options.Name {
		return l.room.spare
	}
	r, ok := l.room.reported[name]
	if !ok {
		return plenty
	}
	return r.spare - (l.room.proposed - r.proposed)
}

// short reports that this member's store has hardly more than its reserve: so
// little that publishes which were refused once are still refused.
func (l *life) short() bool { return l.room.reserve > 0 && l.room.spare <= l.room.reserve/4 }

// lookAtRoom measures the disk, tells the others, and the door.
func (l *life) lookAtRoom() {
	if l.now%roomTicks != 0 {
		return
	}
	r := &l.room
	r.reserve = l.store.Reserve()
	r.spare = l.store.Room() - r.reserve
	if l.now%roomReportTicks == 0 {
		body := encodeRoom(r.spare)
		for _, name := range l.options.Members {
			if name != l.options.Name {
				l.environment.Send(name, frameRoom, body)
			}
		}
	}
	if !l.serving {
		r.refusing, r.why = false, ""
		return
	}
	l.admit()
}

// admit tells the door how many bytes of new messages the cluster has room for.
func (l *life) admit() {
	r := &l.room
	status, _ := l.replica.Raft()
	spare, who := l.quorumRoom(l.options.Members)
	voters := make([]string, 0, len(status.Configuration.Voters))
	for _, voter := range status.Configuration.Voters {
		voters = append(voters, voter.Name)
	}
	if other, name := l.quorumRoom(voters); other < spare {
		spare, who = other, name
	}
	quorum := spare
	if r.spare < spare {
		spare, who = r.spare, l.options.Name
	}
	// What was refused once is taken again when there is noticeably more room, not
	// with every page that is freed.
	again := int64(0)
	if r.refusing {
		again = r.reserve / 4
	}
	switch refuse := spare <= again; {
	case refuse && !r.refusing:
		l.logger.Error("no room for new messages: publishes are refused until there is; reads, acknowledgements, deletes and purges go on",
			"member", who, "reserve", r.reserve, "spare", spare)
		r.refusing = true
	case !refuse && r.refusing:
		l.logger.Info("there is room for new messages again", "spare", spare)
		r.refusing, r.why = false, ""
	}
	if r.refusing {
		r.why = fmt.Sprintf("publishes are refused: the store of %s has no room beyond its reserve; delete or purge messages, or make room on its disk", who)
		spare = 0
	}
	l.doors.queue.Admit(spare)
	// While there is still something left, so that nothing has to be refused.
	if r.spare < r.reserve/2 && quorum > r.reserve {
		l.relieve()
	}
}

// quorumRoom is what a majority of the named members can spare, and which of
// them sets the bound. Members that are not linked do not count: while too few
// are, the log does not move and their disks are not the reason.
func (l *life) quorumRoom(names []string) (spare int64, who string) {
	type share struct {
		spare int64
		name  string
	}
	var linked []share
	for _, name := range names {
		if _, ok := l.room.reported[name]; ok || name == l.options.Name {
			linked = append(linked, share{l.left(name), name})
		}
	}
	need := len(names)/2 + 1
	if len(linked) < need {
		return plenty, l.options.Name
	}
	slices.SortFunc(linked, func(a, b share) int {
		switch {
		case a.spare > b.spare:
			return -1
		case a.spare < b.spare:
			return 1
		}
		return 0
	})
	return linked[need-1].spare, linked[need-1].name
}

// relieve leaves the lead to a member that has room: a majority has.
func (l *life) relieve() {
	r := &l.room
	if l.departing || l.handover.step != noHandover || r.relieved != 0 && l.now-r.relieved < reliefTicks {
		return
	}
	r.relieved = l.now
	l.logger.Warn("this member has hardly any room and a majority has: it leaves the lead to another", "spare", r.spare)
	l.handover.stays = l.beginHandover(func(name string) bool { return l.left(name) > r.reserve })
}

// heardRoom takes another member's report.
func (l *life) heardRoom(from string, body []byte) error {
	spare, err := decodeRoom(body)
	if err != nil {
		return err
	}
	if l.room.reported == nil {
		l.room.reported = make(map[string]spareRoom)
	}
	l.room.reported[from] = spareRoom{spare: spare, proposed: l.room.proposed}
	return nil
}

const (
	roomVersion byte = 1
	// maxRoom is the most that a report says: more makes no difference.
	maxRoom = int64(1) << 30
)

// encodeRoom returns the body of a frameRoom: version, bytes.
func encodeRoom(spare int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{roomVersion}, uint64(min(spare, maxRoom)))
}

func decodeRoom(body []byte) (spare int64, err error) {
	if len(body) != 9 || body[0] != roomVersion {
		return 0, errors.New("decode report of room: malformed")
	}
	if spare = int64(binary.LittleEndian.Uint64(body[1:])); spare > maxRoom || spare < -maxRoom {
		return 0, errors.New("decode report of room: out of bounds")
	}
	return spare, nil
}

// Shortage says that there is no room for new messages, and what to do; ""
// otherwise. Room is how many bytes this member's store can still take.
func (m *Member) Shortage() (text string, room int64) {
	r := &m.life.room
	room = r.spare + r.reserve
	status, holding := m.life.replica.Raft()
	leads := holding && status.Role == replication.Leader
	switch {
	case r.refusing:
		return r.why, room
	case m.life.short() && leads:
		return "this member's store has hardly any room beyond its reserve: make room on its disk", room
	case m.life.short():
		return "this member's store has hardly any room beyond its reserve: while a majority has, new messages are still taken, until this member cannot follow any more; make room on its disk", room
	}
	return "", room
}
