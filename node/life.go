package node

import (
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast/mesh"
	"holdfast/mesh/transport"
	"holdfast/node/bus"
	"holdfast/node/jetstream"
	"holdfast/node/machine"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
	"holdfast/wal"
)

// Time in ticks.
const (
	tickInterval   = 20 * time.Millisecond
	electionTicks  = 25 // 500 ms, randomized up to twice that
	heartbeatTicks = 5  // 100 ms
	retryTicks     = 10
	reportTicks    = 500 // 10 s
)

// Bounds of the replication pipeline, in bytes.
const (
	maxAppendBytes   = 1 << 20
	maxInflightBytes = 8 << 20
	maxReleaseBytes  = 4 << 20
)

// life is what a node does with one store, from opening it until it is closed,
// given up for a copy, or set aside. The loop owns it. A new life has a new
// incarnation: the links to the other members are made anew.
type life struct {
	node      *Node
	store     *wal.Store
	machine   *machine.Machine
	door      *jetstream.Door
	replica   *replica.Replica
	writer    *writer
	transport *transport.Transport
	identity  protocol.Identity

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
	barriers    []barrier // confirmed reads that wait for their index, ascending

	handover handover

	checkpoints checkpoints
	exporters   map[*exporter]bool
	importer    *importer
	staged      *wal.Stage       // a whole copy that waits for its activation
	stagedLast  uint64           // its last index
	activation  *mesh.Activation // who it becomes

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
	stop            // the node ends
)

// startLife opens the current store and everything that lives on it.
func (n *Node) startLife() (*life, error) {
	store, err := n.dir.Open()
	if err != nil {
		return nil, err
	}
	l := &life{node: n, store: store, exporters: map[*exporter]bool{}}
	if err := l.open(); err != nil {
		store.Close()
		return nil, err
	}
	return l, nil
}

func (l *life) open() (err error) {
	n, meta := l.node, l.store.Meta()
	l.identity = meta.Identity
	if l.machine, err = restoreMachine(l.store); err != nil {
		return err
	}
	landmarks, err := readLandmarks(l.store, meta.CheckpointIndex)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(n.randomSeed(), n.randomSeed()))
	l.replica, err = replica.New(replica.Options{
		Member:   n.config.Name,
		Members:  n.memberNames(),
		Continue: n.config.ContinueWhenLost(),
		State: replica.State{
			Identity: meta.Identity, Boot: meta.Boot, HardState: meta.HardState,
			Promise: meta.Promise, Granted: meta.Granted, Replaced: meta.Replaced, Applied: meta.CheckpointIndex,
			Configuration: meta.Configuration, Epoch: meta.Epoch, Foundings: meta.Foundings,
			Landmarks: landmarks,
		},
		Log:           l.store,
		ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks,
		RetryTicks: retryTicks, ReportTicks: reportTicks,
		MaxAppendBytes: maxAppendBytes, MaxInflightBytes: maxInflightBytes, MaxReleaseBytes: maxReleaseBytes,
		Random: random,
	})
	if err != nil {
		return err
	}
	l.door = jetstream.New(jetstream.Options{Machine: l.machine, Bus: n.link, Node: l, Logger: n.logger, MaxPayload: n.link.MaxPayload()})
	l.checkpoints.reset(meta.CheckpointIndex)
	l.writer = startWriter(l.store, n.logger, func(id uint64, err error) {
		n.mail.update(func(next *mail) { next.written = append(next.written, written{l, id, err}) })
	})
	l.announce()
	return l.connect()
}

// announce renews what a hello says, unless some of it is not durable yet: what
// it said before is then still true of the past, which is all a hello promises.
func (l *life) announce() {
	local := l.replica.Local()
	if l.replica.Durable() && local.Status.Counter != l.announced || l.announced == 0 {
		l.announced = local.Status.Counter
		l.node.presence.Store(&transport.Presence{Store: local.Store, Boot: local.Boot, Status: mesh.AppendStatus(nil, &local.Status)})
	}
}

// connect joins the mesh as a new incarnation.
func (l *life) connect() (err error) {
	n := l.node
	l.transport, err = transport.Start(transport.Options{
		Cluster: n.config.Cluster.Name, Self: n.config.Name, Members: n.meshMembers(),
		Secret: n.secret, TLS: n.meshTLS,
		Incarnation: n.randomSeed() | 1,
		Hello:       func() transport.Presence { return *n.presence.Load() },
		Handler:     linkHandler{n.mail}, Refused: n.refused, Logger: n.logger,
	})
	if err != nil {
		l.writer.stop()
		return err
	}
	return nil
}

// linkHandler queues what the mesh reports for the loop.
type linkHandler struct{ mail *mailbox }

func (h linkHandler) Connected(name string, hello transport.Hello) {
	h.mail.update(func(next *mail) {
		next.frames = append(next.frames, frame{from: name, link: &linkEvent{hello: &hello}})
	})
}

func (h linkHandler) Disconnected(name string, cause error) {
	h.mail.update(func(next *mail) {
		next.frames = append(next.frames, frame{from: name, link: &linkEvent{cause: cause}})
	})
}

func (h linkHandler) Frame(name string, kind byte, body []byte) {
	h.mail.putFrame(frame{from: name, kind: kind, body: body})
}

// restoreMachine reads the state machine's checkpoint.
func restoreMachine(store *wal.Store) (*machine.Machine, error) {
	meta := store.Meta()
	m, err := machine.Restore(machine.Options{}, meta.CheckpointIndex, meta.Horizon, meta.Stamp, store.LoadCheckpoint)
	if err != nil {
		return nil, fmt.Errorf("restore the state machine from the checkpoint at %d: %w", meta.CheckpointIndex, err)
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

// handle takes what arrived.
func (l *life) handle(m *mail) {
	for _, w := range m.written {
		if w.life != l {
			continue // of an earlier life
		}
		if w.err != nil {
			l.storeFailed(w.err)
			return
		}
		l.replica.Written(w.id)
		l.checkpoints.written(w.id, l.replica.Forget)
	}
	for i := range m.frames {
		l.handleFrame(&m.frames[i])
	}
	for _, chunk := range m.chunks {
		l.handleChunk(chunk)
	}
}

func (l *life) handleChunk(chunk *bus.Chunk) {
	for i := range chunk.Messages {
		l.door.Handle((*jetstream.Message)(&chunk.Messages[i]))
	}
	chunk.Release()
}

func (l *life) handleFrame(f *frame) {
	var err error
	switch {
	case f.link != nil && f.link.hello != nil:
		var status mesh.Status
		if status, err = mesh.DecodeStatus(f.link.hello.Status); err == nil {
			l.node.logger.Info("linked", "member", f.from, "store", f.link.hello.Store, "lineage", status.Lineage)
			l.replica.Linked(f.from, status)
		}
	case f.link != nil:
		l.node.logger.Info("link lost", "member", f.from, "cause", f.link.cause)
		l.replica.Unlinked(f.from)
		l.unlinked(f.from)
	case f.kind == frameRaft:
		err = l.replica.StepRaft(f.from, f.body)
	case f.kind == frameMembership:
		err = l.replica.StepMembership(f.from, f.body)
	case f.kind == frameStaging:
		err = l.handleStaging(f.from, f.body)
	case f.kind == frameForward:
		err = l.handleForward(f.body)
	default:
		err = fmt.Errorf("unknown kind %d", f.kind)
	}
	if err != nil {
		l.node.logger.Warn("frame dropped", "from", f.from, "kind", f.kind, "cause", err)
	}
}

// tick is the passing of one tickInterval.
func (l *life) tick(now time.Time) {
	l.replica.Tick()
	l.door.Tick(now.UnixNano())
	l.checkImport(now)
	if l.checkpoints.due(now) {
		l.checkpoint()
	}
	l.announce()
}

// settle carries out effects until none are left.
func (l *life) settle() {
	for l.ended == living {
		l.door.Flush()
		e := &l.effects
		l.replica.Take(e)
		for _, w := range e.Writes {
			l.writer.put(w.ID, w.Write)
		}
		l.sendFrames(e.Frames)
		for _, event := range e.Events {
			l.node.logEvent(event)
		}
		l.apply(e.Released)
		for _, read := range e.Reads {
			l.readReady(read)
		}
		for _, context := range e.ReadsDropped {
			l.door.Barriered(context, false)
		}
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
		l.transport.Send(f.To, kind, f.Body)
	}
}

// moveOn starts and ends copies, and ends this life when the replica says so.
func (l *life) moveOn(e *replica.Effects) {
	if e.DropStage {
		l.dropStage("no longer wanted")
	}
	if e.Stage != nil {
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

// end ends this life; the loop goes on with the next one.
func (l *life) end(how ending, cause error) {
	if l.ended == living {
		l.ended, l.cause = how, cause
	}
}

// storeFailed ends this life because its store is not what it should be.
func (l *life) storeFailed(err error) { l.end(setAside, err) }

// followRole starts and stops serving with the leadership.
func (l *life) followRole() {
	status, holding := l.replica.Raft()
	leads := holding && status.Role == replication.Leader && l.appliedTerm == status.Term && status.Open
	switch {
	case leads && !l.serving:
		l.serving, l.leadTerm = true, status.Term
		l.node.logger.Info("leading", "term", status.Term, "epoch", l.replica.Local().Epoch, "lineage", l.identity.Lineage, "applied", l.machine.Applied())
		l.door.Lead()
	case !leads && l.serving && l.handover.step == noHandover:
		l.serving = false
		l.node.logger.Info("not leading any more", "term", status.Term, "leader", status.Leader.Name)
		l.door.Follow()
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
		l.door.Follow()
	}
	l.transport.Close()
	for x := range l.exporters {
		x.stop()
		<-x.gone
	}
	l.stopImport()
	l.writer.stop()
	return l.store.Close()
}
