package jetstream

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

func TestFollowersAreSilent(t *testing.T) {
	f := withWork(t, 1)
	pulling := f.pull("ORDERS", "work", `{"batch":5,"expires":60000000000}`)
	f.want(pulling, "00000001")
	f.door.Follow()
	f.want(pulling, "<409 Leadership Change>")
	for subject, n := range f.bus.subscriptions {
		if n != 0 {
			t.Errorf("still subscribed to %s", subject)
		}
	}
	f.send("orders.a", "reply", "", "x")
	f.wait(time.Second)
	if len(f.bus.sent) != 0 {
		t.Errorf("sent %q", f.bus.sent)
	}
}

func TestShutdownIsToldToThoseWhoWait(t *testing.T) {
	f := withWork(t, 0)
	inbox := f.pull("ORDERS", "work", `{"batch":5,"max_bytes":99,"expires":60000000000}`)
	f.door.Shutdown()
	got := f.want(inbox, "<409 Server Shutdown>")
	if got[0].value(server.JSPullRequestPendingMsgs) != "5" || got[0].value(server.JSPullRequestPendingBytes) != "99" {
		t.Errorf("got %q", got[0].header)
	}
}

func TestNewLeadersGoOn(t *testing.T) {
	f := withWork(t, 3)
	f.createConsumer("ORDERS", pusher())
	f.want("deliver.here", "00000001 00000002 00000003")
	f.want(f.pull("ORDERS", "work", "2"), "00000001 00000002")
	f.door.Follow()
	f.door = New(f.door.options)
	f.door.Lead()
	for _, subject := range []string{"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "orders.>"} {
		group := queueGroup
		if subject == "$JS.API.>" {
			group = directGroup
		}
		if f.bus.subscriptions[subject+" "+group] != 1 {
			t.Errorf("subscribed to %v", f.bus.subscriptions)
		}
	}
	f.want(f.pull("ORDERS", "work", "2"), "00000003")
	f.publish("orders.a", "x")
	f.want("deliver.here", "x")
	f.wait(31 * time.Second)
	f.want(f.pull("ORDERS", "work", "2"), "00000001 00000002")
}

func TestHandoverLosesNothing(t *testing.T) {
	f := withWork(t, 0)
	inbox := f.inbox()
	f.send("orders.a", inbox, "", "before")
	f.door.Handover()
	f.send("orders.a", inbox, "", "during")
	f.run()
	f.want(inbox, `{"stream":"ORDERS","seq":1}`)
	f.door.Follow()
	if len(f.node.forward) != 1 || string(f.node.forward[0].Payload) != "during" || string(f.node.forward[0].Reply) != inbox {
		t.Errorf("forwarded %q", f.node.forward)
	}
	f.door.Lead()
	f.door.Handover()
	f.door.Yield()
	f.send("orders.a", inbox, "", "late")
	f.door.Flush()
	if len(f.node.forward) != 2 || len(f.bus.yielded) != 5 {
		t.Errorf("forwarded %q, yielded %v", f.node.forward, f.bus.yielded)
	}
	f.door.Lead()
	f.door.Handover()
	f.send("orders.a", inbox, "", "again")
	f.door.Lead()
	f.run()
	f.want(inbox, `{"stream":"ORDERS","seq":2}`)
}

// What another leader put where a batch was proposed answers nobody.
func TestAnotherLeadersEntryAnswersNobody(t *testing.T) {
	f := withWork(t, 0)
	inbox := f.inbox()
	f.send("orders.a", inbox, "", "lost")
	f.door.Flush()
	index := len(f.node.entries)
	var other machine.Batch
	other.Reset(f.node.now + 12345)
	other.Publish(f.machine.Stream("ORDERS").Incarnation(), []byte("orders.b"), nil, []byte("theirs"))
	f.node.entries[index-1] = other.Bytes()
	f.run()
	f.want(inbox, "")
}

func TestReadsShareABarrier(t *testing.T) {
	f := withWork(t, 1)
	inbox := f.inbox()
	for range readsPerBarrier {
		f.send(apiPrefix+"STREAM.INFO.ORDERS", inbox, "", "")
	}
	f.door.Flush()
	if len(f.node.barriers) != 1 {
		t.Errorf("%d barriers", len(f.node.barriers))
	}
	f.send(apiPrefix+"STREAM.INFO.ORDERS", inbox, "", "")
	f.door.Flush()
	if got := f.take(inbox); len(got) != 0 || len(f.node.barriers) != 1 {
		t.Errorf("%d answers before the barrier, %d barriers", len(got), len(f.node.barriers))
	}
	f.run()
	if got := f.take(inbox); len(got) != readsPerBarrier {
		t.Errorf("%d answers of the first barrier", len(got))
	}
	f.wait(time.Second)
	if got := f.take(inbox); len(got) != 1 {
		t.Errorf("%d answers of the next one", len(got))
	}
}

func TestHandoverForwardsReads(t *testing.T) {
	f := withWork(t, 1)
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "first", "", "")
	f.door.Handover()
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "second", "", "")
	f.door.Barriered(f.node.barriers[0], false)
	f.node.barriers = nil
	f.door.Yield()
	f.door.Flush()
	if len(f.node.forward) != 2 || string(f.node.forward[0].Reply) != "second" || string(f.node.forward[1].Reply) != "first" {
		t.Errorf("forwarded %q", f.node.forward)
	}
	f.door.Follow()
	if len(f.bus.sent) != 0 {
		t.Errorf("answered %q", f.bus.sent)
	}
}

func TestReadsNeedTheLead(t *testing.T) {
	f := withWork(t, 1)
	inbox := f.inbox()
	f.send(apiPrefix+"STREAM.INFO.ORDERS", inbox, "", "")
	f.send(apiPrefix+"STREAM.DELETE.NONE", inbox, "", "")
	f.door.Flush()
	f.door.Barriered(f.node.barriers[0], false)
	f.node.barriers = nil
	unavailable := `{"type":"io.nats.jetstream.api.v1.system_response","error":{"code":503,"err_code":10008,"description":"` +
		server.NewJSClusterNotAvailError().Description + `"}}`
	f.want(inbox, unavailable+" "+unavailable)
}

func TestAgeingNeedsTicks(t *testing.T) {
	f := newFixture(t)
	config := orders()
	config.MaxAge = time.Second
	f.createStream(config)
	f.publish("orders.a", "x")
	f.wait(900 * time.Millisecond)
	if f.machine.Stream("ORDERS").State().Msgs != 1 {
		t.Error("expired early")
	}
	f.wait(200 * time.Millisecond)
	if f.machine.Stream("ORDERS").State().Msgs != 0 {
		t.Error("not expired")
	}
	entries := len(f.node.entries)
	f.wait(10 * time.Second)
	if more := len(f.node.entries) - entries; more > 2 {
		t.Errorf("%d entries with nothing to do", more)
	}
}

func TestOversizedAnswersAreReplaced(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxPayload, o.MaxAnswer = 2000, 2700 })
	f.createStream(orders())
	f.publish("orders.a", string(make([]byte, 1990)))
	f.wantError(server.JSInsufficientResourcesErr, "STREAM.MSG.GET.ORDERS", `{"seq":1}`)
	if f.door.Counters().Oversized != 1 {
		t.Errorf("counters %+v", f.door.Counters())
	}
}
