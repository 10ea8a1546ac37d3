package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// stepDown sends a request to step down.
func (c *client) stepDown(t *testing.T, subject string, placement *server.Placement) {
	t.Helper()
	body, err := json.Marshal(server.JSApiLeaderStepdownRequest{Placement: placement})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.nc.Request("$JS.API."+subject, body, callLimit)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	var answer server.JSApiStreamLeaderStepDownResponse
	if err := json.Unmarshal(reply.Data, &answer); err != nil || answer.Error != nil || !answer.Success {
		t.Fatalf("%s: %s", subject, reply.Data)
	}
}

// TestLeaderStepsDown asks the leader of a stream and of a consumer to step down
// while clients publish and fetch: another one leads, and no publish fails.
func TestLeaderStepsDown(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	first := newClient(t, c.nodes[0])
	s := first.create(jetstream.StreamConfig{Replicas: 3})
	if _, err := s.CreateConsumer(first.ctx, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	ledger := newLedger()
	leader := c.waitReady(t)
	load, ctx := startLoad(t, ledger)
	for _, n := range c.nodes {
		nc := n.connect(t)
		load.publishers(t, ctx, nc, 2, first.subject("sync"), callLimit)
		load.asyncPublisher(t, ctx, nc, first.subject("async"), 100)
	}
	for round := range 4 {
		time.Sleep(300 * time.Millisecond)
		subject, placement := "STREAM.LEADER.STEPDOWN."+first.stream, (*server.Placement)(nil)
		if round%2 == 1 {
			subject, placement = "CONSUMER.LEADER.STEPDOWN."+first.stream+".worker", &server.Placement{Preferred: c.others(leader)[round/2].name}
		}
		first.stepDown(t, subject, placement)
		eventually(t, readyLimit, "nobody else leads", func() error {
			next := c.streamLeader(t, first.stream)
			if next == leader || placement != nil && next.name != placement.Preferred {
				return fmt.Errorf("%s leads", next.name)
			}
			leader = next
			return nil
		})
	}
	load.finish()
	ledger.wantNoneRefused(t, "while leaders stepped down")
	for _, n := range c.nodes {
		ledger.verify(t, n, first.stream)
	}
}
