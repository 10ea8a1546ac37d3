package jetstream

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
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

	ask := func(to, payload string) string { return h.asked(serverReports+"JSZ."+to, payload) }
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

	group := func(name string) string {
		return fmt.Sprintf("%08s", strconv.FormatUint(uint64(h.machine.Stream(name).Incarnation()), 36))
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
		`{"consumer":true,"config":true,"raft":true}`:              "$G, M 1 trueS-R3F-" + group("M") + ", ORDERS 3 trueS-R3F-" + group("ORDERS") + " work3 true",
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

	// Whoever asks without a message hears the same, also that there is no answer.
	for asked, want := range map[string]string{`{}`: `"streams":2`, `{"leader_only":true}`: "", "{": `"code":400`} {
		answers := 0
		h.other.door.Tell("JSZ", []byte(asked), func(body []byte) {
			if answers++; !strings.Contains(string(body), want) || (body == nil) != (want == "") {
				t.Errorf("%s is answered %s", asked, body)
			}
		})
		h.run()
		for range 10 {
			h.other.door.Flush()
		}
		if answers != 1 {
			t.Errorf("%s is answered %d times", asked, answers)
		}
	}
}

// TestReportsAreMadeInPieces: publishes and other requests have their turn while a large
// report is made, and what is deleted meanwhile is left out. It tells the same packed.
func TestReportsAreMadeInPieces(t *testing.T) {
	const streams, consumers = 3, 150
	h := newSystem(t, three())
	system := h.other.door
	system.options.Server = func() *server.ServerInfo { return &server.ServerInfo{Name: "n1", ID: "ID1"} }
	system.options.Name, system.options.Members, h.door.options.Members = "n1", 3, 3
	for i := range streams {
		name := fmt.Sprint("S", i)
		api[server.JSApiStreamCreateResponse](h.fixture, "STREAM.CREATE."+name, server.StreamConfig{Name: name, Subjects: []string{name}, Storage: server.FileStorage})
		for j := range consumers {
			h.createConsumer(name, server.ConsumerConfig{Durable: fmt.Sprint("c", j), AckPolicy: server.AckExplicit})
		}
	}
	api[server.JSApiStreamCreateResponse](h.fixture, "STREAM.CREATE.T", server.StreamConfig{Name: "T", Storage: server.FileStorage, Mirror: &server.StreamSource{Name: "S0"}})
	h.run()

	begin := func(header string) string {
		inbox := h.other.inbox()
		h.other.send(serverReports+"JSZ.PING", inbox, header, `{"consumer":true,"raft":true}`)
		return inbox
	}
	read := func(body []byte) *server.JSInfo {
		t.Helper()
		var response server.ServerAPIJszResponse
		if err := json.Unmarshal(body, &response); err != nil || response.Data == nil {
			t.Fatalf("%v: answered %s", err, body)
		}
		return response.Data
	}
	pieces := 0
	whole := func(inbox string) (body sent) {
		t.Helper()
		for piece := range 100 {
			system.Flush()
			if got := h.other.take(inbox); len(got) > 0 {
				pieces = piece + 1
				return got[0]
			}
			if system.Wake() == 0 {
				t.Fatal("nobody goes on with the report")
			}
		}
		t.Fatal("the report does not come")
		return sent{}
	}

	plain, packed := begin(""), begin("NATS/1.0\r\nAccept-Encoding: snappy\r\n\r\n")
	report := read([]byte(whole(plain).payload))
	if pieces < 3 {
		t.Errorf("a report of %d consumers is made in %d pieces", streams*consumers, pieces)
	}
	got := whole(packed)
	if !strings.Contains(got.header, "Content-Encoding: snappy") {
		t.Errorf("header %q", got.header)
	}
	unpacked, err := io.ReadAll(s2.NewReader(strings.NewReader(got.payload)))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*server.JSInfo{report, read(unpacked)} {
		all := r.AccountDetails[0].Streams
		if r.Streams != streams+1 || r.Consumers != streams*consumers || len(all) != streams+1 || r.ConsumersLeader != r.Consumers {
			t.Fatalf("%d streams, %d of them described, %d consumers", r.Streams, len(all), r.Consumers)
		}
		seen := map[string]bool{}
		for _, s := range all[:streams] {
			if len(s.Consumer) != consumers || len(s.ConsumerRaftGroups) != consumers || s.Consumer[1].Name != s.ConsumerRaftGroups[1].Name {
				t.Errorf("stream %s: %d consumers, %d groups", s.Name, len(s.Consumer), len(s.ConsumerRaftGroups))
			}
			seen[s.RaftGroup] = true
		}
		if info := h.info("S0", "c1"); info.Cluster.RaftGroup != all[0].ConsumerRaftGroups[1].RaftGroup {
			t.Errorf("the consumer is in group %q", info.Cluster.RaftGroup)
		}
		if len(seen) != streams || all[0].RaftGroup != all[0].Cluster.RaftGroup {
			t.Errorf("groups %v", seen)
		}
		if m := all[streams].Mirror; m == nil || m.Name != "S0" {
			t.Errorf("mirror %+v", m)
		}
	}

	inbox := begin("")
	system.Flush()
	api[server.JSApiStreamDeleteResponse](h.fixture, "STREAM.DELETE.S2", nil)
	h.node.cluster = three() // the barriers of the deletion are answered
	if r := read([]byte(whole(inbox).payload)); r.Streams != streams || len(r.AccountDetails[0].Streams) != streams {
		t.Errorf("a stream that was deleted meanwhile is in the report: %d", r.Streams)
	}

	system.options.MaxAnswer = 20_000
	if got := whole(begin("")); !strings.Contains(got.payload, `"error":{"code":500,"description":"the report has more than`) {
		t.Errorf("too large a report is answered %.100q", got.payload)
	}
	for range maxReports {
		begin("")
	}
	refused := begin("")
	if got := h.other.take(refused); len(got) != 1 || !strings.Contains(got[0].payload, "too many reports") {
		t.Errorf("answered %v", got)
	}
	system.Silence()
	if system.Wake() != 0 {
		t.Error("reports are made after the end")
	}
}
