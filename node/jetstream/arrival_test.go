package jetstream

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// pass ends the barriers that were asked for, without applying anything.
func (f *fixture) pass() {
	contexts := f.node.barriers
	f.node.barriers = nil
	for _, context := range contexts {
		f.door.Barriered(context, true)
	}
}

// TestRequestsSeeWhatCameBefore publishes without waiting, asks, and publishes again:
// the answer comes once the first publishes are applied, and tells of nothing else.
func TestRequestsSeeWhatCameBefore(t *testing.T) {
	for _, test := range []struct{ request, body, want string }{
		{"STREAM.INFO.ORDERS", "", `"messages":4,`},
		{"STREAM.LIST", "", `"messages":4,`},
		{"INFO", "", `"storage":`},
		{"STREAM.MSG.GET.ORDERS", `{"last_by_subj":"orders.a"}`, `"seq":4,`},
		{"STREAM.SNAPSHOT.ORDERS", `{"deliver_subject":"snapshot.here"}`, `"messages":4,`},
		{"CONSUMER.INFO.ORDERS.work", "", `"num_pending":4,`},
		{"CONSUMER.LIST.ORDERS", "", `"num_pending":4,`},
		{"DIRECT.GET.ORDERS", `{"seq":4}`, "Nats-Sequence: 4"},
		{"DIRECT.GET.ORDERS.orders.a", "", "Nats-Sequence: 4"},
		{"DIRECT.GET.ORDERS", `{"batch":9,"seq":4}`, "Nats-Num-Pending: 0"},
		{"CONSUMER.MSG.NEXT.ORDERS.work", `{"batch":4,"no_wait":true}`, "fourth"},
	} {
		f := newFixture(t)
		config := orders()
		config.AllowDirect = true
		f.createStream(config)
		f.createConsumer("ORDERS", work())
		f.fill("orders.a", 1)
		f.send("orders.a", "", "", "second")
		f.door.Flush()
		f.send("orders.a", "", "", "third")
		f.send("orders.a", "", "", "fourth")
		inbox := f.inbox()
		f.send(apiPrefix+test.request, inbox, "", test.body)
		f.door.Flush()
		f.pass()
		if got := f.take(inbox); len(got) > 0 {
			t.Errorf("%s: answered with %q before anything was applied", test.request, got)
			continue
		}
		f.commit() // the second
		f.door.Flush()
		f.pass()
		if got := f.take(inbox); len(got) > 0 {
			t.Errorf("%s: answered with %q before what came right before it was applied", test.request, got)
			continue
		}
		f.send("orders.a", "", "", "fifth")
		f.commit()
		f.door.Flush() // proposes the fifth, and asks for the barrier
		f.pass()
		f.door.Flush()
		if !strings.HasPrefix(test.request, "CONSUMER.MSG.NEXT") && len(f.bus.sent) == 0 {
			t.Errorf("%s: waits for what came after it", test.request)
			continue
		}
		f.run()
		all := ""
		for _, got := range f.take(inbox) {
			all += got.header + got.payload
		}
		if !strings.Contains(all, test.want) {
			t.Errorf("%s: answered with %q, want %s", test.request, all, test.want)
		}
	}
}

// TestRequestsSeeAcknowledgements has acknowledgements without an answer before it.
func TestRequestsSeeAcknowledgements(t *testing.T) {
	f := withWork(t, 2)
	for _, m := range f.take(f.pull("ORDERS", "work", "2")) {
		f.send(m.reply, "", "", "")
	}
	if info := f.info("ORDERS", "work"); info.AckFloor.Consumer != 2 || info.NumAckPending != 0 {
		t.Errorf("the floor is %d, %d are pending", info.AckFloor.Consumer, info.NumAckPending)
	}
}

// TestRequestsSeeChanges asks for a consumer of a stream whose creation has no answer.
func TestRequestsSeeChanges(t *testing.T) {
	f := newFixture(t)
	config, err := json.Marshal(orders())
	if err != nil {
		t.Fatal(err)
	}
	f.send(apiPrefix+"STREAM.CREATE.ORDERS", "created", "", string(config))
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "info", "", "")
	f.send(apiPrefix+"CONSUMER.CREATE.ORDERS.c", "consumer", "", `{"stream_name":"ORDERS","config":{"name":"c"}}`)
	f.door.Flush()
	f.pass()
	f.run()
	for _, inbox := range []string{"created", "info", "consumer"} {
		got := f.take(inbox)
		var response server.ApiResponse
		if len(got) != 1 || json.Unmarshal([]byte(got[0].payload), &response) != nil || response.Error != nil {
			t.Errorf("%s: %q", inbox, got)
		}
	}
}

// TestRequestsWaitForNothingElse asks beside publishes to another stream, and when
// nothing is on its way.
func TestRequestsWaitForNothingElse(t *testing.T) {
	f := withWork(t, 1)
	f.createStream(server.StreamConfig{Name: "OTHER", Subjects: []string{"other"}, AllowDirect: true})
	f.send("orders.a", "", "", "x")
	f.door.Flush()
	f.send("orders.a", "", "", "y")
	f.send(apiPrefix+"STREAM.INFO.OTHER", "info", "", "")
	f.send(apiPrefix+"DIRECT.GET.OTHER", "direct", "", `{"seq":1}`)
	f.door.Flush()
	f.pass()
	if len(f.take("info")) != 1 || len(f.take("direct")) != 1 {
		t.Error("held up by another stream")
	}
	f.run()
	for _, request := range []string{"STREAM.INFO.ORDERS", "STREAM.LIST", "INFO"} {
		f.send(apiPrefix+request, request, "", "")
		f.door.Flush()
		f.pass()
		if len(f.take(request)) != 1 {
			t.Errorf("%s: held up by nothing", request)
		}
	}
	f.send("orders.a", "", "", "z")
	f.send(nextPrefix+"ORDERS.work", "pull", "", `{"batch":3,"no_wait":true}`)
	if len(f.door.reads.next) > 0 {
		t.Error("a pull request that the stream can serve waits")
	}
}

// TestRequestsDoNotWaitForWhatIsLost has the log refuse what came before, and then
// the leadership end.
func TestRequestsDoNotWaitForWhatIsLost(t *testing.T) {
	f := withWork(t, 1)
	f.node.refuse = errors.New("no room")
	f.send("orders.a", "", "", "x")
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "info", "", "")
	f.door.Flush()
	f.node.refuse = nil
	f.run()
	if got := f.take("info"); len(got) != 1 || !strings.Contains(got[0].payload, `"messages":1,`) {
		t.Errorf("answered with %q", got)
	}
	f.send("orders.a", "", "", "y")
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "again", "", "")
	f.send(nextPrefix+"ORDERS.work", "pull", "", `{"batch":5,"no_wait":true}`)
	f.door.Handover()
	f.door.Yield()
	f.door.Flush()
	if len(f.node.forward) != 2 || string(f.node.forward[0].Reply) != "again" || string(f.node.forward[1].Reply) != "pull" {
		t.Errorf("forwarded %q", f.node.forward)
	}
}

// TestRequestsDoNotWaitForever has a disk that takes nothing any more: what came before
// a request stays undecided, and after a moment the request is answered all the same,
// and so are those behind it.
func TestRequestsDoNotWaitForever(t *testing.T) {
	f := withWork(t, 1)
	f.createStream(server.StreamConfig{Name: "OTHER", Subjects: []string{"other"}, AllowDirect: true})
	f.send("orders.a", "", "", "x")
	f.door.Flush()
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "info", "", "")
	f.send(apiPrefix+"STREAM.INFO.OTHER", "behind", "", "")
	f.node.now += decidePatience - 1
	f.door.Flush()
	f.pass()
	if got := f.take("info"); len(got) > 0 {
		t.Errorf("answered with %q too early", got)
	}
	f.node.now++
	f.door.Flush()
	f.pass()
	if got := f.take("info"); len(got) != 1 || !strings.Contains(got[0].payload, `"messages":1,`) {
		t.Errorf("answered with %q", got)
	}
	if len(f.take("behind")) != 1 {
		t.Error("the request behind it waits")
	}
}
