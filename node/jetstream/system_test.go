package jetstream

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// newSystem is a hall whose other door is that of the system account.
func newSystem(t testing.TB, cluster *server.ClusterInfo) *hall {
	queue := &Queue{}
	h := &hall{fixture: newFixture(t, func(o *Options) { o.Queue = queue })}
	h.node.cluster = cluster
	h.other = newFixture(t, func(o *Options) {
		o.Queue, o.Account, o.System, o.Machine, o.Node = queue, "SYS", true, h.machine, h.node
	})
	h.other.machine, h.other.node = h.machine, h.node
	return h
}

// asked returns the answer of the system account, "" for silence.
func (h *hall) asked(subject, payload string) string {
	h.Helper()
	inbox := h.other.inbox()
	h.other.send(subject, inbox, "", payload)
	h.run()
	got := h.other.take(inbox)
	if len(got) > 1 {
		h.Fatalf("%s: answers %q", subject, got)
	}
	if len(got) == 0 {
		return ""
	}
	return got[0].payload
}

func three() *server.ClusterInfo {
	return &server.ClusterInfo{Name: "c", Leader: "n1", Replicas: []*server.PeerInfo{{Name: "n2"}, {Name: "n3", Offline: true}}}
}

func TestSystemRequests(t *testing.T) {
	for _, c := range []struct {
		subject, payload string
		want             server.ErrorIdentifier
	}{
		{"META.LEADER.STEPDOWN", `{"placement":{"preferred":"n9"}}`, server.JSClusterNoPeersErrF},
		{"META.LEADER.STEPDOWN", `{"placement":{"preferred":"n1"}}`, server.JSClusterNoPeersErrF},
		{"SERVER.REMOVE", ``, server.JSBadRequestErr},
		{"SERVER.REMOVE", `{"peer":3}`, server.JSInvalidJSONErr},
		{"SERVER.REMOVE", `{"peer":"n9"}`, server.JSClusterServerNotMemberErr},
		{"SERVER.REMOVE", `{"peer":"n2"}`, server.JSRaftGeneralErrF},
		{"SERVER.EVACUATE", `{"peer":"n2"}`, server.JSPeerRemapErr},
		{"ACCOUNT.STREAM.MOVE.$G.NONE", `{}`, server.JSStreamNotFoundErr},
		{"ACCOUNT.STREAM.MOVE.NOBODY.S", `{}`, server.JSNoAccountErr},
		{"ACCOUNT.STREAM.MOVE.$G.ORDERS", `{"server":"n9"}`, server.JSClusterServerNotMemberErr},
		{"ACCOUNT.STREAM.MOVE.$G.ORDERS", `{"server":"n2"}`, server.JSClusterNoPeersErrF},
		{"ACCOUNT.STREAM.CANCEL_MOVE.$G.ORDERS", ``, server.JSStreamReconfigureNotInProgressErr},
		{"ACCOUNT.PURGE.a/b", ``, server.JSStreamGeneralErrorF},
		{"INFO", ``, server.JSNotEnabledForAccountErr},
	} {
		h := newSystem(t, three())
		h.createStream(orders())
		var response server.ApiResponse
		if err := json.Unmarshal([]byte(h.asked(apiPrefix+c.subject, c.payload)), &response); err != nil || response.Error == nil || response.Error.ErrCode != uint16(c.want) {
			t.Errorf("%s %s: %+v %v, want error %d", c.subject, c.payload, response.Error, err, c.want)
		}
	}
	h := newSystem(t, three())
	if got := h.asked(apiPrefix+"META.LEADER.STEPDOWN", `{"placement":{"preferred":"n2"}}`); !strings.Contains(got, `"success":true`) || len(h.node.stepped) != 1 || h.node.stepped[0] != "n2" {
		t.Errorf("step down: %s, asked to lead: %q", got, h.node.stepped)
	}
	alone := newSystem(t, nil)
	for _, subject := range []string{"META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.STREAM.MOVE.$G.S", "NOSUCH"} {
		if got := alone.asked(apiPrefix+subject, `{"peer":"n1"}`); got != "" {
			t.Errorf("%s on a node that is alone: %s, want silence", subject, got)
		}
	}
}

// Whoever is refused cannot ask what is for the system account.
func TestAccountsWithoutJetStreamAreToldSo(t *testing.T) {
	h := newSystem(t, three())
	for subject, kind := range map[string]string{
		"INFO": server.JSApiAccountInfoResponseType, "STREAM.CREATE.X": server.JSApiStreamCreateResponseType,
		"CONSUMER.DURABLE.CREATE.S.C": server.JSApiConsumerCreateResponseType, "STREAM.MSG.GET.S": server.JSApiMsgGetResponseType,
		"STREAM.PEER.REMOVE.S": server.JSApiStreamRemovePeerResponseType, "CONSUMER.LEADER.STEPDOWN.S.C": server.JSApiConsumerLeaderStepDownResponseType,
		"CONSUMER.CREATE.S.C": server.JSApiConsumerCreateResponseType,
	} {
		var response server.ApiResponse
		if err := json.Unmarshal([]byte(h.asked(RefusedPrefix+subject, "")), &response); err != nil {
			t.Fatal(subject, err)
		}
		if response.Error == nil || response.Error.ErrCode != uint16(server.JSNotEnabledForAccountErr) || response.Type != kind {
			t.Errorf("%s: %s %+v, want %s and error %d", subject, response.Type, response.Error, kind, server.JSNotEnabledForAccountErr)
		}
	}
	for _, subject := range []string{"META.LEADER.STEPDOWN", "ACCOUNT.PURGE.$G", "SERVER.REMOVE"} {
		if got := h.asked(RefusedPrefix+subject, ""); got != "" {
			t.Errorf("%s: %s, want silence", subject, got)
		}
	}
	inbox := h.other.inbox()
	h.other.send(apiPrefix+"META.LEADER.STEPDOWN", inbox, "NATS/1.0\r\nNats-Request-Info: {\"acc\":\"A\"}\r\n\r\n", "")
	h.run()
	if got := h.other.take(inbox); len(got) > 0 {
		t.Errorf("a request from another account: %q, want silence", got)
	}
	if len(h.node.stepped) > 0 {
		t.Error("an account without JetStream made the leader step down")
	}
}

func TestAccountPurge(t *testing.T) {
	h := newSystem(t, nil)
	h.createStream(orders())
	h.createStream(server.StreamConfig{Name: "X", Subjects: []string{"x"}, Storage: server.FileStorage})
	if got := h.asked(apiPrefix+"ACCOUNT.PURGE.$G", ""); !strings.Contains(got, `"initiated":true`) {
		t.Errorf("purge: %s", got)
	}
	if n := h.machine.StreamCount(); n != 0 || len(h.door.streams) != 0 {
		t.Errorf("%d streams are left, the door of the account has %d", n, len(h.door.streams))
	}
	if got := h.asked(apiPrefix+"ACCOUNT.PURGE.NOBODY", ""); !strings.Contains(got, `"initiated":true`) {
		t.Errorf("purge of nothing: %s", got)
	}
}
