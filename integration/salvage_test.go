package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// spoil overwrites every page of a file that has a text in it.
func spoil(t *testing.T, name, text string) {
	t.Helper()
	const page = 8192
	content, err := os.ReadFile(name)
	do(t, err)
	found := 0
	for at := 0; at < len(content); at += page {
		here := content[at:min(at+page, len(content))]
		if bytes.Contains(here, []byte(text)) {
			copy(here, bytes.Repeat([]byte("noise"), page))
			found++
		}
	}
	if found == 0 {
		t.Fatalf("%s does not have %q as it was sent", name, text)
	}
	write(t, name, string(content))
}

// exported are the messages of an export by their sequence.
func exported(t *testing.T, name string) map[uint64]string {
	t.Helper()
	f, err := os.Open(name)
	do(t, err)
	defer f.Close()
	all := map[uint64]string{}
	for lines := json.NewDecoder(f); lines.More(); {
		var line struct {
			Sequence uint64 `json:"sequence"`
			Subject  string `json:"subject"`
			Data     []byte `json:"data"`
		}
		do(t, lines.Decode(&line))
		if line.Subject != "" {
			all[line.Sequence] = string(line.Data)
		}
	}
	return all
}

var notReadable = regexp.MustCompile(`not readable: stream \S+, message (\d+): `)

// TestMajorityIsReadAndImported spoils the stores of a majority, and saves what is
// left of all three:
//
//  1. Three nodes with 200 messages. n3 is off, and 100 more are stored on n1 and n2.
//  2. All are off. On n1 and n2 some pages are spoilt, one message among them on both.
//  3. They start. n1 and n2 set their stores aside, and the cluster stops with a
//     report; it does not go on with what n3 has.
//  4. What was set aside is exported, while the nodes run. Each message of it is
//     exported as it was, or named as lost.
//  5. All three exports go into a new cluster. It has every message but those that
//     were named on both, and that n3 does not have.
func TestMajorityIsReadAndImported(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	c := newCluster(t, 3)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]

	s.step(1, "300 messages, 200 of them on n3")
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitFormed(t)
	client := newClient(t, n1)
	client.create(jetstream.StreamConfig{Replicas: 3})
	payloads := map[uint64]string{}
	publish := func(count int) {
		for range count {
			i := uint64(len(payloads) + 1)
			m := nats.NewMsg(client.subject("a"))
			m.Data = []byte(fmt.Sprintf("message-%d-%0700d", i, i))
			m.Header.Set(jetstream.MsgIDHeader, fmt.Sprint(i))
			ack, err := client.js.PublishMsg(client.ctx, m)
			do(t, err)
			check(t, "sequence", ack.Sequence, i)
			payloads[i] = string(m.Data)
		}
	}
	publish(200)
	c.waitStored(t)
	n3.stop(t)
	publish(100)

	s.step(2, "pages of n1 and n2 are spoilt")
	n1.stop(t)
	n2.stop(t)
	spoil(t, n1.storeFile(t), "message-250-")
	spoil(t, n1.storeFile(t), "message-100-")
	spoil(t, n2.storeFile(t), "message-250-")
	spoil(t, n2.storeFile(t), "message-280-")

	s.step(3, "the cluster stops with a report")
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		eventually(t, readyLimit, n.name+" does not say what is lost", func() error {
			if st, err := n.status(); err != nil || st.Serving || !strings.Contains(st.Waiting+strings.Join(st.Alarms, " "), "the memory of a majority is lost") {
				return fmt.Errorf("%+v, %v", st, err)
			}
			return nil
		})
	}

	s.step(4, "what is left is exported")
	var exports []string
	lost := map[uint64]int{}
	for _, n := range []*node{n1, n2} {
		aside := n.storeFiles(t, true)
		if len(aside) != 1 {
			t.Fatalf("%s has set aside %q, want one store", n.name, aside)
		}
		file := filepath.Join(n.folder, "left.jsonl")
		e := runToEnd(t, nil, "inspect", "--file", aside[0], "--export", file)
		if e.code != 0 {
			t.Fatalf("inspect %s: exit code %d\n%s", aside[0], e.code, e.output)
		}
		left := exported(t, file)
		for _, words := range notReadable.FindAllStringSubmatch(e.output, -1) {
			sequence, err := strconv.ParseUint(words[1], 10, 64)
			do(t, err)
			lost[sequence]++
			if _, both := left[sequence]; both {
				t.Errorf("%s: message %d is exported and named as lost", n.name, sequence)
			}
			left[sequence] = payloads[sequence]
		}
		if !maps.Equal(left, payloads) {
			t.Errorf("%s: %d messages are exported or named, want %d, each as it was:\n%s", n.name, len(left), len(payloads), e.output)
		}
		exports = append(exports, file)
	}
	if lost[250] != 2 || lost[100] != 1 || lost[280] != 1 {
		t.Errorf("these are named as lost, with the number of stores: %v", lost)
	}
	n3.stop(t)
	file := filepath.Join(n3.folder, "left.jsonl")
	if e := runToEnd(t, nil, "inspect", "--store", n3.store(), "--export", file); e.code != 0 || len(exported(t, file)) != 200 {
		t.Errorf("inspect n3: exit code %d\n%s", e.code, e.output)
	}
	exports = append(exports, file)

	s.step(5, "a new cluster has everything that any store had")
	fresh := startCluster(t, 3)
	to := newClient(t, fresh.nodes[0])
	for _, file := range exports {
		if e := runToEnd(t, nil, "import", "--server", fresh.nodes[0].clientURL(), "--file", file); e.code != 0 {
			t.Fatalf("import %s: exit code %d\n%s", file, e.code, e.output)
		}
	}
	stream, err := to.js.Stream(to.ctx, client.stream)
	do(t, err)
	var want []string
	for _, sequence := range slices.Sorted(maps.Keys(payloads)) {
		if lost[sequence] < 2 || sequence <= 200 {
			want = append(want, payloads[sequence])
		}
	}
	got := slices.Sorted(maps.Values(to.readAll(stream)))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the new cluster has %d messages, want %d", len(got), len(want))
	}
}

// TestQuarantineIsKept damages the store of a node again and again. All are kept;
// above the bound of the configuration the node says so, names the oldest, and how
// to remove it. Only the operator does.
func TestQuarantineIsKept(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	c := startCluster(t, 3)
	damaged := c.others(c.waitReady(t))[0]
	client := newClient(t, c.others(damaged)[0])
	client.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	fill(t, client, ledger, 20)
	config, err := os.ReadFile(damaged.path("holdfast.toml"))
	do(t, err)
	excess := func() (text string) {
		var s struct {
			Excess string `json:"quarantine_excess"`
		}
		_, body, err := get(damaged.monitorURL("/status"))
		do(t, err, json.Unmarshal(body, &s))
		return s.Excess
	}
	for round := range 3 {
		if text := excess(); round < 2 && text != "" {
			t.Errorf("with %d stores set aside: %s", round, text)
		}
		damaged.stop(t)
		write(t, damaged.path("holdfast.toml"), string(config)+"\n[quarantine]\nstores = 2\n")
		cutShort(t, damaged.storeFiles(t, false)[0])
		damaged.start(t)
		waitVoter(t, c, damaged)
	}
	aside := damaged.storeFiles(t, true)
	if len(aside) < 3 {
		t.Fatalf("%q are set aside, three stores were damaged", aside)
	}
	for len(aside) > 2 {
		oldest := strings.TrimSuffix(filepath.Base(aside[0]), ".db")
		remove := fmt.Sprintf("run `holdfast discard %s` on %s", oldest, damaged.name)
		eventually(t, readyLimit, "the status does not offer the oldest for removal", func() error {
			if text := excess(); !contains(text, fmt.Sprintf("%d stores with ", len(aside)), aside[0], remove) {
				return fmt.Errorf("it says %q", text)
			}
			return nil
		})
		if e := runToEnd(t, nil, "status", "--monitor", damaged.monitorAddress()); !contains(e.output, "WARNING", remove) {
			t.Errorf("the command says:\n%s", e.output)
		}
		damaged.says(t, readyLimit, "level=WARN", remove)
		damaged.orders(t, 0, "discard", oldest)
		left := damaged.storeFiles(t, true)
		if !slices.Equal(left, aside[1:]) {
			t.Fatalf("%q are left of %q", left, aside)
		}
		aside = left
	}
	eventually(t, readyLimit, "two stores are too many", func() error {
		if text := excess(); text != "" {
			return fmt.Errorf("the status says %q", text)
		}
		return nil
	})
	damaged.wantMetric(t, "holdfast_quarantined_stores 2")
	ledger.verify(t, damaged, client.stream)
}
