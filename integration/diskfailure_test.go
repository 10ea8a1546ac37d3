package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/testdisk"
)

// failingDisk is a disk on which the file of one store fails.
type failingDisk struct {
	*testdisk.Disk
	file string // from the root of the disk
}

// fails makes operations of one kind fail with an input/output error, from that
// offset on. What is set aside has another name, and the next store too: these are
// fine.
func (d *failingDisk) fails(kind string, from int64) {
	d.Fail(func(o testdisk.Operation) syscall.Errno {
		if o.Kind == kind && o.Path == d.file && o.Offset >= from {
			return syscall.EIO
		}
		return 0
	})
}

// TestDiskFailsWhileRunning is every way in which a disk can fail below a running
// node, the leader or a follower. Each ends the same way: the store is damaged and
// set aside, the node joins again with another, and nothing is lost.
func TestDiskFailsWhileRunning(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	for _, failure := range []struct {
		name     string
		ofLeader bool
		happen   func(t *testing.T, d *failingDisk, marked string)
		log      string // what the node says of it
	}{
		{"a write", true, func(_ *testing.T, d *failingDisk, _ string) { d.fails("write", 0) }, "input/output error"},
		{"a sync", true, func(_ *testing.T, d *failingDisk, _ string) { d.fails("sync", 0) }, "input/output error"},
		{"a write of a follower", false, func(_ *testing.T, d *failingDisk, _ string) { d.fails("write", 0) }, "input/output error"},
		{"a sync of a follower", false, func(_ *testing.T, d *failingDisk, _ string) { d.fails("sync", 0) }, "input/output error"},
		{"a read", false, func(t *testing.T, d *failingDisk, _ string) {
			d.fails("read", 0)
			do(t, d.DropCache(d.file))
		}, "damage"},
		{"a read of the map", false, func(t *testing.T, d *failingDisk, _ string) {
			d.fails("read", 64<<10) // the meta pages are read through the file
			do(t, d.DropCache(d.file))
		}, "memory-map fault"},
		{"the file is cut", false, func(t *testing.T, d *failingDisk, _ string) {
			do(t, os.Truncate(d.Path(d.file), 64<<10))
		}, "damage"},
		{"pages that are others", false, func(t *testing.T, d *failingDisk, _ string) {
			f, err := os.OpenFile(d.Path(d.file), os.O_WRONLY, 0)
			do(t, err)
			for page := int64(2); page < 1000 && err == nil; page++ {
				_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 16), page*8192)
			}
			do(t, err, f.Close())
		}, "panic"},
		{"a bit", false, func(t *testing.T, d *failingDisk, marked string) {
			content, err := d.Content(d.file)
			do(t, err)
			found := 0
			for at := 0; ; at++ {
				next := bytes.Index(content[at:], []byte(marked))
				if next < 0 {
					break
				}
				at += next
				do(t, d.Flip(d.file, int64(at), 3))
				found++
			}
			if found == 0 {
				t.Fatal("the message is not in the file as it was sent")
			}
		}, "the background check of the store found damage"},
	} {
		t.Run(failure.name, func(t *testing.T) {
			t.Parallel()
			disk := diskForTests(t)
			c := newCluster(t, 3)
			c.storesIn(t, disk.Path())
			for _, n := range c.nodes {
				n.start(t)
			}
			damaged := c.waitReady(t)
			if !failure.ofLeader {
				damaged = c.others(damaged)[0]
			}
			other := c.others(damaged)[0]
			client := newClient(t, other)
			client.create(jetstream.StreamConfig{Replicas: 3})
			ledger := newLedger()
			fill(t, client, ledger, 300)
			marked := "a message that nobody reads"
			ack, err := client.js.Publish(client.ctx, client.subject("a"), []byte(marked))
			ledger.record(marked, ack, err)
			if failure.name == "a bit" {
				fill(t, client, ledger, 4500) // what is before is not in the journal any more
			}
			before := damaged.mustStatus(t)
			file := filepath.Base(damaged.storeFiles(t, false)[0])

			failure.happen(t, &failingDisk{disk, path.Join(damaged.name, file)}, marked)
			load, ctx := startLoad(t, ledger)
			load.publishers(t, ctx, client.nc, 2, client.subject("load"), callLimit)
			eventually(t, readyLimit, "the failure is not found", func() error {
				if now, err := damaged.status(); err != nil || now.Store == before.Store || !now.Serving {
					return fmt.Errorf("store %s: %v", now.Store, err)
				}
				return nil
			})
			load.finish()
			disk.Fail(nil)
			waitVoter(t, c, damaged)
			if aside := damaged.storeFiles(t, true); len(aside) == 0 || !contains(strings.Join(aside, " "), file) {
				t.Errorf("%q are set aside, not %s", aside, file)
			}
			if log := damaged.lastLines(math.MaxInt); !contains(log, failure.log) {
				t.Errorf("the log does not say %q", failure.log)
			}
			for _, n := range c.nodes {
				ledger.verify(t, n, client.stream)
			}
		})
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
