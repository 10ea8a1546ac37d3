package jetstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// hub plays the JetStream API of another domain.
type hub struct {
	*fixture
	request  server.CreateConsumerRequest // the last one
	header   string
	inbox    string
	consumer string
	sent     uint64 // consumer sequence
}

func newHub(t *testing.T, config server.StreamConfig) *hub {
	h := &hub{fixture: newFixture(t)}
	h.createStream(config)
	return h
}

func external(prefix string) *server.ExternalStream {
	return &server.ExternalStream{ApiPrefix: "$JS.hub.API", DeliverPrefix: prefix}
}

// asked takes the one request for a consumer that was sent.
func (h *hub) asked(subject string) {
	h.Helper()
	h.run()
	got := h.take(subject)
	if len(got) != 1 {
		var all []string
		for _, s := range h.bus.sent {
			all = append(all, s.to)
		}
		h.Fatalf("%d requests to %s among %q", len(got), subject, all)
	}
	h.request, h.header, h.inbox = server.CreateConsumerRequest{}, got[0].header, got[0].reply
	if got[0].payload != "" {
		if err := json.Unmarshal([]byte(got[0].payload), &h.request); err != nil {
			h.Fatal(err)
		}
	}
	if h.bus.subscriptions[h.inbox+" "] != 1 {
		h.Fatalf("nobody listens to the answer on %s", h.inbox)
	}
}

// accept answers the request.
func (h *hub) accept(identity string, delivered uint64) {
	h.Helper()
	config := h.request.Config
	h.consumer, h.sent = config.Name+"-x", 0
	if h.bus.subscriptions[config.DeliverSubject+" "] != 1 {
		h.Fatalf("nobody listens to %s", config.DeliverSubject)
	}
	h.answer(identity, server.JSApiConsumerCreateResponse{ConsumerInfo: &server.ConsumerInfo{
		Name: h.consumer, Config: &config, Delivered: server.SequenceInfo{Stream: delivered},
	}})
}

func (h *hub) answer(identity string, response any) {
	h.Helper()
	body, err := json.Marshal(response)
	if err != nil {
		h.Fatal(err)
	}
	header := ""
	if identity != "" {
		header = headerLine + server.JSStreamIdentity + ": " + identity + "\r\n\r\n"
	}
	h.send(h.inbox, "", header, string(body))
	h.run()
}

func (h *hub) refuse(err *server.ApiError) {
	h.Helper()
	h.answer("", server.JSApiConsumerCreateResponse{ApiResponse: server.ApiResponse{Error: err}})
}

// deliver sends a message of the origin.
func (h *hub) deliver(seq uint64, subject, payload string, pending int) {
	h.sent++
	reply := fmt.Sprintf("$JS.ACK.O.%s.1.%d.%d.%d.%d@%s", h.consumer, seq, h.sent, start+int64(seq), pending, subject)
	h.send(h.request.Config.DeliverSubject, reply, "", payload)
	h.run()
}

func (h *hub) control(header, reply string) {
	h.send(h.request.Config.DeliverSubject, reply, "NATS/1.0 100 "+header+"\r\n\r\n", "")
	h.run()
}

func TestSourcesOfAnotherDomain(t *testing.T) {
	h := newHub(t, sourced(&server.StreamSource{Name: "O", External: external("from.hub"), FilterSubject: "o.*"}))
	const create = "$JS.hub.API.CONSUMER.CREATE.O."
	name := strings.TrimPrefix(h.requestSubject(create), create)
	h.asked(create + name)
	config := h.request.Config
	if !strings.HasPrefix(name, "JS_SRC_") || !strings.HasSuffix(name, ".o.*") || !strings.HasPrefix(config.DeliverSubject, "from.hub.S.") ||
		!config.Direct || !config.Sourcing || !config.FlowControl || config.DeliverPolicy != server.DeliverAll || config.FilterSubject != "o.*" {
		t.Errorf("asked for %s: %+v", name, config)
	}
	if h.header != "NATS/1.0\r\nNats-Required-Api-Level: 5\r\nNats-Stream-Identity: \r\n\r\n" {
		t.Errorf("header %q", h.header)
	}
	h.accept("one", 0)
	h.deliver(3, "o.a", "3", 2)
	h.deliver(7, "o.b", "7", 1)
	h.wantStored("S", "1:o.a=3 2:o.b=7")
	if got := h.fixture.header("S", 2); !strings.Contains(got, "Nats-Stream-Source: O:") || !strings.Contains(got, " 7 o.* > o.b one\r\n") {
		t.Errorf("header %q", got)
	}
	info := h.streamInfo("S").Sources[0]
	if info.Seq != 7 || info.Lag != 0 || info.Active < 0 || info.External == nil || info.Error != nil {
		t.Errorf("info %+v", info)
	}
	h.deliver(7, "o.b", "old", 1)
	h.wantStored("S", "1:o.a=3 2:o.b=7")

	// A message is missing: it asks again, from what it has.
	h.sent++
	h.deliver(9, "o.b", "9", 0)
	h.wait(3 * time.Second)
	h.asked(h.requestSubject(create))
	if c := h.request.Config; c.DeliverPolicy != server.DeliverByStartSequence || c.OptStartSeq != 8 {
		t.Errorf("asked for %+v", c)
	}
	h.accept("one", 7)
	h.deliver(8, "o.b", "8", 0)
	h.wantStored("S", "1:o.a=3 2:o.b=7 3:o.b=8")

	h.door.Follow()
	for subject, n := range h.bus.subscriptions {
		if n != 0 {
			t.Errorf("still subscribed to %s", subject)
		}
	}
}

// requestSubject finds the subject of a request that begins like this.
func (h *hub) requestSubject(prefix string) string {
	h.Helper()
	h.run()
	for _, s := range h.bus.sent {
		if strings.HasPrefix(s.to, prefix) {
			return s.to
		}
	}
	h.Fatalf("no request to %s", prefix)
	return ""
}

func TestAnOriginCreatedAgainElsewhere(t *testing.T) {
	const create = "$JS.hub.API.CONSUMER.CREATE.O"
	h := newHub(t, sourced(&server.StreamSource{Name: "O", External: external("")}))
	h.asked(create)
	h.accept("one", 0)
	h.deliver(1, "o.a", "1", 1)
	h.deliver(2, "o.a", "2", 0)
	h.wait(time.Duration(originSilence) + 3*time.Second) // silence
	h.asked(create)
	if !strings.Contains(h.header, "Nats-Stream-Identity: one\r\n") || h.request.Config.OptStartSeq != 3 {
		t.Errorf("asked with %q for %+v", h.header, h.request.Config)
	}
	h.refuse(server.NewJSConsumerStreamIdentityMismatchError("two"))
	h.asked(create)
	if !strings.Contains(h.header, "Nats-Stream-Identity: \r\n") || h.request.Config.DeliverPolicy != server.DeliverAll {
		t.Errorf("asked with %q for %+v", h.header, h.request.Config)
	}
	h.accept("two", 0)
	h.deliver(1, "o.a", "new", 0)
	h.wantStored("S", "1:o.a=1 2:o.a=2 3:o.a=new")
	if seq, identity := h.machine.Stream("S").Taken("O:" + strings.Split(strings.TrimPrefix(h.door.feeds.all[0].name, "O:"), " ")[0] + " > >"); seq != 1 || identity != "two" {
		t.Errorf("taken %d of %s", seq, identity)
	}
}

func TestAnOlderServerIsAskedForLess(t *testing.T) {
	const create = "$JS.hub.API.CONSUMER.CREATE.O"
	h := newHub(t, sourced(&server.StreamSource{Name: "O", External: external("")}))
	for _, want := range []string{"Level: 5", "Level: 4", ""} {
		h.asked(create)
		if want == "" != (h.header == "") || !strings.Contains(h.header, want) || h.request.Config.Sourcing == (want == "") {
			t.Errorf("asked with %q for %+v, want %q", h.header, h.request.Config, want)
		}
		if want != "" {
			h.refuse(server.NewJSRequiredApiLevelError())
		}
	}
	h.accept("", 0)
	h.deliver(1, "o.a", "1", 0)
	h.wantStored("S", "1:o.a=1")
}

func TestARefusedSourceSaysSoAndTriesAgain(t *testing.T) {
	const create = "$JS.hub.API.CONSUMER.CREATE.O"
	h := newHub(t, sourced(&server.StreamSource{Name: "O", External: external("")}))
	h.asked(create)
	h.refuse(server.NewJSStreamNotFoundError())
	if info := h.streamInfo("S").Sources[0]; info.Error == nil || info.Error.ErrCode != uint16(server.JSStreamNotFoundErr) || info.Active != -1 {
		t.Errorf("info %+v", info)
	}
	h.wait(5 * time.Second)
	h.asked(create)
	h.wait(time.Duration(createPatience) + 10*time.Second)
	h.asked(create)
	if info := h.streamInfo("S").Sources[0]; info.Error == nil || info.Error.ErrCode != uint16(server.JSSourceConsumerSetupFailedErrF) {
		t.Errorf("info %+v", info)
	}
	h.accept("one", 0)
	if info := h.streamInfo("S").Sources[0]; info.Error != nil {
		t.Errorf("info %+v", info)
	}
}

// A leaf node may be connected only after the stream was created.
func TestAnOriginThatIsConnectedLater(t *testing.T) {
	const create = "$JS.hub.API.CONSUMER.CREATE.O"
	h := &hub{fixture: newFixture(t)}
	h.bus.deaf[create] = true
	h.createStream(sourced(&server.StreamSource{Name: "O", External: external("")}))
	h.asked(create)
	h.wait(600 * time.Millisecond)
	h.asked(create)
	delete(h.bus.deaf, create)
	h.wait(1200 * time.Millisecond)
	h.asked(create)
	h.wait(10 * time.Second)
	if got := h.take(create); len(got) != 0 {
		t.Errorf("a request that was heard is repeated: %q", got)
	}
	h.accept("one", 0)
	h.deliver(1, "o.a", "1", 0)
	h.wantStored("S", "1:o.a=1")
}

func TestMirrorsOfAnotherDomain(t *testing.T) {
	const create = "$JS.hub.API.CONSUMER.CREATE.O"
	config := mirror(server.StreamSource{Name: "O", External: external("")})
	config.MirrorDirect = true
	h := newHub(t, config)
	h.door.OpenDirect()
	h.asked(create)
	if !strings.HasPrefix(h.request.Config.Name, "JS_MIRROR_") || !strings.HasPrefix(h.request.Config.DeliverSubject, "$JS.M.") ||
		h.header != "NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n" {
		t.Errorf("asked with %q for %+v", h.header, h.request.Config)
	}
	h.accept("", 100)
	h.deliver(101, "o.a", "101", 20)
	h.deliver(105, "o.b", "105", 9)
	h.wantStored("M", "101:o.a=101 105:o.b=105")
	if first := h.machine.Stream("M").State().FirstSeq; first != 101 {
		t.Errorf("the first sequence is %d", first)
	}
	h.door.Observe(&h.results)
	if got := h.ask(directPrefix+"O.o.b", "", ""); got.payload != "105" || got.value(server.JSStream) != "M" {
		t.Errorf("direct read of the origin: %+v", got)
	}
	h.door.Follow()
	h.door = New(h.door.options)
	h.door.Lead()
	h.asked(create)
	if c := h.request.Config; c.OptStartSeq != 106 || c.DeliverPolicy != server.DeliverByStartSequence {
		t.Errorf("a new leader asks for %+v", c)
	}
}

func TestFlowControlIsAnsweredWhenAllIsInTheLog(t *testing.T) {
	h := newHub(t, sourced(&server.StreamSource{Name: "O", External: external("")}))
	h.asked("$JS.hub.API.CONSUMER.CREATE.O")
	h.accept("one", 0)
	h.deliver(5, "o.a", "5", 1)
	h.sent++
	h.send(h.request.Config.DeliverSubject, fmt.Sprintf("$JS.ACK.O.%s.1.6.2.%d.0@o.a", h.consumer, start), "", "6")
	h.send(h.request.Config.DeliverSubject, "$JS.FC.O.x.1", "NATS/1.0 100 FlowControl Request\r\n\r\n", "")
	h.door.Flush()
	if got := h.take("$JS.FC.O.x.1"); len(got) != 0 {
		t.Errorf("answered before the message is in the log: %+v", got)
	}
	h.run()
	if got := h.take("$JS.FC.O.x.1"); len(got) != 1 || got[0].value(server.JSLastConsumerSeq) != "2" || got[0].value(server.JSLastStreamSeq) != "6" {
		t.Errorf("answered %+v", got)
	}
	for range stalledThreshold {
		h.control("Idle Heartbeat\r\nNats-Last-Consumer: 2\r\nNats-Consumer-Stalled: $JS.FC.O.x.2", "")
	}
	if got := h.take("$JS.FC.O.x.2"); len(got) != stalledThreshold {
		t.Errorf("answered %+v", got)
	}
	if info := h.streamInfo("S").Sources[0]; info.Error == nil || info.Error.ErrCode != uint16(server.JSSourceConsumerFlowControlStalledErr) {
		t.Errorf("info %+v", info)
	}
	h.deliver(7, "o.a", "7", 0)
	if info := h.streamInfo("S").Sources[0]; info.Error != nil {
		t.Errorf("info %+v", info)
	}
	h.control("Idle Heartbeat\r\nNats-Last-Consumer: 4", "")
	h.wait(3 * time.Second)
	h.asked("$JS.hub.API.CONSUMER.CREATE.O") // message 4 was lost
}

func TestADurableConsumerElsewhere(t *testing.T) {
	h := newHub(t, sourced(&server.StreamSource{Name: "O", External: external(""), Consumer: &server.StreamConsumerSource{Name: "mine", DeliverSubject: "for.me"}}))
	h.asked("$JS.hub.API.CONSUMER.RESET.O.mine")
	h.request.Config = server.ConsumerConfig{Durable: "mine", DeliverSubject: "for.me", AckPolicy: server.AckExplicit}
	h.accept("one", 0)
	if info := h.streamInfo("S").Sources[0]; info.Error == nil || info.Error.ErrCode != uint16(server.JSSourceConsumerRequiresAckFCErr) {
		t.Errorf("info %+v", info)
	}
	h.wait(5 * time.Second)
	h.asked("$JS.hub.API.CONSUMER.RESET.O.mine")
	h.request.Config = server.ConsumerConfig{Durable: "mine", DeliverSubject: "for.me", AckPolicy: server.AckFlowControl}
	h.accept("one", 0)
	h.deliver(1, "o.a", "1", 0)
	h.wantStored("S", "1:o.a=1")
}

// A work queue here knows of the stream that sources from it: a message leaves
// it once it is in the other stream.
func TestSourcesOfAWorkQueue(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "O", Subjects: []string{"o.>"}, Retention: server.WorkQueuePolicy})
	f.publish("o.a", "1")
	f.publish("o.b", "2")
	f.createStream(sourced(&server.StreamSource{Name: "O"}))
	f.run()
	f.wantStored("S", "1:o.a=1 2:o.b=2")
	f.wait(3 * time.Second)
	if state := f.machine.Stream("O").State(); state.Msgs != 0 {
		t.Errorf("the queue still holds %d messages", state.Msgs)
	}
	f.publish("o.c", "3")
	f.wait(3 * time.Second)
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3")
	f.bus.deaf[f.machine.Stream("O").Consumers()[0].Config().DeliverSubject] = true // the leader that listens there goes
	f.door.Follow()
	f.door = New(f.door.options)
	f.door.Lead()
	f.publish("o.d", "4")
	f.wait(15 * time.Second)
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4")
	if names := api[server.JSApiConsumerNamesResponse](f, "CONSUMER.NAMES.O", nil).Consumers; len(names) != 1 || !strings.HasPrefix(names[0], "JS_SRC_") {
		t.Errorf("consumers %q", names)
	}
	api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE.S", nil)
	f.run()
	if names := api[server.JSApiConsumerNamesResponse](f, "CONSUMER.NAMES.O", nil).Consumers; len(names) != 0 {
		t.Errorf("consumers %q", names)
	}
}

// A source may take a push consumer that somebody made for it: the stream listens
// where nobody else does, whichever of the two comes first.
func TestSourcesThroughAConsumerHere(t *testing.T) {
	for _, consumerFirst := range []bool{true, false} {
		f := newFixture(t)
		f.bus.deaf["for.me"] = true
		f.createStream(server.StreamConfig{Name: "O", Subjects: []string{"o.>"}})
		if consumerFirst {
			f.createConsumer("O", server.ConsumerConfig{Durable: "mine", DeliverSubject: "for.me", AckPolicy: server.AckFlowControl})
		}
		f.createStream(sourced(&server.StreamSource{Name: "O", Consumer: &server.StreamConsumerSource{Name: "mine", DeliverSubject: "for.me"}}))
		f.run()
		if !consumerFirst {
			f.createConsumer("O", server.ConsumerConfig{Durable: "mine", DeliverSubject: "for.me", AckPolicy: server.AckFlowControl})
		}
		f.publish("o.a", "1")
		f.wait(15 * time.Second)
		f.wantStored("S", "1:o.a=1")
	}
}
