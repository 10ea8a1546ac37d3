package jetstream

import (
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestStepDownMovesTheLeadership(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", work())
	f.wantError(server.JSClusterRequiredErr, "CONSUMER.LEADER.STEPDOWN.ORDERS.work", nil)
	f.node.cluster = &server.ClusterInfo{Name: "c", Leader: "n1", Replicas: []*server.PeerInfo{{Name: "n2", Offline: true}, {Name: "n3"}}}
	for _, subject := range []string{"STREAM.LEADER.STEPDOWN.ORDERS", "CONSUMER.LEADER.STEPDOWN.ORDERS.work"} {
		f.node.stepped = nil
		for _, body := range []any{nil, "text", `{}`, `{"placement":{"cluster":"c"}}`, `{"placement":{"preferred":"n3"}}`} {
			if response := api[server.JSApiStreamLeaderStepDownResponse](f, subject, body); response.Error != nil || !response.Success {
				t.Errorf("%s %v: %+v", subject, body, response)
			}
		}
		if want := []string{"", "", "", "", "n3"}; !slices.Equal(f.node.stepped, want) {
			t.Errorf("%s: asked %q, want %q", subject, f.node.stepped, want)
		}
		for _, body := range []string{`{"placement":{"preferred":"n1"}}`, `{"placement":{"preferred":"n9"}}`, `{"placement":{"tags":["a"]}}`, `{"placement":{"cluster":"d"}}`} {
			f.wantError(server.JSClusterNoPeersErrF, subject, body)
		}
		f.wantError(server.JSInvalidJSONErr, subject, `{"placement"`)
	}
	f.wantError(server.JSStreamNotFoundErr, "STREAM.LEADER.STEPDOWN.NONE", nil)
	f.wantError(server.JSStreamNotFoundErr, "CONSUMER.LEADER.STEPDOWN.NONE.work", nil)
	f.wantError(server.JSConsumerNotFoundErr, "CONSUMER.LEADER.STEPDOWN.ORDERS.none", nil)
}
