package replica

import (
	"slices"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/replication"
)

// Channel says which core a frame is for.
type Channel uint8

const (
	Membership Channel = iota + 1
	Raft
)

// Frame is a message for another member.
type Frame struct {
	To      string
	Channel Channel
	Body    []byte
	Rest    [][]byte // of the body, belongs behind it
}

// Bytes is the whole body.
func (f Frame) Bytes() []byte {
	if len(f.Rest) == 0 {
		return f.Body
	}
	return append(slices.Clip(f.Body), slices.Concat(f.Rest...)...)
}

// Write is a numbered durable change. Numbers rise by one.
type Write struct {
	ID    uint64
	Write *protocol.Write
}

// Effects is what the owner has to do; see the package comment for the order.
type Effects struct {
	Writes       []Write
	Frames       []Frame
	Released     []protocol.Entry
	Reads        []replication.Read
	ReadsDropped []uint64
	// Stage asks for a copy of another member's store; a new request replaces
	// the one before. DropStage gives up an unfinished or unused copy.
	Stage     *mesh.StageRequest
	DropStage bool
	// Activate makes the finished copy the node's store and sets the present
	// one aside.
	Activate *mesh.Activation
	// Reopen: the store changed its identity in place (a founding); start over.
	Reopen bool
	// Failed: the store is not what it should be (it lacks what it acknowledged,
	// or cannot be read); quarantine it and go on blank.
	Failed error
	// Events are log lines, in order.
	Events []mesh.Event
}

func (e *Effects) reset() {
	clear(e.Writes)
	clear(e.Frames)
	clear(e.Released)
	*e = Effects{Writes: e.Writes[:0], Frames: e.Frames[:0], Released: e.Released[:0],
		Reads: e.Reads[:0], ReadsDropped: e.ReadsDropped[:0], Events: e.Events[:0]}
}

// pendingWrite is a write on its way to the disk and what waits for it.
type pendingWrite struct {
	id       uint64
	raftID   uint64 // to report to the replication core, or zero
	meshID   uint64 // to report to the membership core, or zero
	frames   []Frame
	founding bool // this write makes the store a founder
}

// maxSettleRounds bounds how often the cores may answer each other at once.
// They settle in two or three; more means that they feed each other for ever.
const maxSettleRounds = 100

// Take moves what has to be done into effects, whose slices are reused.
func (r *Replica) Take(effects *Effects) {
	effects.reset()
	r.settle()
	r.out, *effects = *effects, r.out
}

// settle carries out what the two cores want of each other, and collects what
// they want of the owner for the next Take.
func (r *Replica) settle() {
	for range maxSettleRounds {
		if r.stopped {
			break
		}
		acted := r.takeRaft()
		r.syncLocal()
		if !r.takeMesh() && !acted {
			break
		}
	}
}

// takeRaft carries out what the replication core wants and reports whether that
// was anything.
func (r *Replica) takeRaft() bool {
	if r.raft == nil {
		return false
	}
	e := &r.raftEffects
	r.raft.Take(e)
	acted := len(e.Messages) > 0 || len(e.AfterWrite) > 0 || len(e.Released) > 0 || len(e.Reads) > 0 || len(e.ReadsDropped) > 0
	for i := range e.Messages {
		r.out.Frames = append(r.out.Frames, raftFrame(&e.Messages[i]))
	}
	if e.WriteID != 0 {
		acted = true
		write := &protocol.Write{}
		if len(e.Entries) > 0 {
			// The core reuses its slice; the entries' data is shared.
			write.Entries = append([]protocol.Entry(nil), e.Entries...)
			r.history.appended(write.Entries)
		}
		if e.HardState != nil {
			// The core reuses the memory behind the pointer as well. A write
			// that changed before it is durable would forget a term or a vote.
			r.hard = *e.HardState
			hard := r.hard
			write.HardState = &hard
		}
		r.queue(write).raftID = e.WriteID
	}
	for i := range e.AfterWrite {
		r.afterWrites(raftFrame(&e.AfterWrite[i]))
	}
	r.out.Released = append(r.out.Released, e.Released...)
	r.out.Reads = append(r.out.Reads, e.Reads...)
	r.out.ReadsDropped = append(r.out.ReadsDropped, e.ReadsDropped...)
	if e.Failed != nil {
		r.out.Failed = e.Failed
		r.stopped = true
	}
	return acted
}

func raftFrame(m *replication.Message) Frame {
	first, rest := replication.MessageParts(m)
	return Frame{To: m.To.Name, Channel: Raft, Body: first, Rest: rest}
}

func membershipFrame(e *mesh.Envelope) Frame {
	return Frame{To: e.To, Channel: Membership, Body: mesh.AppendMessage(nil, &e.Message)}
}

// queue numbers a write and hands it out.
func (r *Replica) queue(write *protocol.Write) *pendingWrite {
	r.lastID++
	r.out.Writes = append(r.out.Writes, Write{ID: r.lastID, Write: write})
	r.pending = append(r.pending, pendingWrite{id: r.lastID})
	return &r.pending[len(r.pending)-1]
}

// withhold drops the replication core's messages that wait for a write: a store
// that promised neither votes nor acknowledges (rule P3), not even late.
func (r *Replica) withhold() {
	for i := range r.pending {
		r.pending[i].frames = slices.DeleteFunc(r.pending[i].frames, func(f Frame) bool { return f.Channel == Raft })
	}
}

// Checkpoint queues the state machine's checkpoint behind all earlier writes
// and returns the number of the write.
func (r *Replica) Checkpoint(checkpoint *protocol.Checkpoint) uint64 {
	return r.queue(&protocol.Write{Checkpoint: checkpoint}).id
}

// Drop queues letting a portion of the dead entries go behind all earlier writes, and
// returns the number of the write.
func (r *Replica) Drop() uint64 { return r.queue(&protocol.Write{Drop: true}).id }

// afterWrites sends a frame once all writes handed out so far are durable.
func (r *Replica) afterWrites(f Frame) {
	if n := len(r.pending); n > 0 {
		r.pending[n-1].frames = append(r.pending[n-1].frames, f)
		return
	}
	r.out.Frames = append(r.out.Frames, f)
}

// Written reports that the write with this number, and all before it, is
// durable.
func (r *Replica) Written(id uint64) {
	done := 0
	for done < len(r.pending) && r.pending[done].id <= id {
		p := &r.pending[done]
		done++
		if p.founding {
			r.out.Reopen = true
		}
		if r.stopped {
			continue
		}
		if p.raftID != 0 {
			r.raft.Persisted(p.raftID)
		}
		if p.meshID != 0 {
			r.mesh.Persisted(p.meshID)
		}
		r.out.Frames = append(r.out.Frames, p.frames...)
	}
	kept := copy(r.pending, r.pending[done:])
	clear(r.pending[kept:])
	r.pending = r.pending[:kept]
}
