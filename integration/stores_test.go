package integration

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// keepStore writes the store of the present format to testdata/stores, under a name:
// go test ./integration -run StoresOfEveryFormat -keep-store NAME
var keepStore = flag.String("keep-store", "", "write the store of the present format to testdata/stores under this `NAME`")

const storesFolder = "testdata/stores"

// TestStoresOfEveryFormat opens stores that earlier builds left behind: two for each
// set of formats that there has ever been since the first that is kept. The one was
// killed, so that all of it is in the log; the other was stopped, so that all of it is
// in a checkpoint. What is in them is always the same (see [fillStore]).
func TestStoresOfEveryFormat(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	if *keepStore != "" {
		n := storeOwner(t)
		n.start(t)
		fillStore(newClientOf(t, n))
		n.kill(t)
		packStore(t, n.store(), filepath.Join(storesFolder, *keepStore+".tar.gz"))
		n.start(t)
		newClientOf(t, n)
		n.stop(t)
		packStore(t, n.store(), filepath.Join(storesFolder, *keepStore+"-checkpoint.tar.gz"))
	}
	archives, err := filepath.Glob(filepath.Join(storesFolder, "*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no stores: %v", err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".tar.gz"), func(t *testing.T) {
			t.Parallel()
			n := storeOwner(t)
			unpackStore(t, archive, n.store())
			if e := runToEnd(t, nil, "verify", "--store", n.store()); e.code != 0 {
				t.Fatalf("verify: exit code %d:\n%s", e.code, e.output)
			}
			n.start(t)
			verifyStore(newClientOf(t, n))
			n.stop(t)
		})
	}
}

// storeOwner is a cluster of one node that the kept stores belong to.
func storeOwner(t *testing.T) *node {
	t.Helper()
	c := newCluster(t, 1)
	c.name = "kept"
	c.nodes[0].configure(t, c)
	return c.nodes[0]
}

// newClientOf is a client of a node that was just started.
func newClientOf(t *testing.T, n *node) *client {
	t.Helper()
	eventually(t, readyLimit, n.name+" does not serve", func() error {
		v, err := underTest.view(n)
		if err == nil && !v.ready {
			err = errors.New("it is not ready")
		}
		return err
	})
	return newClient(t, n)
}

const (
	keptMessages = 50
	keptAcks     = 7
)

func keptPayload(i int) string { return fmt.Sprintf("message %d %s", i, strings.Repeat("x", i*20)) }

// fillStore makes what the kept stores hold: a stream that lost a message, with a
// consumer in the middle of it; a work queue with some done; a bucket.
func fillStore(c *client) {
	c.t.Helper()
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	orders, err := c.js.CreateStream(c.ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Metadata: map[string]string{"kept": "yes"}})
	must(err)
	work, err := c.js.CreateStream(c.ctx, jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}, Retention: jetstream.WorkQueuePolicy})
	must(err)
	for i := 1; i <= keptMessages; i++ {
		for _, stream := range []string{"orders", "work"} {
			_, err := c.js.Publish(c.ctx, fmt.Sprintf("%s.%d", stream, i%5), []byte(keptPayload(i)), jetstream.WithMsgID(fmt.Sprintf("%s-%d", stream, i)))
			must(err)
		}
	}
	must(orders.DeleteMsg(c.ctx, 3))
	for _, s := range []jetstream.Stream{orders, work} {
		consumer, err := s.CreateConsumer(c.ctx, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy})
		must(err)
		for range keptAcks {
			m, err := consumer.Next()
			must(err)
			must(m.DoubleAck(c.ctx))
		}
	}
	kv, err := c.js.CreateKeyValue(c.ctx, jetstream.KeyValueConfig{Bucket: "kept", History: 3})
	must(err)
	for i := range 5 {
		_, err := kv.Put(c.ctx, "key", []byte(keptPayload(i)))
		must(err)
	}
}

// verifyStore expects all of it, and that the node goes on from there.
func verifyStore(c *client) {
	c.t.Helper()
	for name, first := range map[string]int{"ORDERS": 1, "WORK": keptAcks + 1} {
		s, err := c.js.Stream(c.ctx, name)
		if err != nil {
			c.t.Fatal(err)
		}
		state := s.CachedInfo().State
		check(c.t, "last message of "+name, state.LastSeq, keptMessages)
		check(c.t, "first message of "+name, state.FirstSeq, uint64(first))
		for i := first; i <= keptMessages; i++ {
			m, err := s.GetMsg(c.ctx, uint64(i))
			if deleted := name == "ORDERS" && i == 3; deleted {
				check(c.t, "message 3 is deleted", errors.Is(err, jetstream.ErrMsgNotFound), true)
			} else if err != nil || string(m.Data) != keptPayload(i) || m.Subject != fmt.Sprintf("%s.%d", strings.ToLower(name), i%5) {
				c.t.Errorf("message %d of %s: %v", i, name, err)
			}
		}
		consumer, err := s.Consumer(c.ctx, "d")
		if err != nil {
			c.t.Fatal(err)
		}
		next := map[string]string{"ORDERS": keptPayload(keptAcks + 2), "WORK": keptPayload(keptAcks + 1)}[name]
		if m, err := consumer.Next(); err != nil || string(m.Data()) != next {
			c.t.Errorf("the consumer of %s goes on elsewhere: %v", name, err)
		}
		ack, err := c.js.Publish(c.ctx, strings.ToLower(name)+".on", []byte("on"))
		if err != nil || ack.Sequence != keptMessages+1 {
			c.t.Errorf("publish to %s: %+v, %v", name, ack, err)
		}
	}
	kv, err := c.js.KeyValue(c.ctx, "kept")
	if err != nil {
		c.t.Fatal(err)
	}
	if history, err := kv.History(c.ctx, "key"); err != nil || len(history) != 3 || string(history[2].Value()) != keptPayload(4) {
		c.t.Errorf("history of the key: %v, %v", history, err)
	}
}

// packStore writes a folder of plain files into an archive.
func packStore(t *testing.T, folder, archive string) {
	t.Helper()
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(packed)
	err = errors.Join(w.AddFS(os.DirFS(folder)), w.Close(), packed.Close(), f.Close())
	if err != nil {
		t.Fatal(err)
	}
}

func unpackStore(t *testing.T, archive, folder string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(unpacked); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil && !filepath.IsLocal(header.Name) {
			err = fs.ErrInvalid
		}
		path := ""
		if err == nil {
			path = filepath.Join(folder, header.Name)
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil && header.Typeflag == tar.TypeReg {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatalf("unpack %s: %v", archive, err)
		}
	}
}
