package node

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/bus"
	"holdfast/node/jetstream"
	"holdfast/node/machine"
	"holdfast/node/member"
)

// links attach the node to the accounts of its NATS server that have JetStream, and
// to the system account, each by a link of its own. The place of a link is that of
// its account.
type links struct {
	included *included
	attached []includedAccount
	list     []*bus.Link
	options  *server.Options
}

// prepareServer makes the options of the embedded NATS server, and the links that it
// will find. A link keeps what is subscribed before the server runs.
func (n *Node) prepareServer() (err error) {
	in, err := readIncluded(n.config.NATS.Include)
	if err != nil {
		return err
	}
	if len(in.unused) > 0 {
		n.logger.Info("settings of JetStream in nats.include that have no effect here: the store is the node's own", "settings", in.unused)
	}
	n.links = links{included: in, attached: in.attached()}
	n.fenced = make([]uint64, len(n.links.attached))
	var remotes []*server.RemoteLeafOpts
	for place, account := range n.links.attached {
		link, err := bus.Listen(n.linkOptions(place, account.name))
		if err != nil {
			return err
		}
		n.links.list = append(n.links.list, link)
		remotes = append(remotes, link.Remote())
	}
	if n.links.options, err = natsOptions(in.options, n.config, n.secret, n.meshTLS, remotes...); err != nil {
		return err
	}
	return canListen(n.links.options)
}

// canListen tells of an address that is in use before anything else is begun.
func canListen(opts *server.Options) error {
	addresses := []string{net.JoinHostPort(opts.Host, strconv.Itoa(max(opts.Port, 0)))}
	if opts.Cluster.Port != 0 {
		addresses = append(addresses, net.JoinHostPort(opts.Cluster.Host, strconv.Itoa(max(opts.Cluster.Port, 0))))
	}
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listen for NATS clients or routes: %w", err)
		}
		l.Close()
	}
	return nil
}

// The clients of a member without others find no server for leadTime at most
// because it does not serve yet, and for busyTime where nothing but a busy machine
// keeps it from serving.
const (
	leadTime = time.Second
	busyTime = 5 * time.Second
)

// awaitLead waits until a member without others serves, so that its clients are
// answered from the first moment on.
func (n *Node) awaitLead() {
	done := len(n.memberNames()) > 1
	for begin := time.Now(); !done && time.Since(begin) < busyTime; time.Sleep(time.Millisecond) {
		late := time.Since(begin) > leadTime
		if n.call(func() { done = n.member.Serving() || late && n.member.View().Waiting != "" }) != nil {
			return
		}
	}
}

// startServer starts the embedded NATS server and attaches to it, beside the loop.
func (n *Node) startServer() error {
	// Clients are let in once the links are attached. With routes the NATS server
	// begins with both at once; and users by certificates it only knows if it listens.
	late := n.links.options.Cluster.Port == 0 && !n.links.options.TLSMap
	n.links.options.DontListen = late
	srv, log, err := startNATS(n.links.options, n.links.prepare, n.logger)
	if err != nil {
		return err
	}
	if n.call(func() { n.server = srv }) != nil {
		srv.Shutdown()
		return n.err
	}
	if err := n.takeOverMonitor(srv); err != nil {
		return err
	}
	for place, link := range n.links.list {
		if err := link.Attach(srv, attachTimeout); err != nil {
			return fmt.Errorf("account %s: %w", n.links.attached[place].name, err)
		}
	}
	if late {
		return admitClients(srv, log)
	}
	return nil
}

// linkOptions are those of the link into an account.
func (n *Node) linkOptions(place int, account string) bus.Options {
	in := n.links.included
	own := in.addCredential(account, "holdfast-"+rand.Text(), rand.Text())
	logger := n.logger
	if account != server.DEFAULT_GLOBAL_ACCOUNT {
		logger = logger.With("account", account)
	}
	return bus.Options{
		Account:     account,
		LeafCluster: leafCluster(n.config.Cluster.Name, account),
		User:        own.user, Password: own.password, Token: own.token,
		Closed: own == credential{} && account != server.DEFAULT_GLOBAL_ACCOUNT,
		Handler: func(chunk *bus.Chunk) {
			n.mail.update(func(next *mail) { next.chunks = append(next.chunks, arrived{place, chunk}) })
		},
		Refuse: jetstream.RefuseBusy[bus.Message],
		Logger: logger,
	}
}

// leafCluster is the same on all nodes, so that a link gets nothing of another
// node's. Links into different accounts have different ones: what one account
// imports from another passes between them. Names of accounts are hashed, for not
// every one may be part of a cluster's name.
func leafCluster(cluster, account string) string {
	if account == server.DEFAULT_GLOBAL_ACCOUNT {
		return "holdfast-" + cluster
	}
	sum := sha256.Sum256([]byte(account))
	return fmt.Sprintf("holdfast-%s-%x", cluster, sum[:8])
}

// prepare adds to the accounts what the NATS server does when JetStream is on in
// it.
func (ls *links) prepare(srv *server.Server) error {
	for _, a := range ls.attached {
		account, err := srv.LookupAccount(a.name)
		if err != nil {
			return fmt.Errorf("account %s: %w", a.name, err)
		}
		if err := mapDomain(account, ls.included.domain); err != nil {
			return fmt.Errorf("account %s: domain %s: %w", a.name, ls.included.domain, err)
		}
		if a.system {
			if err := ls.refuse(srv, account); err != nil {
				return err
			}
			for _, mapping := range jetstream.ReportMappings {
				if err := account.AddMapping(mapping[0], mapping[1]); err != nil {
					return fmt.Errorf("account %s: map %s: %w", a.name, mapping[0], err)
				}
			}
		}
	}
	return nil
}

// refuse has the API requests of accounts without JetStream answered in the
// system account.
func (ls *links) refuse(srv *server.Server, system *server.Account) error {
	const everything = jetstream.RefusedPrefix + ">"
	if err := system.AddServiceExport(everything, nil); err != nil {
		return fmt.Errorf("account %s: export %s: %w", system.Name, everything, err)
	}
	for _, name := range ls.included.refused() {
		account, err := srv.LookupAccount(name)
		if err != nil {
			return fmt.Errorf("account %s: %w", name, err)
		}
		if err := account.AddServiceImport(system, "$JS.API.>", everything); err != nil {
			return fmt.Errorf("account %s: import %s: %w", name, everything, err)
		}
		if err := mapDomain(account, ls.included.domain); err != nil {
			return fmt.Errorf("account %s: domain %s: %w", name, ls.included.domain, err)
		}
	}
	return nil
}

// serverInfo tells what the embedded server is called; nil: it does not run yet. It is
// for the loop.
func (n *Node) serverInfo() *server.ServerInfo {
	if n.server == nil {
		return nil
	}
	opts := n.links.options
	return &server.ServerInfo{
		Name: n.server.Name(), Host: opts.Host, ID: n.server.ID(), Cluster: n.server.ClusterName(), Version: server.VERSION,
		Tags: opts.Tags, Metadata: opts.Metadata, FeatureFlags: opts.FeatureFlags,
	}
}

// inspectServer calls read with the embedded server, which runs, beside the loop, and
// then done on the loop. It is for the loop.
func (n *Node) inspectServer(read func(*server.Server), done func()) {
	srv := n.server
	go func() {
		read(srv)
		n.mail.call(done)
	}()
}

// storage is what reports of JetStream tell of the store: it has messages of either kind,
// and is synced before anything is acknowledged. -1: only the disk limits it.
func (n *Node) storage() server.JetStreamConfig {
	limit, folder := int64(-1), n.config.Store
	if n.config.StoreLimitMB > 0 {
		limit = int64(n.config.StoreLimitMB) << 20
	}
	if absolute, err := filepath.Abs(folder); err == nil {
		folder = absolute
	}
	return server.JetStreamConfig{MaxMemory: limit, MaxStore: limit, StoreDir: folder, SyncAlways: true, Strict: true}
}

// accounts are those that have a door.
func (ls *links) accounts() []member.Account {
	accounts := make([]member.Account, len(ls.attached))
	for place, a := range ls.attached {
		name := a.name
		if name == server.DEFAULT_GLOBAL_ACCOUNT {
			name = machine.DefaultAccount
		}
		accounts[place] = member.Account{Name: name, System: a.system, Imports: a.services, Bus: ls.list[place],
			Limits: ls.included.machineLimits(a), Allowed: ls.included.accountLimits(a)}
	}
	return accounts
}

// maxPayload is the most bytes that a client's message may have.
func (ls *links) maxPayload() int {
	if ls.options.MaxPayload == 0 {
		return server.MAX_PAYLOAD_SIZE
	}
	return int(ls.options.MaxPayload)
}

func (ls *links) flush() {
	for _, link := range ls.list {
		link.Flush()
	}
}

// fence asks for a fence on every link.
func (ls *links) fence() []uint64 {
	fences := make([]uint64, len(ls.list))
	for place, link := range ls.list {
		fences[place] = link.Fence()
		link.Flush()
	}
	return fences
}

// passed reports whether every link has answered its fence.
func (ls *links) passed(fences, answered []uint64) bool {
	for place, fence := range fences {
		if answered[place] < fence {
			return false
		}
	}
	return true
}

func (ls *links) close() {
	for _, link := range ls.list {
		link.Close()
	}
}
