package jetstream

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestRequestsAreToldOf(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Name = "n1" })
	f.createStream(orders())
	f.publish("orders.a", "x")
	f.bus.heard[server.JSAuditAdvisory] = true
	f.wantError(server.JSConsumerNotFoundErr, "CONSUMER.INFO.ORDERS.work", "{}")
	f.send(apiPrefix+"STREAM.INFO.ORDERS", "", "", "") // without a reply
	f.run()
	api[server.JSApiMsgGetResponse](f, "STREAM.MSG.GET.ORDERS", `{"seq":1}`)
	f.wantError(server.JSNoMessageFoundErr, "STREAM.MSG.GET.ORDERS", `{"seq":9}`)
	f.createConsumer("ORDERS", work())
	api[server.JSApiConsumerResetResponse](f, "CONSUMER.RESET.ORDERS.work", "")
	var subjects []string
	for _, a := range advisories[server.JSAPIAudit](f, server.JSAuditAdvisory) {
		if a.Server != "n1" || a.Client.Account != "$G" || a.Response == "" || a.Type != server.JSAPIAuditType {
			t.Errorf("told %+v", a)
		}
		if c := a.Client; c.User+c.Host+c.Name != "" || c.ID != 0 {
			t.Errorf("told of the client %+v: docs/differences.md says that only its account is known", c)
		}
		subjects = append(subjects, a.Subject[len(apiPrefix):]+" "+a.Request)
	}
	want := []string{"CONSUMER.INFO.ORDERS.work {}", "STREAM.INFO.ORDERS ", `STREAM.MSG.GET.ORDERS {"seq":9}`}
	if len(subjects) != 4 || subjects[0] != want[0] || subjects[1] != want[1] || subjects[2] != want[2] {
		t.Errorf("told of %q", subjects)
	}
}

func TestLeadersOfConsumersAreToldOf(t *testing.T) {
	f := newFixture(t)
	f.node.cluster = &server.ClusterInfo{Name: "c", Leader: "n1", Replicas: []*server.PeerInfo{{Name: "n2"}, {Name: "n3"}}}
	const told = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.ORDERS."
	f.bus.heard[told+"work"], f.bus.heard[told+"alone"] = true, true
	config := orders()
	config.Replicas = 3
	f.createStream(config)
	f.createConsumer("ORDERS", work())
	alone := work()
	alone.Durable, alone.Replicas = "alone", 1
	f.createConsumer("ORDERS", alone)
	f.door.Follow()
	f.door.Lead()
	if all := advisories[server.JSConsumerLeaderElectedAdvisory](f, told+"work"); len(all) != 2 || all[1].Leader != "n1" || len(all[1].Replicas) != 3 {
		t.Errorf("told %+v", all)
	}
	if all := f.take(told + "alone"); len(all) != 0 {
		t.Errorf("told %+v", all)
	}
}

func TestAPushConsumerStaysWithItsListeners(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", pusher())
	f.fill("orders.a", 1)
	f.want("deliver.here", "00000001")
	moved := server.CreateConsumerRequest{Stream: "ORDERS", Config: pusher(func(c *server.ConsumerConfig) { c.DeliverSubject = "deliver.there" })}
	f.wantError(server.JSConsumerNameExistErr, "CONSUMER.CREATE.ORDERS.push", moved)
	f.bus.deaf["deliver.here"] = true
	if response := api[server.JSApiConsumerCreateResponse](f, "CONSUMER.CREATE.ORDERS.push", moved); response.Error != nil {
		t.Fatal(response.Error)
	}
	f.run()
	f.want("deliver.there", "00000001") // what nobody answered comes again at once
}

func TestPeersOfConsumersStay(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", work())
	f.wantError(server.JSClusterRequiredErr, "CONSUMER.PEER.REMOVE.ORDERS.work", `{"peer":"n1"}`)
	f.node.cluster = &server.ClusterInfo{Name: "c", Leader: "n1", Replicas: []*server.PeerInfo{{Name: "n2"}}}
	for _, subject := range []string{"CONSUMER.PEER.REMOVE.", "CONSUMER.PEER.EVACUATE."} {
		f.wantError(server.JSBadRequestErr, subject+"ORDERS.work", nil)
		f.wantError(server.JSBadRequestErr, subject+"ORDERS.work", `{"peer":""}`)
		f.wantError(server.JSInvalidJSONErr, subject+"ORDERS.work", `{"peer"`)
		f.wantError(server.JSConsumerNotFoundErr, subject+"ORDERS.none", `{"peer":"n1"}`)
		f.wantError(server.JSClusterPeerNotMemberErr, subject+"ORDERS.work", `{"peer":"n9"}`)
		f.wantError(server.JSPeerRemapErr, subject+"ORDERS.work", `{"peer":"n2"}`)
	}
}
