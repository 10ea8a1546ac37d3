package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answers asks all nodes, from the system account, and returns what they answer.
func answers(nc *nats.Conn, nodes int, subject, payload string) ([]*nats.Msg, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(subject, inbox, []byte(payload)); err != nil {
		return nil, err
	}
	var all []*nats.Msg
	for range nodes {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil || len(m.Data) == 0 {
			return nil, errors.Join(fmt.Errorf("%d of %d nodes answer", len(all), nodes), err)
		}
		all = append(all, m)
	}
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		return nil, fmt.Errorf("somebody answers twice: %s", m.Data)
	}
	return all, nil
}

// report is what is compared of any answer.
type report struct {
	Server server.ServerInfo   `json:"server"`
	Stats  *server.ServerStats `json:"statsz"`
	Error  *server.ApiError    `json:"error"`
	Data   struct {
		server.JSInfo
		JetStream *server.JetStreamVarz `json:"jetstream"`
		Account   *server.AccountInfo   `json:"account_detail"`
		Enabled   bool                  `json:"jetstream_enabled"`
		Name      string                `json:"name"`
		Detail    []server.StreamDetail `json:"stream_detail"`
		Status    string                `json:"status"`
		Code      int                   `json:"status_code"`
		Reason    string                `json:"error"`
		Reasons   []server.HealthzError `json:"errors"`
	} `json:"data"`
}

// Every node answers what operators ask about JetStream, once, whichever node they use.
// The NATS server that Holdfast embeds would say that its own is off.
func TestReportsAboutJetStream(t *testing.T) {
	t.Parallel()
	c := startAccounts(t)
	c.waitReady(t)
	a := in(t, c.nodes[0], "a")
	eventually(t, readyLimit, "no stream", func() error {
		_, err := a.js.CreateStream(a.ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
		return err
	})
	underTest.settle()
	if _, err := a.js.CreateConsumer(a.ctx, "S", jetstream.ConsumerConfig{Durable: "C"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.js.Publish(a.ctx, "s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	use := func(j *server.JetStreamVarz) string {
		if j == nil || j.Config == nil || j.Stats == nil || j.Meta == nil {
			return fmt.Sprintf("%+v", j)
		}
		return fmt.Sprint(j.Stats.Store, " ", j.Stats.Accounts, " ", j.Meta.Leader != "", j.Meta.Size, j.Meta.QuorumNeeded)
	}
	health := func(r *report) string {
		text := fmt.Sprint(r.Data.Status, " ", r.Data.Code, " ", r.Data.Reason)
		for _, e := range r.Data.Reasons {
			text += fmt.Sprint(e.Type, " ", e.Account, e.Stream, e.Consumer, " ", e.Error)
		}
		return text
	}
	described := func(streams []server.StreamDetail) string {
		text := ""
		for _, s := range streams {
			text += fmt.Sprint(s.Name, s.State.Msgs, s.RaftGroup != "", s.Config != nil)
			for _, c := range s.Consumer {
				text += fmt.Sprint(" ", c.Stream, c.Name)
			}
		}
		return text
	}
	jsz := func(r *report) string {
		text := fmt.Sprint(r.Data.Streams, r.Data.Consumers, r.Data.Messages, " ", r.Data.Store, " ", r.Data.Accounts, r.Data.Total)
		for _, a := range r.Data.AccountDetails {
			text += fmt.Sprint(" ", a.Name, " ", a.Store, " ", described(a.Streams))
		}
		return text
	}
	stats := func(r *report) string { return fmt.Sprint(r.Stats.ActiveServers, " ", use(r.Stats.JetStream)) }
	account := func(r *report) string { return fmt.Sprint(r.Data.Account.AccountName, r.Data.Account.JetStream) }
	detail := func(r *report) string { return fmt.Sprint(r.Data.Name, " ", described(r.Data.Detail)) }
	for _, q := range []struct {
		subject, payload string
		of               func(*report) string
		want             string
	}{
		{"SERVER.PING", "", stats, "3 32 2 true 3 2"},
		{"SERVER.PING.STATSZ", "", stats, "3 32 2 true 3 2"},
		{"SERVER.PING.VARZ", "", func(r *report) string { return use(r.Data.JetStream) }, "32 2 true 3 2"},
		{"SERVER.PING.JSZ", "", jsz, "1 1 1 32 2 2"},
		{"SERVER.PING.JSZ", `{"accounts":true}`, jsz, "1 1 1 32 2 2 A 96  B 0 "},
		{"SERVER.PING.JSZ", `{"accounts":true,"offset":1,"limit":1}`, jsz, "1 1 1 32 2 2 B 0 "},
		{"SERVER.PING.JSZ", `{"account":"A","consumer":true,"config":true,"raft":true}`, jsz, "1 1 1 32 2 2 A 96 S1 true true SC"},
		{"SERVER.PING.JSZ", `{"account":"C","streams":true}`, jsz, "1 1 1 32 2 2"},
		{"SERVER.PING.HEALTHZ", "", health, "ok 200 "},
		{"SERVER.PING.HEALTHZ", `{"js-enabled-only":true}`, health, "ok 200 "},
		{"SERVER.PING.HEALTHZ", `{"account":"A","stream":"S","consumer":"C"}`, health, "ok 200 "},
		{"SERVER.PING.HEALTHZ", `{"account":"A","stream":"S","consumer":"X"}`, health, `unavailable 404 JetStream consumer "X" not found for stream "S" on account "A"`},
		{"SERVER.PING.HEALTHZ", `{"account":"A","stream":"X"}`, health, `unavailable 404 JetStream stream "X" not found on account "A"`},
		{"SERVER.PING.HEALTHZ", `{"account":"X","details":true}`, health, `error 404 ACCOUNT X JetStream account "X" not found`},
		{"SERVER.PING.HEALTHZ", `{"stream":"S"}`, health, `error 400 "account" must not be empty when checking stream health`},
		{"SERVER.PING.ACCOUNTZ", `{"account":"A"}`, account, "Atrue"},
		{"SERVER.PING.ACCOUNTZ", `{"account":"C"}`, account, "Cfalse"},
		{"ACCOUNT.B.INFO", "", func(r *report) string { return fmt.Sprint(r.Data.Enabled) }, "true"},
		{"ACCOUNT.C.INFO", "", func(r *report) string { return fmt.Sprint(r.Data.Enabled) }, "false"},
		{"ACCOUNT.A.JSZ", `{"streams":true,"consumer":true}`, detail, "A S1 false false SC"},
		{"ACCOUNT.C.JSZ", "", func(r *report) string { return fmt.Sprint(r.Error.Code, " ", r.Error.Description) }, `500 account "C" not jetstream enabled`},
		{"ACCOUNT.X.JSZ", "", func(r *report) string { return fmt.Sprint(r.Error.Code, " ", r.Error.Description) }, `500 account "X" not found`},
		{"SERVER.PING.VARZ", "[", func(r *report) string { return fmt.Sprint(r.Error.Code) }, "400"},
	} {
		operator := c.nodes[1].connect(t, nats.UserInfo("s", "s"))
		// A follower may not have applied everything yet: then all are asked again.
		eventually(t, 10*time.Second, q.subject+" "+q.payload, func() error {
			all, err := answers(operator, len(c.nodes), "$SYS.REQ."+q.subject, q.payload)
			var names []string
			for _, m := range all {
				var r report
				if err := json.Unmarshal(m.Data, &r); err != nil {
					return fmt.Errorf("%w: %s", err, m.Data)
				}
				if names = append(names, r.Server.Name); !r.Server.JetStreamEnabled() {
					return fmt.Errorf("%s is without JetStream", r.Server.Name)
				}
				if refused := q.payload == "[" || strings.HasPrefix(q.want, "500 "); (r.Error != nil) != refused {
					return fmt.Errorf("answered %s", m.Data)
				}
				if got := q.of(&r); got != q.want {
					return fmt.Errorf("%s says %q, want %q", r.Server.Name, got, q.want)
				}
			}
			slices.Sort(names)
			if err == nil && len(slices.Compact(names)) < len(c.nodes) {
				err = fmt.Errorf("only %v answer", names)
			}
			return err
		})
	}
}
