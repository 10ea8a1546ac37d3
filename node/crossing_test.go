package node

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/internal/servers"
	"holdfast/node/config"
)

// TestTheFirstOfTwoCrossingConnectionsPasses looks at both members: the first by
// name decides and holds what comes second, the other one holds nothing.
func TestTheFirstOfTwoCrossingConnectionsPasses(t *testing.T) {
	start := time.Now()
	after := func(d time.Duration) time.Time { return start.Add(d) }
	c := &crossing{self: "n2", members: []string{"n1", "n2", "n3"}, time: time.Second, passed: map[string]passage{}}
	for _, step := range []struct {
		member  string
		dialled bool
		at      time.Time
		want    time.Duration
	}{
		{"n3", true, after(0), 0},
		{"n3", false, after(300 * time.Millisecond), 700 * time.Millisecond},
		{"n3", true, after(400 * time.Millisecond), 0}, // the same direction
		{"n3", false, after(1400 * time.Millisecond), 0},
		{"n3", true, after(1500 * time.Millisecond), 900 * time.Millisecond},
		{"n1", true, after(0), 0},
		{"n1", false, after(0), 0},
		{"", false, after(0), 0}, // a certificate for nobody we know
	} {
		if got := c.hold(step.member, step.dialled, step.at); got != step.want {
			t.Errorf("%s, dialled %v, at %v: held for %v, want %v", step.member, step.dialled, step.at.Sub(start), got, step.want)
		}
	}
}

// TestServersThatDialEachOtherStayConnected starts pairs of servers at the same
// moment. A pair that is connected must stay so.
func TestServersThatDialEachOtherStayConnected(t *testing.T) {
	const pairs = 8
	secret := []byte(strings.Repeat("secret", 8))
	var all sync.WaitGroup
	for range pairs {
		pair := startPair(t, secret)
		all.Go(func() {
			// Whether they found each other at the first attempt is a matter of
			// luck; the second comes after a second.
			deadline := time.Now().Add(10 * time.Second)
			for pair[0].NumRoutes() == 0 || pair[1].NumRoutes() == 0 {
				if time.Now().After(deadline) {
					t.Error("two servers do not find each other")
					return
				}
				time.Sleep(time.Millisecond)
			}
			for until := time.Now().Add(3 * crossingTime); time.Now().Before(until); time.Sleep(time.Millisecond) {
				if pair[0].NumRoutes() == 0 || pair[1].NumRoutes() == 0 {
					t.Error("two servers lost each other again")
					return
				}
			}
		})
	}
	all.Wait()
}

func startPair(t *testing.T, secret []byte) [2]*server.Server {
	t.Helper()
	cfg := &config.Config{Cluster: config.Cluster{Name: "pair"}}
	for _, name := range []string{"n1", "n2"} {
		cfg.Cluster.Members = append(cfg.Cluster.Members, config.Member{Name: name, Routes: ownAddress(t)})
	}
	var pair [2]*server.Server
	for i, m := range cfg.Cluster.Members {
		own := *cfg
		own.Name = m.Name
		own.NATS = config.NATS{Listen: "127.0.0.1:0", Routes: m.Routes}
		opts, err := natsOptions(&server.Options{}, &own, secret, nil, &server.RemoteLeafOpts{})
		if err != nil {
			t.Fatal(err)
		}
		opts.LeafNode.Remotes = nil
		if pair[i], err = server.NewServer(opts); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pair[i].Shutdown)
	}
	for _, s := range pair {
		go s.Start()
	}
	return pair
}

// ownAddress is on a loopback address of its own, and below the ports that the
// kernel gives to outgoing connections.
func ownAddress(t *testing.T) string {
	t.Helper()
	address, err := servers.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
