package jetstream

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"holdfast/node/machine"
)

// hall is a node with the doors of two accounts on one log.
type hall struct {
	*fixture
	other *fixture // of account B: it shares machine and log
}

func newHall(t testing.TB, change ...func(*Options)) *hall {
	queue := &Queue{}
	h := &hall{fixture: newFixture(t, append(change, func(o *Options) { o.Queue = queue })...)}
	h.other = newFixture(t, append(change, func(o *Options) {
		o.Queue, o.Account, o.Machine, o.Node, o.Random = queue, "B", h.machine, h.node, rand.New(rand.NewPCG(3, 4))
	})...)
	h.other.machine, h.other.node = h.machine, h.node
	return h
}

// run lets everything happen that can without time passing.
func (h *hall) run() {
	for {
		h.door.Flush()
		h.other.door.Flush()
		if h.machine.Applied() == uint64(len(h.node.entries)) && len(h.node.barriers) == 0 {
			return
		}
		for h.machine.Applied() < uint64(len(h.node.entries)) {
			index := h.machine.Applied() + 1
			if err := h.machine.Apply(index, h.node.entries[index-1], &h.results); err != nil {
				h.Fatal(err)
			}
			h.door.Applied(index, &h.results)
			h.other.door.Applied(index, &h.results)
		}
		contexts := h.node.barriers
		h.node.barriers = nil
		for _, context := range contexts { // both count from 1, and take what is theirs
			h.door.Barriered(context, true)
			h.other.door.Barriered(context, true)
		}
	}
}

// Streams of the same name and subjects in two accounts have nothing to do with
// each other.
func TestAccountsAreApart(t *testing.T) {
	h := newHall(t)
	both := []*fixture{h.fixture, h.other}
	for _, f := range both {
		f.send(apiPrefix+"STREAM.CREATE.S", "created", "", `{"name":"S","subjects":["s.>"],"storage":"file","retention":"limits","discard":"old"}`)
	}
	h.run()
	for i, f := range both {
		if got := f.take("created"); len(got) != 1 || !strings.Contains(got[0].payload, `"did_create":true`) {
			t.Fatalf("account %d: stream created: %q", i, got)
		}
	}
	h.other.send("s.x", "acked", "", "for B")
	h.run()
	if got := h.other.take("acked"); len(got) != 1 || !strings.Contains(got[0].payload, `"seq":1`) {
		t.Errorf("PubAck in B: %q", got)
	}
	for i, want := range []uint64{0, 1} {
		if got := h.machine.Account([]string{machine.DefaultAccount, "B"}[i]).Stream("S").State().Msgs; got != want {
			t.Errorf("account %d has %d messages, want %d", i, got, want)
		}
	}
	h.send(apiPrefix+"INFO", "info", "", "")
	h.other.send(apiPrefix+"STREAM.DELETE.S", "deleted", "", "")
	h.run()
	if got := h.take("info"); len(got) != 1 || !strings.Contains(got[0].payload, `"streams":1`) {
		t.Errorf("info of the default account: %q", got)
	}
	if h.machine.Stream("S") == nil || h.machine.Account("B").Stream("S") != nil {
		t.Error("the stream of B was deleted: the one of the default account is to stay, that of B to be gone")
	}
}

// Batches of two doors, closed in any order and with the pipeline full, get into
// the log in the order of their stamps: everybody is answered.
func TestBatchesOfTwoDoorsKeepTheirStamps(t *testing.T) {
	const messages = 40
	h := newHall(t, func(o *Options) { o.MaxInFlight = 1 })
	both := []*fixture{h.fixture, h.other}
	for _, f := range both {
		f.send(apiPrefix+"STREAM.CREATE.S", "", "", `{"name":"S","subjects":["s"],"storage":"file","retention":"limits","discard":"old"}`)
	}
	h.run()
	payload := strings.Repeat("x", maxBatchBytes/2)
	for i := range messages { // every second one closes a batch
		both[i/3%2].send("s", fmt.Sprint("ack.", i), "", payload)
	}
	h.run()
	for i := range messages {
		if got := both[i/3%2].take(fmt.Sprint("ack.", i)); len(got) != 1 || strings.Contains(got[0].payload, "error") {
			t.Fatalf("message %d: answers %q, want one PubAck", i, got)
		}
	}
}

// A door that follows takes its batches with it; the other goes on.
func TestADoorThatFollowsBlocksNobody(t *testing.T) {
	h := newHall(t, func(o *Options) { o.MaxInFlight = 1 })
	for _, f := range []*fixture{h.fixture, h.other} {
		f.send(apiPrefix+"STREAM.CREATE.S", "", "", `{"name":"S","subjects":["s"],"storage":"file","retention":"limits","discard":"old"}`)
	}
	h.run()
	payload := strings.Repeat("x", maxBatchBytes)
	for range 3 {
		h.send("s", "lost", "", payload)
	}
	h.other.send("s", "acked", "", payload)
	h.door.Follow()
	h.run()
	if got := h.other.take("acked"); len(got) != 1 || strings.Contains(got[0].payload, "error") {
		t.Errorf("the publish behind those of a door that follows: %q", got)
	}
	if !h.door.queue.ticks(h.other.door) {
		t.Error("the clock of the log ticks by nobody")
	}
}
