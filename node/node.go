package node

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/mesh/transport"
	"holdfast/node/bus"
	"holdfast/node/config"
	"holdfast/node/jetstream"
	"holdfast/wal"
)

// ErrRefused is wrapped by the error of a node that must not run: another live
// process has its name or its store, or its members disagree about who they
// are. A restart does not help, a person has to look.
var ErrRefused = errors.New("refused")

// attachTimeout bounds how long the embedded server may take to dial us.
const attachTimeout = 10 * time.Second

// Node is one running member. Start makes one, Stop or its own end (Done) ends it.
type Node struct {
	config  *config.Config
	logger  *slog.Logger
	secret  []byte
	meshTLS *tls.Config

	dir     *wal.Dir
	link    *bus.Link
	server  *server.Server
	monitor *http.Server
	mail    *mailbox
	notify  *notifier

	// presence is what a hello says; written by the loop.
	presence atomic.Pointer[transport.Presence]
	// snapshot is what the monitor shows; written by the loop.
	snapshot atomic.Pointer[Status]

	life        *life // owned by the loop
	quarantined int   // stores that were set aside
	started     time.Time
	done        chan struct{}
	err         error // valid once done is closed

	monitorAddress net.Addr
}

// Start starts a node and returns once it takes connections. It does not wait
// for the cluster: Status tells when it serves.
func Start(cfg *config.Config, logger *slog.Logger) (*Node, error) {
	n := &Node{config: cfg, logger: logger, mail: newMailbox(), done: make(chan struct{}), started: time.Now()}
	if err := n.open(); err != nil {
		n.release()
		if errors.Is(err, wal.ErrForeign) || errors.Is(err, wal.ErrNewerFormat) {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, err
	}
	logger.Info("started", "member", cfg.Name, "cluster", cfg.Cluster.Name, "store", n.life.identity.Store, "lineage", n.life.identity.Lineage,
		"clients", n.server.Addr(), "monitor", n.monitorAddress, "mesh", n.life.transport.Addr(), "folder", cfg.Store)
	go n.run()
	return n, nil
}

// open takes what the node needs, in the order in which a refusal is cheapest.
func (n *Node) open() (err error) {
	cfg := n.config
	if n.secret, err = cfg.Secret(); err != nil {
		return err
	}
	if n.meshTLS, err = cfg.MeshTLS(); err != nil {
		return err
	}
	if n.dir, err = wal.OpenDir(cfg.Store, wal.Owner{Cluster: cfg.Cluster.Name, Member: cfg.Name}, wal.Options{}); err != nil {
		return err
	}
	if err = n.listenMonitor(); err != nil {
		return err
	}
	if err = n.startServer(); err != nil {
		return err
	}
	if n.life, err = n.openLife(); err != nil {
		return err
	}
	n.notify = newNotifier(n.logger)
	n.publishStatus()
	return nil
}

// startServer starts the embedded NATS server and attaches to it.
func (n *Node) startServer() (err error) {
	n.link, err = bus.Listen(bus.Options{
		LeafCluster: "holdfast-" + n.config.Cluster.Name,
		Handler: func(chunk *bus.Chunk) {
			n.mail.update(func(next *mail) { next.chunks = append(next.chunks, chunk) })
		},
		Refuse: jetstream.RefuseBusy[bus.Message],
		Logger: n.logger,
	})
	if err != nil {
		return err
	}
	opts, err := natsOptions(n.config, n.secret, n.meshTLS, n.link.Remote())
	if err != nil {
		return err
	}
	if n.server, err = startNATS(opts, n.logger); err != nil {
		return err
	}
	return n.link.Attach(n.server, attachTimeout)
}

// openLife opens the current store; one that cannot be trusted is set aside,
// and the node goes on with a blank one (a damaged memory is no memory).
func (n *Node) openLife() (*life, error) {
	l, err := n.startLife()
	var damage *wal.DamageError
	if err == nil || !errors.As(err, &damage) {
		return l, err
	}
	if err := n.quarantine(err.Error()); err != nil {
		return nil, err
	}
	return n.startLife()
}

func (n *Node) quarantine(reason string) error {
	path, err := n.dir.Quarantine(reason)
	if err != nil {
		return fmt.Errorf("set the damaged store aside: %w", err)
	}
	n.logger.Error("store set aside: it cannot be trusted; this node goes on without its memory and joins again", "reason", reason, "kept_as", path)
	return nil
}

// run is the loop: it owns the life and everything in it.
func (n *Node) run() {
	defer close(n.done)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	var m mail
	for {
		m.reset()
		var ticked bool
		select {
		case <-n.mail.ready:
		case <-ticker.C:
			ticked = true
		}
		n.mail.take(&m)
		for _, call := range m.calls {
			call()
		}
		if n.life.ended == living {
			n.life.handle(&m)
		}
		if ticked && n.life.ended == living {
			n.life.tick(time.Now())
		}
		n.life.settle()
		n.link.Flush()
		if ticked {
			n.publishStatus()
			n.notify.alive()
		}
		if n.life.ended == stop {
			n.err = n.life.cause
			break
		}
		if n.life.ended != living {
			if n.err = n.nextLife(); n.err != nil {
				n.logger.Error("cannot go on", "cause", n.err)
				break
			}
		}
	}
	n.notify.stopping()
	time.Sleep(lastWords)
	if err := n.life.close(); err != nil && n.err == nil {
		n.err = err
	}
	n.release()
}

// nextLife ends the present life and begins the one that it asked for.
func (n *Node) nextLife() error {
	old := n.life
	meta := old.store.Meta()
	err := old.close()
	switch old.ended {
	case activate:
		if err != nil {
			return err
		}
		if err := n.activate(old, &meta); err != nil {
			return err
		}
	case setAside:
		if err := n.quarantine(old.cause.Error()); err != nil {
			return err
		}
	}
	n.life, err = n.openLife()
	return err
}

// activate makes the staged copy of the life that ended the current store.
func (n *Node) activate(old *life, meta *wal.Meta) error {
	activation := wal.Activation{Identity: old.activation.Identity, Reason: old.activation.Reason}
	if old.activation.Keep {
		activation.HardState, activation.Promise, activation.Granted, activation.Boot = meta.HardState, meta.Promise, meta.Granted, meta.Boot
		// What it knew to be released may lie beyond what the copy has applied.
		activation.HardState.Commit = old.stagedLast
		activation.HardState.Release = min(meta.HardState.Release, old.stagedLast)
	}
	store, err := n.dir.Activate(old.staged, activation)
	if err != nil {
		return err
	}
	n.logger.Info("switched to the copy", "purpose", old.activation.Purpose, "store", activation.Identity.Store,
		"lineage", activation.Identity.Lineage, "last", store.Last(), "replaced", meta.Identity.Store)
	return store.Close()
}

// call runs f on the loop and waits for it.
func (n *Node) call(f func()) error {
	ran := make(chan struct{})
	n.mail.call(func() {
		f()
		close(ran)
	})
	select {
	case <-ran:
		return nil
	case <-n.done:
		return errors.New("the node has ended")
	}
}

// Done is closed once the node has ended; Err then says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node ended; nil after Stop.
func (n *Node) Err() error {
	<-n.done
	return n.err
}

// handoverTimeout bounds how long a planned stop waits for another leader.
const handoverTimeout = 3 * time.Second

// lastWords is how long the embedded server gets to send what the door said last.
const lastWords = 50 * time.Millisecond

// Stop ends the node in order: the leadership goes to another member first,
// what is on its way is finished, and the store is closed with a checkpoint.
func (n *Node) Stop(ctx context.Context) error {
	n.handOver(ctx)
	n.mail.call(func() {
		if n.life.ended == living {
			n.life.finish()
		}
	})
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return fmt.Errorf("stop the node: %w", ctx.Err())
	}
}

// Kill ends the node at once: nothing is handed over, and clients are cut off.
func (n *Node) Kill() {
	n.mail.call(func() { n.life.end(stop, nil) })
	<-n.done
}

// handOver makes another member the leader, if this one leads and there is one.
func (n *Node) handOver(ctx context.Context) {
	busy := false
	if n.call(func() { busy = n.life.beginHandover() }) != nil {
		return
	}
	deadline := time.Now().Add(handoverTimeout)
	for busy && time.Now().Before(deadline) && ctx.Err() == nil {
		time.Sleep(tickInterval)
		if n.call(func() { busy = n.life.continueHandover() }) != nil {
			return
		}
	}
}

// release frees what Start took, in the opposite order.
func (n *Node) release() {
	if n.monitor != nil {
		n.monitor.Close()
	}
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
	}
	if n.link != nil {
		n.link.Close()
	}
	if n.dir != nil {
		n.dir.Close()
	}
}

// refused is told of every refused hello. One that says that this very process
// must not run ends the node.
func (n *Node) refused(refusal *transport.RefusedError) {
	if refusal.Member != n.config.Name {
		return
	}
	switch refusal.Reason {
	case transport.ReasonDuplicate:
		n.mail.call(func() { n.life.end(stop, fmt.Errorf("%w: %w", ErrRefused, refusal)) })
	case transport.ReasonRegressed:
		n.mail.call(func() { n.life.end(setAside, refusal) })
	}
}

func (n *Node) memberNames() []string {
	names := make([]string, len(n.config.Cluster.Members))
	for i, member := range n.config.Cluster.Members {
		names[i] = member.Name
	}
	return names
}

func (n *Node) meshMembers() []transport.Member {
	members := make([]transport.Member, len(n.config.Cluster.Members))
	for i, member := range n.config.Cluster.Members {
		members[i] = transport.Member{Name: member.Name, Address: member.Mesh}
	}
	return members
}

// randomSeed draws 64 bits from the operating system.
func (n *Node) randomSeed() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		fmt.Fprintln(os.Stderr, "holdfast: no randomness:", err)
		os.Exit(1)
	}
	return binary.LittleEndian.Uint64(b[:])
}
