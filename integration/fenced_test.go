package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// question is a request that a client has sent and not got an answer to.
type question struct {
	payload string // of a publish; empty for a request of the stream's info
	answer  *nats.Subscription
	least   uint64 // an info may not show less than this last sequence
}

// ask sends a request and does not wait.
func (c *client) ask(subject, payload string, least uint64) question {
	c.t.Helper()
	inbox := nats.NewInbox()
	answer, err := c.nc.SubscribeSync(inbox)
	if err == nil {
		err = c.nc.PublishRequest(subject, inbox, []byte(payload))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return question{payload: payload, answer: answer, least: least}
}

// judge takes the answer, if there is one within limit. A PubAck goes into the
// ledger, which is held against the stream later; an info must not be stale. It
// reports whether the question was answered with a result.
func (q question) judge(t *testing.T, ledger *ledger, limit time.Duration) bool {
	t.Helper()
	m, err := q.answer.NextMsg(limit)
	if err != nil {
		return false
	}
	var answer struct {
		Sequence uint64          `json:"seq"`
		Error    json.RawMessage `json:"error"`
		State    *struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if len(m.Data) == 0 || json.Unmarshal(m.Data, &answer) != nil || answer.Error != nil {
		return false
	}
	if q.payload != "" {
		ledger.record(q.payload, &jetstream.PubAck{Sequence: answer.Sequence}, nil)
		return true
	}
	if answer.State == nil || answer.State.LastSeq < q.least {
		t.Errorf("an info that was asked for after message %d was acknowledged says: %s", q.least, m.Data)
	}
	return true
}

// TestPausedAcrossAnElection is about a leader that stands still and does not
// know it, as a machine does that is suspended or out of memory:
//
//  1. Three nodes, clients of all of them, one leads.
//  2. The leader's process is stopped in the middle of its work (SIGSTOP), and
//     what the others say from now on does not get as far as its sockets.
//  3. The others elect another leader and go on; messages are acknowledged.
//  4. Clients of the old leader, which know nothing, publish and ask for the
//     stream's info. All that waits in its sockets.
//  5. The process goes on (SIGCONT), with the belief that it leads, and nobody
//     corrects it yet. It acknowledges nothing, and tells nothing of the stream.
//  6. The others reach it. Whatever its clients are told now comes from the new
//     leader: it is in the stream, and an info is not older than the question.
//  7. It says that it leads no more, and why. The cluster is whole, and nothing
//     that was acknowledged by anybody is lost.
func TestPausedAcrossAnElection(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	s.step(1, "three nodes")
	c := newCluster(t, 3)
	network := newNetwork(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	old := c.waitFormed(t)
	others := c.others(old)
	unaware, through := newClient(t, old), newClient(t, others[0])
	stream := through.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	load, ctx := startLoad(t, ledger)
	for _, n := range c.nodes {
		load.publishers(t, ctx, n.connect(t), 1, through.subject("load"), time.Second)
	}
	time.Sleep(200 * time.Millisecond)

	s.step(2, "%s stands still", old.name)
	seen := old.logSize(t)
	old.pause(t)
	network.isolate(old)
	s.step(3, "the others go on")
	var last uint64
	for i := 0; i < 20; {
		payload := fmt.Sprintf("meanwhile-%d", i)
		call, cancel := context.WithTimeout(through.ctx, 300*time.Millisecond)
		ack, err := through.js.Publish(call, through.subject("a"), []byte(payload), jetstream.WithMsgID(payload))
		cancel()
		if err == nil {
			ledger.record(payload, ack, nil)
			last = ack.Sequence
			i++
		}
	}
	s.step(4, "clients of %s do not know", old.name)
	var questions []question
	for i := range 50 {
		questions = append(questions,
			unaware.ask(through.subject("b"), fmt.Sprintf("unaware-%d", i), 0),
			unaware.ask("$JS.API.STREAM.INFO."+through.stream, "", last))
	}
	if err := unaware.nc.FlushTimeout(100 * time.Millisecond); err == nil {
		t.Errorf("%s answers although it stands still", old.name)
	}
	s.step(5, "%s goes on, and nobody corrects it", old.name)
	old.resume(t)
	old.says(t, callLimit, "not leading any more")
	for _, q := range questions {
		if q.judge(t, ledger, time.Millisecond) {
			t.Errorf("%s, alone, gave a result to the request of %q", old.name, q.payload)
		}
	}
	s.step(6, "the others reach it")
	network.rejoin(old)
	load.finish()
	leader := c.waitFormed(t)
	for _, q := range questions {
		q.judge(t, ledger, time.Millisecond)
	}
	s.step(7, "the cluster is whole")
	if leader == old {
		t.Errorf("%s leads: there was no election", old.name)
	}
	t.Logf("%s says:\n%s", old.name, old.logSince(t, seen))
	for _, n := range c.nodes {
		ledger.verify(t, n, through.stream)
	}
	through.info(stream)
	c.wantCalm(t)
}

// TestSuccessorWithACopiedStore is a machine that is taken for dead, restored
// elsewhere from a copy of its disk, and wakes up again: two live processes with
// the name and the store of one member.
//
//  1. Three nodes. The leader's machine freezes (SIGSTOP).
//  2. Its store is copied, and a successor starts on the copy; the member's
//     address leads there from now on. It is let in: it is the newer process on
//     that store.
//  3. The three work without the old process; messages are acknowledged.
//  4. Clients of the old process publish; the bytes wait in its sockets.
//  5. The old process wakes up, with the belief that it leads. It is refused by
//     name: its store was seen with a later start. It sets that store aside, is
//     refused again because a live process has its name, and ends with the exit
//     code that systemd does not answer with another start.
//  6. It acknowledged nothing. Nobody else was disturbed, nothing is lost.
func TestSuccessorWithACopiedStore(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	c := newCluster(t, 3)
	network := newNetwork(t, c)
	s.step(1, "the leader freezes")
	for _, n := range c.nodes {
		n.start(t)
	}
	old := c.waitFormed(t)
	others := c.others(old)
	through, unaware := newClient(t, others[0]), newClient(t, old)
	through.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	fill(t, through, ledger, 200)
	c.waitStored(t)
	before := old.mustStatus(t)
	old.pause(t)

	s.step(2, "a successor starts on a copy of its store")
	successor := &node{name: old.name, at: freeAddress(t), folder: old.folder + "-successor"}
	successor.at.mesh, successor.at.routes = old.at.mesh, old.at.routes
	if err := os.CopyFS(successor.folder, os.DirFS(old.folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(successor.log()); err != nil {
		t.Fatal(err)
	}
	c.replace(old, successor)
	successor.configure(t, c)
	network.redirect(old.name, successor.at)
	network.attach(t, successor)
	successor.start(t)
	c.waitFormed(t)
	check(t, "store of the successor", successor.mustStatus(t).Store, before.Store)

	s.step(3, "the three work")
	fill(t, through, ledger, 200)
	s.step(4, "clients of the old process publish")
	var questions []question
	for i := range 50 {
		questions = append(questions, unaware.ask(through.subject("b"), fmt.Sprintf("unaware-%d", i), 0))
	}
	unaware.nc.FlushTimeout(100 * time.Millisecond)

	s.step(5, "the old process wakes up")
	seen := old.logSize(t)
	old.process.told = true // it is expected to end
	old.resume(t)
	old.waitExit(t, 30*time.Second)
	check(t, "exit code of the old process", old.process.exitCode(), exitRefused)
	said := old.logSince(t, seen)
	t.Logf("%s says:\n%s", old.name, said)
	for _, words := range [][]string{
		{"regressed store", before.Store},
		{"store set aside"},
		{"holdfast: refused", "duplicate name", "another live process"},
	} {
		if !contains(said, words...) {
			t.Errorf("the old process does not say %q", words)
		}
	}
	if kept := old.storeFiles(t, true); len(kept) == 0 {
		t.Error("the old store is not set aside")
	}

	s.step(6, "nothing is lost, nobody was disturbed")
	acknowledged := 0
	for _, q := range questions {
		if q.judge(t, ledger, time.Millisecond) {
			acknowledged++
		}
	}
	t.Logf("%d publishes through the old process were acknowledged, by the leader that it could still reach", acknowledged)
	c.waitFormed(t)
	check(t, "store of the successor", successor.mustStatus(t).Store, before.Store)
	for _, n := range c.nodes {
		ledger.verify(t, n, through.stream)
	}
	c.wantCalm(t)
}

// TestRolledBackStore puts an old copy of a disk in the place of the one that a
// member has worked with since, as somebody does who restores a machine from a
// backup:
//
//  1. Three nodes with messages. A follower is stopped; its store is copied.
//  2. It starts again and takes part: its store has promises to keep that the copy
//     knows nothing of.
//  3. It is killed, and started on the copy. The others have seen that store with
//     as many starts, in another process: it is refused by name.
//  4. It sets the copy aside, and joins again as somebody new. Nothing is lost,
//     nobody else was disturbed, and no operator was needed.
func TestRolledBackStore(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	s.step(1, "a follower is stopped, its store is copied")
	c := startCluster(t, 3)
	back := c.others(c.waitFormed(t))[0]
	client := newClient(t, c.others(back)[0])
	client.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	fill(t, client, ledger, 100)
	c.waitStored(t)
	before := back.mustStatus(t)
	back.stop(t)
	backup := back.path("backup")
	if err := os.CopyFS(backup, os.DirFS(back.store())); err != nil {
		t.Fatal(err)
	}

	s.step(2, "it takes part again")
	back.start(t)
	fill(t, client, ledger, 100)
	c.waitStored(t)
	check(t, "its store", back.mustStatus(t).Store, before.Store)

	s.step(3, "it is started on the copy")
	back.goesOnWith(t, backup)

	s.step(4, "it joins again as somebody new")
	c.wantFresh(t, back, before, client, ledger, "boot counter", "rolled back")
}

// TestSnapshotOfAWorkingNode puts a copy of a disk in place that was made while
// its member worked, as a snapshot of a virtual machine is:
//
//  1. Three nodes with messages. The store of a follower is copied while its
//     process is held up for a moment.
//  2. It works on. Another one leads, in a later term, and there are more messages.
//  3. It is killed, and started on the copy. It starts for the second time only:
//     its boot counter is higher than any that the others have seen. But they have
//     heard of a later term, and of more entries, than it has.
//  4. It sets the copy aside, and joins again as somebody new, as above.
func TestSnapshotOfAWorkingNode(t *testing.T) {
	requireHoldfast(t)
	t.Parallel()
	s := tale{t: t}
	s.step(1, "a working follower's store is copied")
	c := startCluster(t, 3)
	leader := c.waitFormed(t)
	followers := c.others(leader)
	back := followers[0]
	client := newClient(t, followers[1])
	client.create(jetstream.StreamConfig{Replicas: 3})
	ledger := newLedger()
	fill(t, client, ledger, 100)
	c.waitStored(t)
	before := back.mustStatus(t)
	back.pause(t)
	backup := back.path("backup")
	err := os.CopyFS(backup, os.DirFS(back.store()))
	back.resume(t)
	if err != nil {
		t.Fatal(err)
	}

	s.step(2, "another one leads, and there are more messages")
	leader.kill(t)
	c.waitReady(t)
	leader.start(t)
	c.waitFormed(t)
	fill(t, client, ledger, 100)
	c.waitStored(t)
	if now := back.mustStatus(t); now.Store != before.Store || now.Term <= before.Term {
		t.Fatalf("store %s in term %d after %s in term %d", now.Store, now.Term, before.Store, before.Term)
	}

	s.step(3, "it is started on the copy")
	back.goesOnWith(t, backup)

	s.step(4, "it joins again as somebody new")
	c.wantFresh(t, back, before, client, ledger, "older state of this store was put back", "remembers more of it")
}

// goesOnWith kills a node and starts it on a copy of its store.
func (n *node) goesOnWith(t *testing.T, backup string) {
	n.kill(t)
	n.wipe(t)
	if err := os.Rename(backup, n.store()); err != nil {
		t.Fatal(err)
	}
	n.start(t)
}

// wantFresh wants a node to give up the copy on which it started, to say so in
// words, and to have everything again under another identity.
func (c *cluster) wantFresh(t *testing.T, back *node, before status, client *client, ledger *ledger, words ...string) {
	t.Helper()
	eventually(t, readyLimit, back.name+" goes on with the copy", func() error {
		if now, err := back.status(); err != nil || now.Store == before.Store {
			return fmt.Errorf("store %s, %v", now.Store, err)
		}
		return nil
	})
	c.waitFormed(t)
	if said := back.logSince(t, 0); !contains(said, append(words, "level=ERROR", "store set aside", before.Store)...) {
		t.Errorf("%s does not say why it gave up its store:\n%s", back.name, said)
	}
	if kept := back.storeFiles(t, true); len(kept) != 1 {
		t.Errorf("set aside are %q, want the copy", kept)
	}
	for _, n := range c.nodes {
		ledger.verify(t, n, client.stream)
	}
	c.wantCalm(t)
}

// replace puts another process in the place of a member's. The old one ends with
// the test.
func (c *cluster) replace(old, successor *node) {
	for i, n := range c.nodes {
		if n == old {
			c.nodes[i] = successor
		}
	}
	c.retired = append(c.retired, old)
}
