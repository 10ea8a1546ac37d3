package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var refusalFeatures = []feature{
	{"bad API bodies", badBodies},
	{"bad pull request", badPull},
}

// badBodies sends what no client library would and expects JetStream's codes.
func badBodies(c *client) {
	c.create(jetstream.StreamConfig{})
	for _, test := range []struct {
		subject, body string
		code          int
	}{
		{"STREAM.CREATE.x" + c.root, `{`, 10025},
		{"STREAM.CREATE.x" + c.root, `{"name":"other"}`, 10056},
		{"STREAM.CREATE.x" + c.root, ``, 10056},
		{"STREAM.UPDATE." + c.stream, `{"name":7}`, 10025},
		{"STREAM.UPDATE." + c.stream, `{"name":"other"}`, 10056},
		{"STREAM.INFO." + c.stream, `[1]`, 10025},
		{"STREAM.INFO.none" + c.root, ``, 10059},
		{"STREAM.DELETE." + c.stream, `{"x":1}`, 10038},
		{"STREAM.DELETE.none" + c.root, ``, 10059},
		{"STREAM.PURGE." + c.stream, `{"seq":`, 10025},
		{"STREAM.PURGE." + c.stream, `{"seq":1,"keep":1}`, 10003},
		{"STREAM.NAMES", `{"offset":"x"}`, 10025},
		{"STREAM.LIST", `{"offset":`, 10025},
		{"STREAM.MSG.GET." + c.stream, ``, 10003},
		{"STREAM.MSG.GET." + c.stream, `{}`, 10003},
		{"STREAM.MSG.GET." + c.stream, `{"seq":1,"last_by_subj":"a"}`, 10003},
		{"STREAM.MSG.GET." + c.stream, `{"seq":99}`, 10037},
		{"STREAM.MSG.DELETE." + c.stream, ``, 10003},
		{"STREAM.MSG.DELETE." + c.stream, `nope`, 10025},
		{"STREAM.MSG.DELETE.none" + c.root, `{"seq":1}`, 10059},
		{"CONSUMER.CREATE." + c.stream, `{`, 10025},
		{"CONSUMER.CREATE." + c.stream + ".d", `{"stream_name":"other","config":{"name":"d"}}`, 10056},
		{"CONSUMER.DURABLE.CREATE." + c.stream + ".d", fmt.Sprintf(`{"stream_name":%q,"config":{}}`, c.stream), 10018},
		{"CONSUMER.INFO." + c.stream + ".none", ``, 10014},
		{"CONSUMER.DELETE." + c.stream + ".none", ``, 10014},
		{"CONSUMER.NAMES.none" + c.root, ``, 10059},
	} {
		var answer struct {
			Type  string              `json:"type"`
			Error *jetstream.APIError `json:"error"`
		}
		text := c.api(test.subject, test.body)
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			c.t.Errorf("%s %s: answer %q is not JSON", test.subject, test.body, text)
			continue
		}
		if answer.Error == nil || int(answer.Error.ErrorCode) != test.code {
			c.t.Errorf("%s %s: answer %s, want err_code %d", test.subject, test.body, text, test.code)
		}
		if !strings.HasPrefix(answer.Type, "io.nats.jetstream.api.v1.") {
			c.t.Errorf("%s %s: answer has type %q", test.subject, test.body, answer.Type)
		}
	}
}

// badPull expects the status codes that pull requests are refused with.
func badPull(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.consumer(s, jetstream.ConsumerConfig{Durable: "d", MaxRequestBatch: 10, MaxRequestExpires: time.Second})
	inbox := c.nc.NewInbox()
	answers, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, test := range []struct{ body, status, description string }{
		{`{"batch":11}`, "409", "Exceeded MaxRequestBatch of 10"},
		{`{"batch":1,"expires":5000000000}`, "409", "Exceeded MaxRequestExpires of 1s"},
		{`{"batch":`, "400", "Bad Request - unexpected end of JSON input"},
		{`{"batch":1,"expires":1000000000,"idle_heartbeat":900000000}`, "400", "Bad Request - heartbeat value too large"},
		{`{"batch":1,"no_wait":true}`, "404", "No Messages"},
		{`{"batch":1,"expires":100000000}`, "408", "Request Timeout"},
		{`{"batch":1,"expires":1000000000,"max_bytes":10}`, "409", "Message Size Exceeds MaxBytes"},
	} {
		if strings.Contains(test.body, "max_bytes") {
			c.publish("a", "longer than ten bytes")
		}
		if err := c.nc.PublishRequest(fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.d", c.stream), inbox, []byte(test.body)); err != nil {
			c.t.Fatal(err)
		}
		m, err := answers.NextMsg(callLimit)
		if err != nil {
			c.t.Errorf("%s: %v", test.body, err)
			continue
		}
		if status, description := m.Header.Get("Status"), m.Header.Get("Description"); status != test.status || description != test.description {
			c.t.Errorf("%s: status %s %q, want %s %q", test.body, status, description, test.status, test.description)
		}
	}
	// A consumer that does not exist has nobody who could answer.
	_, err = c.nc.Request(fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.none", c.stream), []byte(`{"batch":1}`), callLimit)
	c.wantError(err, nats.ErrNoResponders, "pull from an unknown consumer")
}
