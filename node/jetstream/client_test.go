package jetstream_test

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/node/bus"
	door "holdfast/node/jetstream"
	"holdfast/node/machine"
)

// patience bounds every wait of a test; nothing is expected to take that long.
const patience = 10 * time.Second

// soloNode is a node without a disk and without others: everything proposed is
// committed at once.
type soloNode struct {
	link     *bus.Link
	door     *door.Door
	machine  *machine.Machine
	results  machine.Results
	entries  [][]byte // entries[i] has index i+1
	barriers []uint64
}

func (n *soloNode) Now() int64                   { return time.Now().UnixNano() }
func (n *soloNode) Cluster() *server.ClusterInfo { return nil }
func (n *soloNode) Barrier(context uint64)       { n.barriers = append(n.barriers, context) }
func (n *soloNode) StepDown(string)              {}

func (n *soloNode) Forward([]door.Message) {}

func (n *soloNode) Propose(data []byte) (uint64, error) {
	n.entries = append(n.entries, data)
	return uint64(len(n.entries)), nil
}

func (n *soloNode) Read(dst []byte, at machine.Location) ([]byte, error) {
	return append(dst, n.entries[at.Index-1][at.Offset:at.Offset+at.Size]...), nil
}

// loop is what a node's loop does.
func (n *soloNode) loop(t testing.TB, chunks <-chan *bus.Chunk, stop <-chan struct{}) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	n.door.Lead()
	for {
		n.link.Flush()
		select {
		case <-stop:
			return
		case <-ticker.C:
			n.door.Tick(n.Now())
		case chunk := <-chunks:
			for i := range chunk.Messages {
				n.door.Handle((*door.Message)(&chunk.Messages[i]))
			}
			chunk.Release()
		}
		if !n.settle() {
			t.Error("an entry cannot be applied")
			return
		}
	}
}

func (n *soloNode) settle() bool {
	for {
		n.door.Flush()
		applied := n.machine.Applied()
		if applied == uint64(len(n.entries)) && len(n.barriers) == 0 {
			return true
		}
		for index := applied + 1; index <= uint64(len(n.entries)); index++ {
			if n.machine.Apply(index, n.entries[index-1], &n.results) != nil {
				return false
			}
			n.door.Applied(index, &n.results)
		}
		contexts := n.barriers
		n.barriers = nil
		for _, context := range contexts {
			n.door.Barriered(context, true)
		}
	}
}

// connect starts a server with a door behind it and returns a client.
func connect(t testing.TB, change ...func(*server.Options)) *nats.Conn {
	chunks := make(chan *bus.Chunk, 10_000)
	link, err := bus.Listen(bus.Options{LeafCluster: "test", Handler: func(c *bus.Chunk) { chunks <- c }, Refuse: door.RefuseBusy[bus.Message], Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	options := &server.Options{ServerName: "solo", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}
	options.LeafNode.Remotes = []*server.RemoteLeafOpts{link.Remote()}
	for _, f := range change {
		f(options)
	}
	srv, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if err := link.Attach(srv, patience); err != nil {
		t.Fatal(err)
	}
	n := &soloNode{link: link, machine: machine.New(machine.Options{})}
	n.door = door.New(door.Options{
		Machine: n.machine, Bus: link, Node: n, MaxPayload: link.MaxPayload(), Random: rand.New(rand.NewPCG(1, 1)),
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		n.loop(t, chunks, stop)
	}()
	client, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		close(stop)
		<-stopped
		srv.Shutdown()
		_ = link.Close()
	})
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := client.Request("$JS.API.INFO", nil, time.Second); err == nil {
			return client
		}
	}
	t.Fatal("the API does not answer")
	return nil
}

func modern(t testing.TB) (*nats.Conn, jetstream.JetStream) {
	client := connect(t)
	js, err := jetstream.New(client)
	if err != nil {
		t.Fatal(err)
	}
	return client, js
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
