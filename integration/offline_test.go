package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// storeFile is the one store file of a node that is stopped.
func (n *node) storeFile(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.store(), "store-*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("store files of %s: %q, %v", n.name, files, err)
	}
	return files[0]
}

// TestStoreWithoutANode reads a store whose node is gone: verified, made smaller,
// damaged, exported, and its messages imported into another cluster.
func TestStoreWithoutANode(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	n := startCluster(t, 1).nodes[0]
	client := newClient(t, n)
	s := client.create(jetstream.StreamConfig{})
	ledger := newLedger()
	for i := range 300 {
		m := nats.NewMsg(client.subject("a"))
		m.Data = []byte(fmt.Sprintf("message-%d-%0500d", i, i))
		m.Header.Set("Number", fmt.Sprint(i))
		m.Header.Set(jetstream.ExpectedLastSeqHeader, fmt.Sprint(i))
		ack, err := client.js.PublishMsg(client.ctx, m)
		ledger.record(string(m.Data), ack, err)
	}
	if err := s.Purge(client.ctx, jetstream.WithPurgeSequence(101)); err != nil {
		t.Fatal(err)
	}
	runToEnd(t, nil, "verify", "--store", n.store()).want(t, exitFailed, "in use", "stop it first")
	n.stop(t)

	ending := runToEnd(t, nil, "verify", "--store", n.store())
	if ending.code != 0 || !strings.Contains(ending.output, "everything is as it was written") {
		t.Fatalf("verify: %d\n%s", ending.code, ending.output)
	}
	if ending := runToEnd(t, nil, "compact", "--store", n.store()); ending.code != 0 || !strings.Contains(ending.output, "100 %") {
		t.Fatalf("compact: %d\n%s", ending.code, ending.output)
	}
	whole := filepath.Join(n.folder, "whole.jsonl")
	ending = runToEnd(t, nil, "inspect", "--store", n.store(), "--export", whole)
	if ending.code != 0 || !strings.Contains(ending.output, "200 messages exported, 0 could not be read") {
		t.Fatalf("inspect: %d\n%s", ending.code, ending.output)
	}
	importInto(t, whole, client.stream, client.subject("a"), 200)

	// One message in the middle loses a bit.
	file := n.storeFile(t)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte("message-250-"))
	if at < 0 {
		t.Fatal("the message is not in the file as it was sent")
	}
	content[at] ^= 1
	write(t, file, string(content))
	ending = runToEnd(t, nil, "verify", "--store", n.store())
	if ending.code != exitFailed || !strings.Contains(ending.output, "checksum mismatch") {
		t.Fatalf("verify of a damaged store: %d\n%s", ending.code, ending.output)
	}
	part := filepath.Join(n.folder, "part.jsonl")
	ending = runToEnd(t, nil, "inspect", "--file", file, "--export", part)
	if ending.code != 0 || !strings.Contains(ending.output, "messages exported") {
		t.Fatalf("inspect of a damaged store: %d\n%s", ending.code, ending.output)
	}
	lines, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	if messages := bytes.Count(lines, []byte("\n")) - 1; messages < 199 {
		t.Errorf("%d messages can be read, one bit is wrong", messages)
	}
	if ending := runToEnd(t, nil, "compact", "--store", n.store()); ending.code != exitFailed {
		t.Errorf("compact of a damaged store: %d\n%s", ending.code, ending.output)
	}
}

// importInto imports an export into a new cluster and compares the last message.
func importInto(t *testing.T, file, stream, subject string, messages uint64) {
	t.Helper()
	n := startCluster(t, 1).nodes[0]
	ending := runToEnd(t, nil, "import", "--server", n.clientURL(), "--file", file)
	if ending.code != 0 || !strings.Contains(ending.output, fmt.Sprintf("%d messages imported", messages)) {
		t.Fatalf("import: %d\n%s", ending.code, ending.output)
	}
	client := newClient(t, n)
	s, err := client.js.Stream(client.ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "messages", client.info(s).State.Msgs, messages)
	last, err := s.GetLastMsgForSubject(client.ctx, subject)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "last message", string(last.Data), fmt.Sprintf("message-299-%0500d", 299))
	check(t, "its header", last.Header.Get("Number"), "299")
}
