package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// smallDisk prepares a node whose store lies on a file system of its own with
// this size ("64k"), in a mount namespace of the process alone.
func smallDisk(t *testing.T, n *node, size string) {
	t.Helper()
	if err := exec.Command("unshare", "-r", "-m", "true").Run(); err != nil {
		t.Skipf("this machine does not let us mount a small file system: %v", err)
	}
	disk := n.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	n.wrapper = []string{"unshare", "-r", "-m", "sh", "-c", `mount -t tmpfs -o size=` + size + ` none "$0" && exec setpriv --pdeathsig KILL "$@"`, disk}
	n.args = []string{"run", "--store", filepath.Join(disk, "store"), "--listen", n.clientAddress(), "--monitor", n.monitorAddress()}
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
// are refused with an error of the API, everything else goes on, and so do
// publishes once there is room.
func TestDiskFills(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := newCluster(t, 1)
	n := c.nodes[0]
	smallDisk(t, n, "8m")
	n.start(t)
	c.waitReady(t)
	client := newClient(t, n)
	stream := client.create(jetstream.StreamConfig{})
	before := n.mustStatus(t)

	payload := make([]byte, 20_000)
	var stored uint64
	for {
		ack, err := client.js.Publish(client.ctx, client.subject("a"), payload)
		if err != nil {
			var refusal *jetstream.APIError
			if !errors.As(err, &refusal) {
				t.Fatalf("publish on a full disk: %v, want an error of the API", err)
			}
			t.Logf("after %d messages: %v", stored, err)
			break
		}
		if stored = ack.Sequence; stored > 1000 {
			t.Fatalf("%d messages of %d bytes fit on a disk of 8 MiB", stored, len(payload))
		}
	}
	if _, err := stream.GetMsg(client.ctx, stored); err != nil {
		t.Errorf("get on a full disk: %v", err)
	}
	checkState(t, client.info(stream), stored, 1, stored)
	if err := stream.Purge(client.ctx, jetstream.WithPurgeKeep(2)); err != nil {
		t.Fatalf("purge on a full disk: %v", err)
	}
	eventually(t, readyLimit, "publishing does not go on although there is room", func() error {
		ack, err := client.js.Publish(client.ctx, client.subject("a"), payload)
		if err == nil && ack.Sequence <= stored {
			return fmt.Errorf("sequence %d was given again", ack.Sequence)
		}
		return err
	})
	check(t, "store", n.mustStatus(t).Store, before.Store)
}
