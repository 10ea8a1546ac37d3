package transport

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestStrangersAreRefusedByName(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 77, plain)
	for _, c := range []struct {
		change func(*hello)
		reason Reason
		text   string
	}{
		{func(h *hello) { h.cluster = "village" }, ReasonCluster, `"village"`},
		{func(h *hello) { h.from = "n7" }, ReasonUnknown, `"n7"`},
		{func(h *hello) { h.to = "n2" }, ReasonAddress, `wanted "n2"`},
		{func(h *hello) { h.members[0]++ }, ReasonMembers, "member list"},
		{func(h *hello) { h.from = "n1" }, ReasonDuplicate, "itself n1"},
		{func(h *hello) { h.from, h.incarnation = "n1", 77 }, ReasonAddress, "reached itself"},
	} {
		h := w.hello("n2", "n1", 1, Presence{Store: 2, Boot: 1})
		c.change(&h)
		answer := knock(t, n1.Addr().String()).say(t, h)
		refused, err := decodeRefusal(answer.body, h.from)
		if answer.kind != kindRefused || err != nil {
			t.Errorf("%s: answer of kind %#x, %v", c.reason, answer.kind, err)
			continue
		}
		if refused.Reason != c.reason || refused.By != "n1" || !strings.Contains(refused.Detail, c.text) {
			t.Errorf("want %s with %q, got %v", c.reason, c.text, refused)
		}
		n1.awaitRefusal(h.from, c.reason)
	}
}

func TestOtherVersionIsRefusedByNumber(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 1, plain)
	s := knock(t, n1.Addr().String())
	if _, err := s.Write([]byte(preamble + "\x00\x63 whatever that version says")); err != nil {
		t.Fatal(err)
	}
	answer, err := readOpening(s.stream)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := decodeRefusal(answer.body, "?")
	if err != nil || refused.Reason != ReasonVersion || !strings.Contains(refused.Detail, "protocol 99") {
		t.Errorf("answer: %v, %v", refused, err)
	}
}

func TestDiallerHearsOfAnotherVersion(t *testing.T) {
	w := newTown(t, "n1", "n2")
	listener, err := net.Listen("tcp", w.address("n2"))
	if err != nil {
		t.Fatal(err)
	}
	n1 := w.start("n1", 1, plain)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	listener.Close()
	if _, err := io.WriteString(conn, preamble+"\x00\x63 and more"); err != nil {
		t.Fatal(err)
	}
	n1.awaitRefusal("n1", ReasonVersion)
}

func TestGarbageIsDropped(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	n1 := w.start("n1", 1, plain)
	w.start("n2", 1, plain)
	n1.awaitUp("n2", 1)
	garbage := []string{
		"GET / HTTP/1.1\r\nHost: n1\r\n\r\n",
		strings.Repeat("\x00", 64),
		strings.Repeat("\xFF", 1<<16),
		preamble + "\x00\x01\xFF\xFF\xFF\xFF\xF0aaaabbbb",
		string(appendOpening(nil, kindHello, []byte("no hello"))),
		string(appendOpening(nil, 3, nil)),
	}
	for _, bytes := range garbage {
		s := knock(t, n1.Addr().String())
		_, _ = io.WriteString(s, bytes) // the other end may hang up meanwhile
		s.awaitEnd(t)
	}
	// A member that goes mad after its hello loses its connection alone.
	s := knock(t, n1.Addr().String())
	if answer := s.say(t, w.hello("n3", "n1", 1, Presence{Store: 3, Boot: 1})); answer.kind != kindWelcome {
		t.Fatalf("answer of kind %#x", answer.kind)
	}
	_, _ = io.WriteString(s, garbage[2])
	s.awaitEnd(t)
	n1.awaitUp("n2", 1)
}

// Connections that say nothing do not keep a member out.
func TestSilentConnectionsGiveWay(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 1)
	var first *stranger
	for i := range 3 * maxStrangers {
		s := knock(t, n1.Addr().String())
		if i == 0 {
			first = s
		}
	}
	first.awaitEnd(t)
	w.start("n2", 1)
	n1.awaitUp("n2", 1)
}

// The process that n1 is connected with crashed without a word, and its
// successor comes while n1 still takes the corpse for alive.
func TestNewerIncarnationReplacesTheOlder(t *testing.T) {
	for _, c := range []struct {
		name      string
		successor Presence
	}{
		{"same store, next boot", Presence{Store: 2, Boot: 2}},
		{"memory lost: another store", Presence{Store: 99, Boot: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t, "n1", "n2")
			n1 := w.start("n1", 1, plain, func(o *Options) { o.heartbeat = 100 * time.Millisecond })
			corpse := knock(t, n1.Addr().String())
			if answer := corpse.say(t, w.hello("n2", "n1", 1, Presence{Store: 2, Boot: 1})); answer.kind != kindWelcome {
				t.Fatalf("answer of kind %#x", answer.kind)
			}
			w.start("n2", 2, plain, withPresence(c.successor.Store, c.successor.Boot))
			n1.awaitUp("n2", 2)
			corpse.awaitEnd(t)
		})
	}
}

// During start-up: the older process has a connection in each direction, the
// newer one comes; then the older one, which still lives, tries again.
func TestZombieIsRefusedAndTold(t *testing.T) {
	w := newTown(t, "n1", "n2")
	zombie := w.start("n2", 1)
	n1 := w.start("n1", 1)
	n1.awaitUp("n2", 1)
	newer := w.start("n2", 2, elsewhere) // same store, next boot, while the old process lives
	zombie.awaitRefusal("n2", ReasonRegressed)
	n1.awaitRefusal("n2", ReasonRegressed)
	zombie.Close()
	newer.Close()
	w.start("n2", 3)
	n1.awaitUp("n2", 3)
}

func TestCopyOfAStoreIsRefused(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 1)
	n2 := w.start("n2", 1)
	n1.awaitUp("n2", 1)
	n2.Close()
	n1.awaitDown("n2")
	rolledBack := w.start("n2", 2, withPresence(2, 1)) // the same boot in another process
	rolledBack.awaitRefusal("n2", ReasonRegressed)
	rolledBack.Close()
	w.start("n2", 3, withPresence(2, 2))
	n1.awaitUp("n2", 3)
}

func TestLiveNamesakeIsRefused(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 1)
	n2 := w.start("n2", 1)
	n1.awaitUp("n2", 1)
	namesake := w.start("n2", 2, elsewhere, withPresence(99, 1))
	namesake.awaitRefusal("n2", ReasonDuplicate)
	if links := n1.links("n2"); links != 1 {
		t.Errorf("the namesake disturbed the link: up %d times", links)
	}
	n2.Close() // now the name is free
	n1.awaitDown("n2")
}

func TestOvertakenDialIsDropped(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 1, plain)
	h := w.hello("n2", "n1", 5, Presence{Store: 2, Boot: 1})
	h.attempt = 2
	current := knock(t, n1.Addr().String())
	if answer := current.say(t, h); answer.kind != kindWelcome {
		t.Fatalf("answer of kind %#x", answer.kind)
	}
	h.attempt = 1
	late := knock(t, n1.Addr().String())
	if _, err := late.Write(appendOpening(nil, kindHello, appendHello(nil, h))); err != nil {
		t.Fatal(err)
	}
	late.awaitEnd(t)
	h.attempt = 3
	if answer := knock(t, n1.Addr().String()).say(t, h); answer.kind != kindWelcome {
		t.Errorf("the newest dial is answered with kind %#x", answer.kind)
	}
	current.awaitEnd(t)
}

// The other end may know a moment earlier that the link is up, and send.
func TestFrameBeforeTheLinkIsUpIsNotLost(t *testing.T) {
	w := newTown(t, "n1", "n2")
	n1 := w.start("n1", 1, plain)
	h := w.hello("n2", "n1", 5, Presence{Store: 2, Boot: 1})
	n2 := knock(t, n1.Addr().String())
	if answer := n2.say(t, h); answer.kind != kindWelcome {
		t.Fatalf("answer of kind %#x", answer.kind)
	}
	if _, err := n2.Write(appendFrame(nil, frame{kind: 4, body: []byte("early")})); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", w.address("n2"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	if _, err := dialled.Write(appendOpening(nil, kindWelcome, appendHello(nil, h))); err != nil {
		t.Fatal(err)
	}
	n1.awaitUp("n2", 5)
	n1.await("the early frame", func() bool { return len(n1.frames["n2"]) == 1 })
}
