package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// smallDisk prepares a node whose store lies on a file system of its own with
// this size ("64k"), in a mount namespace of the process alone.
func smallDisk(t *testing.T, n *node, size string) {
	t.Helper()
	requireNamespaces(t)
	disk := n.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	n.wrapper = []string{"unshare", "-r", "-m", "sh", "-c", `mount -t tmpfs -o size=` + size + ` none "$0" && exec setpriv --pdeathsig KILL "$@"`, disk}
	n.args = []string{"run", "--store", filepath.Join(disk, "store"), "--listen", n.clientAddress(), "--monitor", n.monitorAddress()}
}

// requireNamespaces leaves a test out where a process may not have mounts of its
// own.
func requireNamespaces(t *testing.T) {
	t.Helper()
	if err := exec.Command("unshare", "-r", "-m", "true").Run(); err != nil {
		t.Skipf("this machine does not let a process have mounts of its own: %v", err)
	}
}

// TestNoRoomAtStart has no room for a store at all.
func TestNoRoomAtStart(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	n := newCluster(t, 1).nodes[0]
	smallDisk(t, n, "64k")
	n.start(t)
	n.waitExit(t, 20*time.Second)
	ending{n.process.exitCode(), n.lastLines(20)}.want(t, exitFailed, "no room")
}

// TestDiskFills fills the disk of a running node. That is no damage: publishes
// are refused while there is no room, nothing acknowledged is lost, and with
// room the node goes on by itself, on the same store.
func TestDiskFills(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := newCluster(t, 1)
	n := c.nodes[0]
	smallDisk(t, n, "12m")
	n.start(t)
	c.waitReady(t)
	filler := n.inside(filepath.Join(n.path("disk"), "filler"))
	write(t, filler, strings.Repeat("x", 4<<20))
	client := newClient(t, n)
	client.create(jetstream.StreamConfig{})
	before := n.mustStatus(t)

	ledger := newLedger()
	fillUp(client, ledger)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, readyLimit, "publishing does not go on although there is room", func() error { return publishLarge(client, ledger) })
	ledger.verify(t, n, client.stream)
	check(t, "store", n.mustStatus(t).Store, before.Store)
}

// publishLarge publishes 20 KB.
func publishLarge(c *client, ledger *ledger) error {
	payload := fmt.Sprintf("%s-%020000d", randomWord(), 0)
	call, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	ack, err := c.js.Publish(call, c.subject("a"), []byte(payload))
	ledger.record(payload, ack, err)
	return err
}

// fillUp publishes until that is refused, which has to be said with JetStream's
// own error.
func fillUp(c *client, ledger *ledger) {
	c.t.Helper()
	for {
		err := publishLarge(c, ledger)
		if acked, _ := ledger.counts(); acked > 2000 {
			c.t.Fatalf("%d messages of 20 KB fit", acked)
		}
		if err != nil {
			wantNoRoom(c.t, err)
			return
		}
	}
}

func wantNoRoom(t *testing.T, err error) {
	t.Helper()
	var refused *jetstream.APIError
	if !errors.As(err, &refused) || refused.ErrorCode != jetstream.ErrorCode(server.JSInsufficientResourcesErr) {
		t.Fatalf("a publish without room: %v", err)
	}
}

// TestFullClusterStillReadsAndDeletes fills a cluster up to the size limit of a
// majority of its members. Then publishes and new streams are refused, and all
// else goes on, deletes among it, until there is room again.
func TestFullClusterStillReadsAndDeletes(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := newCluster(t, 3)
	for _, n := range c.nodes[1:] {
		n.limitStore(t, c, 16)
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	client := newClient(t, c.nodes[0])
	s := client.create(jetstream.StreamConfig{})
	consumer := client.consumer(s, jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	ledger := newLedger()
	// A checkpoint may still make some room: then a stream is rightly taken.
	eventually(t, readyLimit, "a new stream is not refused without room", func() error {
		fillUp(client, ledger)
		_, err := client.js.CreateStream(client.ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}})
		if err == nil {
			return errors.Join(errors.New("taken"), client.js.DeleteStream(client.ctx, "OTHER"))
		}
		var refused *jetstream.APIError
		if !errors.As(err, &refused) || refused.ErrorCode != jetstream.ErrorCode(server.JSStorageResourcesExceededErr) {
			t.Fatalf("a new stream without room: %v", err)
		}
		return nil
	})
	ledger.verify(t, c.nodes[1], client.stream)
	acked, _ := ledger.counts()
	for range 10 {
		m, err := consumer.Next(jetstream.FetchMaxWait(callLimit))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.DoubleAck(client.ctx); err != nil {
			t.Fatalf("ack without room: %v", err)
		}
	}
	if err := s.DeleteMsg(client.ctx, 1); err != nil {
		t.Fatalf("delete without room: %v", err)
	}
	if err := s.Purge(client.ctx); err != nil {
		t.Fatalf("purge without room: %v", err)
	}
	// As much again, twice: what was purged makes room for it, step by step.
	for range 2 {
		again := newLedger()
		eventually(t, readyLimit, "publishing does not go on after a purge", func() error { return publishLarge(client, again) })
		eventually(t, readyLimit, "a purge makes no room", func() error {
			fillUp(client, again)
			if more, _ := again.counts(); more < acked/2 {
				return fmt.Errorf("%d messages fit after it, %d before", more, acked)
			}
			return nil
		})
		again.verify(t, c.nodes[2], client.stream)
		if err := s.Purge(client.ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullMinority: one member of three has no room. Nothing is refused; a leader
// leaves the lead to a member that has room; and once it has room, and not
// before, the full member has everything.
func TestFullMinority(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := newCluster(t, 3)
	for _, n := range c.nodes {
		n.start(t)
	}
	full := c.waitReady(t)
	full.stop(t)
	full.limitStore(t, c, 16)
	others := c.others(full)
	c.waitReady(t)
	full.start(t)
	c.waitReady(t)
	client := newClient(t, others[0])
	client.create(jetstream.StreamConfig{})
	c.handTo(t, full)
	ledger := newLedger()
	for range 1500 { // 30 MB
		if err := publishLarge(client, ledger); err != nil {
			t.Fatal(err)
		}
	}
	if status := full.mustStatus(t); status.Leader == full.name || status.Shortage == "" {
		t.Errorf("the full member says: leader %s, shortage %q", status.Leader, status.Shortage)
	}
	if !strings.Contains(full.lastLines(500), "it leaves the lead to another") {
		t.Error("the full member never led, or did not leave the lead by itself")
	}
	full.stop(t)
	full.limitStore(t, c, 0)
	full.start(t)
	c.waitReady(t)
	last := others[0].mustStatus(t).Commit
	eventually(t, readyLimit, "the member with room again does not catch up", func() error {
		if status, err := full.status(); err != nil || status.Applied < last {
			return fmt.Errorf("applied %d of %d: %v", status.Applied, last, err)
		}
		return nil
	})
	ledger.verify(t, full, client.stream)
}

// limitStore changes the node's configuration before its next start; 0: no limit.
func (n *node) limitStore(t *testing.T, c *cluster, mb int) {
	t.Helper()
	n.configure(t, c)
	file := n.path("holdfast.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if mb > 0 {
		write(t, file, fmt.Sprintf("store_limit_mb = %d\n%s", mb, text))
	}
}

// inside is a path as the node's process sees it.
func (n *node) inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", n.process.command.Process.Pid, path)
}
