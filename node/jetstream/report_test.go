package jetstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestReports: a node tells what it has, and the one that leads who is in the cluster.
func TestReports(t *testing.T) {
	h := newSystem(t, three())
	h.other.door.options.Server = func() *server.ServerInfo {
		return &server.ServerInfo{Name: "n1", ID: "ID1", Cluster: "c", Host: "here", Tags: []string{"edge"}}
	}
	h.other.door.options.Name, h.other.door.options.Members = "n1", 3
	h.createStream(orders())
	api[server.JSApiStreamCreateResponse](h.fixture, "STREAM.CREATE.M", server.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: server.MemoryStorage, MaxBytes: 1000})
	h.createConsumer("ORDERS", server.ConsumerConfig{Durable: "work", AckPolicy: server.AckExplicit})
	h.fill("orders.a", 3)
	h.publish("m", "x")
	file, memory := h.machine.Stream("ORDERS").State().Bytes, h.machine.Stream("M").State().Bytes

	ask := func(to, payload string) string { return h.asked(reportPrefix+to, payload) }
	report := func(payload string) *server.JSInfo {
		t.Helper()
		var response struct {
			Server *server.ServerInfo `json:"server"`
			Data   *server.JSInfo     `json:"data"`
		}
		answer := ask("PING", payload)
		if err := json.Unmarshal([]byte(answer), &response); err != nil || response.Data == nil || response.Server.ID != "ID1" || !response.Server.JetStream {
			t.Fatalf("%s is answered %q", payload, answer)
		}
		return response.Data
	}
	r := report("")
	got := fmt.Sprint(r.Disabled, r.Streams, r.Consumers, r.Messages, r.Bytes == file+memory, r.Store == file, r.Memory == memory, r.ReservedMemory, r.Accounts, len(r.AccountDetails))
	if want := "false 2 1 4 true true true 1000 1 0"; got != want {
		t.Errorf("report %s, want %s", got, want)
	}
	if m := r.Meta; m == nil || m.Leader != "n1" || m.Size != 3 || m.QuorumNeeded != 2 || len(m.Replicas) != 2 || m.Replicas[1].Peer != "n3" {
		t.Errorf("cluster %+v", r.Meta)
	}
	if ask("ID1", "") == "" || ask("ID2", "") != "" {
		t.Error("a server answers to the wrong ID")
	}

	details := func(payload string) string {
		var all []string
		for _, a := range report(payload).AccountDetails {
			all = append(all, a.Name)
			for _, s := range a.Streams {
				text := fmt.Sprint(s.Name, " ", s.State.Msgs, s.Config != nil, s.RaftGroup)
				for _, c := range s.Consumer {
					text += fmt.Sprint(" ", c.Name, c.NumPending, c.Config != nil)
				}
				all = append(all, text)
			}
		}
		return strings.Join(all, ", ")
	}
	for payload, want := range map[string]string{
		`{"accounts":true}`:                                        "$G",
		`{"accounts":true,"offset":1}`:                             "",
		`{"streams":true}`:                                         "$G, M 1 false, ORDERS 3 false",
		`{"streams":true,"account":"$G"}`:                          "$G, M 1 false, ORDERS 3 false",
		`{"streams":true,"account":"other"}`:                       "",
		`{"consumer":true,"config":true,"raft":true}`:              "$G, M 1 trueM, ORDERS 3 trueORDERS work3 true",
		`{"consumer":true,"stream_leader_only":true}`:              "$G, M 1 false, ORDERS 3 false work3 false",
		`{"leader_only":true,"server_name":"n","tags":["edge"]}`:   "",
		`{"cluster":"c","exact_match":true,"streams":true}`:        "$G, M 1 false, ORDERS 3 false",
		`{"accounts":true,"limit":1,"host":"er","server_name":""}`: "$G",
	} {
		if got := details(payload); got != want {
			t.Errorf("%s: %q, want %q", payload, got, want)
		}
	}
	for _, payload := range []string{`{"server_name":"n2"}`, `{"server_name":"n","exact_match":true}`, `{"host":"there"}`, `{"tags":["core"]}`, `{"domain":"d"}`, `{"cluster":"x"}`} {
		if answer := ask("PING", payload); answer != "" {
			t.Errorf("%s is answered %s", payload, answer)
		}
	}
	if answer := ask("PING", "{"); !strings.Contains(answer, `"error":{"code":400`) {
		t.Errorf("answered %s", answer)
	}

	// A node that follows answers as well, unless only the leader is asked.
	h.node.cluster = &server.ClusterInfo{Name: "c", Leader: "n2"}
	h.other.door.Follow()
	if r := report(`{"raft":true}`); r.Streams != 2 || r.StreamsLeader != 0 || r.Meta.Leader != "n2" || r.Meta.Size != 3 {
		t.Errorf("report of a follower %+v", r)
	}
	if answer := ask("PING", `{"leader_only":true}`); answer != "" {
		t.Errorf("a follower answers %s", answer)
	}
}
