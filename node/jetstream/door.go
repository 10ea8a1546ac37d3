package jetstream

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// queueGroup is the queue of the door's subscriptions. It lets two nodes be
// subscribed for the moment of a hand-over: each message goes to one.
const queueGroup = "_holdfast_"

const (
	apiPrefix  = "$JS.API."
	ackPrefix  = "$JS.ACK."
	flowPrefix = "$JS.FC."
)

// prefixes are those of the subjects that are JetStream's own.
var prefixes = []string{apiPrefix, ackPrefix, flowPrefix, snapshotPrefix}

// served are the subjects that are subscribed to, beside those of streams, each
// with its queue.
func (d *Door) served(each func(subject, queue string)) {
	if d.options.System {
		for _, subject := range systemSubjects {
			each(subject, queueGroup)
		}
		return
	}
	for _, prefix := range prefixes {
		queue := queueGroup
		if prefix == apiPrefix {
			queue = directGroup
		}
		each(prefix+">", queue)
	}
}

// Presence is a subject that only a door subscribes to, when it serves its account, and
// after all of the API: where there is interest in it, the API is in reach. Interest in
// the API itself says nothing. The NATS server imports that from the system account into
// each account with JetStream, and into the global one of a cluster that has no others,
// without asking whether anybody serves it (server.Start).
func Presence(system bool) string {
	if system {
		return RefusedPrefix + "INFO"
	}
	return snapshotPrefix + "INFO"
}

// Options configure a door. Zero numbers mean the defaults.
type Options struct {
	Machine *machine.Machine // the caller applies to it, the door only reads
	Account string           // of the machine, that the door serves
	// System says that it is the system account of the NATS server.
	System bool
	// Imports are the subjects under which the account imports services of others:
	// there this door is not the only one to answer.
	Imports []string
	Bus     Bus
	Node    Node
	Logger  *slog.Logger
	Random  *rand.Rand     // names of consumers, identifiers of advisories; required
	Limits  machine.Limits // what the node's configuration allows
	// Allowed is how much the account may use; nil: machine.DefaultLimits.
	Allowed *machine.AccountLimits
	Domain  string // JetStream domain; empty for none
	Name    string // of the node, for those who are told of requests
	Members int    // of the cluster
	// Server tells what the NATS server is called, nil while there is none; a nil
	// function: nobody asks. See report.go.
	Server func() *server.ServerInfo
	// Inspect calls read with the NATS server, beside the goroutine that calls the
	// door, and then done on it. It is not called while Server tells nothing.
	Inspect func(read func(*server.Server), done func())
	// Served are the accounts that have JetStream, as the machine knows them, and
	// Storage is what reports tell of the store.
	Served  []string
	Storage server.JetStreamConfig
	// Queue is what the doors of one node share. Nil: this door is the only one.
	Queue *Queue
	// Zone finds a time zone by its name, as time.LoadLocation does; nil: there
	// are none, and schedules that name one are refused.
	Zone func(name string) (*time.Location, error)

	// MaxPayload is the most bytes of header and payload that a client's message
	// may have. Default 1 MiB.
	MaxPayload int
	// MaxAnswer is the most bytes that the answer to a request may have. It may
	// be larger than a client's message: it carries stored messages in base64,
	// or long lists. Default 90 MiB.
	MaxAnswer int
	// MaxInFlight is how many batches may wait for the log. Default 4.
	MaxInFlight int
	// MaxQueued is how many bytes of batches may wait for one of these places
	// before publishes are refused; ten times that, if they are few and large.
	// Default 64 MiB.
	MaxQueued int
	// MaxOutbound is how many bytes the bus may have pending before deliveries
	// stop. Default 16 MiB.
	MaxOutbound int
	Batches     BatchLimits
}

type role uint8

const (
	following role = iota
	leading
	handingOver // what arrives is kept for the next leader
	yielding    // there is one: what arrives is forwarded
)

// Door is the front door of one node. See the package's documentation.
type Door struct {
	machine *machine.Account
	log     *machine.Machine // with all accounts
	bus     Bus
	node    Node
	logger  *slog.Logger
	random  *rand.Rand
	options Options
	role    role
	counts  Counters

	queue      *Queue
	batches    batches
	barriers   uint64 // context of the last barrier asked for
	reads      reads
	direct     direct
	feeds      feeds
	transfers  transfers
	staging    staging
	ingests    ingests
	streams    map[machine.Incarnation]*stream
	lastStream *machine.Stream // the last argument of streamOf, and its result
	last       *stream
	touched    []*stream                       // with messages in the open batch that somebody waits for
	marking    map[machine.Incarnation]*stream // those that leave delete markers
	scheduling map[machine.Incarnation]*stream // those that have schedules
	zones      zones
	totals     map[totalKey]*runningTotal // counters with increments that were not applied yet
	subjects   map[string]int             // how many streams listen to a subject
	reserved   int                        // streams with a subject that begins with $ or a wildcard
	matching   uint64                     // changes with what streams listen to

	consumers map[machine.Incarnation]*consumer
	// byName finds a consumer by "stream.consumer", the way its subjects name it.
	byName    map[string]*consumer
	work      []*consumer // to be looked at before the next flush; each has scheduled set
	acked     []*consumer // with acks for the next batch
	stalled   []*consumer // wait for the bus to drain
	deadlines deadlines
	listeners map[listener][]*consumer // push consumers by whom they deliver to
	hear      func(subject, queue string, listens bool)

	reports     []*jetStreamReport // under way, see report_jetstream.go
	inspections int                // requests that wait for the NATS server, see report.go

	held []Message // copies of what arrived during a hand-over

	scratch []byte // header or payload being built
	address []byte // subject being built
	raw     []byte // stored bytes being sent
	burst   uint64 // counts bursts of deliveries, see pull.checked

	staleAck    []byte // subject of the last stale ack
	staleLogged uint64 // Counters.StaleAcks when they were last logged
	staleNext   int64  // not logged again before
}

// Counters tell what the door did since the process started.
type Counters struct {
	Requests, RequestErrors uint64 // API
	Publishes, Refused      uint64 // Refused: answered with an error
	Delivered, Acks         uint64
	StaleAcks               uint64 // acks that named a gone stream, consumer or message
	Stale                   uint64 // commands that named what was gone when they were applied
	ReadErrors              uint64 // payloads that could not be read
	Oversized               uint64 // answers too large to be sent
	Dropped                 uint64 // messages dropped because the node could not take them
}

// New returns a door that follows.
func New(options Options) *Door {
	setDefault(&options.MaxPayload, 1<<20)
	setDefault(&options.MaxAnswer, 90<<20)
	setDefault(&options.MaxInFlight, 4)
	setDefault(&options.MaxQueued, 64<<20)
	setDefault(&options.MaxOutbound, 16<<20)
	options.Batches.setDefaults()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		machine: options.Machine.Account(options.Account),
		log:     options.Machine,
		bus:     options.Bus,
		node:    options.Node,
		logger:  options.Logger,
		random:  options.Random,
		options: options,
	}
	if d.queue = options.Queue; d.queue == nil {
		d.queue = &Queue{}
	}
	d.bus = &loopback{Bus: options.Bus, door: d}
	d.zones.load = options.Zone
	d.batches.builder.SetAccount(options.Account)
	d.hear = d.heard
	d.forget()
	return d
}

func setDefault(value *int, fallback int) {
	if *value == 0 {
		*value = fallback
	}
}

// forget drops everything volatile.
func (d *Door) forget() {
	d.batches.reset()
	d.reads.reset()
	d.streams = make(map[machine.Incarnation]*stream)
	d.marking = make(map[machine.Incarnation]*stream)
	d.scheduling = make(map[machine.Incarnation]*stream)
	d.totals = make(map[totalKey]*runningTotal)
	d.subjects = make(map[string]int)
	d.reserved = 0
	d.consumers = make(map[machine.Incarnation]*consumer)
	d.byName = make(map[string]*consumer)
	d.lastStream, d.last = nil, nil
	d.touched, d.work, d.acked, d.stalled = nil, nil, nil, nil
	d.deadlines = nil
	d.unlistenAll()
	d.listeners = make(map[listener][]*consumer)
	d.held = nil
	d.feeds = feeds{}
	d.transfers = transfers{}
	d.staging, d.ingests = staging{}, ingests{}
}

// Counters returns what the door did so far.
func (d *Door) Counters() Counters { return d.counts }

// Lead begins to serve: everything of earlier terms has been applied. After an
// abandoned hand-over it goes on with what arrived in the meantime.
func (d *Door) Lead() {
	switch d.role {
	case leading:
		return
	case handingOver:
		d.role = leading
		d.startFeeds()
		d.dropIntakes()
		d.resumeAllSteps()
		held := d.held
		d.held = nil
		for i := range held {
			d.Handle(&held[i])
		}
		return
	case yielding:
		d.Follow()
	}
	d.forget()
	d.queue.join(d, d.machine.Stamp())
	d.role = leading
	now := d.node.Now()
	for _, s := range d.machine.Streams() {
		d.adoptIngests(s, d.openStream(s))
		d.adviseStreamLeader(s)
		for _, c := range s.Consumers() {
			d.openConsumer(c, now)
			d.adviseConsumerLeader(c)
		}
	}
	d.startFeeds()
	d.dropIntakes()
	d.limitAccount()
	d.served(d.bus.Subscribe)
}

// Handover proposes what has come together and stops proposing: what arrives
// from now on is kept for the next leader, or for Lead if there is none. It
// comes before leadership is given away, or the log refuses the proposals.
func (d *Door) Handover() {
	if d.role != leading {
		return
	}
	d.stopFeeds()
	d.transfers = transfers{}
	d.proposeAll()
	d.startBarrier()
	d.role = handingOver
}

// Yield goes on with a hand-over once another node leads: it leaves the
// messages to that node's subscriptions, and forwards what arrived and still
// arrives, with each Flush. Batches in flight are answered when they commit.
func (d *Door) Yield() {
	if d.role != handingOver {
		return
	}
	d.role = yielding
	d.holdSteps()
	d.holdReads()
	d.releasePulls(statusLeadershipChange)
	d.served(d.bus.Yield)
	for _, subject := range sortedKeys(d.subjects) {
		d.bus.Yield(subject, queueGroup)
	}
}

// Follow stops serving. Whoever waits for an answer gets none, except waiting
// pull requests, which are told to ask again. What arrived during a hand-over
// is forwarded to the new leader.
func (d *Door) Follow() { d.leave(statusLeadershipChange) }

// Shutdown stops serving on a node that ends without a successor: waiting pull
// requests are told so. The bus has to be flushed before it is closed.
func (d *Door) Shutdown() { d.leave(statusShutdown) }

// Depart ends the subscriptions of a door that yields. What arrives before the
// server has heard of it is still forwarded; the bus's fence tells when nothing
// more comes, and then it is time for Follow.
func (d *Door) Depart() {
	if d.role == yielding {
		d.unsubscribe()
	}
}

func (d *Door) unsubscribe() {
	d.served(d.bus.Unsubscribe)
	for _, subject := range sortedKeys(d.subjects) {
		d.bus.Unsubscribe(subject, queueGroup)
	}
}

func (d *Door) leave(status string) {
	if d.role == following {
		return
	}
	d.stopFeeds()
	d.unsubscribe()
	d.releasePulls(status)
	if d.role != leading {
		d.holdSteps()
		d.holdReads()
		d.forward()
	}
	d.role = following
	d.queue.part(d)
	d.forget()
}

// forward hands what was kept to the new leader.
func (d *Door) forward() {
	if len(d.held) > 0 {
		d.node.Forward(d.held)
		d.held = nil
	}
}

// Handle takes one message from the bus. A node that does not lead drops it,
// unless it is a direct read.
func (d *Door) Handle(m *Message) {
	if bytes.HasPrefix(m.Subject, []byte(directPrefix)) {
		d.handleDirect(m)
		return
	}
	if d.isReport(m) {
		d.report(m)
		return
	}
	switch d.role {
	case following:
		d.counts.Dropped++
		return
	case handingOver, yielding:
		d.hold(m)
		return
	}
	if len(d.feeds.inboxes) > 0 {
		if f := d.feeds.inboxes[string(m.Subject)]; f != nil {
			d.handleFeed(f, m)
			return
		}
	}
	if len(m.Subject) > 0 && m.Subject[0] == '$' {
		// A stream may store such messages as well.
		if d.handleReserved(m) && (d.reserved == 0 || d.machine.Match(m.Subject) == nil) {
			return
		}
	}
	d.publish(m)
}

// handleReserved takes what is addressed to JetStream itself.
func (d *Door) handleReserved(m *Message) bool {
	switch {
	case bytes.HasPrefix(m.Subject, []byte(ackPrefix)):
		d.handleAck(m)
	case bytes.HasPrefix(m.Subject, []byte(apiPrefix)), d.options.System:
		d.handleRequest(m)
	case bytes.HasPrefix(m.Subject, []byte(flowPrefix)):
		d.handleFlowControl(m)
	case bytes.HasPrefix(m.Subject, []byte(snapshotPrefix)):
		d.handleSnapshot(m)
	default:
		return false
	}
	return true
}

// hold keeps a copy of a message for the next leader.
func (d *Door) hold(m *Message) {
	if bytes.HasPrefix(m.Subject, []byte("$JS.S.")) || bytes.HasPrefix(m.Subject, []byte("$JS.M.")) || bytes.HasPrefix(m.Subject, []byte("$JSC.R.")) {
		return // for a feed, which the next leader begins anew
	}
	buffer := make([]byte, 0, len(m.Subject)+len(m.Reply)+len(m.Header)+len(m.Payload))
	keep := func(b []byte) []byte {
		start := len(buffer)
		buffer = append(buffer, b...)
		return buffer[start:len(buffer):len(buffer)]
	}
	d.held = append(d.held, Message{Subject: keep(m.Subject), Reply: keep(m.Reply), Header: keep(m.Header), Payload: keep(m.Payload)})
}

// Tick does what is due: expired pull requests, heartbeats, redeliveries,
// consumers that nobody uses, and a tick of the log's clock when something in
// the machine waits for one.
func (d *Door) Tick(now int64) {
	d.tickDirect(now)
	if d.role != leading {
		return
	}
	d.runDeadlines(now)
	d.tickFeeds(now)
	d.tickMarkers(now)
	d.tickStaged(now)
	d.tickIngests(now)
	d.tickSchedules(now)
	d.logStale(now)
	if len(d.stalled) > 0 && d.bus.Pending() <= d.options.MaxOutbound {
		for _, c := range d.stalled {
			c.isStalled = false
			d.schedule(c)
		}
		d.stalled = d.stalled[:0]
	}
	if !d.queue.ticks(d) {
		return
	}
	if due := d.machine.NextExpiry(); due != 0 && due <= d.nextStamp(now) && d.batches.idle() {
		d.batches.tick = true
	}
}

// logStale tells of the stale acks since the last time, at most once a second.
func (d *Door) logStale(now int64) {
	if d.counts.StaleAcks == d.staleLogged || now < d.staleNext {
		return
	}
	d.logger.Warn("acknowledgements dropped: what they name is gone", "count", d.counts.StaleAcks-d.staleLogged, "last", string(d.staleAck))
	d.staleLogged, d.staleNext = d.counts.StaleAcks, now+int64(time.Second)
}
