package jetstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func orders() server.StreamConfig {
	return server.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Storage: server.FileStorage, AllowDirect: true}
}

func TestStreamLifeCycle(t *testing.T) {
	f := newFixture(t)
	info := f.createStream(orders())
	if info.Config.Name != "ORDERS" || info.State.Msgs != 0 || info.Config.Metadata[server.JSServerVersionMetadataKey] != server.VERSION {
		t.Errorf("created %+v", info)
	}
	if f.bus.subscriptions["orders.> "+queueGroup] != 1 {
		t.Errorf("subscribed to %v", f.bus.subscriptions)
	}
	again := api[server.JSApiStreamCreateResponse](f, "STREAM.CREATE.ORDERS", orders())
	if again.Error != nil || again.DidCreate {
		t.Errorf("create again: %+v", again)
	}
	changed := orders()
	changed.MaxMsgs = 7
	f.wantError(server.JSStreamNameExistErr, "STREAM.CREATE.ORDERS", changed)

	changed.Subjects = []string{"orders.>", "returns"}
	updated := api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE.ORDERS", changed)
	if updated.Error != nil || updated.Config.MaxMsgs != 7 || f.bus.subscriptions["returns "+queueGroup] != 1 {
		t.Errorf("updated %+v, subscribed to %v", updated, f.bus.subscriptions)
	}
	f.publish("returns", "x")
	read := api[server.JSApiStreamInfoResponse](f, "STREAM.INFO.ORDERS", nil)
	if read.Error != nil || read.State.Msgs != 1 || read.Config.MaxMsgs != 7 {
		t.Errorf("info %+v", read)
	}
	deleted := api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE.ORDERS", nil)
	if !deleted.Success || f.bus.subscriptions["orders.> "+queueGroup] != 0 || f.bus.subscriptions["returns "+queueGroup] != 0 {
		t.Errorf("deleted %+v, subscribed to %v", deleted, f.bus.subscriptions)
	}
	f.wantError(server.JSStreamNotFoundErr, "STREAM.INFO.ORDERS", nil)
	if got := f.ask("orders.1", "", "x").status(); got != "503" {
		t.Errorf("publish to a stream that is gone: %q", got)
	}
}

func TestStreamRequestsAreRefused(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	sealed, mirror := orders(), orders()
	sealed.Name, sealed.Sealed, sealed.Subjects = "SEALED", true, []string{"sealed"}
	mirror.Name, mirror.MirrorDirect, mirror.Subjects = "MIRROR", true, []string{"mirror"}
	overlap := orders()
	overlap.Name = "OVERLAP"
	f.wantError(server.JSInvalidJSONErr, "STREAM.CREATE.X", `{"name":`)
	f.wantError(server.JSInvalidJSONErr, "STREAM.CREATE.X", `{"name":"X","colour":"blue"}`)
	f.wantError(server.JSStreamMismatchErr, "STREAM.CREATE.X", orders())
	f.wantError(server.JSStreamInvalidConfigF, "STREAM.CREATE.SEALED", sealed)
	f.wantError(server.JSStreamInvalidConfigF, "STREAM.CREATE.MIRROR", mirror)
	f.wantError(server.JSStreamSubjectOverlapErr, "STREAM.CREATE.OVERLAP", overlap)
	f.wantError(server.JSStreamNameContainsPathSeparatorsErr, "STREAM.CREATE.a/b", server.StreamConfig{Name: "a/b", Storage: server.FileStorage})
	f.wantError(server.JSStreamNotFoundErr, "STREAM.UPDATE.NONE", server.StreamConfig{Name: "NONE", Storage: server.FileStorage, Subjects: []string{"none"}})
	f.wantError(server.JSStreamMismatchErr, "STREAM.UPDATE.NONE", orders())
	f.wantError(server.JSStreamNotFoundErr, "STREAM.DELETE.NONE", nil)
	f.wantError(server.JSNotEmptyRequestErr, "STREAM.DELETE.ORDERS", `{"a":1}`)
	f.wantError(server.JSStreamNotFoundErr, "STREAM.PURGE.NONE", nil)
	f.wantError(server.JSBadRequestErr, "STREAM.PURGE.ORDERS", `{"seq":1,"keep":1}`)
	f.wantError(server.JSInvalidJSONErr, "STREAM.INFO.ORDERS", `{"deleted_details":3}`)
	for _, unknown := range []string{"STREAM.NOSUCH.ORDERS", "STREAM.INFO", "META.LEADER.STEPDOWN", "$KV.Map.x"} {
		inbox := f.inbox()
		f.send(apiPrefix+unknown, inbox, "", "")
		f.run()
		if answers := f.take(inbox); len(answers) > 0 {
			t.Errorf("%s is answered %q, want silence", unknown, answers)
		}
	}
	f.wantError(server.JSClusterRequiredErr, "STREAM.LEADER.STEPDOWN.ORDERS", nil)

	answer := f.ask(apiPrefix+"STREAM.INFO.ORDERS", "NATS/1.0\r\nNats-Required-Api-Level: 99\r\n\r\n", "")
	if !strings.Contains(answer.payload, fmt.Sprint(uint16(server.JSRequiredApiLevelErr))) {
		t.Errorf("too high a level: %s", answer.payload)
	}
	inbox := f.inbox()
	f.send(apiPrefix+"META.LEADER.STEPDOWN", inbox, "", "")
	f.run()
	if got := f.take(inbox); len(got) != 0 {
		t.Errorf("request of the system account answered: %q", got)
	}
}

func TestPurgeAndDelete(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.fill("orders.a", 5)
	f.fill("orders.b", 5)
	deleted := api[server.JSApiMsgDeleteResponse](f, "STREAM.MSG.DELETE.ORDERS", server.JSApiMsgDeleteRequest{Seq: 3})
	if !deleted.Success {
		t.Errorf("delete: %+v", deleted)
	}
	f.wantError(server.JSSequenceNotFoundErrF, "STREAM.MSG.DELETE.ORDERS", `{"seq":3}`)
	f.wantError(server.JSBadRequestErr, "STREAM.MSG.DELETE.ORDERS", "")
	info := api[server.JSApiStreamInfoResponse](f, "STREAM.INFO.ORDERS", `{"deleted_details":true}`)
	if info.State.NumDeleted != 1 || !slices.Equal(info.State.Deleted, []uint64{3}) {
		t.Errorf("state %+v", info.State)
	}
	purged := api[server.JSApiStreamPurgeResponse](f, "STREAM.PURGE.ORDERS", `{"filter":"orders.a","keep":1}`)
	if !purged.Success || purged.Purged != 3 {
		t.Errorf("purge: %+v", purged)
	}
	purged = api[server.JSApiStreamPurgeResponse](f, "STREAM.PURGE.ORDERS", nil)
	if !purged.Success || purged.Purged != 6 {
		t.Errorf("purge: %+v", purged)
	}
}

func TestMessagesAreRead(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.publish("orders.a", "one")
	f.publishWith("orders.b", "NATS/1.0\r\nColour: blue\r\n\r\n", "two")
	f.node.now += int64(time.Second)
	middle := time.Unix(0, f.node.now).UTC()
	f.node.now += int64(time.Second)
	f.publish("orders.a", "three")

	for request, want := range map[string]string{
		`{"seq":1}`:                           "one",
		`{"last_by_subj":"orders.a"}`:         "three",
		`{"next_by_subj":"orders.b"}`:         "two",
		`{"seq":2,"next_by_subj":"orders.a"}`: "three",
		`{"next_by_subj":"orders.*"}`:         "one",
		fmt.Sprintf(`{"start_time":%q}`, middle.Format(time.RFC3339Nano)): "three",
	} {
		got := api[server.JSApiMsgGetResponse](f, "STREAM.MSG.GET.ORDERS", request)
		if got.Error != nil || string(got.Message.Data) != want {
			t.Errorf("%s: %+v %v, want %q", request, got.Message, got.Error, want)
		}
		direct := f.ask(apiPrefix+"DIRECT.GET.ORDERS", "", request)
		if direct.payload != want || direct.value(server.JSStream) != "ORDERS" || direct.value(server.JSSequence) == "" {
			t.Errorf("direct %s: %+v, want %q", request, direct, want)
		}
	}
	second := api[server.JSApiMsgGetResponse](f, "STREAM.MSG.GET.ORDERS", `{"seq":2}`)
	if string(headerValue(second.Message.Header, "Colour")) != "blue" || second.Message.Subject != "orders.b" {
		t.Errorf("got %+v", second.Message)
	}
	last := f.ask(apiPrefix+"DIRECT.GET.ORDERS.orders.b", "", "")
	if last.payload != "two" || last.value("Colour") != "blue" || last.value(server.JSSubject) != "orders.b" || last.value(server.JSSequence) != "2" {
		t.Errorf("got %+v", last)
	}

	f.wantError(server.JSNoMessageFoundErr, "STREAM.MSG.GET.ORDERS", `{"seq":9}`)
	f.wantError(server.JSBadRequestErr, "STREAM.MSG.GET.ORDERS", `{"seq":9,"last_by_subj":"x"}`)
	f.wantError(server.JSBadRequestErr, "STREAM.MSG.GET.ORDERS", "")
	for request, want := range map[string]string{
		"":                             "408 Empty Request",
		"{}":                           "408 Empty Request",
		"{":                            "408 Malformed Request",
		`{"seq":1,"last_by_subj":"x"}`: "408 Bad Request",
		`{"seq":77}`:                   "404 Message Not Found",
	} {
		if got := f.ask(apiPrefix+"DIRECT.GET.ORDERS", "", request).status(); got != want {
			t.Errorf("direct %q: %q, want %q", request, got, want)
		}
	}
	if got := f.ask(apiPrefix+"DIRECT.GET.NONE.a", "", "").status(); got != "503" {
		t.Errorf("direct get of no stream: %q", got)
	}
}

func TestListsArePaged(t *testing.T) {
	f := newFixture(t)
	for i := range 300 {
		f.createStream(server.StreamConfig{Name: fmt.Sprintf("S%03d", i), Subjects: []string{fmt.Sprintf("s.%03d", i)}})
	}
	names := api[server.JSApiStreamNamesResponse](f, "STREAM.NAMES", nil)
	if names.Total != 300 || len(names.Streams) != 300 || names.Streams[7] != "S007" || names.Limit != server.JSApiNamesLimit {
		t.Errorf("names %+v", names.ApiPaged)
	}
	names = api[server.JSApiStreamNamesResponse](f, "STREAM.NAMES", `{"subject":"s.01*"}`)
	if names.Total != 0 {
		t.Errorf("names with a strange filter: %+v", names)
	}
	names = api[server.JSApiStreamNamesResponse](f, "STREAM.NAMES", `{"subject":"s.011"}`)
	if !slices.Equal(names.Streams, []string{"S011"}) {
		t.Errorf("names of a subject: %+v", names)
	}
	list := api[server.JSApiStreamListResponse](f, "STREAM.LIST", nil)
	if list.Total != 300 || len(list.Streams) != server.JSApiListLimit {
		t.Errorf("list: %d of %+v", len(list.Streams), list.ApiPaged)
	}
	list = api[server.JSApiStreamListResponse](f, "STREAM.LIST", `{"offset":290}`)
	if list.Total != 300 || len(list.Streams) != 10 || list.Streams[0].Config.Name != "S290" {
		t.Errorf("rest of the list: %d of %+v", len(list.Streams), list.ApiPaged)
	}
	list = api[server.JSApiStreamListResponse](f, "STREAM.LIST", `{"offset":900}`)
	if list.Total != 300 || len(list.Streams) != 0 {
		t.Errorf("beyond the list: %d of %+v", len(list.Streams), list.ApiPaged)
	}
}

func TestStreamInfoCountsSubjects(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.fill("orders.a", 3)
	f.fill("orders.b", 2)
	info := api[server.JSApiStreamInfoResponse](f, "STREAM.INFO.ORDERS", `{"subjects_filter":">"}`)
	if info.State.Subjects["orders.a"] != 3 || info.State.Subjects["orders.b"] != 2 || info.Total != 2 {
		t.Errorf("got %+v, %+v", info.State.Subjects, info.ApiPaged)
	}
	info = api[server.JSApiStreamInfoResponse](f, "STREAM.INFO.ORDERS", `{"subjects_filter":">","offset":1}`)
	if len(info.State.Subjects) != 1 || info.State.Subjects["orders.b"] != 2 || info.Offset != 1 {
		t.Errorf("got %+v, %+v", info.State.Subjects, info.ApiPaged)
	}
	info = api[server.JSApiStreamInfoResponse](f, "STREAM.INFO.ORDERS", nil)
	if info.State.Subjects != nil || info.State.NumSubjects != 2 {
		t.Errorf("got %+v", info.State)
	}
}

func TestAccountInfo(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", server.ConsumerConfig{Durable: "work", AckPolicy: server.AckExplicit})
	f.publish("orders.1", "x")
	info := api[server.JSApiAccountInfoResponse](f, "INFO", nil)
	if info.Streams != 1 || info.Consumers != 1 || info.Store == 0 || info.Limits.MaxStreams != -1 || info.API.Level != server.JSApiLevel {
		t.Errorf("got %+v", info.JetStreamAccountStats)
	}
}

// A large purge lets others have their turn, and is answered once.
func TestLargePurgesAreMadeInSteps(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.bus.quiet = true
	const messages = 2*purgeStep + 10
	for range messages {
		f.send("orders.a", "", "", "x")
	}
	f.run()
	f.bus.quiet = false
	inbox, entries := f.inbox(), len(f.node.entries)
	f.send(apiPrefix+"STREAM.PURGE.ORDERS", inbox, "", `{"keep":5}`)
	f.run()
	answers := f.take(inbox)
	if len(answers) != 1 || !strings.Contains(answers[0].payload, fmt.Sprint(`"purged":`, messages-5)) || len(f.node.entries)-entries != 3 {
		t.Errorf("answered %q in %d entries", answers, len(f.node.entries)-entries)
	}
	if left := f.machine.Stream("ORDERS").State().Msgs; left != 5 {
		t.Errorf("%d messages left", left)
	}
}

// A node that is alone is the leader in an info, and in nothing else, as a JetStream
// server that is alone.
func TestInfoOfANodeThatIsAlone(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Name = "n1" })
	created := api[server.JSApiStreamCreateResponse](f, "STREAM.CREATE.ORDERS", orders())
	info := api[server.JSApiStreamInfoResponse](f, "STREAM.INFO.ORDERS", nil)
	if created.Cluster != nil || info.Cluster == nil || info.Cluster.Leader != "n1" || info.Cluster.Name != "" || info.Cluster.Replicas != nil {
		t.Errorf("created in %+v, info of %+v", created.Cluster, info.Cluster)
	}
}
