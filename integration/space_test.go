package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestFileFollowsTheLiveData publishes messages that stay and messages that go to two
// streams, in the same batches. What stays is a small part of every entry of the log,
// and must not keep all of it.
func TestFileFollowsTheLiveData(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	cluster := newRAMDiskCluster(t, 1)
	n := cluster.nodes[0]
	n.start(t)
	cluster.waitReady(t)
	c := newClient(t, n)
	stays := c.create(jetstream.StreamConfig{})
	other := newClient(t, n)
	goes := other.create(jetstream.StreamConfig{MaxMsgs: 100})
	payload := bytes.Repeat([]byte("x"), 16<<10)
	publish := func(c *client, number int) {
		copy(payload, fmt.Sprintf("%08d", number))
		if _, err := c.js.PublishAsync(c.subject("a"), payload); err != nil {
			t.Fatal(err)
		}
	}
	const count = 1200
	for i := range count {
		publish(c, i)
		for range 6 {
			publish(other, i)
		}
		if i%40 == 39 {
			c.publishedAll()
			other.publishedAll()
		}
	}
	state := c.info(stays).State
	check(t, "messages that stay", state.Msgs, count)
	live := int64(state.Bytes + c.info(goes).State.Bytes)
	limit := live*3/2 + 64<<20
	info, err := os.Stat(n.storeFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if written := int64(7 * count * len(payload)); info.Size() > limit || written < limit*5/4 {
		t.Errorf("the file has %d bytes, %d are allowed for %d that live; %d were published", info.Size(), limit, live, written)
	}
	eventually(t, readyLimit, "nothing was written again", func() error {
		if !strings.Contains(n.lastLines(500), "mostly dead entries written again") {
			return errors.New("the log does not say so")
		}
		return nil
	})
	n.kill(t)
	n.start(t)
	eventually(t, 20*time.Second, "the messages are not back", func() error {
		again, err := c.js.Stream(c.ctx, c.stream)
		if err == nil && again.CachedInfo().State.Msgs != count {
			err = fmt.Errorf("%d messages", again.CachedInfo().State.Msgs)
		}
		return err
	})
	for seq := uint64(1); seq <= count; seq += 100 {
		m, err := stays.GetMsg(c.ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "payload", string(m.Data[:8]), fmt.Sprintf("%08d", seq-1))
	}
}
