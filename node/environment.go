package node

import (
	"sync"

	"holdfast/mesh"
	"holdfast/mesh/transport"
	"holdfast/protocol"
	"holdfast/wal"
)

// environment is where the member of this process lives (member.Environment):
// the disk and the mesh, behind goroutines that report to the mailbox.
type environment struct {
	node *Node
	era  *era // nil between lives
}

// era is what serves one life of the member. What it reports after its end is
// not delivered.
type era struct {
	writer    *writer
	transport *transport.Transport
	work      sync.WaitGroup // Background
}

// Begin starts the writer and joins the mesh.
func (e *environment) Begin(store *wal.Store, status mesh.Status) (err error) {
	n, now := e.node, &era{}
	e.Announce(status)
	now.transport, err = transport.Start(transport.Options{
		Cluster: n.config.Cluster.Name, Self: n.config.Name, Members: n.meshMembers(),
		Secret: n.secret, TLS: n.meshTLS,
		Incarnation: randomNumber() | 1,
		Hello:       func() transport.Presence { return *n.presence.Load() },
		Handler:     linkHandler{n.mail, now}, Refused: func(r *transport.RefusedError) { n.refused(now, r) }, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	now.writer = startWriter(store, n.logger, func(id uint64, err error) {
		n.mail.update(func(next *mail) { next.written = append(next.written, written{now, id, err}) })
	})
	e.era = now
	return nil
}

// Announce changes what a hello says.
func (e *environment) Announce(status mesh.Status) {
	e.node.presence.Store(&transport.Presence{Store: status.Store, Boot: status.Boot, Status: mesh.AppendStatus(nil, &status)})
}

// Send queues a frame.
func (e *environment) Send(to string, kind byte, body []byte, rest ...[]byte) bool {
	return e.era.transport.Send(to, kind, body, rest...)
}

// Write queues a change of the store.
func (e *environment) Write(id uint64, write *protocol.Write) { e.era.writer.put(id, write) }

// Background works in a goroutine of its own.
func (e *environment) Background(work, done func()) {
	now := e.era
	now.work.Go(func() {
		work()
		e.node.mail.call(func() {
			if e.era == now {
				done()
			}
		})
	})
}

// End leaves the mesh and waits for the disk.
func (e *environment) End() {
	e.era.transport.Close()
	e.era.writer.stop()
	e.era.work.Wait()
	e.era = nil
}

// linkHandler queues what the mesh reports for the loop.
type linkHandler struct {
	mail *mailbox
	era  *era
}

func (h linkHandler) Connected(name string, hello transport.Hello) {
	h.mail.update(func(next *mail) {
		next.frames = append(next.frames, frame{era: h.era, from: name, link: &linkEvent{hello: &hello}})
	})
}

func (h linkHandler) Disconnected(name string, cause error) {
	h.mail.update(func(next *mail) {
		next.frames = append(next.frames, frame{era: h.era, from: name, link: &linkEvent{cause: cause}})
	})
}

func (h linkHandler) Frame(name string, kind byte, body []byte) {
	h.mail.putFrame(frame{era: h.era, from: name, kind: kind, body: body})
}
