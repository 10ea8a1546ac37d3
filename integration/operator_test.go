package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// orders runs a command of an operator on a node and returns what it says.
func (n *node) orders(t *testing.T, code int, words ...string) string {
	t.Helper()
	e := runToEnd(t, nil, append(words, "--yes", "--monitor", n.monitorAddress())...)
	if e.code != code {
		t.Fatalf("holdfast %q on %s: exit code %d, want %d:\n%s", words, n.name, e.code, code, e.output)
	}
	return e.output
}

// wantUnwell expects that the node's health comes to say why it does not serve.
func (n *node) wantUnwell(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, readyLimit, n.name+": /healthz does not say why it does not serve", func() error {
		code, body, err := get(n.monitorURL("/healthz"))
		if err != nil || code != 503 || !contains(string(body), words...) {
			return fmt.Errorf("it answers %d %q, %v; want 503 with %q", code, body, err, words)
		}
		return nil
	})
}

// wantMetric expects that the node's metrics come to have a line.
func (n *node) wantMetric(t *testing.T, line string) {
	t.Helper()
	eventually(t, readyLimit, n.name+": a line of /metrics is missing", func() error {
		_, body, err := get(n.monitorURL("/metrics"))
		if err != nil || !strings.Contains("\n"+string(body), "\n"+line+"\n") {
			return fmt.Errorf("no line %q: %v\n%s", line, err, body)
		}
		return nil
	})
}

// TestLostMajorityWaits is what an operator sees who chose to be asked
// (when_majority_lost = "wait"), in the order that loses most:
//
//  1. Of three nodes the first starts alone, then the others; five messages.
//  2. n3 is off. Five more messages are acknowledged by n1 and n2.
//  3. n2 loses its memory. n1 has everything, and is one voter of three.
//  4. n1 loses its memory as well. Two blank stores are a majority and begin
//     nothing.
//  5. n3 comes back, with the first five messages. It is asked for the go-ahead,
//     on every node.
//  6. The operator gives it: n1 says that n3 is to be asked, n3 says what is lost
//     and founds. Every node tells of the loss, for ever.
func TestLostMajorityWaits(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s, a := tale{t: t}, newAlbum(t, "lost-majority.txt")
	c := newCluster(t, 3)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	orders := &channel{name: "ORDERS", subject: "orders"}

	s.step(1, "n1 starts alone, then the others")
	n1.start(t)
	a.show("n1 starts alone", n1, "first start", "n2", "n3")
	n1.wantUnwell(t, "not serving", "missing: n2", "start n2 and n3")
	n1.wantMetric(t, `holdfast_member_connected{member="n2"} 0`)
	n2.start(t)
	n3.start(t)
	c.waitFormed(t)
	a.show("formed", n1, "leader")
	n1.wantMetric(t, `holdfast_member_votes{member="n2"} 1`)
	orders.create(t, n1, "a", 5)
	c.waitStored(t)

	s.step(2, "n3 is off")
	n3.kill(t)
	orders.publish(t, n2, numbered("b", 5)...)
	a.show("n3 is off", n1, "gone")
	n1.wantMetric(t, `holdfast_member_connected{member="n3"} 0`)
	n1.wantMetric(t, `holdfast_member_votes{member="n3"} 1`)

	s.step(3, "n2 loses its memory")
	n2.kill(t)
	a.show("n1 alone", n1, "NOT SERVING", "missing: n2", "and n3")
	n2.wipe(t)
	n2.start(t)
	a.show("n1 is one voter of three", n1, "n2 has lost the store that voted; missing: n3", "the store is blank; nobody leads")

	s.step(4, "n1 loses its memory")
	n1.kill(t)
	n1.wipe(t)
	n1.start(t)
	a.show("two are blank, the third is off", n1, "missing: n3", "missing: n3")

	s.step(5, "n3 comes back")
	n3.start(t)
	const lost = "the memory of a majority is lost (n1 and n2)"
	a.show("a majority's memory is lost", n3, lost, lost, lost)
	for _, n := range c.nodes {
		n.says(t, 15*time.Second, "level=WARN", "memory of a majority is lost", "run `holdfast found` on n3")
		n.wantUnwell(t, "memory of a majority is lost", "run `holdfast found` on n3")
	}

	s.step(6, "the operator gives the go-ahead")
	a.add("found on n1", n1.orders(t, exitFailed, "found"))
	a.add("found on n3", n3.orders(t, 0, "found"))
	c.waitFormed(t)
	a.show("on with what n3 held", n1, "leader is n3")
	for _, n := range c.nodes {
		n.wantMetric(t, "holdfast_lossy_foundings 1")
	}
	orders.messages = orders.messages[:5]
	orders.publish(t, n1, "on")
	orders.verify(t, c.nodes...)
	c.wantCalm(t)
	a.end()
}

// TestMajorityDamaged spoils the files of two nodes of three, then of all, where
// nothing goes on by itself:
//
//  1. Three nodes with messages; two are stopped and their files cut short.
//  2. They start, set the damaged stores aside and wait: for them it is no first
//     start. The third tells what to do.
//  3. The operator goes on with what the third holds.
//  4. The operator removes what was set aside on n2.
//  5. All three files are cut short. The cluster does not go on empty by itself.
//  6. The operator begins anew. The new epoch is above those that were set aside.
func TestMajorityDamaged(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s, a := tale{t: t}, newAlbum(t, "majority-damaged.txt")
	c := newCluster(t, 3)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	damage := func(nodes ...*node) {
		t.Helper()
		for _, n := range nodes {
			n.kill(t)
			cutShort(t, n.storeFiles(t, false)[0])
		}
		// A leader that does not miss them yet would offer them its log.
		for _, n := range c.others(nodes...) {
			eventually(t, readyLimit, n.name+" goes on alone", func() error {
				if status, err := n.status(); err != nil || status.Leader != "" {
					return fmt.Errorf("it says that %q leads, %v", status.Leader, err)
				}
				return nil
			})
		}
		for _, n := range nodes {
			n.start(t)
		}
	}

	s.step(1, "n2 and n3 are damaged")
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitFormed(t)
	ledger := newLedger()
	client := newClient(t, n1)
	client.create(jetstream.StreamConfig{Replicas: 3})
	fill(t, client, ledger, 200)
	c.waitStored(t)
	before := n2.mustStatus(t)
	damage(n2, n3)

	s.step(2, "they wait")
	const lost = "the memory of a majority is lost"
	a.show("n2 and n3 are damaged, n1 says", n1, lost, lost, lost)
	a.show("n2 and n3 are damaged, n2 says", n2, lost, lost, lost)
	n2.says(t, time.Second, "level=ERROR", "store set aside", before.Store)
	n2.wantMetric(t, "holdfast_quarantined_stores 1")

	s.step(3, "the operator goes on with what n1 holds")
	a.add("found on n1", n1.orders(t, 0, "found"))
	c.waitFormed(t)
	ledger.verify(t, n2, client.stream)

	s.step(4, "the operator removes what was set aside")
	a.add("discard on n2", n2.orders(t, 0, "discard", before.Store))
	if left := n2.storeFiles(t, true); len(left) > 0 {
		t.Errorf("%q are still set aside", left)
	}
	a.add("discard of a store in use", n2.orders(t, exitFailed, "discard", n2.mustStatus(t).Store))
	a.add("discard of what is nowhere", n2.orders(t, exitFailed, "discard", "store-17"))
	n2.says(t, time.Second, "an operator removed a store", before.Store)

	s.step(5, "all are damaged")
	damage(c.nodes...)
	a.show("all are damaged", n1, lost, lost, lost)

	s.step(6, "the operator begins anew")
	a.add("found on n1, which is blank", n1.orders(t, 0, "found"))
	c.waitFormed(t)
	a.show("a new cluster", n3, "nothing is kept")
	if epoch := n1.mustStatus(t).Epoch; epoch <= 2 {
		t.Errorf("the new epoch is %d, 2 was set aside", epoch)
	}
	c.wantCalm(t)
	a.end()
}

// TestTwoLineages is an override that was wrong:
//
//  1. Three nodes, five messages. n3 is off, five more are acknowledged; then n1
//     and n2 are off.
//  2. n3 starts. An operator takes the others for gone: first for one, which is
//     refused, then for both.
//  3. The new lineage is closed to writes, and says for whom it waits.
//  4. n1 and n2 come back with their memory. All three raise an alarm; their
//     lineage takes writes, that of n3 does not; neither outbids the other.
//  5. All are restarted; the alarms are back.
//  6. The operator gives up the store of n3: on another node that is refused. The
//     cluster is whole, in the lineage of n1 and n2, with everything.
func TestTwoLineages(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s, a := tale{t: t}, newAlbum(t, "two-lineages.txt")
	c := newCluster(t, 3)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	orders := &channel{name: "ORDERS", subject: "orders"}

	s.step(1, "n3 misses five messages, then the others are off")
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitFormed(t)
	orders.create(t, n1, "a", 5)
	c.waitStored(t)
	n3.kill(t)
	orders.publish(t, n1, numbered("b", 5)...)
	n1.kill(t)
	n2.kill(t)

	s.step(2, "an operator takes them for gone")
	n3.start(t)
	a.show("n3 alone", n3, "missing: n1")
	a.add("found without n1", n3.orders(t, exitFailed, "found", "--without", "n1"))
	a.add("found without a stranger", n3.orders(t, exitFailed, "found", "--without", "n1,n7"))
	a.add("found without n1 and n2", n3.orders(t, 0, "found", "--without", "n1,n2"))

	s.step(3, "closed to writes")
	a.show("n3 is founded alone", n3, "closed to writes")
	n3.wantUnwell(t, "closed to writes", "start n1 and n2")
	alone := n3.mustStatus(t)

	s.step(4, "n1 and n2 come back")
	n1.start(t)
	n2.start(t)
	c.waitRivals(t)
	orders.publish(t, n2, "c1", "c2", "c3")
	a.show("two lineages, n1 says", n1, "n1 leads", "n1           alarmed", "n2           alarmed", "which n3 leads: n1 leads", "n3           alarmed")
	a.show("two lineages, n3 says", n3, "two lineages are live: n3 leads", "n1 leads", "n1           alarmed", "n2           alarmed", "which n3 leads: n1 leads", "n3           alarmed")
	n3.wantUnwell(t, "two lineages are live")
	n3.wantMetric(t, "holdfast_alarms 1")
	check(t, "epoch of n1", n1.mustStatus(t).Epoch, alone.Epoch-1)
	check(t, "epoch of n3", n3.mustStatus(t).Epoch, alone.Epoch)

	s.step(5, "all are restarted")
	for _, n := range c.nodes {
		n.kill(t)
		n.start(t)
	}
	c.waitRivals(t)
	orders.publish(t, n1, "d1")

	s.step(6, "the operator gives up the store of n3")
	a.add("discard on another node", n2.orders(t, exitFailed, "discard", alone.Store))
	n3.orders(t, 0, "discard", alone.Store)
	c.waitFormed(t)
	a.show("whole again", n3, "the leader is", "n1           voter", "n2           voter", "n3           voter", "set aside")
	orders.publish(t, n3, "e1")
	orders.verify(t, c.nodes...)
	c.wantCalm(t)
	a.end()
}

// waitRivals waits until n1 leads where writes are taken, and it and n3, which
// leads the other lineage, say the same of each other.
func (c *cluster) waitRivals(t *testing.T) {
	t.Helper()
	n1, n3 := c.node("n1"), c.node("n3")
	eventually(t, readyLimit, "there are no two lineages with an alarm on each node", func() error {
		for _, n := range c.nodes {
			s, err := n.status()
			switch {
			case err != nil:
				return err
			case n != n3 && !s.Serving:
				return fmt.Errorf("%s does not serve", n.name)
			case n == n1 && s.Leader == "n2":
				newClient(t, n).api("STREAM.LEADER.STEPDOWN.ORDERS", `{"placement":{"preferred":"n1"}}`)
				return errors.New("n2 leads")
			case len(s.Alarms) != 1:
				return fmt.Errorf("%s: alarms %q", n.name, s.Alarms)
			}
		}
		return nil
	})
	for _, n := range []*node{n1, n3} {
		n.says(t, readyLimit, "level=ERROR", "two lineages are live", "closed to writes, 1 of 3 members vote in it")
	}
}
