package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// TestDiskFills fills the disk of a running node. That is no damage: nothing is
// acknowledged while there is no room, nothing acknowledged is lost, and with
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
	publish := func() error {
		payload := fmt.Sprintf("%s-%020000d", randomWord(), 0)
		call, cancel := context.WithTimeout(client.ctx, time.Second)
		defer cancel()
		ack, err := client.js.Publish(call, client.subject("a"), []byte(payload))
		ledger.record(payload, ack, err)
		return err
	}
	for publish() == nil {
		if acked, _ := ledger.counts(); acked > 1000 {
			t.Fatalf("%d messages of 20 KB fit on a disk of 8 MiB", acked)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, readyLimit, "publishing does not go on although there is room", publish)
	ledger.verify(t, n, client.stream)
	check(t, "store", n.mustStatus(t).Store, before.Store)
}

// inside is a path as the node's process sees it.
func (n *node) inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", n.process.command.Process.Pid, path)
}
