package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// channel is a stream of one name that is created more than once, as the
// channels of the first report were, and what it should have.
type channel struct {
	name     string
	subject  string
	messages []string // by sequence, from 1
}

// create makes the channel through one node, with messages prefix1 … prefixN.
func (h *channel) create(t *testing.T, n *node, prefix string, count int) {
	t.Helper()
	newClient(t, n).create(jetstream.StreamConfig{Name: h.name, Subjects: []string{h.subject}, Replicas: 3})
	h.messages = nil
	h.publish(t, n, numbered(prefix, count)...)
}

// publish adds messages through one node.
func (h *channel) publish(t *testing.T, n *node, payloads ...string) {
	t.Helper()
	c := newClient(t, n)
	for _, payload := range payloads {
		h.messages = append(h.messages, payload)
		check(t, "sequence", c.mustPublish(h.subject, payload).Sequence, uint64(len(h.messages)))
	}
}

// remove deletes the channel through one node.
func (h *channel) remove(t *testing.T, n *node) {
	t.Helper()
	c := newClient(t, n)
	if err := c.js.DeleteStream(c.ctx, h.name); err != nil {
		t.Fatal(err)
	}
}

// verify expects exactly the channel's messages through each of the nodes.
func (h *channel) verify(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		c := newClient(t, n)
		s, err := c.js.Stream(c.ctx, h.name)
		if err != nil {
			t.Errorf("through %s: stream %s: %v", n.name, h.name, err)
			continue
		}
		state := s.CachedInfo().State
		check(t, "first sequence through "+n.name, state.FirstSeq, 1)
		check(t, "last sequence through "+n.name, state.LastSeq, uint64(len(h.messages)))
		stored := c.readAll(s)
		check(t, "number of messages through "+n.name, len(stored), len(h.messages))
		for i, payload := range h.messages {
			if got := stored[uint64(i+1)]; got != payload {
				t.Errorf("through %s: message %d is %q, want %q", n.name, i+1, got, payload)
			}
		}
	}
}

// waitStored waits until a node has applied what the leader has committed.
func (c *cluster) waitStored(t *testing.T) {
	t.Helper()
	leader := c.waitFormed(t)
	commit := leader.mustStatus(t).Commit
	for _, n := range c.nodes {
		eventually(t, readyLimit, n.name+" has not applied everything", func() error {
			if s, err := n.status(); err != nil || s.Applied < commit {
				return fmt.Errorf("applied %d of %d, %v", s.Applied, commit, err)
			}
			return nil
		})
	}
}

// says waits until a node's log has a line with all of these words.
func (n *node) says(t *testing.T, limit time.Duration, words ...string) string {
	t.Helper()
	var found string
	eventually(t, limit, fmt.Sprintf("%s does not say %q", n.name, words), func() error {
		for line := range strings.Lines(n.logSince(t, 0)) {
			if contains(line, words...) {
				found = line
				return nil
			}
		}
		return fmt.Errorf("no line of its log has all of them")
	})
	return found
}

// contains reports whether one line of a text has all of these words.
func contains(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			return true
		}
	}
	return false
}

// wantCalm expects that no process ended that the test did not end, and that
// none panicked on the way.
func (c *cluster) wantCalm(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() && !n.process.told {
			t.Errorf("%s ended by itself with exit code %d", n.name, n.process.exitCode())
		}
		if log := n.logSince(t, 0); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
			t.Errorf("%s panicked:\n%s", n.name, n.lastLines(60))
		}
	}
}

// TestTwoWipedOneCutOff is the first report as its maintainer guesses it: a
// server "was separated from the network, but not stopped, so it maintained its
// state, while the 2 others had been restarted at one point with a clean state".
// Here nobody acts but the machines:
//
//  1. Three nodes on RAM disks. A stream has ten old messages on all of them.
//  2. One follower is cut off. It goes on running and keeps its memory.
//  3. The other two go on: the stream is deleted and created again under the same
//     name, with three new messages.
//  4. Both are wiped, one after the other. Two blank stores are a majority, but
//     they do not begin a history of their own: they wait, and say for whom.
//  5. The one that was cut off is reached again, with the old stream. It is the
//     best survivor: the cluster goes on from its memory, by itself.
//  6. Every node has the old stream, and the loss is named: what only the two
//     held. Nothing panicked, nothing was restarted.
//  7. The stream goes on where it was, also after a restart of everything.
func TestTwoWipedOneCutOff(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	c := newRAMDiskCluster(t, 3)
	network := newNetwork(t, c)
	orders := &channel{name: "ORDERS", subject: "orders"}

	s.step(1, "three nodes, one stream with ten messages")
	for _, n := range c.nodes {
		n.start(t)
	}
	leader := c.waitFormed(t)
	orders.create(t, leader, "old", 10)
	c.waitStored(t)
	cutOff, follower := c.others(leader)[0], c.others(leader)[1]
	before := cutOff.mustStatus(t)

	s.step(2, "%s is cut off", cutOff.name)
	network.isolate(cutOff)

	s.step(3, "%s and %s delete the stream and create it again", leader.name, follower.name)
	old := *orders
	orders.remove(t, leader)
	orders.create(t, leader, "new", 3)
	orders.verify(t, leader, follower)

	s.step(4, "%s and %s are wiped", follower.name, leader.name)
	for _, n := range []*node{follower, leader} {
		n.kill(t)
		n.wipe(t)
		n.start(t)
	}
	for _, n := range []*node{follower, leader} {
		said := n.says(t, 15*time.Second, "level=WARN", "missing: "+cutOff.name, "start "+cutOff.name)
		t.Logf("%s says: %s", n.name, said)
		if status := n.mustStatus(t); status.Lineage != "blank" || status.Serving {
			t.Errorf("%s: lineage %s, serving %v; want it to wait", n.name, status.Lineage, status.Serving)
		}
	}

	s.step(5, "%s is reached again", cutOff.name)
	network.rejoin(cutOff)
	c.waitFormed(t)

	s.step(6, "every node has the old stream, and the loss is named")
	after := cutOff.mustStatus(t)
	check(t, "epoch", after.Epoch, before.Epoch+1)
	pair := []string{leader.name, follower.name}
	if pair[0] > pair[1] {
		pair[0], pair[1] = pair[1], pair[0]
	}
	loss := fmt.Sprintf("acknowledged writes that only %s and %s held are lost", pair[0], pair[1])
	t.Logf("%s says: %s", cutOff.name, cutOff.says(t, time.Second, "level=WARN", fmt.Sprintf("epoch %d founded from %s at index", after.Epoch, cutOff.name), loss))
	for _, n := range c.nodes {
		if told := n.mustStatus(t).Foundings; len(told) != 2 || !strings.Contains(told[1], loss) {
			t.Errorf("%s tells of these foundings: %q; want the loss", n.name, told)
		}
	}
	c.wantCalm(t)
	orders = &old
	orders.verify(t, c.nodes...)

	s.step(7, "the stream goes on")
	orders.publish(t, follower, "old11")
	for _, n := range c.nodes {
		n.stop(t)
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitFormed(t)
	orders.verify(t, c.nodes...)
}

// TestNewerStreamsWithoutTheOneCutOff is the same report as the servers met it:
// the two that were wiped already have newer streams of the same names when the
// third comes back with its memory. There it panicked, was restarted into "log
// not found", and restored nothing. Here it takes an operator who is wrong:
//
//  1. Three nodes on RAM disks. A stream has ten old messages on all of them.
//  2. One follower is cut off. It goes on running and keeps its memory.
//  3. The other two are wiped, wait for it, and an operator declares it gone.
//  4. They go on without it: the stream of that name is created anew, with three
//     new messages.
//  5. The one that was cut off is reached again, with the old stream, which was
//     acknowledged and which nobody else has. It does not take part and does not
//     give up its memory: it raises an alarm that says what is at stake and what
//     to do. The others are not disturbed. Its clients see the new stream.
//  6. It is restarted. Nothing changes: no panic, no loop, the same alarm.
//  7. The operator decides for the new lineage and discards the old store. The
//     node joins the others, every node has the new stream, and the old store is
//     set aside, not deleted.
func TestNewerStreamsWithoutTheOneCutOff(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	c := newRAMDiskCluster(t, 3)
	network := newNetwork(t, c)
	orders := &channel{name: "ORDERS", subject: "orders"}

	s.step(1, "three nodes, one stream with ten messages")
	for _, n := range c.nodes {
		n.start(t)
	}
	leader := c.waitFormed(t)
	orders.create(t, leader, "old", 10)
	c.waitStored(t)
	cutOff, follower := c.others(leader)[0], c.others(leader)[1]
	pair := []*node{leader, follower}

	s.step(2, "%s is cut off", cutOff.name)
	network.isolate(cutOff)
	before := cutOff.mustStatus(t)

	s.step(3, "%s and %s are wiped, and %s is declared gone", leader.name, follower.name, cutOff.name)
	for _, n := range pair {
		n.kill(t)
		n.wipe(t)
		n.start(t)
	}
	// What can be done is read from the status, as an operator would.
	remedy := regexp.MustCompile("`holdfast (found --without " + cutOff.name + ")` on (\\S+)")
	var advice []string
	for _, n := range pair {
		eventually(t, readyLimit, n.name+" does not say for whom it waits and what can be done", func() error {
			status, err := n.status()
			advice = remedy.FindStringSubmatch(status.Waiting)
			if err != nil || advice == nil || !strings.Contains(status.Waiting, "missing: "+cutOff.name) {
				return fmt.Errorf("waiting: %q, %v", status.Waiting, err)
			}
			return nil
		})
	}
	founder := c.node(advice[2])
	words := append(strings.Fields(advice[1]), "--yes", "--monitor", founder.monitorAddress())
	if e := runToEnd(t, nil, words...); e.code != 0 {
		t.Fatalf("holdfast %q: exit code %d:\n%s", words, e.code, e.output)
	}

	s.step(4, "the two go on, and the stream is created anew")
	eventually(t, readyLimit, "the two do not go on", func() error {
		for _, n := range pair {
			if status, err := n.status(); err != nil || !status.Serving {
				return fmt.Errorf("%s: waiting %q, %v", n.name, status.Waiting, err)
			}
		}
		return nil
	})
	t.Logf("%s says: %s", founder.name, founder.says(t, time.Second, "level=WARN", "founded from "+founder.name, "nothing is kept", cutOff.name+" did not take part"))
	orders.create(t, leader, "new", 3)

	s.step(5, "%s is reached again", cutOff.name)
	network.rejoin(cutOff)
	stays := func() {
		t.Helper()
		eventually(t, readyLimit, cutOff.name+" raises no alarm", func() error {
			status, err := cutOff.status()
			if err != nil {
				return err
			}
			for _, alarm := range status.Alarms {
				if strings.Contains(alarm, "holdfast discard "+before.Store) && strings.Contains(alarm, before.Lineage) {
					t.Logf("alarm of %s: %s", cutOff.name, alarm)
					return nil
				}
			}
			return fmt.Errorf("alarms %q, waiting %q", status.Alarms, status.Waiting)
		})
		status := cutOff.mustStatus(t)
		check(t, "store of "+cutOff.name, status.Store, before.Store)
		check(t, "lineage of "+cutOff.name, status.Lineage, before.Lineage)
		client := newClient(t, cutOff)
		eventually(t, readyLimit, "clients of "+cutOff.name+" do not reach the leader", func() error {
			_, err := client.js.Stream(client.ctx, orders.name)
			return err
		})
		orders.publish(t, leader, "while it stays")
		orders.verify(t, c.nodes...)
	}
	stays()
	cutOff.says(t, time.Second, "level=ERROR", before.Store)
	c.wantCalm(t)

	s.step(6, "%s is restarted", cutOff.name)
	cutOff.kill(t)
	cutOff.start(t)
	stays()
	cutOff.stop(t)
	cutOff.start(t)
	stays()
	c.wantCalm(t)

	s.step(7, "the operator discards the old store")
	kept := len(cutOff.storeFiles(t, true))
	if e := runToEnd(t, nil, "discard", before.Store, "--yes", "--monitor", cutOff.monitorAddress()); e.code != 0 {
		t.Fatalf("holdfast discard: exit code %d:\n%s", e.code, e.output)
	}
	c.waitFormed(t)
	if now := len(cutOff.storeFiles(t, true)); now != kept+1 {
		t.Errorf("%d stores are set aside, %d were before: where is the discarded one?", now, kept)
	}
	for _, n := range c.nodes {
		if told := n.mustStatus(t).Foundings; len(told) != 1 || !strings.Contains(told[0], cutOff.name+" did not take part") {
			t.Errorf("%s tells of these foundings: %q; want to hear who was not there", n.name, told)
		}
	}
	orders.publish(t, cutOff, "together")
	orders.verify(t, c.nodes...)
	c.wantCalm(t)
}
