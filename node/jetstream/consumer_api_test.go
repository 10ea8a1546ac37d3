package jetstream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func work() server.ConsumerConfig {
	return server.ConsumerConfig{Durable: "work", AckPolicy: server.AckExplicit}
}

func TestConsumerLifeCycle(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	info := f.createConsumer("ORDERS", work())
	if info.Name != "work" || info.Stream != "ORDERS" || info.Config.AckWait != 30*time.Second || info.Config.MaxDeliver != -1 {
		t.Errorf("created %+v %+v", info, info.Config)
	}
	f.fill("orders.a", 3)
	if info = f.info("ORDERS", "work"); info.NumPending != 3 || info.NumWaiting != 0 {
		t.Errorf("info %+v", info)
	}
	changed := work()
	changed.Description = "does the work"
	info = f.createConsumer("ORDERS", changed)
	if info.Config.Description != "does the work" {
		t.Errorf("updated %+v", info.Config)
	}
	names := api[server.JSApiConsumerNamesResponse](f, "CONSUMER.NAMES.ORDERS", nil)
	list := api[server.JSApiConsumerListResponse](f, "CONSUMER.LIST.ORDERS", nil)
	if !slices.Equal(names.Consumers, []string{"work"}) || len(list.Consumers) != 1 || list.Total != 1 {
		t.Errorf("names %+v, list %+v", names, list)
	}
	inbox := f.pull("ORDERS", "work", `{"batch":9,"expires":60000000000}`)
	deleted := api[server.JSApiConsumerDeleteResponse](f, "CONSUMER.DELETE.ORDERS.work", nil)
	if !deleted.Success {
		t.Errorf("deleted %+v", deleted)
	}
	f.want(inbox, "00000001 00000002 00000003 <409 Consumer Deleted>")
	f.wantError(server.JSConsumerNotFoundErr, "CONSUMER.INFO.ORDERS.work", nil)
	if got := f.want(f.pull("ORDERS", "work", ""), "<503>"); got[0].payload != "" {
		t.Errorf("got %+v", got)
	}
}

func TestConsumersAreCreatedTheOlderWays(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	request := server.CreateConsumerRequest{Stream: "ORDERS", Config: server.ConsumerConfig{AckPolicy: server.AckExplicit}}
	ephemeral := api[server.JSApiConsumerCreateResponse](f, "CONSUMER.CREATE.ORDERS", request)
	if ephemeral.Error != nil || len(ephemeral.Name) != 8 || ephemeral.Config.InactiveThreshold != 5*time.Second {
		t.Errorf("got %+v %v", ephemeral.ConsumerInfo, ephemeral.Error)
	}
	f.wantError(server.JSConsumerDurableNameNotSetErr, "CONSUMER.DURABLE.CREATE.ORDERS.old", request)
	request.Config.Durable = "old"
	durable := api[server.JSApiConsumerCreateResponse](f, "CONSUMER.DURABLE.CREATE.ORDERS.old", request)
	if durable.Error != nil || durable.Name != "old" {
		t.Errorf("got %+v %v", durable.ConsumerInfo, durable.Error)
	}
	f.wantError(server.JSConsumerEphemeralWithDurableNameErr, "CONSUMER.CREATE.ORDERS", request)
	f.wantError(server.JSConsumerDurableNameNotMatchSubjectErr, "CONSUMER.DURABLE.CREATE.ORDERS.new", request)
	f.wantError(server.JSConsumerDurableNameNotMatchSubjectErr, "CONSUMER.CREATE.ORDERS.new", request)
	f.wantError(server.JSStreamMismatchErr, "CONSUMER.CREATE.OTHER.old", request)
	f.wantError(server.JSConsumerCreateFilterSubjectMismatchErr, "CONSUMER.CREATE.ORDERS.old.orders.a", request)
	request.Config.FilterSubjects = []string{"orders.a", "orders.b"}
	f.wantError(server.JSConsumerMultipleFiltersNotAllowed, "CONSUMER.CREATE.ORDERS.old.orders.a", request)
	request.Stream = "NONE"
	f.wantError(server.JSStreamNotFoundErr, "CONSUMER.CREATE.NONE.old", request)
	f.wantError(server.JSInvalidJSONErr, "CONSUMER.CREATE.NONE.old", "[]")
	f.wantError(server.JSConsumerNameContainsPathSeparatorsErr, "CONSUMER.CREATE.NONE.a/b", request)
	f.wantError(server.JSNotEmptyRequestErr, "CONSUMER.INFO.ORDERS.old", "x")
	f.wantError(server.JSNotEmptyRequestErr, "CONSUMER.DELETE.ORDERS.old", "x")
	f.wantError(server.JSStreamNotFoundErr, "CONSUMER.NAMES.NONE", nil)
	f.wantError(server.JSStreamNotFoundErr, "CONSUMER.LIST.NONE", nil)
}

func TestConsumerActions(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	request := server.CreateConsumerRequest{Stream: "ORDERS", Config: work(), Action: server.ActionUpdate}
	f.wantError(server.JSConsumerDoesNotExist, "CONSUMER.CREATE.ORDERS.work", request)
	request.Action = server.ActionCreate
	if got := api[server.JSApiConsumerCreateResponse](f, "CONSUMER.CREATE.ORDERS.work", request); got.Error != nil {
		t.Fatal(got.Error)
	}
	if got := api[server.JSApiConsumerCreateResponse](f, "CONSUMER.CREATE.ORDERS.work", request); got.Error != nil {
		t.Errorf("create with the same configuration: %v", got.Error)
	}
	request.Config.Description = "changed"
	f.wantError(server.JSConsumerAlreadyExists, "CONSUMER.CREATE.ORDERS.work", request)
}

func TestUnusedConsumersAreRemoved(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	exists := func(name string) bool { return f.machine.Consumer("ORDERS", name) != nil }
	f.createConsumer("ORDERS", work())
	f.createConsumer("ORDERS", server.ConsumerConfig{Name: "idle", AckPolicy: server.AckExplicit, InactiveThreshold: 2 * time.Second})
	f.createConsumer("ORDERS", server.ConsumerConfig{Name: "busy", AckPolicy: server.AckExplicit, InactiveThreshold: 2 * time.Second})
	f.createConsumer("ORDERS", server.ConsumerConfig{Name: "owing", AckPolicy: server.AckExplicit, AckWait: 3 * time.Second, InactiveThreshold: 2 * time.Second})
	f.publish("orders.a", "x")
	busy := f.pull("ORDERS", "busy", `{"batch":2,"expires":5000000000}`)
	f.pull("ORDERS", "owing", `{"batch":1,"expires":100000000}`)
	f.wait(1900 * time.Millisecond)
	if !exists("idle") {
		t.Error("removed before its threshold")
	}
	f.wait(time.Second)
	if exists("idle") || !exists("work") || !exists("busy") || !exists("owing") {
		t.Error("after its threshold: idle", exists("idle"), "work", exists("work"), "busy", exists("busy"), "owing", exists("owing"))
	}
	f.wait(3 * time.Second)
	if exists("owing") || !exists("busy") {
		t.Error("after ack wait and threshold: owing", exists("owing"), "busy", exists("busy"))
	}
	f.want(busy, "x <408 Request Timeout>")
	f.bus.deaf[busy] = true
	f.wait(40 * time.Second)
	if exists("busy") || !exists("work") {
		t.Error("in the end: busy", exists("busy"), "work", exists("work"))
	}
}

func TestConsumersOfManyStreamsCostNothingWhenIdle(t *testing.T) {
	f := newFixture(t)
	for i := range 200 {
		name := fmt.Sprintf("S%d", i)
		f.createStream(server.StreamConfig{Name: name, Subjects: []string{name}})
		f.createConsumer(name, work())
	}
	before := len(f.node.entries)
	f.wait(time.Minute)
	if len(f.door.deadlines) != 0 || len(f.node.entries) != before || len(f.bus.sent) != 0 {
		t.Errorf("%d deadlines, %d entries, %d messages", len(f.door.deadlines), len(f.node.entries)-before, len(f.bus.sent))
	}
}
