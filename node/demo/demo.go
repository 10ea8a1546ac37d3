// Package demo runs three nodes in one process and tells what happens to them:
// it publishes, kills the leader, wipes a node, waits for it to heal, and checks
// that every acknowledged message is there.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/node"
	"holdfast/node/config"
)

const (
	members      = 3
	messages     = 5_000 // of each act
	streamName   = "ORDERS"
	subject      = "orders.new"
	patience     = 30 * time.Second
	pollInterval = 5 * time.Millisecond
)

// story is one run of the demo.
type story struct {
	out     io.Writer
	folder  string
	configs []*config.Config
	nodes   []*node.Node // nil: not running
	log     *os.File
	logger  *slog.Logger
	nc      *nats.Conn
	js      jetstream.JetStream
	// acked counts the acknowledged messages: message k has the sequence k.
	acked uint64
}

// Run plays the demo in a temporary folder and writes its story to out. The
// folder is removed when everything went well.
func Run(out io.Writer) (err error) {
	s := &story{out: out}
	if s.folder, err = os.MkdirTemp("", "holdfast-demo-"); err != nil {
		return err
	}
	defer func() {
		s.stopAll()
		if err == nil {
			err = os.RemoveAll(s.folder)
		} else {
			err = fmt.Errorf("%w (stores and log are kept in %s)", err, s.folder)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	if err := s.prepare(); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{s.form, s.publishAct, s.killLeader, s.wipeFollower, s.leadFromWiped, s.verify} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) tell(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// prepare chooses ports and writes no file but the log.
func (s *story) prepare() (err error) {
	if s.log, err = os.Create(filepath.Join(s.folder, "demo.log")); err != nil {
		return err
	}
	s.logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	addresses, err := freeAddresses(3 * members)
	if err != nil {
		return err
	}
	var list []config.Member
	for i := range members {
		list = append(list, config.Member{Name: fmt.Sprintf("n%d", i+1), Mesh: addresses[3*i], Routes: addresses[3*i+1]})
	}
	for i, member := range list {
		cfg := config.Default()
		cfg.Name = member.Name
		cfg.Store = filepath.Join(s.folder, member.Name)
		cfg.NATS.Listen = addresses[3*i+2]
		cfg.NATS.Routes = member.Routes
		cfg.Monitor.Listen = "127.0.0.1:0"
		cfg.Cluster.Name = "demo"
		cfg.Cluster.Members = list
		cfg.Cluster.WhenMajorityLost = "continue"
		s.configs = append(s.configs, cfg)
	}
	s.nodes = make([]*node.Node, members)
	return nil
}

// freeAddresses finds loopback addresses that nobody listens on.
func freeAddresses(count int) ([]string, error) {
	var addresses []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

func (s *story) start(i int) (err error) {
	s.nodes[i], err = node.Start(s.configs[i], s.logger.With("node", s.configs[i].Name))
	return err
}

// form starts the nodes, waits for a cluster and connects a client.
func (s *story) form(ctx context.Context) error {
	began := time.Now()
	var urls []string
	for i, cfg := range s.configs {
		if err := s.start(i); err != nil {
			return err
		}
		urls = append(urls, "nats://"+cfg.NATS.Listen)
	}
	if err := s.await(ctx, "the cluster forms", func() bool { return s.leader() >= 0 && s.voters() == members }); err != nil {
		return err
	}
	s.tell("%6s  three blank nodes found each other; %s leads", since(began), s.configs[s.leader()].Name)
	var err error
	if s.nc, err = nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0)); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return err
	}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{"orders.>"}, Replicas: members})
	return err
}

// publish publishes one message and retries until it is acknowledged; a message
// ID keeps a retry from being stored twice.
func (s *story) publish(ctx context.Context) error {
	id := fmt.Sprint(s.acked + 1)
	for {
		attempt, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		ack, err := s.js.Publish(attempt, subject, []byte("order "+id), jetstream.WithMsgID(id))
		cancel()
		switch {
		case err == nil && ack.Sequence != s.acked+1:
			return fmt.Errorf("message %s got sequence %d", id, ack.Sequence)
		case err == nil:
			s.acked++
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("publish message %s: %w", id, err)
		}
	}
}

func (s *story) publishMany(ctx context.Context, count int) error {
	for range count {
		if err := s.publish(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) publishAct(ctx context.Context) error {
	began := time.Now()
	if err := s.publishMany(ctx, messages); err != nil {
		return err
	}
	s.tell("%6s  %d messages published one after the other, each acknowledged from two disks (%.0f a second)",
		since(began), messages, messages/time.Since(began).Seconds())
	return nil
}

// killLeader ends the leader without a word to the others.
func (s *story) killLeader(ctx context.Context) error {
	killed := s.leader()
	began := time.Now()
	s.nodes[killed].Kill()
	s.nodes[killed] = nil
	if err := s.publish(ctx); err != nil {
		return err
	}
	s.tell("%6s  %s, the leader, was killed; the next message is acknowledged, %s leads", since(began), s.configs[killed].Name, s.configs[s.leader()].Name)
	if err := s.publishMany(ctx, messages); err != nil {
		return err
	}
	began = time.Now()
	if err := s.start(killed); err != nil {
		return err
	}
	if err := s.await(ctx, "the killed node is back", func() bool { return s.level(killed) }); err != nil {
		return err
	}
	s.tell("%6s  %s was started again and has the %d messages it missed", since(began), s.configs[killed].Name, messages+1)
	return nil
}

// wipeFollower removes the store of a node that does not lead.
func (s *story) wipeFollower(ctx context.Context) error {
	wiped := (s.leader() + 1) % members
	before := s.nodes[wiped].Status().Store
	if err := s.stop(wiped); err != nil {
		return err
	}
	if err := os.RemoveAll(s.configs[wiped].Store); err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(wiped); err != nil {
		return err
	}
	count := 0
	healed := func() bool { return s.level(wiped) && s.voters() == members }
	for ; !healed(); count++ {
		if err := s.publish(ctx); err != nil {
			return err
		}
	}
	s.tell("%6s  the disk of %s was emptied; it came back as another store (%.8s, before %.8s), was given everything and votes again;\n        meanwhile %d messages were published",
		since(began), s.configs[wiped].Name, s.nodes[wiped].Status().Store, before, count)
	return nil
}

// leadFromWiped stops the other two in turn until the node that was wiped leads.
func (s *story) leadFromWiped(ctx context.Context) error {
	began := time.Now()
	from := s.leader()
	if err := s.stop(from); err != nil {
		return err
	}
	if err := s.publish(ctx); err != nil {
		return err
	}
	s.tell("%6s  %s was stopped in order: it handed the leadership to %s, and the next message is acknowledged", since(began), s.configs[from].Name, s.configs[s.leader()].Name)
	if err := s.start(from); err != nil {
		return err
	}
	return s.await(ctx, "the stopped node is back", func() bool { return s.level(from) })
}

// verify reads everything back.
func (s *story) verify(ctx context.Context) error {
	began := time.Now()
	consumer, err := s.js.CreateConsumer(ctx, streamName, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	var next uint64 = 1
	for next <= s.acked {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return err
		}
		for message := range batch.Messages() {
			meta, err := message.Metadata()
			if err != nil {
				return err
			}
			if want := fmt.Sprint("order ", next); meta.Sequence.Stream != next || string(message.Data()) != want {
				return fmt.Errorf("message %d: got sequence %d, %q", next, meta.Sequence.Stream, message.Data())
			}
			next++
			if err := message.Ack(); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil {
			return fmt.Errorf("read message %d: %w", next, err)
		}
	}
	s.tell("%6s  all %d acknowledged messages were read back, in order, none missing, none twice", since(began), s.acked)
	return nil
}

// stop ends a node in order.
func (s *story) stop(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.nodes[i].Stop(ctx)
	s.nodes[i] = nil
	return err
}

func (s *story) stopAll() {
	if s.nc != nil {
		s.nc.Close()
	}
	for i := range s.nodes {
		if s.nodes[i] != nil {
			s.nodes[i].Kill()
		}
	}
	if s.log != nil {
		s.log.Close()
	}
}

// leader is the node that leads and serves, or -1.
func (s *story) leader() int {
	for i, n := range s.nodes {
		if n != nil && n.Status().Role == "leader" && n.Status().Serving {
			return i
		}
	}
	return -1
}

// voters counts the members that the leader shows as voters.
func (s *story) voters() int {
	leader, count := s.leader(), 0
	if leader < 0 {
		return 0
	}
	for _, member := range s.nodes[leader].Status().Members {
		if member.State == "voter" {
			count++
		}
	}
	return count
}

// level tells whether a node has applied everything that is acknowledged.
func (s *story) level(i int) bool {
	leader := s.leader()
	if leader < 0 {
		return false
	}
	own, status := s.nodes[i].Status(), s.nodes[leader].Status()
	return own.Serving && own.Lineage == status.Lineage && own.Applied >= status.Applied
}

func (s *story) await(ctx context.Context, what string, reached func() bool) error {
	for !reached() {
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("gave up waiting until %s", what), ctx.Err())
		case <-time.After(pollInterval):
		}
	}
	return nil
}

// since rounds the time from a moment on for people.
func since(moment time.Time) string {
	elapsed := time.Since(moment)
	if elapsed < time.Second {
		return fmt.Sprintf("%d ms", elapsed.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", elapsed.Seconds())
}
