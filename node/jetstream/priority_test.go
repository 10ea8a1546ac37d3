package jetstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func grouped(policy server.PriorityPolicy) server.ConsumerConfig {
	config := work()
	config.PriorityPolicy, config.PriorityGroups = policy, []string{"g"}
	return config
}

func TestRequestsOfAPriorityGroupAreChecked(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityOverflow))
	for request, want := range map[string]string{
		`{"batch":1}`:                                       "<400 Bad Request - Priority Group missing>",
		`{"batch":1,"group":"h"}`:                           "<400 Bad Request - Invalid Priority Group>",
		`{"batch":1,"group":"g","id":"x"}`:                  "<400 Bad Request - Not a Pinned Client Priority consumer>",
		`{"batch":1,"group":"g","priority":10}`:             "<400 Bad Request - Priority must be between 0 and 9>",
		`{"batch":1,"group":"g","no_wait":true}`:            "<404 No Messages>",
		`{"batch":1,"group":"g","expires":1000000}`:         "",
		`{"batch":1,"group":"g","min_pending":1,"id":"no"}`: "<400 Bad Request - Not a Pinned Client Priority consumer>",
	} {
		if got := words(f.take(f.pull("ORDERS", "work", request))); got != want {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
}

// A request that waits for an overflow gets messages only while enough of them
// wait, and the others get what there is.
func TestOverflowWaitsForPendingMessages(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityOverflow))
	f.fill("orders.a", 5)
	first := f.pull("ORDERS", "work", `{"batch":10,"group":"g","min_pending":4}`)
	f.want(first, "00000001 00000002")
	if info := f.info("ORDERS", "work"); info.NumPending != 3 || info.NumAckPending != 2 || info.NumWaiting != 1 {
		t.Errorf("info %+v", info)
	}
	second := f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`)
	f.want(second, "00000003")
	f.publish("orders.a", "more")
	f.want(first, "")
	f.publish("orders.a", "still more")
	f.want(first, "00000004")
}

func TestOverflowWaitsForUnansweredMessages(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityOverflow))
	f.fill("orders.a", 5)
	waiting := f.pull("ORDERS", "work", `{"batch":2,"group":"g","min_ack_pending":2}`)
	f.want(waiting, "")
	f.want(f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`), "00000001")
	f.want(waiting, "")
	f.want(f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`), "00000002")
	f.want(waiting, "00000003 00000004")
	f.want(f.pull("ORDERS", "work", `{"batch":1,"group":"g","min_ack_pending":9,"no_wait":true}`), "<404 No Messages>")
}

// What is delivered again is unanswered already: it counts before and adds nothing.
func TestOverflowCountsWhatIsDeliveredAgain(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityOverflow))
	f.fill("orders.a", 9)
	for _, m := range f.want(f.pull("ORDERS", "work", `{"batch":3,"group":"g"}`), "00000001 00000002 00000003") {
		f.ack(m, "-NAK")
	}
	inbox := f.inbox()
	f.send(nextPrefix+"ORDERS.work", inbox, "", `{"batch":4,"group":"g","min_ack_pending":3}`)
	for range 5 { // not run: a delivery that nobody takes would be made for ever
		f.door.Flush()
		f.commit()
	}
	f.want(inbox, "00000001 00000002 00000003 00000004")
	for _, m := range f.take(f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`)) {
		f.ack(m, "-NAK")
	}
	waiting := f.pull("ORDERS", "work", `{"batch":2,"group":"g","min_ack_pending":6}`)
	plain := f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`)
	f.wait(time.Duration(retryDelay))
	f.want(plain, "00000005")
	f.want(waiting, "")
	if info := f.info("ORDERS", "work"); info.NumAckPending != 5 || info.NumRedelivered != 4 {
		t.Errorf("%d unanswered, %d redelivered", info.NumAckPending, info.NumRedelivered)
	}
}

// Without acknowledgements nothing is ever unanswered, and nothing can be taken back.
func TestOverflowWithoutAcknowledgements(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	config := grouped(server.PriorityOverflow)
	config.AckPolicy, config.AckWait, config.MaxDeliver, config.MaxAckPending = server.AckNone, 0, 0, 0
	f.createConsumer("ORDERS", config)
	one := f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`)
	waiting := f.pull("ORDERS", "work", `{"batch":2,"group":"g","min_ack_pending":1}`)
	f.fill("orders.a", 3)
	f.want(one, "00000001")
	f.want(waiting, "")
	f.want(f.pull("ORDERS", "work", `{"batch":5,"group":"g"}`), "00000002 00000003")
}

// A byte limit and an overflow go together.
func TestOverflowWithByteLimit(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityOverflow))
	f.fill("orders.a", 4)
	f.want(f.pull("ORDERS", "work", `{"batch":10,"max_bytes":10000,"group":"g","min_pending":3}`), "00000001 00000002")
}

func TestTheLowestPriorityIsServedFirst(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityPrioritized))
	late := f.pull("ORDERS", "work", `{"batch":2,"group":"g","priority":7}`)
	plain := f.pull("ORDERS", "work", `2`)
	one := f.pull("ORDERS", "work", `{"batch":2,"group":"g"}`)
	other := f.pull("ORDERS", "work", `{"batch":2,"group":"g","priority":0}`)
	f.fill("orders.a", 3)
	f.want(one, "00000001 00000003")
	f.want(other, "00000002")
	f.fill("orders.a", 5)
	f.want(other, "00000001")
	f.want(late, "00000002 00000003")
	f.want(plain, "00000004 00000005")
}

func TestThePinnedClientAloneIsServed(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	config := grouped(server.PriorityPinnedClient)
	config.PinnedTTL = 10 * time.Second
	f.bus.heard["$JS.EVENT.ADVISORY.CONSUMER.PINNED.ORDERS.work"] = true
	f.bus.heard["$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.ORDERS.work"] = true
	f.createConsumer("ORDERS", config)
	f.fill("orders.a", 3)
	first := f.pull("ORDERS", "work", `{"batch":2,"group":"g"}`)
	got := f.want(first, "00000001 00000002")
	pin := got[0].value(server.JSPullRequestNatsPinId)
	if len(pin) != identifierSize || got[1].value(server.JSPullRequestNatsPinId) != pin {
		t.Fatalf("pins %q %q", got[0].header, got[1].header)
	}
	if group := f.info("ORDERS", "work").PriorityGroups[0]; group.PinnedClientID != pin || group.PinnedTS.IsZero() {
		t.Errorf("info %+v", group)
	}
	if advisories := f.take("$JS.EVENT.ADVISORY.CONSUMER.PINNED.ORDERS.work"); len(advisories) != 1 {
		t.Errorf("advisories %+v", advisories)
	}
	standby := f.pull("ORDERS", "work", `{"batch":5,"group":"g"}`)
	f.want(standby, "")
	f.want(f.pull("ORDERS", "work", `{"batch":1,"group":"g","id":"other"}`), "<423 Nats-Pin-Id mismatch>")
	ask := fmt.Sprintf(`{"batch":2,"group":"g","id":%q}`, pin)
	mine := f.pull("ORDERS", "work", ask)
	f.want(mine, "00000003")

	f.wait(9 * time.Second)
	f.pull("ORDERS", "work", ask) // starts the time anew
	f.wait(9 * time.Second)
	f.want(standby, "")
	f.publish("orders.a", "a")
	f.want(mine, "a")
	f.wait(2 * time.Second)
	if advisories := f.take("$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.ORDERS.work"); len(advisories) != 1 {
		t.Errorf("advisories %+v", advisories)
	}
	f.publish("orders.a", "b")
	f.want(standby, "b")
}

func TestUnpin(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", grouped(server.PriorityPinnedClient))
	f.fill("orders.a", 2)
	first := f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`)
	pin := f.want(first, "00000001")[0].value(server.JSPullRequestNatsPinId)
	standby := f.pull("ORDERS", "work", `{"batch":5,"group":"g"}`)
	f.want(standby, "")
	f.wantError(server.JSStreamNotFoundErr, "CONSUMER.UNPIN.NONE.work", `{"group":"g"}`)
	f.wantError(server.JSConsumerNotFoundErr, "CONSUMER.UNPIN.ORDERS.none", `{"group":"g"}`)
	f.wantError(server.JSInvalidJSONErr, "CONSUMER.UNPIN.ORDERS.work", ``)
	f.wantError(server.JSInvalidJSONErr, "CONSUMER.UNPIN.ORDERS.work", `{}`)
	f.wantError(server.JSConsumerInvalidGroupNameErr, "CONSUMER.UNPIN.ORDERS.work", `{"group":"no good"}`)
	f.wantError(server.JSConsumerInvalidPriorityGroupErr, "CONSUMER.UNPIN.ORDERS.work", `{"group":"h"}`)
	old := f.pull("ORDERS", "work", fmt.Sprintf(`{"batch":1,"group":"g","id":%q,"expires":60000000000}`, pin))
	f.want(old, "00000002")
	old = f.pull("ORDERS", "work", fmt.Sprintf(`{"batch":1,"group":"g","id":%q,"expires":60000000000}`, pin))
	if response := api[server.JSApiConsumerUnpinResponse](f, "CONSUMER.UNPIN.ORDERS.work", `{"group":"g"}`); response.Error != nil {
		t.Fatal(response.Error)
	}
	f.publish("orders.a", "next")
	if next := f.want(standby, "next"); len(next) == 1 && next[0].value(server.JSPullRequestNatsPinId) == pin {
		t.Error("the same pin")
	}
	f.publish("orders.a", "last")
	f.want(standby, "last")
	f.want(old, "<423 Nats-Wrong-Pin-Id>")
}

// The pin goes into a header that has the size of the payload already.
func TestPinnedWithHeadersOnly(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	config := grouped(server.PriorityPinnedClient)
	config.HeadersOnly = true
	f.createConsumer("ORDERS", config)
	f.fill("orders.a", 1)
	got := f.want(f.pull("ORDERS", "work", `{"batch":1,"group":"g"}`), "")
	if len(got) != 1 || got[0].value(server.JSMsgSize) != "8" || len(got[0].value(server.JSPullRequestNatsPinId)) != identifierSize {
		t.Errorf("got %q", got)
	}
}
