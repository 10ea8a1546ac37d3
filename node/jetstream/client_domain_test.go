package jetstream_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// hub is a nats-server with JetStream in the domain "hub", to which leaf nodes
// connect.
func hub(t testing.TB) (*server.Server, jetstream.JetStream) {
	options := &server.Options{
		ServerName: "hub", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, JetStreamDomain: "hub", StoreDir: t.TempDir(),
	}
	options.LeafNode.Host, options.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	srv := must[*server.Server](t)(server.NewServer(options))
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the hub does not start")
	}
	client := must[*nats.Conn](t)(nats.Connect(srv.ClientURL()))
	t.Cleanup(func() {
		client.Close()
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv, must[jetstream.JetStream](t)(jetstream.New(client))
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// Streams of a nats-server in another domain, fetched through a leaf node
// connection.
func TestMirrorsAndSourcesOfANATSServer(t *testing.T) {
	remote, theirs := hub(t)
	client := connect(t, func(o *server.Options) {
		to := must[*url.URL](t)(url.Parse("nats-leaf://" + leafAddress(t, remote)))
		o.LeafNode.Remotes = append(o.LeafNode.Remotes, &server.RemoteLeafOpts{URLs: []*url.URL{to}})
		o.LeafNode.ReconnectInterval = 50 * time.Millisecond
	})
	ours := must[jetstream.JetStream](t)(jetstream.New(client))
	ctx := t.Context()
	must[jetstream.Stream](t)(theirs.CreateStream(ctx, jetstream.StreamConfig{Name: "O", Subjects: []string{"o.>"}, AllowDirect: true}))
	publish := func(from, to int) {
		for i := from; i <= to; i++ {
			must[*jetstream.PubAck](t)(theirs.Publish(ctx, "o.a", fmt.Appendf(nil, "%d", i)))
		}
	}
	publish(1, 300)
	at := &jetstream.ExternalStream{APIPrefix: "$JS.hub.API"}
	mirror := must[jetstream.Stream](t)(ours.CreateStream(ctx, jetstream.StreamConfig{
		Name: "M", Mirror: &jetstream.StreamSource{Name: "O", External: at}, MirrorDirect: true,
	}))
	sourced := must[jetstream.Stream](t)(ours.CreateStream(ctx, jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s"}, Sources: []*jetstream.StreamSource{{Name: "O", External: at, FilterSubject: "o.a", OptStartSeq: 101}},
	}))
	has := func(s jetstream.Stream, msgs, last uint64) func() bool {
		return func() bool {
			state := must[*jetstream.StreamInfo](t)(s.Info(ctx)).State
			return state.Msgs == msgs && state.LastSeq == last
		}
	}
	eventually(t, "mirrored", has(mirror, 300, 300))
	eventually(t, "sourced", has(sourced, 200, 200))
	publish(301, 350)
	eventually(t, "mirrored on", has(mirror, 350, 350))
	eventually(t, "sourced on", has(sourced, 250, 250))

	first := must[*jetstream.RawStreamMsg](t)(sourced.GetMsg(ctx, 1))
	if source := first.Header.Get("Nats-Stream-Source"); string(first.Data) != "101" || !strings.HasPrefix(source, "O:") || len(strings.Fields(source)) != 6 {
		t.Errorf("%s with source %q", first.Data, source)
	}
	info := must[*jetstream.StreamInfo](t)(sourced.Info(ctx)).Sources
	if len(info) != 1 || info[0].Lag != 0 || info[0].Active < 0 || info[0].External == nil || info[0].External.APIPrefix != at.APIPrefix {
		t.Errorf("sources %+v", info)
	}
	origin := must[jetstream.Stream](t)(theirs.Stream(ctx, "O"))
	theirCopy := must[*jetstream.RawStreamMsg](t)(origin.GetMsg(ctx, 200))
	ourCopy := must[*jetstream.RawStreamMsg](t)(mirror.GetMsg(ctx, 200))
	if !ourCopy.Time.Equal(theirCopy.Time) || string(ourCopy.Data) != "200" {
		t.Errorf("mirrored %s at %v, want %v", ourCopy.Data, ourCopy.Time, theirCopy.Time)
	}
}

// leafAddress is where a server listens for leaf nodes.
func leafAddress(t testing.TB, srv *server.Server) string {
	t.Helper()
	info := must[*server.Varz](t)(srv.Varz(nil))
	return fmt.Sprintf("127.0.0.1:%d", info.LeafNode.Port)
}
