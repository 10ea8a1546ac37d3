package jetstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestAcksSettleDeliveries(t *testing.T) {
	f := withWork(t, 6)
	got := f.want(f.pull("ORDERS", "work", "6"), "00000001 00000002 00000003 00000004 00000005 00000006")
	f.ack(got[0], "")
	f.ack(got[1], "+ACK")
	f.ack(got[2], "+OK")
	f.ack(got[3], "+TERM because")
	f.ack(got[4], "-NAK")
	info := f.info("ORDERS", "work")
	if info.NumAckPending != 2 || info.AckFloor.Stream != 4 {
		t.Errorf("info %+v", info)
	}
	again := f.want(f.pull("ORDERS", "work", "1"), "00000005")
	if !strings.HasPrefix(again[0].reply, "$JS.ACK.ORDERS.work.2.5.7.") {
		t.Errorf("redelivered as %s", again[0].reply)
	}
	f.ack(again[0], "")
	f.ack(got[5], "")
	if info = f.info("ORDERS", "work"); info.NumAckPending != 0 || info.AckFloor.Stream != 6 {
		t.Errorf("info %+v", info)
	}
}

func TestDoubleAckIsAnsweredOnceApplied(t *testing.T) {
	f := withWork(t, 1)
	got := f.want(f.pull("ORDERS", "work", "1"), "00000001")
	inbox := f.inbox()
	f.send(got[0].reply, inbox, "", "+ACK")
	f.door.Flush()
	if early := f.take(inbox); len(early) != 0 {
		t.Errorf("answered before it was applied: %q", early)
	}
	f.run()
	if answers := f.take(inbox); len(answers) != 1 || answers[0].payload != "" || answers[0].header != "" {
		t.Errorf("answers %q", answers)
	}
}

func TestNakWithDelay(t *testing.T) {
	for _, word := range []string{"-NAK 2s", `-NAK {"delay":2000000000}`} {
		f := withWork(t, 1)
		got := f.want(f.pull("ORDERS", "work", "1"), "00000001")
		inbox := f.pull("ORDERS", "work", `{"batch":1,"expires":10000000000}`)
		f.ack(got[0], word)
		f.wait(1900 * time.Millisecond)
		f.want(inbox, "")
		f.wait(200 * time.Millisecond)
		f.want(inbox, "00000001")
	}
}

func TestUnacknowledgedComesAgain(t *testing.T) {
	f := withWork(t, 1, func(c *server.ConsumerConfig) { c.AckWait = time.Second })
	inbox := f.pull("ORDERS", "work", `{"batch":5,"expires":60000000000}`)
	got := f.want(inbox, "00000001")
	f.wait(800 * time.Millisecond)
	f.ack(got[0], "+WPI")
	f.wait(800 * time.Millisecond)
	f.want(inbox, "")
	f.wait(300 * time.Millisecond)
	f.want(inbox, "00000001")
}

func TestNextAcksAndPulls(t *testing.T) {
	f := withWork(t, 3)
	got := f.want(f.pull("ORDERS", "work", "1"), "00000001")
	inbox := f.inbox()
	f.send(got[0].reply, inbox, "", `+NXT {"batch":2}`)
	f.run()
	f.want(inbox, "00000002 00000003")
	if info := f.info("ORDERS", "work"); info.AckFloor.Stream != 1 {
		t.Errorf("info %+v", info)
	}
}

func TestMaxDeliveriesAreAnnounced(t *testing.T) {
	f := withWork(t, 1, func(c *server.ConsumerConfig) { c.AckWait, c.MaxDeliver = time.Second, 2 })
	subject := server.JSAdvisoryConsumerMaxDeliveryExceedPre + ".ORDERS.work"
	f.bus.heard[subject] = true
	inbox := f.pull("ORDERS", "work", `{"batch":5,"expires":3000000000}`)
	f.wait(1500 * time.Millisecond)
	f.want(inbox, "00000001 00000001")
	f.wait(5 * time.Second)
	f.want(inbox, "<408 Request Timeout>")
	got := f.take(subject)
	var advisory server.JSConsumerDeliveryExceededAdvisory
	if len(got) != 1 || json.Unmarshal([]byte(got[0].payload), &advisory) != nil || advisory.StreamSeq != 1 || advisory.Deliveries != 2 {
		t.Errorf("advisories %q", got)
	}
}

func TestStaleAcksAreDropped(t *testing.T) {
	f := withWork(t, 1)
	old := f.want(f.pull("ORDERS", "work", "1"), "00000001")[0]
	api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE.ORDERS", nil)
	f.ack(old, "")
	f.createStream(orders())
	f.node.now += int64(time.Second)
	f.createConsumer("ORDERS", work())
	f.fill("orders.a", 1)
	f.want(f.pull("ORDERS", "work", "1"), "00000001")
	f.ack(old, "")
	if info := f.info("ORDERS", "work"); info.NumAckPending != 1 {
		t.Errorf("the ack of an earlier stream counted: %+v", info)
	}
	if stale := f.door.Counters().StaleAcks; stale != 2 {
		t.Errorf("%d stale acks", stale)
	}
}

// All acks of a consumer in one batch are one command.
func TestAcksAreGathered(t *testing.T) {
	f := withWork(t, 100)
	got := f.take(f.pull("ORDERS", "work", "100"))
	entries := len(f.node.entries)
	for _, delivery := range got {
		f.send(delivery.reply, "", "", "")
	}
	f.run()
	if n := len(f.node.entries) - entries; n != 1 || len(f.node.entries[entries]) > 100*ackBytes {
		t.Errorf("%d entries, %d bytes", n, len(f.node.entries[entries]))
	}
	if info := f.info("ORDERS", "work"); info.NumAckPending != 0 {
		t.Errorf("info %+v", info)
	}
}

func TestParseAck(t *testing.T) {
	for subject, want := range map[string]string{
		"$JS.ACK.S.C.1.2.3.4.5":                    "S.C 1 2 3 4",
		"$JS.ACK.domain.hash.S.C.1.2.3.4.5":        "S.C 1 2 3 4",
		"$JS.ACK.domain.hash.S.C.1.2.3.4.5.x.y":    "S.C 1 2 3 4",
		"$JS.ACK.S.C.1.2.3.4":                      "",
		"$JS.ACK.S.C.1.2.3.4.5.6":                  "",
		"$JS.ACK.S.C.1.0.3.4.5":                    "",
		"$JS.ACK.S.C.x.2.3.4.5":                    "",
		"$JS.ACK.S.C.1.2.3.99999999999999999999.5": "",
		"$JS.ACK.......":                           "",
	} {
		a, ok := parseAck([]byte(subject))
		got := ""
		if ok {
			got = fmt.Sprintf("%s %d %d %d %d", a.key, a.deliveries, a.streamSeq, a.consumerSeq, a.stamp)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", subject, got, want)
		}
	}
}

func FuzzAck(f *testing.F) {
	f.Add("$JS.ACK.ORDERS.work.1.1.1.1.1", "+ACK")
	f.Add("$JS.ACK.ORDERS.work.1.1.1.1767323045000000003.0", "-NAK {\"delay\":-5}")
	f.Add("$JS.ACK.a.b.ORDERS.work.1.18446744073709551615.1.1.1", "+NXT {\"batch\":3}")
	f.Add("$JS.ACK.", "-NAK 9999999h")
	f.Add("$JS.FC.ORDERS.work.1", "+TERM")
	f.Fuzz(func(t *testing.T, subject, payload string) {
		x := withWork(t, 2)
		x.pull("ORDERS", "work", "1")
		x.send(subject, "reply", "", payload)
		x.wait(40 * time.Millisecond)
		if state := x.machine.Consumer("ORDERS", "work").State(); state.NumAckPending > 2 {
			t.Errorf("%s %q: %+v", subject, payload, state)
		}
	})
}
