package jetstream

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// originSilence is how long an origin may say nothing; it has to send a
	// heartbeat every originHeartbeat.
	originSilence   = int64(10 * time.Second)
	originHeartbeat = time.Second
	// A request for a consumer is given up after createPatience, one that only
	// resets a consumer after resetPatience.
	createPatience = int64(30 * time.Second)
	resetPatience  = int64(5 * time.Second)
	// A request that nobody here seemed to listen to, as before a leaf node is
	// connected, is repeated after unheardPatience, and later with each failure.
	unheardPatience = int64(500 * time.Millisecond)
	// There are at least askPause between two requests, and after failures more,
	// up to maxAskPause.
	askPause    = int64(2 * time.Second)
	maxAskPause = int64(30 * time.Second)
	// stalledThreshold is how many heartbeats in a row may say that an answer to
	// flow control is missing, before the feed says that it is stuck.
	stalledThreshold = 3
	// maxOwed bounds the answers to flow control that wait for the log. The other
	// side asks for one at a time.
	maxOwed = 1000
)

// remote is how a feed gets at an origin by way of the JetStream API: one of
// another cluster, domain or account, or a stream here that has to have a
// consumer for the feed. It is a consumer with flow control, like those of
// nats-server between its streams, or one that the configuration names.
type remote struct {
	local bool // the API is that of this door
	state remoteState

	inbox   string // where the request is answered
	deliver string // where messages come
	level   int    // API level that the request asks for, 0 for none
	plain   bool   // the other side does not know of sourcing consumers

	consumer    string // by its deliveries' reply subjects
	consumerSeq uint64 // of the last delivery
	streamSeq   uint64

	askedAt, retryAt int64
	fails            int
	unheard          bool // nobody seemed to listen when it was asked
	owed             []owed
	stalled          string // the answer to flow control that heartbeats ask for
	stalls           int
}

type remoteState uint8

const (
	remoteIdle remoteState = iota
	remoteAsking
	remoteFollowing
)

// owed is an answer to flow control that is due once everything before it is in
// the log: it may be what lets the other side forget its messages.
type owed struct {
	reply                  string
	after                  int // proposals that have to be applied before
	consumerSeq, streamSeq uint64
}

// remoteDue reports whether time asks for something.
func (d *Door) remoteDue(f *feed, now int64) bool {
	r := f.remote
	switch r.state {
	case remoteAsking:
		patience := createPatience
		if f.source.Consumer != nil {
			patience = resetPatience
		}
		if r.unheard {
			patience = min(patience, unheardPatience*int64(1+r.fails))
		}
		return now-r.askedAt > patience
	case remoteFollowing:
		return now-f.heard > originSilence
	}
	return now >= r.retryAt
}

// advanceRemote asks for a consumer, unless the feed has one that works.
func (d *Door) advanceRemote(f *feed, now int64) {
	r := f.remote
	d.payOwed(f)
	if d.remoteDue(f, now) && r.state != remoteIdle {
		if r.state == remoteAsking {
			r.fails++
			f.err = d.setupFailed(f, errNoResponse)
		}
		f.broken = true
	}
	if !f.broken || f.flying > 0 {
		return
	}
	if r.state != remoteIdle {
		pause := min(askPause*int64(1+r.fails), maxAskPause)
		if r.unheard {
			pause = 0 // its patience was the pause
		}
		d.endRemote(f)
		r.retryAt = max(r.askedAt+pause, f.retryAt)
	}
	if now >= r.retryAt && f.retryAt <= now {
		f.retryAt = 0
		d.askOrigin(f, now)
	}
}

// endRemote forgets the consumer.
func (d *Door) endRemote(f *feed) {
	r := f.remote
	for _, subject := range []string{r.inbox, r.deliver} {
		if subject != "" && d.feeds.inboxes[subject] == f {
			delete(d.feeds.inboxes, subject)
			if r.local {
				d.relisten(subject)
			} else {
				d.bus.Unsubscribe(subject, "")
			}
		}
	}
	*r = remote{local: r.local, level: r.level, plain: r.plain, askedAt: r.askedAt, retryAt: r.retryAt, fails: r.fails}
}

// receiveOn makes what comes to a subject the feed's.
func (d *Door) receiveOn(f *feed, subject string) {
	if d.feeds.inboxes == nil {
		d.feeds.inboxes = make(map[string]*feed)
	}
	d.feeds.inboxes[subject] = f
	if f.remote.local {
		d.relisten(subject)
	} else {
		d.bus.Subscribe(subject, "")
	}
}

// askOrigin asks the origin's API for a consumer, from where the feed is.
func (d *Door) askOrigin(f *feed, now int64) {
	r := f.remote
	f.broken = false
	state := f.stream.State()
	f.next, f.previous = state.LastSeq+1, state.LastSeq
	if f.name != "" {
		taken, identity := f.stream.Taken(f.name)
		f.again = f.again && identity != f.identity
		if f.again {
			taken = 0
		} else {
			f.identity = identity
		}
		f.next, f.previous = taken+1, taken
	}
	r.state, r.askedAt = remoteAsking, now
	r.streamSeq, r.consumerSeq, r.consumer = f.previous, 0, ""
	r.inbox = "$JSC.R." + d.randomName(8)
	d.receiveOn(f, r.inbox)
	var header []byte
	if r.level == 0 && !r.plain {
		r.level = 4
		if f.name != "" {
			r.level = 5
		}
	}
	if r.level > 0 && (f.source.Consumer == nil || f.name != "") {
		header = append(header, headerLine...)
		header = appendLine(header, server.JSRequiredApiLevel, strconv.Itoa(r.level))
		if f.name != "" && r.level >= 5 {
			header = appendLine(header, server.JSStreamIdentity, f.identity)
		}
		header = append(header, crlf...)
	}
	if c := f.source.Consumer; c != nil {
		r.deliver, r.consumer = c.DeliverSubject, c.Name
		d.receiveOn(f, r.deliver)
		d.requestOrigin(f, "CONSUMER.RESET."+f.source.Name+"."+c.Name, header, nil)
		return
	}
	request := d.sourcingRequest(f, &state)
	r.deliver = request.Config.DeliverSubject
	d.receiveOn(f, r.deliver)
	subject := "CONSUMER.CREATE." + f.source.Name
	if filter := request.Config.FilterSubject; filter != "" {
		subject += "." + request.Config.Name + "." + filter
	}
	body, err := json.Marshal(request)
	if err != nil {
		d.logger.Error("request for a sourcing consumer cannot be encoded", "stream", f.stream.Name(), "error", err)
		return
	}
	d.requestOrigin(f, subject, header, body)
}

// requestOrigin sends a request to the origin's API. Without interest it may still be
// heard, beyond a gateway.
func (d *Door) requestOrigin(f *feed, name string, header, body []byte) {
	subject := originSubject(f.source, name)
	f.remote.unheard = !f.remote.local && !d.bus.Interest(subject)
	d.tellOrigin(f, subject, f.remote.inbox, header, body)
}

// originSubject is the subject of a request to the origin's API.
func originSubject(source *server.StreamSource, name string) string {
	if source.External == nil {
		return apiPrefix + name
	}
	return strings.ReplaceAll(source.External.ApiPrefix+"."+name, "..", ".")
}

// sourcingRequest is the request for a consumer that nats-server makes between
// its streams.
func (d *Door) sourcingRequest(f *feed, state *server.StreamState) *server.CreateConsumerRequest {
	kind, letter, prefix := "src", ".S.", "$JS"
	if f.name == "" {
		kind, letter = "mirror", ".M."
	}
	if external := f.source.External; external != nil && external.DeliverPrefix != "" {
		prefix = external.DeliverPrefix
	}
	metadata := map[string]string{"_nats." + kind + ".stream": f.stream.Name(), "_nats." + kind + ".acc": d.accountName()}
	if d.options.Domain != "" {
		metadata["_nats."+kind+".domain"] = d.options.Domain
	}
	config := server.ConsumerConfig{
		Name:              d.sourcingName(f),
		DeliverSubject:    strings.ReplaceAll(prefix+letter+d.randomName(8), "..", "."),
		AckPolicy:         server.AckNone,
		AckWait:           22 * time.Hour,
		MaxDeliver:        1,
		Heartbeat:         originHeartbeat,
		FlowControl:       true,
		Direct:            true,
		Sourcing:          !f.remote.plain,
		InactiveThreshold: time.Duration(originSilence),
		Metadata:          metadata,
	}
	if f.remote.plain {
		config.Name += "_" + d.randomName(8)
	}
	first := f.next <= 1
	switch at := startTime(f.source, state, f.again || f.name == ""); {
	case first && f.source.OptStartSeq > 0:
		config.DeliverPolicy, config.OptStartSeq = server.DeliverByStartSequence, f.source.OptStartSeq
	case first && at != nil:
		config.DeliverPolicy, config.OptStartTime = server.DeliverByStartTime, at
	case f.next > 1:
		config.DeliverPolicy, config.OptStartSeq = server.DeliverByStartSequence, f.next
	}
	config.FilterSubject = f.source.FilterSubject
	if len(f.source.SubjectTransforms) == 1 {
		config.FilterSubject = f.filters[0]
	} else if len(f.source.SubjectTransforms) > 1 {
		config.FilterSubjects = f.filters
	}
	return &server.CreateConsumerRequest{Stream: f.source.Name, Config: config}
}

// sourcingName is the name of the consumer, the same whoever leads: a request
// takes the place of the one before it.
func (d *Door) sourcingName(f *feed) string {
	who := []string{f.stream.Name(), d.accountName()}
	if d.options.Domain != "" {
		who = append(who, d.options.Domain)
	}
	if f.name == "" {
		return "JS_MIRROR_" + machine.ConsumerHash(who...)
	}
	same := 0
	for _, source := range f.stream.Config().Sources {
		if source.Name == f.source.Name {
			same++
		}
	}
	if same > 1 {
		who = []string{machine.ConsumerHash(who...), f.name}
	}
	return "JS_SRC_" + machine.ConsumerHash(who...)
}

// forsake asks the origin to delete the feed's consumer, which nobody needs any
// more. Should that not arrive, it ends by itself.
func (d *Door) forsake(f *feed) {
	if f.remote != nil && f.remote.state == remoteFollowing && f.source.Consumer == nil {
		d.tellOrigin(f, originSubject(f.source, "CONSUMER.DELETE."+f.source.Name+"."+d.sourcingName(f)), "", nil, nil)
	}
}

// setupFailed is the error that the info of a stream shows.
func (d *Door) setupFailed(f *feed, err error) *server.ApiError {
	if f.name == "" {
		return server.NewJSMirrorConsumerSetupFailedError(err)
	}
	return server.NewJSSourceConsumerSetupFailedError(err)
}

// handleFeed takes what came to a subject of a feed.
func (d *Door) handleFeed(f *feed, m *Message) {
	now := d.node.Now()
	r := f.remote
	switch {
	case string(m.Subject) == r.inbox:
		d.originAnswered(f, m, now)
	case r.state != remoteFollowing:
	case len(m.Payload) == 0 && bytes.HasPrefix(m.Header, []byte("NATS/1.0 100 ")):
		f.heard = now
		d.controlled(f, m)
	default:
		f.heard = now
		d.receive(f, m, now)
	}
}

// originAnswered takes the answer to the request for a consumer.
func (d *Door) originAnswered(f *feed, m *Message, now int64) {
	r := f.remote
	if r.state != remoteAsking {
		return
	}
	var response server.JSApiConsumerCreateResponse
	err := json.Unmarshal(m.Payload, &response)
	info := response.ConsumerInfo
	if err != nil || response.Error != nil || info == nil || info.Config == nil {
		d.originRefused(f, response.Error, now)
		return
	}
	if f.source.Consumer != nil && info.Config.AckPolicy != server.AckFlowControl {
		f.err = server.NewJSSourceConsumerRequiresAckFCError()
		if f.name == "" {
			f.err = server.NewJSMirrorConsumerRequiresAckFCError()
		}
		d.retryRemote(f, now)
		return
	}
	if identity := headerValue(m.Header, server.JSStreamIdentity); f.name != "" && len(identity) > 0 {
		if f.identity != "" && f.identity != string(identity) {
			d.logger.Warn("the origin was created again: it is sourced from its beginning", "stream", f.stream.Name(), "source", f.source.Name)
			f.again, f.previous, r.streamSeq = true, 0, 0
		}
		f.identity = string(identity)
	}
	f.err, f.heard, r.fails = nil, now, 0
	r.state, r.consumer = remoteFollowing, info.Name
	f.lag = info.NumPending
	if f.name == "" && info.Delivered.Stream > f.previous {
		d.room(commandOverhead)
		d.batches.builder.SkipTo(f.stream.Incarnation(), info.Delivered.Stream)
		d.batches.wait(waiter{})
		f.previous = info.Delivered.Stream
	}
	r.streamSeq = max(r.streamSeq, info.Delivered.Stream, f.previous)
}

// originRefused decides whether to ask for less, or later.
func (d *Door) originRefused(f *feed, refusal *server.ApiError, now int64) {
	r := f.remote
	code := uint16(0)
	if refusal != nil {
		code = refusal.ErrCode
	}
	switch code {
	case uint16(server.JSConsumerStreamIdentityMismatchF):
		d.logger.Warn("the origin was created again: it is sourced from its beginning", "stream", f.stream.Name(), "source", f.source.Name)
		f.again, f.identity = true, ""
		d.endRemote(f)
		d.askOrigin(f, now)
		return
	case uint16(server.JSRequiredApiLevelErr), uint16(server.JSInvalidJSONErr):
		if !r.plain && f.source.Consumer == nil {
			if r.level--; r.level < 4 {
				r.level, r.plain = 0, true
			}
			d.endRemote(f)
			d.askOrigin(f, now)
			return
		}
	}
	if f.err = refusal; refusal == nil {
		f.err = d.setupFailed(f, errNoResponse)
	}
	d.retryRemote(f, now)
}

// retryRemote asks again later.
func (d *Door) retryRemote(f *feed, now int64) {
	f.remote.fails++
	f.broken = true
	d.scheduleFeed(f)
}

// controlled takes a heartbeat or a flow control request.
func (d *Door) controlled(f *feed, m *Message) {
	r := f.remote
	if len(m.Reply) > 0 {
		if len(r.owed) < maxOwed {
			r.owed = append(r.owed, owed{string(m.Reply), f.flying, r.consumerSeq, r.streamSeq})
		}
		d.payOwed(f)
		return
	}
	last := headerValue(m.Header, server.JSLastConsumerSeq)
	if sent, err := strconv.ParseUint(string(last), 10, 64); err == nil && sent > 0 && sent != r.consumerSeq {
		f.broken = true // something is missing
		d.scheduleFeed(f)
		return
	}
	stalled := string(headerValue(m.Header, server.JSConsumerStalled))
	if stalled == "" {
		d.flows(f)
		return
	}
	if stalled != r.stalled {
		r.stalled, r.stalls = stalled, 0
	}
	if r.stalls++; r.stalls == stalledThreshold {
		f.err = server.NewJSSourceConsumerFlowControlStalledError()
		d.logger.Warn("a source is stuck: answers to its flow control do not arrive", "stream", f.stream.Name(), "source", f.source.Name)
	}
	if len(r.owed) == 0 {
		d.tellOrigin(f, stalled, "", nil, nil)
	}
}

// flows takes note that the origin is not stalled.
func (d *Door) flows(f *feed) {
	r := f.remote
	if r.stalled == "" {
		return
	}
	r.stalled, r.stalls = "", 0
	if f.err != nil && f.err.ErrCode == uint16(server.JSSourceConsumerFlowControlStalledErr) {
		f.err = nil
	}
}

// payOwed answers flow control for what is in the log.
func (d *Door) payOwed(f *feed) {
	r := f.remote
	for len(r.owed) > 0 && r.owed[0].after <= 0 {
		o := r.owed[0]
		r.owed = r.owed[1:]
		header := appendNumberLine([]byte(headerLine), server.JSLastConsumerSeq, o.consumerSeq)
		header = appendNumberLine(header, server.JSLastStreamSeq, o.streamSeq)
		d.tellOrigin(f, o.reply, "", append(header, crlf...), nil)
	}
}

// settled counts what is in the log. When something was refused, the rest is
// asked for again.
func (r *remote) settled(ok bool) {
	if !ok {
		r.owed = nil
	}
	for i := range r.owed {
		r.owed[i].after--
	}
}

// receive takes a message of the origin.
func (d *Door) receive(f *feed, m *Message, now int64) {
	r := f.remote
	reply, subject, found := bytes.Cut(m.Reply, []byte{'@'})
	if !found {
		subject = m.Subject
	}
	a, ok := parseAck(reply)
	_, consumer, _ := bytes.Cut(a.key, []byte{'.'})
	if !ok || string(consumer) != r.consumer || a.deliveries > 1 || f.broken {
		return
	}
	if a.streamSeq <= r.streamSeq {
		if a.consumerSeq == r.consumerSeq+1 {
			r.consumerSeq++
		}
		return
	}
	follows := a.consumerSeq == r.consumerSeq+1 || f.name == "" && a.streamSeq == r.streamSeq+1
	if !follows || d.batches.queued > d.options.MaxQueued {
		f.broken = true
		d.scheduleFeed(f)
		return
	}
	r.consumerSeq, r.streamSeq = a.consumerSeq, a.streamSeq
	pending := pendingOf(reply)
	f.lag = max(pending, 1) - 1
	d.flows(f)
	from := machine.Origin{Seq: a.streamSeq, Stamp: a.stamp, Pending: pending}
	d.proposeFrom(f, &from, string(subject), m.Header, m.Payload)
}

// pendingOf is how many messages the reply subject of a delivery says to be
// behind it.
func pendingOf(reply []byte) uint64 {
	tokens := bytes.Count(reply, []byte{'.'}) + 1
	for ; tokens > ackTokensLonger; tokens-- { // the longer form may go on
		reply = reply[:bytes.LastIndexByte(reply, '.')]
	}
	n, _ := parseNumber(reply[bytes.LastIndexByte(reply, '.')+1:])
	return n
}
