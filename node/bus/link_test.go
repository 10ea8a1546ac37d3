package bus

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ackOf is an ack subject as JetStream makes them, for a message on subject.
func ackOf(subject string) string {
	return "$JS.ACK.ORDERS.worker.1.7.3.1700000000000000000.0@" + subject
}

func TestRequestsOfTheJetStreamAPIReachTheLink(t *testing.T) {
	n := single(t)
	n.link.Subscribe("$JS.API.INFO", "")
	n.settle()
	nc := n.client()
	if err := nc.PublishRequest("$JS.API.INFO", "_INBOX.a", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, want := n.next(), (event{subject: "$JS.API.INFO", reply: "_INBOX.a", payload: "{}"}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestHeadersAreKeptBothWays(t *testing.T) {
	n := single(t)
	n.link.Subscribe("orders.*", "ingest")
	n.settle()
	nc := n.client()
	sub, err := nc.SubscribeSync("answers")
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg("orders.new")
	m.Header.Set("Nats-Msg-Id", "17")
	m.Data = []byte("body")
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	got := n.next()
	if want := "NATS/1.0\r\nNats-Msg-Id: 17\r\n\r\n"; got.header != want || got.payload != "body" || got.reply != "" {
		t.Fatalf("got %+v", got)
	}
	n.link.Publish([]byte("answers"), nil, []byte(got.header), []byte("other"))
	n.link.Flush()
	back, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if back.Header.Get("Nats-Msg-Id") != "17" || string(back.Data) != "other" {
		t.Fatalf("got %+v", back)
	}
}

func TestADeliveryShowsTheSubjectOfTheStream(t *testing.T) {
	nodes := clustered(t)
	for i, at := range nodes {
		t.Run(fmt.Sprintf("client on server %d", i+1), func(t *testing.T) {
			nc := at.client()
			to := fmt.Sprintf("_INBOX.pull.%d", i)
			sub, err := nc.SubscribeSync(to)
			if err != nil {
				t.Fatal(err)
			}
			nodes[0].interested(to)
			header := []byte("NATS/1.0\r\nX: y\r\n\r\n")
			nodes[0].link.Deliver([]byte(to), []byte(ackOf("orders.new")), header, []byte("one"))
			nodes[0].link.Deliver([]byte(to), []byte(ackOf("orders.a@b")), nil, nil)
			nodes[0].link.Flush()
			for _, want := range []struct{ subject, data, x string }{{"orders.new", "one", "y"}, {"orders.a@b", "", ""}} {
				m, err := sub.NextMsg(patience)
				if err != nil {
					t.Fatal(err)
				}
				reply, _, _ := strings.Cut(ackOf(""), "@")
				if m.Subject != want.subject || m.Reply != reply || string(m.Data) != want.data || m.Header.Get("X") != want.x {
					t.Fatalf("got %q reply %q data %q header %v", m.Subject, m.Reply, m.Data, m.Header)
				}
			}
		})
	}
}

func TestAcksComeBackFromAnyServer(t *testing.T) {
	nodes := clustered(t)
	nodes[0].link.Subscribe("$JS.ACK.>", "")
	nodes[0].settle()
	ack, _, _ := strings.Cut(ackOf(""), "@")
	for _, at := range nodes {
		at.interested(ack)
		if err := at.client().Publish(ack, []byte("+ACK")); err != nil {
			t.Fatal(err)
		}
		if got := nodes[0].next(); got.subject != ack || got.payload != "+ACK" {
			t.Fatalf("got %+v", got)
		}
	}
}

func TestWithoutASubscriberThereAreNoResponders(t *testing.T) {
	nodes := clustered(t)
	nc := nodes[2].client()
	if _, err := nc.Request("orders.new", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Fatalf("before anyone subscribes: %v", err)
	}
	nodes[0].link.Subscribe("orders.>", "ingest")
	nodes[0].settle()
	nodes[2].interested("orders.new")
	nodes[0].link.Unsubscribe("orders.>", "ingest")
	nodes[0].settle()
	eventually(t, "no interest", func() bool { return !nodes[2].link.Interest("orders.new") })
	if _, err := nc.Request("orders.new", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Fatalf("after the subscription ended: %v", err)
	}
}

func TestALinkDoesNotHearWhatLinksSay(t *testing.T) {
	nodes := clustered(t)
	for i, n := range nodes {
		n.link.Subscribe(">", "")
		n.link.Subscribe("orders.>", "ingest")
		n.settle()
		n.link.Subscribe(fmt.Sprintf("marker.%d", i), "")
		n.settle()
	}
	for _, n := range nodes {
		for i := range nodes {
			n.interested(fmt.Sprintf("marker.%d", i))
		}
	}
	for _, n := range nodes {
		n.link.Publish([]byte("orders.new"), []byte("_INBOX.x"), nil, []byte("echo"))
		n.settle()
	}
	// A client's message to every link comes behind whatever could have leaked.
	nc := nodes[0].client()
	if err := nc.Publish("end", nil); err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		for {
			e := n.next()
			if e.subject == "end" {
				break
			}
			if e.payload == "echo" {
				t.Fatalf("link %d got %+v", i+1, e)
			}
		}
	}
}

func TestOverlappingSubscriptionsGetAMessageOnce(t *testing.T) {
	n := single(t)
	for _, s := range []string{"orders.new", "orders.*", "orders.>"} {
		n.link.Subscribe(s, "")
		n.link.Subscribe(s, "ingest")
		n.link.Subscribe(s, "other")
	}
	n.settle()
	nc := n.client()
	if err := nc.PublishRequest("orders.new", "_INBOX.r", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("orders.new", []byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	got := n.settle()
	if len(got) != 2 || got[0].reply != "_INBOX.r" || got[0].payload != "x" || got[1].reply != "" || got[1].payload != "y" {
		t.Fatalf("got %+v", got)
	}
}

func TestQueueSubscribersOnAnyServerAreServed(t *testing.T) {
	nodes := clustered(t)
	got := make(chan string, 100)
	for i, n := range nodes {
		for _, pattern := range []string{"push.>", "push.one"} {
			group := fmt.Sprintf("group %s", pattern)
			if _, err := n.client().QueueSubscribe(pattern, strings.ReplaceAll(group, " ", "-"), func(m *nats.Msg) { got <- string(m.Data) + m.Sub.Queue }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.client().Subscribe(fmt.Sprintf("ready.%d", i), func(*nats.Msg) {}); err != nil {
			t.Fatal(err)
		}
	}
	from := nodes[1].link
	eventually(t, "the groups are announced", func() bool {
		return len(bytes.Fields(from.out.groups.match([]byte("push.one"), nil))) == 2
	})
	const count = 20
	for range count {
		from.Deliver([]byte("push.one"), []byte(ackOf("orders.new")), nil, []byte("x "))
	}
	from.Flush()
	groups := map[string]int{}
	for range 2 * count {
		select {
		case g := <-got:
			groups[g]++
		case <-time.After(patience):
			t.Fatalf("only %v arrived", groups)
		}
	}
	if groups["x group-push.>"] != count || groups["x group-push.one"] != count || len(got) != 0 {
		t.Fatalf("got %v", groups)
	}
}

func TestWhatTheServerWouldCutTheLinkForIsDropped(t *testing.T) {
	n := single(t)
	nc := n.client()
	sub, err := nc.SubscribeSync("out.>")
	if err != nil {
		t.Fatal(err)
	}
	n.interested("out.x")
	large := make([]byte, maxOutboundPayload+1)
	long := []byte("out." + strings.Repeat("x", n.link.out.maxLine))
	header := []byte("NATS/1.0\r\n\r\n")
	out := n.link
	out.Publish([]byte("out.toolarge"), nil, nil, large)
	out.Publish(long, nil, nil, nil)
	out.Publish([]byte("out.x"), long, nil, nil)
	out.Publish([]byte("out.a b"), nil, nil, nil)
	out.Publish([]byte("out.a\r\nPING"), nil, nil, nil)
	out.Publish([]byte("out.x"), []byte("a\tb"), nil, nil)
	out.Publish(nil, nil, nil, nil)
	out.Subscribe("bad subject", "")
	out.Subscribe("x", "bad\nqueue")
	out.Publish([]byte("out.large"), nil, header, large[:n.link.MaxPayload()])
	out.Publish([]byte("out.longest"), []byte(strings.Repeat("y", out.out.maxLine-len("out.longest"))), nil, nil)
	out.Flush()
	for _, want := range []string{"out.large", "out.longest"} {
		m, err := sub.NextMsg(patience)
		if err != nil || m.Subject != want {
			t.Fatalf("got %v %v, want %s", m, err, want)
		}
	}
	if s := n.link.Stats(); s.Dropped != 7 || s.Attached != 1 || s.Out != 2 {
		t.Fatalf("stats %+v", s)
	}
}

func TestLargeMessagesArriveWhole(t *testing.T) {
	n := single(t)
	n.link.Subscribe("large", "")
	n.settle()
	nc := n.client()
	body := make([]byte, n.link.MaxPayload())
	for i := range body {
		body[i] = byte(i * 7)
	}
	for _, size := range []int{0, 1, blockSize - 100, blockSize, blockSize + 1, len(body), 3, len(body) - 1} {
		if err := nc.Publish("large", body[:size]); err != nil {
			t.Fatal(err)
		}
		if got := n.next(); got.payload != string(body[:size]) {
			t.Fatalf("%d bytes arrived of %d", len(got.payload), size)
		}
	}
	// The last chunk is released after its message was seen.
	eventually(t, "no bytes are counted as unread after all chunks were released", func() bool { return n.link.unread.Load() == 0 })
}

// The largest message that NATS allows, in base64, comes out of a server whose
// clients may publish much less.
func TestAnAnswerMayBeLargerThanMaxPayload(t *testing.T) {
	n := single(t)
	nc := n.client()
	sub, err := nc.SubscribeSync("answer")
	if err != nil {
		t.Fatal(err)
	}
	n.interested("answer")
	for _, size := range []int{n.link.MaxPayload() + 1, 20 << 20, 1} {
		n.link.Publish([]byte("answer"), nil, nil, make([]byte, size))
		n.link.Flush()
		if m, err := sub.NextMsg(patience); err != nil || len(m.Data) != size {
			t.Fatalf("got %v, want %d bytes", err, size)
		}
	}
	if s := n.link.Stats(); s.Dropped != 0 || s.Attached != 1 {
		t.Fatalf("stats %+v", s)
	}
}

func TestOnlyAConnectionOfTheServerIsUnlimited(t *testing.T) {
	type renamed struct{ payload int32 }
	type resized struct{ mpay int64 }
	for _, client := range []any{&renamed{1}, &resized{1}, struct{ mpay int32 }{1}, 1, nil} {
		if err := unlimit(client); err == nil {
			t.Errorf("%T was taken for a connection", client)
		}
	}
}

func TestALostConnectionIsAttachedAgain(t *testing.T) {
	events, handler := inbox()
	ups, downs := make(chan struct{}, 10), make(chan error, 10)
	link := listen(t, handler, func(o *Options) {
		o.Up = func() { ups <- struct{}{} }
		o.Down = func(err error) { downs <- err }
	})
	n := &node{t: t, link: link, events: events, server: run(t, serverOptions(link), link)}
	<-ups
	link.Subscribe("orders.>", "ingest")
	link.Subscribe("gone", "")
	link.Subscribe("$JS.API.>", "")
	n.settle()
	link.Unsubscribe("gone", "")
	if _, err := n.client().QueueSubscribe("work", "workers", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}

	link.mu.Lock()
	lost := link.current
	link.mu.Unlock()
	unanswered := link.Fence()
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	<-downs
	<-ups
	for n.next().fence < unanswered {
	}
	n.settle()
	nc := n.client()
	for _, subject := range []string{"gone", "orders.new", "$JS.API.INFO"} {
		if err := nc.PublishRequest(subject, "_INBOX.r", nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"orders.new", "$JS.API.INFO"} {
		if got := n.next(); got.subject != want {
			t.Fatalf("got %+v, want %s", got, want)
		}
	}
	eventually(t, "the queue groups are known again", func() bool {
		return string(link.out.groups.match([]byte("work"), nil)) == "workers "
	})
	if s := link.Stats(); s.Attached != 2 {
		t.Fatalf("stats %+v", s)
	}
}

func TestOutputForALostConnectionIsThrownAway(t *testing.T) {
	n := single(t)
	sub, err := n.client().SubscribeSync("out")
	if err != nil {
		t.Fatal(err)
	}
	n.interested("out")
	n.link.Publish([]byte("out"), nil, nil, []byte("void")) // not flushed
	n.link.mu.Lock()
	lost := n.link.current
	n.link.mu.Unlock()
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "attached again", func() bool { return n.link.Stats().Attached == 2 })
	n.link.Flush()
	n.link.Publish([]byte("out"), nil, nil, []byte("good"))
	n.link.Flush()
	if m, err := sub.NextMsg(patience); err != nil || string(m.Data) != "good" {
		t.Fatalf("got %v %v", m, err)
	}
	if n.link.Pending() < 0 || n.link.Stats().Dropped != 1 {
		t.Fatalf("pending %d, stats %+v", n.link.Pending(), n.link.Stats())
	}
}

func TestAnotherProcessCannotTakeTheLink(t *testing.T) {
	n := single(t)
	for _, hello := range []string{
		`CONNECT {"user":"holdfast","pass":"guess","headers":true}`,
		`CONNECT {"user":"holdfast","headers":true}`,
		`CONNECT garbage`,
		`LMSG orders.new 60000000`,
		"\x00\xff\xfe",
	} {
		conn, err := net.Dial("tcp", n.link.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s\r\n", hello)
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var all bytes.Buffer
		if _, err := all.ReadFrom(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("%q was not refused: %v", hello, err)
		}
		if strings.Contains(all.String(), n.link.password) || strings.Contains(all.String(), "connect_info\":true") {
			t.Fatalf("%q was answered with %q", hello, all.String())
		}
		conn.Close()
	}
	if s := n.link.Stats(); s.Attached != 1 {
		t.Fatalf("stats %+v", s)
	}
}

func TestWhatThereIsNoRoomForIsRefused(t *testing.T) {
	held := make(chan *Chunk, 1000)
	link := listen(t, func(c *Chunk) { held <- c }, func(o *Options) {
		o.MaxUnread = 1
		o.Refuse = func(m Message) (header, payload []byte) { return nil, append([]byte("full "), m.Subject...) }
	})
	n := &node{t: t, link: link, server: run(t, serverOptions(link), link)}
	link.Subscribe("orders.*", "")
	link.Flush()
	n.interested("orders.x")
	nc := n.client()
	if err := nc.Publish("orders.first", []byte("held")); err != nil {
		t.Fatal(err)
	}
	first := <-held
	m, err := nc.Request("orders.second", nil, patience)
	if err != nil || string(m.Data) != "full orders.second" {
		t.Fatalf("got %v %v", m, err)
	}
	if string(first.Messages[0].Payload) != "held" {
		t.Fatalf("a held chunk has changed to %q", first.Messages[0].Payload)
	}
	first.Release()
	if err := nc.Publish("orders.third", nil); err != nil {
		t.Fatal(err)
	}
	if third := <-held; string(third.Messages[0].Subject) != "orders.third" {
		t.Fatalf("got %q", third.Messages[0].Subject)
	}
	if s := link.Stats(); s.Refused != 1 {
		t.Fatalf("stats %+v", s)
	}
}

func TestAttachSaysWhatIsMissing(t *testing.T) {
	start := func(t *testing.T, o *server.Options) *server.Server {
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(s.Shutdown)
		return s
	}
	const brief = 2 * time.Second // Attach waits for as long
	t.Run("the server does not dial", func(t *testing.T) {
		t.Parallel()
		_, handler := inbox()
		link := listen(t, handler, nil)
		err := link.Attach(start(t, serverOptions()), brief)
		if err == nil || !strings.Contains(err.Error(), "Remote()") {
			t.Fatal(err)
		}
	})
	t.Run("no such account", func(t *testing.T) {
		t.Parallel()
		_, handler := inbox()
		link := listen(t, handler, func(o *Options) { o.Account = "nobody" })
		err := link.Attach(start(t, serverOptions()), brief)
		if err == nil || !strings.Contains(err.Error(), `"nobody"`) {
			t.Fatal(err)
		}
	})
	t.Run("the server requires a user", func(t *testing.T) {
		t.Parallel()
		_, handler := inbox()
		link := listen(t, handler, nil)
		o := serverOptions(link)
		o.Username, o.Password = "u", "p"
		err := link.Attach(start(t, o), brief)
		if err == nil || !strings.Contains(err.Error(), "requires a user") {
			t.Fatal(err)
		}
	})
	t.Run("headers are switched off", func(t *testing.T) {
		t.Parallel()
		_, handler := inbox()
		link := listen(t, handler, nil)
		o := serverOptions(link)
		o.NoHeaderSupport = true
		err := link.Attach(start(t, o), brief)
		if err == nil || !strings.Contains(err.Error(), "no_header_support") {
			t.Fatal(err)
		}
	})
	t.Run("the API is denied", func(t *testing.T) {
		t.Parallel()
		_, handler := inbox()
		link := listen(t, handler, func(o *Options) { o.User, o.Password = "u", "p" })
		o := serverOptions(link)
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.>"}}}}}
		err := link.Attach(start(t, o), brief)
		if err == nil || !strings.Contains(err.Error(), "self-test") {
			t.Fatal(err)
		}
	})
}

func TestTheLinkJoinsTheAccountOfItsUser(t *testing.T) {
	events, handler := inbox()
	link := listen(t, handler, func(o *Options) { o.Account, o.User, o.Password = "APP", "u", "p" })
	o := serverOptions(link)
	app := server.NewAccount("APP")
	o.Accounts = []*server.Account{app}
	o.Users = []*server.User{{Username: "u", Password: "p", Account: app}}
	n := &node{t: t, link: link, events: events, server: run(t, o, link)}
	link.Subscribe("$JS.API.INFO", "")
	n.settle()
	if err := n.client(nats.UserInfo("u", "p")).Publish("$JS.API.INFO", nil); err != nil {
		t.Fatal(err)
	}
	if got := n.next(); got.subject != "$JS.API.INFO" {
		t.Fatalf("got %+v", got)
	}
}
