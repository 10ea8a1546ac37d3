package member

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"holdfast/mesh"
	"holdfast/node/jetstream"
	"holdfast/node/machine"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
	"holdfast/wal"
)

// Time in ticks.
const (
	electionTicks  = 25 // 500 ms, randomized up to twice that
	heartbeatTicks = 5  // 100 ms
	retryTicks     = 10
	reportTicks    = 500  // 10 s
	adviseTicks    = 1500 // 30 s
)

const secondTicks = int(time.Second / TickInterval)

// Bounds of the replication pipeline, in bytes.
const (
	maxAppendBytes   = 1 << 20
	maxInflightBytes = 8 << 20
	maxReleaseBytes  = 4 << 20
)

// life is what a member does with one store, from opening it until it is closed,
// given up for a copy, or set aside.
type life struct {
	options     *Options
	environment Environment
	clock       *clock      // of the member, from life to life
	precedence  *precedence // likewise
	heard       *mesh.Heard // likewise
	logger      *slog.Logger
	store       *wal.Store
	machine     *machine.Machine
	doors       doors
	replica     *replica.Replica
	identity    protocol.Identity

	now       uint64 // ticks since the beginning
	announced uint64 // counter of the status in the hello

	effects replica.Effects
	results machine.Results
	tail    tail
	// appliedTerm is the term of the newest applied entry. A leader serves once
	// it equals the present term: then everything earlier leaders acknowledged
	// is applied.
	appliedTerm uint64
	serving     bool
	leadTerm    uint64    // the term in which the door began to lead
	leadSince   time.Time // and when
	barriers    []barrier // confirmed reads that wait for their index, ascending
	distant     distantReads
	provable    uint64 // tick at which this member last knew a leader
	departing   bool   // a planned stop has begun

	handover handover
	disk     disk
	room     room
	scrub    scrub

	checkpoints checkpoints
	rewriting   rewriting
	holds       holds
	exporters   []*exporter
	pace        pace // of the exporters
	importer    *importer
	// abandoned is an importer that was given up while it wrote; its stage must
	// not be touched before it is done.
	abandoned  *importer
	staged     *wal.Stage       // a whole copy that waits for its activation
	stagedLast uint64           // its last index
	activation *mesh.Activation // who it becomes

	// ended is set once this life cannot go on, with what to do then.
	ended  ending
	cause  error
	closed bool
}

// ending says how a life goes over into the next.
type ending uint8

const (
	living   ending = iota
	reopen          // the store is somebody else now: open it again
	activate        // the staged copy becomes the store
	setAside        // the store is not to be trusted or was given up: quarantine it
	reattach        // the store's file has lost its name: write it again
	stop            // the member ends
)

// startLife opens the current store and everything that lives on it.
func (m *Member) startLife() (*life, error) {
	store, err := m.options.Dir.Open()
	if err != nil {
		return nil, err
	}
	l := &life{options: &m.options, environment: m.options.Environment, clock: m.clock, precedence: m.precedence, heard: &m.heard, logger: m.options.Logger, store: store}
	if err := l.open(); err != nil {
		store.Close() // the error is the one that counts
		return nil, err
	}
	return l, nil
}

func (l *life) open() (err error) {
	o, meta := l.options, l.store.Meta()
	l.identity = meta.Identity
	if l.machine, err = restoreMachine(l.store, l.options.SettleWork); err != nil {
		return err
	}
	landmarks, err := readLandmarks(l.store, meta.CheckpointIndex)
	if err != nil {
		return err
	}
	l.replica, err = replica.New(replica.Options{
		Member:   o.Name,
		Members:  o.Members,
		Continue: o.Continue,
		State: replica.State{
			Identity: meta.Identity, Boot: meta.Boot, HardState: meta.HardState,
			Promise: meta.Promise, Granted: meta.Granted, Replaced: meta.Replaced, Applied: meta.CheckpointIndex,
			Configuration: meta.Configuration, Epoch: meta.Epoch, Foundings: meta.Foundings,
			Landmarks: landmarks,
		},
		Log:           l.store,
		ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks,
		RetryTicks: retryTicks, ReportTicks: reportTicks, AdviseTicks: adviseTicks, SecondTicks: secondTicks,
		MaxAppendBytes: maxAppendBytes, MaxInflightBytes: maxInflightBytes, MaxReleaseBytes: maxReleaseBytes,
		FeedBytes: o.FeedBytes,
		Random:    o.random(),
		Heard:     l.heard,
	})
	if errors.Is(err, replication.ErrRegressed) {
		return &wal.DamageError{Path: l.store.Path(), What: "it lacks what it once had", Err: err}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	l.openDoors()
	l.warnOfUnserved()
	l.tail.limit = o.TailBytes
	l.checkpoints.reset(meta.CheckpointIndex)
	status := l.replica.Local().Status
	l.announced = status.Counter
	return l.environment.Begin(l.store, status)
}

// random makes a source of its own for a part of the member.
func (o *Options) random() *rand.Rand { return rand.New(rand.NewPCG(o.Random(), o.Random())) }

// announce renews what a hello says, unless some of it is not durable yet: what
// it said before is then still true of the past, which is all a hello promises.
func (l *life) announce() {
	if status := l.replica.Local().Status; status.Counter != l.announced && l.replica.Durable() {
		l.announced = status.Counter
		l.environment.Announce(status)
	}
}

// restoreMachine reads the state machine's checkpoint.
func restoreMachine(store *wal.Store, settleWork int) (*machine.Machine, error) {
	meta := store.Meta()
	m, err := machine.Restore(machine.Options{SettleWork: settleWork}, meta.CheckpointIndex, meta.Horizon, meta.Stamp, store.LoadCheckpoint)
	if err == nil {
		err = store.Indices(1, meta.Horizon+1, func(index uint64) error {
			m.Stored(index)
			return nil
		})
	}
	if err != nil {
		var damage *wal.DamageError
		if errors.As(err, &damage) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: restore the state machine from the checkpoint at %d: %w", ErrUnreadable, meta.CheckpointIndex, err)
	}
	return m, nil
}

// readLandmarks reads the entries above the checkpoint that change the
// configuration, the epoch or the lineage.
func readLandmarks(store *wal.Store, checkpoint uint64) ([]protocol.Entry, error) {
	var landmarks []protocol.Entry
	for next := checkpoint + 1; next <= store.Last(); {
		entries, err := store.Entries(next, store.Last()+1, maxReleaseBytes)
		if err != nil {
			return nil, fmt.Errorf("read the log from %d: %w", next, err)
		}
		for _, entry := range entries {
			if entry.Kind != protocol.KindBatch && entry.Kind != protocol.KindNoop {
				landmarks = append(landmarks, entry)
			}
		}
		next = entries[len(entries)-1].Index + 1
	}
	return landmarks, nil
}

func (l *life) written(id uint64, err error) {
	if l.ended != living {
		return
	}
	if err != nil {
		l.storeFailed(err)
		return
	}
	l.disk.moved = l.now
	l.replica.Written(id)
	l.checkpointsWritten(id)
}

func (l *life) linked(name string, encoded []byte) {
	if l.ended != living {
		return
	}
	status, err := mesh.DecodeStatus(encoded)
	if err != nil {
		l.logger.Warn("link not used: its hello cannot be read", "member", name, "cause", err)
		return
	}
	l.logger.Info("linked", "member", name, "store", status.Store, "lineage", status.Lineage, "epoch", status.Epoch, "boot", status.Boot)
	l.replica.Linked(name, status)
	l.environment.Send(name, frameClock, l.clock.report().encode())
	l.precedence.link(name)
	l.expectResume(name)
}

func (l *life) unlinked(name string, cause error) {
	if l.ended != living {
		return
	}
	l.logger.Info("link lost", "member", name, "cause", cause)
	l.replica.Unlinked(name)
	l.precedence.unlink(name)
	delete(l.room.reported, name)
	l.checkReads(name)
	l.interruptCopies(name)
}

func (l *life) frame(from string, kind byte, body []byte) {
	if l.ended != living {
		return
	}
	var err error
	switch kind {
	case frameRaft:
		err = l.replica.StepRaft(from, body)
	case frameMembership:
		err = l.replica.StepMembership(from, body)
	case frameStaging:
		err = l.handleStaging(from, body)
	case frameForward:
		err = l.handleForward(body)
	case frameClock:
		err = l.handleClock(from, body)
	case frameReadIndex:
		err = l.handleReadIndex(from, body)
	case frameReadAnswer:
		err = l.handleReadAnswer(from, body)
	case frameRank:
		var s standing
		if s, err = decodeStanding(body); err == nil {
			l.precedence.heard(from, s)
		}
	case frameRoom:
		err = l.heardRoom(from, body)
	default:
		err = fmt.Errorf("unknown kind %d", kind)
	}
	if err != nil {
		l.logger.Warn("frame dropped", "from", from, "kind", kind, "cause", err)
	}
}

// tick is the passing of one TickInterval.
func (l *life) tick() {
	l.now++
	l.keepTime()
	l.replica.Hinder(l.hindrance())
	l.replica.Tick()
	now := l.Now()
	l.doors.each(func(d *jetstream.Door) { d.Tick(now) })
	l.followHandover()
	l.checkReads("")
	l.followReads()
	l.checkCopies()
	l.paceCopies()
	l.lookAtFile()
	l.lookAtRoom()
	l.scrubOn()
	l.rewriteOn()
	if l.machine.Bury(buriedPerTick) && l.checkpointDue() {
		l.checkpoint()
	}
	l.machine.OrderSubjects(orderedPerTick)
	l.captureOn()
	l.beginCopies()
	l.dropOn()
	l.announce()
}

// lookAtFile notices once a second that the store's file is not where it belongs; a
// commit notices it by itself.
func (l *life) lookAtFile() {
	if l.now%uint64(secondTicks) != 0 {
		return
	}
	if err := l.store.Attached(); err != nil {
		l.storeFailed(err)
	}
}

// settle carries out effects until none are left.
func (l *life) settle() {
	for l.ended == living {
		l.doors.each((*jetstream.Door).Flush)
		e := &l.effects
		l.replica.Take(e)
		for _, w := range e.Writes {
			l.environment.Write(w.ID, w.Write)
		}
		l.sendFrames(e.Frames)
		for _, event := range e.Events {
			l.logEvent(event)
		}
		l.apply(e.Released)
		l.finishReads(e.Reads, e.ReadsDropped)
		l.followRole()
		l.moveOn(e)
		if len(e.Released) == 0 && len(e.Reads) == 0 && len(e.Writes) == 0 {
			return
		}
	}
}

func (l *life) sendFrames(frames []replica.Frame) {
	for _, f := range frames {
		kind := frameMembership
		if f.Channel == replica.Raft {
			kind = frameRaft
		}
		l.environment.Send(f.To, kind, f.Body, f.Rest...)
	}
}

// logEvent writes an event of the membership core as one line.
func (l *life) logEvent(event mesh.Event) {
	args := make([]any, 0, 2*len(event.Fields))
	for _, field := range event.Fields {
		args = append(args, field.Key, field.Value)
	}
	switch event.Level {
	case mesh.Alarm:
		l.logger.Error(event.Text, args...)
	case mesh.Warning:
		l.logger.Warn(event.Text, args...)
	default:
		l.logger.Info(event.Text, args...)
	}
}

// moveOn starts and ends copies, and ends this life when the replica says so.
func (l *life) moveOn(e *replica.Effects) {
	if e.DropStage {
		l.dropStage("no longer wanted")
	}
	switch {
	case e.Stage == nil:
	case e.Stage.Resume:
		l.resumeImport(e.Stage.From)
	default:
		l.startImport(e.Stage.From)
	}
	switch {
	case e.Reopen:
		l.end(reopen, nil)
	case e.Activate != nil:
		l.activation = e.Activate
		l.end(activate, nil)
	case e.Failed != nil:
		l.storeFailed(e.Failed)
	}
}

// end ends this life; the member goes on with the next one.
func (l *life) end(how ending, cause error) {
	if l.ended == living {
		l.ended, l.cause = how, cause
	}
}

// storeFailed ends this life because its store is not what it should be. A store
// that a newer release went on with is what it should be, and it is not for this one
// to set it aside.
func (l *life) storeFailed(err error) {
	if errors.Is(err, protocol.ErrNewerFormat) {
		l.end(stop, fmt.Errorf("%w: %w", ErrUnreadable, err))
		return
	}
	if errors.Is(err, wal.ErrRemoved) {
		l.end(reattach, err)
		return
	}
	l.end(setAside, err)
}

// followRole starts and stops serving with the leadership.
func (l *life) followRole() {
	status, holding := l.replica.Raft()
	l.precedence.follow(status.Leader.Name, status.Term)
	leads := holding && status.Role == replication.Leader && l.appliedTerm == status.Term && status.Open
	switch {
	case leads && !l.serving:
		l.serving, l.leadTerm = true, status.Term
		l.beginTime()
		l.leadSince = time.Unix(0, l.Now()).UTC()
		l.logger.Info("leading", "term", status.Term, "epoch", l.replica.Local().Epoch, "lineage", l.identity.Lineage, "applied", l.machine.Applied())
		l.doors.each((*jetstream.Door).Lead)
	case !leads && l.serving && l.handover.step == noHandover:
		l.stopServing(status)
	}
}

func (l *life) stopServing(status replication.Status) {
	if l.serving {
		l.serving = false
		l.logger.Info("not leading any more", "term", status.Term, "leader", status.Leader.Name)
		l.doors.each((*jetstream.Door).Follow)
	}
}

// close stops everything that runs on the store, and closes it.
func (l *life) close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	if l.serving {
		l.serving = false
		l.doors.each((*jetstream.Door).Follow)
	}
	l.doors.each((*jetstream.Door).CloseDirect)
	l.doors.each((*jetstream.Door).Silence)
	l.environment.End()
	l.closeCopies()
	return l.store.Close()
}
