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
	_ "time/tzdata" // for schedules: the system may have none

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/mesh/transport"
	"holdfast/node/config"
	"holdfast/node/jetstream"
	"holdfast/node/member"
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
	links   links
	server  *server.Server
	monitor *http.Server
	mail    *mailbox
	notify  *notifier

	// presence is what a hello says; written by the loop.
	presence atomic.Pointer[transport.Presence]
	// snapshot is what the monitor shows; written by the loop.
	snapshot atomic.Pointer[Status]
	// starting is what the monitor shows before there is one.
	starting atomic.Pointer[string]
	opened   opening // the check of the store that is or was opened last

	history history // owned by the loop, as all that status reads

	environment *environment
	member      *member.Member // owned by the loop
	fenced      []uint64       // the highest fence that each link has answered
	started     time.Time
	uptime      uptime // used by the loop
	done        chan struct{}
	err         error // valid once done is closed

	monitorAddress net.Addr
}

// Start starts a node and returns once it takes connections. It does not wait
// for the cluster: Status tells when it serves.
func Start(cfg *config.Config, logger *slog.Logger) (*Node, error) {
	n := &Node{config: cfg, logger: logger, mail: newMailbox(), done: make(chan struct{}), started: time.Now(), uptime: newUptime()}
	if err := n.open(); err != nil {
		n.release()
		return nil, refusal(err)
	}
	identity, mesh := n.member.Identity(), n.environment.era.transport.Addr() // before the loop owns them
	go n.run()
	n.awaitLead()
	if err := n.startServer(); err != nil {
		n.Kill()
		return nil, refusal(err)
	}
	logger.Info("started", "member", cfg.Name, "cluster", cfg.Cluster.Name, "store", identity.Store, "lineage", identity.Lineage,
		"clients", n.server.Addr(), "monitor", n.monitorAddress, "mesh", mesh, "folder", cfg.Store)
	return n, nil
}

// refusal marks an error that another start of the same program would only meet
// again.
func refusal(err error) error {
	if errors.Is(err, wal.ErrForeign) || errors.Is(err, wal.ErrNewerFormat) || errors.Is(err, member.ErrUnreadable) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
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
	if n.dir, err = wal.OpenDir(cfg.Store, wal.Owner{Cluster: cfg.Cluster.Name, Member: cfg.Name}, wal.Options{MaxBytes: int64(cfg.StoreLimitMB) << 20, Opening: n.opening}); err != nil {
		return err
	}
	if err = n.listenMonitor(); err != nil {
		return err
	}
	if err = n.prepareServer(); err != nil {
		return err
	}
	n.notify = newNotifier(n.logger)
	if err = n.openMember(); err != nil {
		return err
	}
	n.publishStatus()
	return nil
}

func (n *Node) openMember() (err error) {
	n.environment = &environment{node: n}
	n.member, err = member.Open(member.Options{
		Name: n.config.Name, Cluster: n.config.Cluster.Name, Members: n.memberNames(), Continue: n.config.ContinueWhenLost(),
		QuarantineStores: n.config.Quarantine.Stores, QuarantineBytes: int64(n.config.Quarantine.MB) << 20,
		ScrubBytesPerSecond: n.config.ScrubMBPerSecond << 20,
		Dir:                 n.dir, Environment: n.environment, Accounts: n.links.accounts(), Domain: n.links.included.domain, MaxPayload: n.links.maxPayload(), Zone: time.LoadLocation, Server: n.serverInfo, Inspect: n.inspectServer, Storage: n.storage(),
		Now: func() int64 { return time.Now().UnixNano() }, Elapsed: n.uptime.elapsed,
		Random: randomNumber, Restoring: n.notify.restoring, Logger: n.logger,
	})
	return err
}

// run is the loop: it owns the member and everything in it.
func (n *Node) run() {
	defer close(n.done)
	ticker := time.NewTicker(member.TickInterval)
	defer ticker.Stop()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	look := startLookout()
	defer look.stop()
	var m mail
	for ended := false; !ended; {
		m.reset()
		var ticked bool
		select {
		case <-n.mail.ready:
		case <-ticker.C:
			ticked = true
		case <-alarm.C:
		}
		n.mail.take(&m)
		n.handle(&m)
		look.turn(ticked)
		if ticked {
			n.uptime.look()
			n.member.Tick()
		}
		n.member.Settle()
		n.links.flush()
		if wait, ok := n.member.Wake(); ok {
			alarm.Reset(wait)
		}
		if ticked {
			n.publishStatus()
			n.notify.alive()
		}
		ended, n.err = n.member.Ended()
		n.err = refusal(n.err)
	}
	n.notify.stopping()
	time.Sleep(lastWords)
	if err := n.member.Close(); err != nil && n.err == nil {
		n.err = err
	}
	n.release()
}

// handle hands what arrived to the member.
func (n *Node) handle(m *mail) {
	for _, call := range m.calls {
		call()
	}
	for _, w := range m.written {
		if w.era == n.environment.era {
			n.member.Written(w.id, w.err)
		}
	}
	for i := range m.frames {
		f := &m.frames[i]
		switch {
		case f.era != n.environment.era:
		case f.link == nil:
			n.member.Frame(f.from, f.kind, f.body)
		case f.link.hello != nil:
			n.member.Linked(f.from, f.link.hello.Status)
		default:
			n.member.Unlinked(f.from, f.link.cause)
		}
	}
	for _, arrived := range m.chunks {
		for i := range arrived.Messages {
			n.member.Handle(arrived.place, (*jetstream.Message)(&arrived.Messages[i]))
		}
		n.fenced[arrived.place] = max(n.fenced[arrived.place], arrived.Fence)
		arrived.Release()
	}
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

// lastWords is how long what was said last has to get out: answers through the
// embedded server, forwarded messages through the mesh.
const lastWords = 100 * time.Millisecond

// Stop ends the node in order: the leadership goes to another member first,
// what is on its way is finished, and the store is closed with a checkpoint.
func (n *Node) Stop(ctx context.Context) error {
	n.handOver(ctx)
	n.mail.call(n.member.Finish)
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return fmt.Errorf("stop the node: %w", ctx.Err())
	}
}

// Kill ends the node at once: nothing is handed over, and clients are cut off.
func (n *Node) Kill() {
	n.mail.call(func() { n.member.Stop(nil) })
	<-n.done
}

// handOver makes another member the leader, if this one leads and there is one.
func (n *Node) handOver(ctx context.Context) {
	busy := false
	if n.call(func() { busy = n.member.BeginHandover() }) != nil {
		return
	}
	deadline := time.Now().Add(handoverTimeout)
	for busy && time.Now().Before(deadline) && ctx.Err() == nil {
		time.Sleep(member.TickInterval)
		if n.call(func() { busy = n.member.ContinueHandover() }) != nil {
			return
		}
	}
	n.awaitFence(deadline)
}

// awaitFence waits until the embedded server has sent us everything that it will
// ever send for the subscriptions that were ended.
func (n *Node) awaitFence(deadline time.Time) {
	var fences []uint64
	passed := false
	if n.call(func() { fences = n.links.fence() }) != nil {
		return
	}
	for !passed && time.Now().Before(deadline) {
		time.Sleep(member.TickInterval)
		if n.call(func() { passed = n.links.passed(fences, n.fenced) }) != nil {
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
	n.links.close()
	if n.dir != nil {
		n.dir.Close()
	}
}

// refused is told of every refused hello. One that says that this very process
// must not run ends the node.
func (n *Node) refused(during *era, refusal *transport.RefusedError) {
	if refusal.Member != n.config.Name {
		return
	}
	n.mail.call(func() {
		if n.environment.era != during {
			return // it was about the store of an earlier life
		}
		switch refusal.Reason {
		case transport.ReasonDuplicate:
			n.member.Stop(fmt.Errorf("%w: %w", ErrRefused, refusal))
		case transport.ReasonRegressed:
			n.member.SetAside(refusal)
		}
	})
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

// randomNumber draws 64 bits from the operating system.
func randomNumber() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		fmt.Fprintln(os.Stderr, "holdfast: no randomness:", err)
		os.Exit(1)
	}
	return binary.LittleEndian.Uint64(b[:])
}
