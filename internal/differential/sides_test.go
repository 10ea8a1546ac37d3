package differential

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdfast/internal/servers"
	"holdfast/node"
	"holdfast/node/config"
)

// nodes is the size of either cluster.
const nodes = 3

// startLimit bounds the start of a cluster on a busy machine.
const startLimit = 20 * time.Second

// side is one of the two clusters that are compared.
type side struct {
	name string
	url  string // of one of its servers
	// settle is how long a request may find nobody listening on a subject that
	// a stream was just given: JetStream answers before all its servers know.
	settle time.Duration
}

// reference is nats-server with JetStream, subject is Holdfast.
var reference, subject *side

var verbose = flag.Bool("holdfast.log", false, "show the log of the Holdfast nodes")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := temporaryFolder()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	var stop func()
	if reference, stop, err = insist(startReference, filepath.Join(folder, "reference")); err == nil {
		defer stop()
		if subject, stop, err = insist(startSubject, filepath.Join(folder, "subject")); err == nil {
			defer stop()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the clusters:", err)
		return 1
	}
	return m.Run()
}

// insist starts a cluster again when somebody else took one of the addresses
// that were free a moment ago.
func insist(start func(folder string) (*side, func(), error), folder string) (*side, func(), error) {
	for try := 1; ; try++ {
		side, stop, err := start(filepath.Join(folder, fmt.Sprint(try)))
		if err == nil || try == 3 {
			return side, stop, err
		}
		fmt.Fprintln(os.Stderr, err)
	}
}

// temporaryFolder is on the RAM disk that Linux has, if it can be: JetStream
// syncs many small files for every stream.
func temporaryFolder() (string, error) {
	if folder, err := os.MkdirTemp("/dev/shm", "holdfast-differential-"); err == nil {
		return folder, nil
	}
	return os.MkdirTemp("", "holdfast-differential-")
}

// freeAddresses finds loopback addresses that nobody listens on.
func freeAddresses(count int) ([]string, error) {
	var addresses []string
	for range count {
		address, err := servers.FreeAddress()
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// startReference starts the JetStream cluster.
func startReference(folder string) (*side, func(), error) {
	routes, err := freeAddresses(nodes)
	if err != nil {
		return nil, nil, err
	}
	var all []*server.Server
	stop := func() {
		for _, s := range all {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	for i, route := range routes {
		s, err := startReferenceNode(i, route, routes, folder)
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, s)
	}
	err = await("the JetStream cluster forms", func() error {
		for _, s := range all {
			if !s.JetStreamIsCurrent() || len(s.JetStreamClusterPeers()) != nodes && s.JetStreamIsLeader() {
				return fmt.Errorf("%s is not current", s.Name())
			}
		}
		return serves(all[0].ClientURL())
	})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &side{name: "nats-server", url: all[0].ClientURL(), settle: time.Second}, stop, nil
}

func startReferenceNode(i int, route string, routes []string, folder string) (*server.Server, error) {
	host, port, err := splitAddress(route)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("r%d", i+1)
	opts := &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(folder, name),
	}
	opts.Cluster.Name, opts.Cluster.Host, opts.Cluster.Port = "reference", host, port
	for _, other := range routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: other})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(startLimit) {
		s.Shutdown()
		return nil, fmt.Errorf("%s does not take connections", name)
	}
	return s, nil
}

func splitAddress(address string) (host string, port int, err error) {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return "", 0, err
	}
	return resolved.IP.String(), resolved.Port, nil
}

// startSubject starts the Holdfast cluster.
func startSubject(folder string) (*side, func(), error) {
	configs, err := subjectConfigs(folder)
	if err != nil {
		return nil, nil, err
	}
	var out io.Writer = io.Discard
	if *verbose {
		out = os.Stderr
	}
	logger := slog.New(slog.NewTextHandler(out, nil))
	var all []*node.Node
	stop := func() {
		for _, n := range all {
			n.Kill()
		}
	}
	for _, cfg := range configs {
		n, err := node.Start(cfg, logger.With("node", cfg.Name))
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, n)
	}
	err = await("the Holdfast cluster forms", func() error {
		for _, n := range all {
			if s := n.Status(); !s.Serving {
				return fmt.Errorf("%s waits for %s", s.Name, s.Waiting)
			}
		}
		return serves("nats://" + configs[0].NATS.Listen)
	})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &side{name: "holdfast", url: "nats://" + configs[0].NATS.Listen}, stop, nil
}

func subjectConfigs(folder string) ([]*config.Config, error) {
	addresses, err := freeAddresses(3 * nodes)
	if err != nil {
		return nil, err
	}
	var members []config.Member
	for i := range nodes {
		members = append(members, config.Member{Name: fmt.Sprintf("h%d", i+1), Mesh: addresses[3*i], Routes: addresses[3*i+1]})
	}
	var all []*config.Config
	for i, member := range members {
		cfg := config.Default()
		cfg.Name, cfg.Store = member.Name, filepath.Join(folder, member.Name)
		cfg.NATS.Listen, cfg.NATS.Routes, cfg.Monitor.Listen = addresses[3*i+2], member.Routes, "127.0.0.1:0"
		cfg.Cluster.Name, cfg.Cluster.Members, cfg.Cluster.WhenMajorityLost = "subject", members, config.Continue
		all = append(all, cfg)
	}
	return all, nil
}

// serves reports whether the API answers.
func serves(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	reply, err := nc.RequestWithContext(timeout(time.Second), server.JSApiAccountInfo, nil)
	if err != nil {
		return err
	}
	var answer server.ApiResponse
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return err
	}
	return answer.ToError()
}

// timeout is a context that ends by itself.
func timeout(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	time.AfterFunc(d, cancel)
	return ctx
}

// await probes until there is no error.
func await(what string, probe func() error) error {
	deadline := time.Now().Add(startLimit)
	for {
		err := probe()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
