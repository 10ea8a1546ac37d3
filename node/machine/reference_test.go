package machine

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The reference is an embedded NATS server with one replica. The same random
// requests go to it and to the machine; what it answers and reports is what
// the machine has to. What depends on its clock is left out: message ages, ack
// waits that run out, stamps.

type reference struct {
	*world
	trace  []string // what was asked so far
	random *rand.Rand
	nc     *nats.Conn
	stream *Stream
	// holes: messages leave the stream other than by being acknowledged. Where
	// the server's ack floor is afterwards depends on how they left and on its
	// scheduling, and a consumer with AckAll takes all before such a message as
	// acknowledged. The machine moves the floor over what is acknowledged or
	// gone and no further, so these runs do without both.
	holes bool
	acks  map[string]string // reply subject of a delivery, by "consumer sequence/consumer"
}

func newReference(t *testing.T, seed uint64) *reference {
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r := &reference{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 2)), nc: nc, acks: make(map[string]string)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(strings.Join(r.trace, "\n"))
		}
	})
	return r
}

func (r *reference) request(subject string, body any, answer any) {
	r.t.Helper()
	var data []byte
	if body != nil {
		if data = encodeJSON(body); data == nil {
			r.t.Fatalf("encode %T", body)
		}
	}
	m, err := r.nc.Request(subject, data, 10*time.Second)
	if err != nil {
		r.t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		r.t.Fatal(err)
	}
}

func describeError(err *server.ApiError) string {
	if err == nil {
		return "ok"
	}
	return fmt.Sprintf("%d %s", err.ErrCode, err.Description)
}

func TestAgainstReference(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			r := newReference(t, seed)
			r.holes = seed%2 == 0
			r.create(server.RetentionPolicy(seed % 3))
			for step := range 250 {
				r.step()
				r.compare(step)
			}
		})
	}
}

func (r *reference) create(retention server.RetentionPolicy) {
	config := streamConfig("A", func(c *server.StreamConfig) {
		c.Retention, c.AllowRollup = retention, r.holes
		if r.holes {
			c.MaxMsgsPer, c.MaxMsgs = int64(r.random.IntN(4)*3), int64(r.random.IntN(2)*25)
		}
		c.Storage = []server.StorageType{server.FileStorage, server.MemoryStorage}[r.random.IntN(2)]
	})
	normal := r.normalStream(config)
	r.batch.CreateStream(normal)
	r.stream = r.one().Stream
	var answer server.JSApiStreamCreateResponse
	r.request("$JS.API.STREAM.CREATE.A", config, &answer)
	expect(r.t, "create", describeError(answer.Error), "ok")
	for _, key := range []string{server.JSServerVersionMetadataKey, server.JSServerLevelMetadataKey} {
		delete(answer.Config.Metadata, key) // only in answers
	}
	expect(r.t, "configuration", string(encodeJSON(r.stream.Config())), string(encodeJSON(answer.Config)))
}

func (r *reference) step() {
	switch n := r.random.IntN(100); {
	case n < 40:
		r.publishOne()
	case n < 60:
		r.fetch()
	case n < 80:
		r.answerOne()
	case n < 84:
		seq := r.stream.first + uint64(r.random.IntN(8))
		if !r.holes {
			seq = r.stream.last + 1
		}
		r.trace = append(r.trace, fmt.Sprint("delete message ", seq))
		r.batch.DeleteMessage(r.stream.Incarnation(), seq, false)
		var answer server.JSApiMsgDeleteResponse
		r.request("$JS.API.STREAM.MSG.DELETE.A", server.JSApiMsgDeleteRequest{Seq: seq, NoErase: true}, &answer)
		// For a message that is gone a cluster answers otherwise than one server.
		if got := r.one().Err; got == nil || answer.Error == nil || answer.Error.ErrCode != server.NewJSSequenceNotFoundError(0).ErrCode {
			expect(r.t, "delete", describeError(got), describeError(answer.Error))
		}
	case n < 87:
		r.purgeOne()
	case n < 96:
		r.createConsumer()
	case n < 98:
		r.dropConsumer()
	default:
		r.updateLimits()
	}
}

func (r *reference) publishOne() {
	subject := "a." + []string{"x", "y", "z.1", "z.2"}[r.random.IntN(4)]
	m := nats.NewMsg(subject)
	m.Data = []byte("payload of " + subject)
	switch r.random.IntN(10) {
	case 0:
		m.Header.Set(server.JSMsgId, fmt.Sprint("id", r.random.IntN(10)))
	case 1:
		m.Header.Set(server.JSExpectedLastSeq, fmt.Sprint(r.stream.last-uint64(r.random.IntN(2))))
	case 2:
		last, _ := r.stream.Last(subject)
		m.Header.Set(server.JSExpectedLastSubjSeq, fmt.Sprint(last.Seq+uint64(r.random.IntN(2))))
	case 3:
		if r.stream.Config().Discard == server.DiscardNew {
			break // which of the two errors comes first differs between one server and a cluster
		}
		m.Header.Set(server.JSExpectedLastMsgId, fmt.Sprint("id", r.random.IntN(10)))
	case 4:
		if len(r.stream.consumers) > 0 {
			break // as for a partial purge
		}
		m.Header.Set(server.JSMsgRollup, []string{"sub", "all", "bad"}[r.random.IntN(3)])
	case 5:
		m.Header.Set("Other", "value")
	case 6:
		m.Header.Set(server.JSExpectedStream, []string{"A", "B"}[r.random.IntN(2)])
	}
	reply, err := r.nc.RequestMsg(m, 10*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	var answer server.JSPubAckResponse
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		r.t.Fatal(err)
	}
	var list []string
	for key, values := range m.Header {
		list = append(list, key, values[0])
	}
	got := r.publish(r.stream, subject, list...)
	want := fmt.Sprint("0 false ", describeError(answer.Error))
	if answer.Error == nil {
		want = fmt.Sprint(answer.Sequence, " ", answer.Duplicate, " ok")
	}
	r.trace = append(r.trace, fmt.Sprint("publish ", subject, m.Header, want))
	expect(r.t, fmt.Sprint("publish ", m.Header), fmt.Sprint(got.Seq, " ", got.Duplicate, " ", describeError(got.Err)), want)
}

func (r *reference) purgeOne() {
	var request server.JSApiStreamPurgeRequest
	request.Subject = []string{"", "a.x", "a.z.>", "a.y", ">"}[r.random.IntN(5)]
	switch r.random.IntN(3) {
	case 0:
		request.Keep = uint64(r.random.IntN(4))
	case 1:
		request.Sequence = r.stream.first + uint64(r.random.IntN(10))
	}
	if len(r.stream.consumers) > 0 {
		// A partial purge moves the server's ack floors over what is not
		// acknowledged, and shows how far it looked ahead as delivered.
		request = server.JSApiStreamPurgeRequest{}
	}
	for _, c := range r.stream.consumers {
		if len(c.skips) > 0 {
			return // the server goes on looking for what was purged
		}
	}
	r.batch.PurgeStream(r.stream.Incarnation(), request)
	got := r.one()
	var answer server.JSApiStreamPurgeResponse
	r.request("$JS.API.STREAM.PURGE.A", request, &answer)
	r.trace = append(r.trace, fmt.Sprintf("purge %+v", request))
	expect(r.t, fmt.Sprintf("purge %+v", request), fmt.Sprint(got.Seq, describeError(got.Err)), fmt.Sprint(answer.Purged, describeError(answer.Error)))
}

func (r *reference) createConsumer() {
	c := server.ConsumerConfig{
		Durable: fmt.Sprint("c", r.random.IntN(4)), AckWait: time.Hour, MaxDeliver: []int{-1, 1, 3}[r.random.IntN(3)], MaxAckPending: r.random.IntN(2) * 5,
		AckPolicy:     []server.AckPolicy{server.AckExplicit, server.AckExplicit, server.AckAll, server.AckNone}[r.random.IntN(4)],
		DeliverPolicy: []server.DeliverPolicy{server.DeliverAll, server.DeliverAll, server.DeliverLast, server.DeliverNew, server.DeliverByStartSequence, server.DeliverLastPerSubject}[r.random.IntN(6)],
	}
	switch r.random.IntN(3) {
	case 0:
		c.FilterSubject = []string{"a.x", "a.z.*", "a.*"}[r.random.IntN(3)]
	case 1:
		c.FilterSubjects = []string{"a.y", "a.z.1"}
	}
	if r.holes && c.AckPolicy == server.AckAll {
		c.AckPolicy = server.AckExplicit
	}
	if c.DeliverPolicy == server.DeliverByStartSequence {
		c.OptStartSeq = r.stream.first + uint64(r.random.IntN(10)) + 1
	}
	if old := r.stream.Consumer(c.Durable); old != nil {
		// After a change of filters the server reports pending messages that are
		// gone, and lets two consumers of a work queue overlap.
		c.FilterSubject, c.FilterSubjects = old.config.FilterSubject, old.config.FilterSubjects
	}
	action := []server.ConsumerAction{server.ActionCreate, server.ActionCreateOrUpdate, server.ActionUpdate}[r.random.IntN(3)]
	if r.stream.Config().Retention != server.LimitsPolicy && r.random.IntN(2) == 0 {
		c.AckPolicy, c.DeliverPolicy, c.OptStartSeq = server.AckExplicit, server.DeliverAll, 0
	}
	var answer server.JSApiConsumerCreateResponse
	r.request("$JS.API.CONSUMER.CREATE.A."+c.Durable, server.CreateConsumerRequest{Stream: "A", Config: c, Action: action}, &answer)
	normal, err := NormalizeConsumer(&c, r.stream.Config(), Limits{}, false)
	if err == nil {
		r.batch.CreateConsumer(r.stream.Incarnation(), normal, action)
		err = r.one().Err
	}
	r.trace = append(r.trace, fmt.Sprintf("consumer %s action %v: %s", encodeJSON(c), action, describeError(answer.Error)))
	expect(r.t, fmt.Sprintf("consumer %s", encodeJSON(c)), describeError(err), describeError(answer.Error))
}

func (r *reference) randomConsumer() *Consumer {
	all := r.stream.Consumers()
	if len(all) == 0 {
		return nil
	}
	return all[r.random.IntN(len(all))]
}

func (r *reference) dropConsumer() {
	c := r.randomConsumer()
	if c == nil {
		return
	}
	r.batch.DeleteConsumer(c.Incarnation())
	r.one()
	var answer server.JSApiConsumerDeleteResponse
	r.request("$JS.API.CONSUMER.DELETE.A."+c.Name(), nil, &answer)
	r.trace = append(r.trace, "delete "+c.Name())
	expect(r.t, "delete consumer", describeError(answer.Error), "ok")
}

func (r *reference) updateLimits() {
	config := *r.stream.Config()
	if !r.holes && config.Retention == server.InterestPolicy {
		return // one server asks for interest before limits, a cluster after
	}
	if r.holes {
		config.MaxMsgsPer = []int64{-1, 1, 3, 6}[r.random.IntN(4)]
	}
	config.MaxMsgs = []int64{-1, 10, 20}[r.random.IntN(3)]
	config.Discard = server.DiscardPolicy(r.random.IntN(2))
	if !r.holes {
		config.Discard = server.DiscardNew
	}
	config.DiscardNewPer = config.Discard == server.DiscardNew && config.MaxMsgsPer > 0 && r.random.IntN(2) == 0
	r.batch.UpdateStream(r.normalStream(&config))
	got := r.one().Err
	var answer server.JSApiStreamUpdateResponse
	r.request("$JS.API.STREAM.UPDATE.A", config, &answer)
	r.trace = append(r.trace, fmt.Sprintf("update %d %d %v", config.MaxMsgs, config.MaxMsgsPer, config.Discard))
	expect(r.t, "update", describeError(got), describeError(answer.Error))
}

// fetch compares what a pull request without waiting gets.
func (r *reference) fetch() {
	c := r.randomConsumer()
	if c == nil {
		return
	}
	n := 1 + r.random.IntN(5)
	if ready := c.Ready(r.now); ready > 0 {
		n = min(n, ready)
	} else if c.stalled() {
		return // the server lets the request wait
	}
	inbox := nats.NewInbox()
	sub, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := r.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.A."+c.Name(), inbox, fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, n)); err != nil {
		r.t.Fatal(err)
	}
	var want []string
	for len(want) < n {
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			r.t.Fatal(err)
		}
		if m.Header.Get("Status") != "" {
			break
		}
		// $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<stamp>.<pending>
		t := strings.Split(m.Reply, ".")
		want = append(want, strings.Join([]string{t[5], t[6], t[4], t[8]}, "/"))
		r.acks[t[6]+"/"+c.Name()] = m.Reply
	}
	r.batch.Deliver(c.Incarnation(), n, 0)
	var got []string
	for _, d := range r.one().Deliveries {
		got = append(got, fmt.Sprintf("%d/%d/%d/%d", d.StreamSeq, d.ConsumerSeq, d.Deliveries, d.Pending))
	}
	r.trace = append(r.trace, fmt.Sprint("fetch ", c.Name(), want))
	expect(r.t, "deliveries of "+string(c.encoded), fmt.Sprint(got), fmt.Sprint(want))
}

// answerOne answers one of the last deliveries and waits until the server has
// taken note.
func (r *reference) answerOne() {
	c := r.randomConsumer()
	if c == nil || c.nextSeq == 1 {
		return
	}
	consumerSeq := max(c.nextSeq, 6) - 5 + r.random.Uint64N(5)
	reply := r.acks[fmt.Sprint(consumerSeq, "/", c.Name())]
	if reply == "" || consumerSeq >= c.nextSeq || c.config.AckPolicy == server.AckNone {
		return
	}
	t := strings.Split(reply, ".")
	streamSeq, _ := strconv.ParseUint(t[5], 10, 64)
	kind := []AckKind{AckDone, AckDone, AckDone, AckNak, AckTerm, AckProgress}[r.random.IntN(6)]
	if d := c.pending.at(streamSeq); kind == AckNak && d != nil && int(d.tries) == c.config.MaxDeliver {
		kind = AckDone // the server reports the ack floor of before the message was given up
	}
	text := map[AckKind]string{AckDone: "+ACK", AckNak: "-NAK", AckTerm: "+TERM", AckProgress: "+WPI"}[kind]
	r.trace = append(r.trace, fmt.Sprint(text, " ", c.Name(), " ", reply))
	r.ack(c, kind, 0, streamSeq, consumerSeq)
	if streamSeq > c.lastGiven {
		return // a consumer of that name before this one; the server does not answer
	}
	if _, err := r.nc.Request(reply, []byte(text), 2*time.Second); err != nil {
		r.t.Fatalf("%s to %s: %v", text, reply, err)
	}
}

// compare waits until the server reports what the machine does: it settles
// some consequences of a request after having answered it.
func (r *reference) compare(step int) {
	r.t.Helper()
	var got, want string
	for range 1000 {
		if got, want = r.report(), r.serverReport(); got == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.t.Fatalf("step %d\n machine\n%s server\n%s", step, got, want)
}

func (r *reference) report() string {
	st := r.stream.State()
	text := fmt.Sprintln(st.Msgs, st.Bytes, st.FirstSeq, st.LastSeq, st.NumDeleted, st.NumSubjects, st.Consumers)
	for _, c := range r.stream.Consumers() {
		st := c.State()
		text += fmt.Sprintln(c.Name(), r.describe(st.Delivered, st.AckFloor, st.NumAckPending, st.NumRedelivered, st.NumPending))
	}
	return text
}

func (r *reference) serverReport() string {
	var info server.JSApiStreamInfoResponse
	r.request("$JS.API.STREAM.INFO.A", nil, &info)
	st := info.State
	text := fmt.Sprintln(st.Msgs, st.Bytes, st.FirstSeq, st.LastSeq, st.NumDeleted, st.NumSubjects, st.Consumers)
	for _, c := range r.stream.Consumers() {
		var info server.JSApiConsumerInfoResponse
		r.request("$JS.API.CONSUMER.INFO.A."+c.Name(), nil, &info)
		if info.Error != nil {
			text += fmt.Sprintln(c.Name(), describeError(info.Error))
			continue
		}
		text += fmt.Sprintln(c.Name(), r.describe(info.Delivered, info.AckFloor, info.NumAckPending, info.NumRedelivered, info.NumPending))
	}
	return text
}

func (r *reference) describe(delivered, floor server.SequenceInfo, unacked, redelivered int, pending uint64) string {
	if r.holes {
		floor = server.SequenceInfo{}
	}
	return fmt.Sprintf("delivered %d/%d floor %d/%d unacked %d redelivered %d pending %d",
		delivered.Consumer, delivered.Stream, floor.Consumer, floor.Stream, unacked, redelivered, pending)
}
