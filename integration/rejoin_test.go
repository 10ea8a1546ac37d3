package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestFollowerWiped takes the memory of a follower while publishing goes on. It
// comes back as another voter with everything, without any help, and then leads.
func TestFollowerWiped(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	leader := c.waitReady(t)
	wiped, other := c.others(leader)[0], c.others(leader)[1]

	client := newClient(t, leader)
	stream := client.create(jetstream.StreamConfig{Replicas: 3})
	consumer := client.consumer(stream, jetstream.ConsumerConfig{Durable: "position"})
	client.publish("before", numbered("m", 50)...)
	client.acknowledge(client.fetch(consumer, 20)...)
	ledger := newLedger()
	fill(t, client, ledger, 3000)

	load, ctx := startLoad(t, ledger)
	load.publishers(t, ctx, client.nc, 3, client.subject("sync"), callLimit)
	load.asyncPublisher(t, ctx, other.connect(t), client.subject("async"), 100)

	before := wiped.mustStatus(t)
	wiped.stop(t)
	wiped.wipe(t)
	wiped.start(t)
	waitVoter(t, c, wiped)
	after := wiped.mustStatus(t)
	if after.Store == before.Store {
		t.Errorf("%s came back as the same store %s although its memory was gone", wiped.name, after.Store)
	}
	check(t, "lineage of the wiped node", after.Lineage, before.Lineage)
	time.Sleep(300 * time.Millisecond)
	load.finish()
	ledger.wantNoneRefused(t, "while "+wiped.name+" was away and came back")
	ledger.verify(t, wiped, client.stream)

	c.makeLeader(t, wiped, ledger, client)
	ledger.verify(t, wiped, client.stream)
	through := newClient(t, wiped)
	position, err := through.js.Consumer(through.ctx, client.stream, "position")
	if err != nil {
		t.Fatal(err)
	}
	check(t, "next message of the consumer", string(through.fetch(position, 1)[0].Data()), "m21")
}

// fill stores messages of one kibibyte, quickly.
func fill(t *testing.T, c *client, ledger *ledger, count int) {
	t.Helper()
	futures := make(map[string]jetstream.PubAckFuture, count)
	for i := range count {
		payload := fmt.Sprintf("fill-%d-%01000d", i, 0)
		future, err := c.js.PublishAsync(c.subject("fill"), []byte(payload), jetstream.WithStallWait(callLimit))
		if err != nil {
			t.Fatal(err)
		}
		futures[payload] = future
	}
	c.publishedAll()
	for payload, future := range futures {
		select {
		case ack := <-future.Ok():
			ledger.record(payload, ack, nil)
		case err := <-future.Err():
			t.Fatalf("fill the stream: %v", err)
		}
	}
}

// mustStatus is the status of a node that answers.
func (n *node) mustStatus(t *testing.T) status {
	t.Helper()
	s, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// waitVoter waits until a node serves and the leader counts the store that it
// has now.
func waitVoter(t *testing.T, c *cluster, n *node) {
	t.Helper()
	eventually(t, readyLimit, n.name+" is not a voter", func() error {
		s, err := n.status()
		if err != nil {
			return err
		}
		if !s.Serving || c.node(s.Leader) == nil {
			return fmt.Errorf("it does not serve: role %s, leader %q", s.Role, s.Leader)
		}
		leader, err := c.node(s.Leader).status()
		if err != nil {
			return err
		}
		for _, m := range leader.Members {
			if m.Name == n.name && m.Store == s.Store && m.State == "voter" {
				return nil
			}
		}
		return fmt.Errorf("%s does not count its store %s: %+v", s.Leader, s.Store, leader.Members)
	})
}

// makeLeader brings about that n leads: a message is stored on n and the leader
// only, the leader dies, and of the two that are left only n has it all.
func (c *cluster) makeLeader(t *testing.T, n *node, ledger *ledger, client *client) {
	t.Helper()
	leader := c.waitReady(t)
	if leader == n {
		return
	}
	third := c.others(n, leader)[0]
	third.kill(t)
	through := newClient(t, n)
	ack, err := through.js.Publish(through.ctx, client.subject("only"), []byte("only two have it"))
	if err != nil {
		t.Fatal(err)
	}
	ledger.record("only two have it", ack, nil)
	leader.kill(t)
	third.start(t)
	if got := c.waitReady(t); got != n {
		t.Fatalf("%s leads, but only %s has everything", got.name, n.name)
	}
	leader.start(t)
	if got := c.waitReady(t); got != n {
		t.Errorf("%s took leadership from %s when it came back", got.name, n.name)
	}
}

// TestFollowerDamaged spoils a follower's store in two ways. Corruption is
// amnesia: the store is set aside, not deleted, and the node joins again.
func TestFollowerDamaged(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	for _, damage := range []struct {
		name string
		do   func(t *testing.T, file string)
	}{
		{"cut short", cutShort},
		{"overwritten", overwrite},
	} {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 3)
			damaged := c.others(c.waitReady(t))[0]
			client := newClient(t, c.others(damaged)[0])
			client.create(jetstream.StreamConfig{Replicas: 3})
			ledger := newLedger()
			fill(t, client, ledger, 500)
			before := damaged.mustStatus(t)
			setAside := len(damaged.storeFiles(t, true))
			damaged.stop(t)
			files := damaged.storeFiles(t, false)
			if len(files) != 1 {
				t.Fatalf("%s has the stores %q, want one", damaged.name, files)
			}
			damage.do(t, files[0])
			damaged.start(t)
			c.waitReady(t)

			// It has to notice by the time that it is asked for the messages.
			c.handTo(t, damaged)
			for _, n := range c.nodes {
				ledger.verify(t, n, client.stream)
			}
			after := damaged.mustStatus(t)
			if after.Store == before.Store {
				t.Errorf("%s still votes with the damaged store %s", damaged.name, after.Store)
			}
			if now := len(damaged.storeFiles(t, true)); now <= setAside {
				t.Errorf("%d stores are set aside, %d were before: where is the damaged one?", now, setAside)
			}
		})
	}
}

// TestBitFlipsWhileRunning changes one bit of a stored message below a running
// follower that nobody asks for it: the background check finds it, and the node
// heals by itself.
func TestBitFlipsWhileRunning(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	damaged := c.others(c.waitReady(t))[0]
	client := newClient(t, c.others(damaged)[0])
	client.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	fill(t, client, ledger, 50)
	marked := "a message that nobody reads"
	ack, err := client.js.Publish(client.ctx, client.subject("a"), []byte(marked))
	ledger.record(marked, ack, err)
	before := damaged.mustStatus(t)
	file := damaged.storeFiles(t, false)[0]
	flip := func() error { // wherever the file has it, the journal's old frames included
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		for at := bytes.Index(content, []byte(marked)); at >= 0 && err == nil; at = bytes.Index(content, []byte(marked)) {
			content[at] ^= 1
			_, err = f.WriteAt(content[at:at+1], int64(at))
		}
		return errors.Join(err, f.Close())
	}
	eventually(t, readyLimit, "the damage is not found", func() error {
		if err := flip(); err != nil && !errors.Is(err, os.ErrNotExist) { // it is set aside
			t.Fatal(err)
		}
		if now, err := damaged.status(); err != nil || now.Store == before.Store || !now.Serving {
			return fmt.Errorf("store %s: %v", now.Store, err)
		}
		return nil
	})
	if aside := damaged.storeFiles(t, true); len(aside) == 0 {
		t.Error("no store is set aside")
	}
	if log := damaged.lastLines(200); !strings.Contains(log, "the background check of the store found damage") {
		t.Error("something else found the damage")
	}
	for _, n := range c.nodes {
		ledger.verify(t, n, client.stream)
	}
}

// handTo stops whoever leads until it is n; a node that is not fit to lead
// makes it somebody else's turn.
func (c *cluster) handTo(t *testing.T, n *node) {
	t.Helper()
	for range 4 {
		leader := c.waitReady(t)
		if leader == n {
			return
		}
		leader.stop(t)
		c.waitReady(t)
		leader.start(t)
		c.waitReady(t)
	}
}

// storeFiles are the files of the node's store, or those that were set aside.
func (n *node) storeFiles(t *testing.T, quarantined bool) []string {
	t.Helper()
	pattern := filepath.Join(n.store(), "*.db")
	if quarantined {
		pattern = filepath.Join(n.store(), "quarantine", "*.db")
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// cutShort leaves the first 64 KiB.
func cutShort(t *testing.T, file string) {
	t.Helper()
	if err := os.Truncate(file, 64<<10); err != nil {
		t.Fatal(err)
	}
}

// overwrite spoils every page after the first 64 KiB.
func overwrite(t *testing.T, name string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	noise := []byte("this is not what was written here")
	for at := int64(64<<10) + 100; at+int64(len(noise)) < info.Size(); at += 4 << 10 {
		if _, err := file.WriteAt(noise, at); err != nil {
			t.Fatal(err)
		}
	}
}
