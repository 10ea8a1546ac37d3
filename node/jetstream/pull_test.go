package jetstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// withWork returns a fixture with the stream ORDERS, n messages in it, and the
// consumer "work".
func withWork(t *testing.T, n int, change ...func(*server.ConsumerConfig)) *fixture {
	f := newFixture(t)
	f.createStream(orders())
	config := work()
	for _, c := range change {
		c(&config)
	}
	f.createConsumer("ORDERS", config)
	f.fill("orders.a", n)
	return f
}

func TestPullsAreServed(t *testing.T) {
	f := withWork(t, 5)
	got := f.want(f.pull("ORDERS", "work", ""), "00000001")
	if got[0].subject != "orders.a" || got[0].to == got[0].subject {
		t.Errorf("delivered as %+v", got[0])
	}
	stored, _ := f.machine.Stream("ORDERS").Message(1)
	if want := fmt.Sprintf("$JS.ACK.ORDERS.work.1.1.1.%d.4", stored.Stamp); got[0].reply != want {
		t.Errorf("reply %s, want %s", got[0].reply, want)
	}
	f.want(f.pull("ORDERS", "work", "2"), "00000002 00000003")
	inbox := f.pull("ORDERS", "work", `{"batch":9,"expires":1000000000}`)
	f.want(inbox, "00000004 00000005")
	f.publish("orders.b", "late")
	f.want(inbox, "late")
	f.wait(1100 * time.Millisecond)
	timeout := f.want(inbox, "<408 Request Timeout>")
	if timeout[0].value(server.JSPullRequestPendingMsgs) != "6" || timeout[0].value(server.JSPullRequestPendingBytes) != "0" {
		t.Errorf("timeout %q", timeout[0].header)
	}
}

func TestRequestsTakeTurns(t *testing.T) {
	f := withWork(t, 0)
	first := f.pull("ORDERS", "work", "3")
	second := f.pull("ORDERS", "work", "3")
	f.fill("orders.a", 5)
	f.want(first, "00000001 00000003 00000005")
	f.want(second, "00000002 00000004")
}

func TestPullsThatDoNotWait(t *testing.T) {
	f := withWork(t, 0)
	f.want(f.pull("ORDERS", "work", `{"batch":2,"no_wait":true}`), "<404 No Messages>")
	f.fill("orders.a", 3)
	f.want(f.pull("ORDERS", "work", `{"batch":2,"no_wait":true}`), "00000001 00000002")
	f.want(f.pull("ORDERS", "work", `{"batch":2,"no_wait":true}`), "00000003 <404 No Messages>")
	waits := f.pull("ORDERS", "work", `{"batch":2,"no_wait":true,"expires":1000000000}`)
	f.want(waits, "")
	f.publish("orders.a", "late")
	f.want(waits, "late <404 No Messages>")
}

func TestPullsAreRefused(t *testing.T) {
	f := withWork(t, 1, func(c *server.ConsumerConfig) {
		c.MaxRequestBatch, c.MaxRequestExpires, c.MaxRequestMaxBytes = 10, time.Second, 100
	})
	f.createConsumer("ORDERS", server.ConsumerConfig{Durable: "push", DeliverSubject: "here", AckPolicy: server.AckExplicit})
	for request, want := range map[string]string{
		`{"batch":11}`:                                "409 Exceeded MaxRequestBatch of 10",
		`{"batch":1,"expires":1000000001}`:            "409 Exceeded MaxRequestExpires of 1s",
		`{"batch":1,"max_bytes":101}`:                 "409 Exceeded MaxRequestMaxBytes of 100",
		`{"batch":1,"expires":10,"idle_heartbeat":6}`: "400 Bad Request - heartbeat value too large",
		`{"batch":"x"}`:                               "400 Bad Request - json",
		`{"batch":1,"min_pending":5}`:                 "400 Bad Request - Not a Overflow Priority consumer",
		`{"batch":1,"id":"x"}`:                        "400 Bad Request - Not a Pinned Client Priority consumer",
		`{"batch":1,"priority":10}`:                   "400 Bad Request - Priority must be between 0 and 9",
	} {
		got := f.take(f.pull("ORDERS", "work", request))
		if len(got) != 1 || !strings.HasPrefix(got[0].status(), want) {
			t.Errorf("%s: %q, want %q", request, words(got), want)
		}
	}
	f.want(f.pull("ORDERS", "push", "1"), "<409 Consumer is push based>")
	f.want(f.pull("ORDERS", "none", "1"), "<503>")
}

func TestTooManyPullsWait(t *testing.T) {
	f := withWork(t, 0, func(c *server.ConsumerConfig) { c.MaxWaiting = 2 })
	first := f.pull("ORDERS", "work", `{"batch":1,"expires":500000000}`)
	f.pull("ORDERS", "work", `{"batch":1,"expires":60000000000}`)
	f.want(f.pull("ORDERS", "work", `{"batch":1,"expires":1000000000}`), "<409 Exceeded MaxWaiting>")
	f.want(f.pull("ORDERS", "work", `{"batch":1,"expires":1000000000,"idle_heartbeat":100000000}`), "")
	if waiting := f.info("ORDERS", "work").NumWaiting; waiting != 2 {
		t.Errorf("%d waiting", waiting)
	}
	f.bus.deaf[first] = true
	f.node.now += int64(2 * time.Second)
	third := f.pull("ORDERS", "work", `{"batch":1,"expires":60000000000}`)
	f.want(third, "")
	f.publish("orders.a", "x")
	f.publish("orders.a", "y")
	f.want(third, "y")
}

func TestByteLimits(t *testing.T) {
	f := withWork(t, 6)
	size := func(s sent) int { return len(s.subject) + len(s.reply) + len(s.header) + len(s.payload) }
	one := size(f.take(f.pull("ORDERS", "work", "1"))[0])

	got := f.want(f.pull("ORDERS", "work", fmt.Sprintf(`{"batch":9,"max_bytes":%d}`, 2*one+5)),
		"00000002 00000003 <409 Message Size Exceeds MaxBytes>")
	if last := got[2]; last.value(server.JSPullRequestPendingMsgs) != "7" || last.value(server.JSPullRequestPendingBytes) != "5" {
		t.Errorf("got %q", last.header)
	}
	f.want(f.pull("ORDERS", "work", fmt.Sprintf(`{"batch":9,"max_bytes":%d}`, 2*one)), "00000004 00000005")
	f.want(f.pull("ORDERS", "work", `{"batch":9,"max_bytes":10}`), "<409 Message Size Exceeds MaxBytes>")
	got = f.want(f.pull("ORDERS", "work", `{"batch":1,"max_bytes":1000}`), "00000006 <409 Batch Completed>")
	if last := got[1]; last.value(server.JSPullRequestPendingMsgs) != "0" || last.value(server.JSPullRequestPendingBytes) != fmt.Sprint(1000-one) {
		t.Errorf("got %q", last.header)
	}
	if state := f.info("ORDERS", "work"); state.NumAckPending != 6 || state.NumRedelivered != 0 {
		t.Errorf("state %+v", state)
	}
}

func TestHeartbeats(t *testing.T) {
	f := withWork(t, 1)
	inbox := f.pull("ORDERS", "work", `{"batch":5,"expires":2000000000,"idle_heartbeat":500000000}`)
	f.want(inbox, "00000001")
	f.wait(1200 * time.Millisecond)
	beats := f.want(inbox, "<100 Idle Heartbeat> <100 Idle Heartbeat>")
	if beats[0].value(server.JSLastConsumerSeq) != "1" || beats[0].value(server.JSLastStreamSeq) != "1" {
		t.Errorf("got %q", beats[0].header)
	}
	f.publish("orders.a", "late")
	f.wait(400 * time.Millisecond)
	f.want(inbox, "late")
	f.wait(700 * time.Millisecond)
	f.want(inbox, "<100 Idle Heartbeat> <408 Request Timeout>")
}

func TestNobodyListens(t *testing.T) {
	f := withWork(t, 0)
	gone := f.pull("ORDERS", "work", `{"batch":10,"expires":60000000000}`)
	there := f.pull("ORDERS", "work", `{"batch":2,"expires":60000000000}`)
	f.bus.deaf[gone] = true
	f.fill("orders.a", 3)
	f.want(gone, "")
	f.want(there, "00000001 00000002")
	if info := f.info("ORDERS", "work"); info.NumWaiting != 0 || info.NumPending != 1 || info.NumAckPending != 2 {
		t.Errorf("info %+v", info)
	}
}

// A request may lose its client between the proposal of a delivery and its
// commit. What was handed out goes to the next one at once.
func TestWhatNobodyTakesIsGivenBack(t *testing.T) {
	f := withWork(t, 3)
	inbox := f.inbox()
	f.send(nextPrefix+"ORDERS.work", inbox, "", "2")
	f.door.Flush()
	f.bus.deaf[inbox] = true
	f.run()
	f.want(inbox, "")
	f.want(f.pull("ORDERS", "work", "3"), "00000001 00000002 00000003")
}

func TestMaxAckPendingHoldsBack(t *testing.T) {
	f := withWork(t, 4, func(c *server.ConsumerConfig) { c.MaxAckPending = 2 })
	inbox := f.pull("ORDERS", "work", `{"batch":4,"no_wait":true}`)
	got := f.want(inbox, "00000001 00000002")
	f.ack(got[0], "")
	got = append(got, f.want(inbox, "00000003")...)
	f.ack(got[1], "")
	f.want(inbox, "00000004")
	f.ack(got[2], "")
	f.want(inbox, "")
}

func TestHeadersOnly(t *testing.T) {
	f := withWork(t, 1, func(c *server.ConsumerConfig) { c.HeadersOnly = true })
	f.publishWith("orders.b", "NATS/1.0\r\nColour: blue\r\n\r\n", "payload")
	got := f.take(f.pull("ORDERS", "work", "2"))
	if len(got) != 2 || got[0].header != "NATS/1.0\r\nNats-Msg-Size: 8\r\n\r\n" ||
		got[1].header != "NATS/1.0\r\nColour: blue\r\nNats-Msg-Size: 7\r\n\r\n" || got[1].payload != "" {
		t.Errorf("got %q", got)
	}
}

func TestPausedConsumersWait(t *testing.T) {
	until := time.Unix(0, start).Add(time.Second).UTC()
	f := withWork(t, 1, func(c *server.ConsumerConfig) { c.PauseUntil = &until })
	if info := f.info("ORDERS", "work"); !info.Paused || info.PauseRemaining != time.Second {
		t.Errorf("info %+v", info)
	}
	inbox := f.pull("ORDERS", "work", `{"batch":1,"expires":60000000000}`)
	f.wait(900 * time.Millisecond)
	f.want(inbox, "")
	f.wait(200 * time.Millisecond)
	f.want(inbox, "00000001")
}

func TestDeliveriesWaitForTheBus(t *testing.T) {
	f := withWork(t, 2)
	f.bus.pending = 1 << 30
	inbox := f.pull("ORDERS", "work", "2")
	f.want(inbox, "")
	f.bus.pending = 0
	f.wait(20 * time.Millisecond)
	f.want(inbox, "00000001 00000002")
}

func TestUnreadableMessagesComeAgain(t *testing.T) {
	f := withWork(t, 1)
	f.node.unread = true
	inbox := f.pull("ORDERS", "work", `{"batch":1,"expires":60000000000}`)
	f.want(inbox, "")
	f.node.unread = false
	f.wait(31 * time.Second)
	f.want(inbox, "00000001")
	if f.door.Counters().ReadErrors != 1 {
		t.Errorf("counters %+v", f.door.Counters())
	}
}

// The publish and the delivery to the one who waits are one entry of the log.
func TestDeliveryRidesWithThePublish(t *testing.T) {
	f := withWork(t, 0)
	inbox := f.pull("ORDERS", "work", `{"batch":10,"expires":60000000000}`)
	entries := len(f.node.entries)
	f.send("orders.a", "", "", "one")
	f.door.Flush()
	f.commit()
	f.want(inbox, "one")
	if got := len(f.node.entries) - entries; got != 1 {
		t.Errorf("%d entries", got)
	}
}

func FuzzPullRequest(f *testing.F) {
	for _, seed := range []string{"", "5", "-1", "{", `{"batch":5,"expires":1000000}`, `{"batch":-9,"max_bytes":-1,"expires":-5}`,
		`{"expires":9223372036854775807,"idle_heartbeat":4611686018427387903}`, `{"no_wait":true}`, `{"batch":9223372036854775807}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, request string) {
		x := withWork(t, 3)
		inbox := x.pull("ORDERS", "work", request)
		x.publish("orders.a", "x")
		x.wait(40 * time.Millisecond)
		for _, s := range x.take(inbox) {
			if s.reply == "" && s.status() == "" {
				t.Errorf("%q: odd answer %+v", request, s)
			}
		}
	})
}
