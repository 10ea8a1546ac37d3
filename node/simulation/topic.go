package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// workload is what the clients do.
type workload struct {
	topics []*topic
	ledger *ledger  // nil: there is none in this run
	diary  *diary   // nil: there is none in this run
	hoard  *hoarder // nil: there is none in this run
	quiet  bool     // no new work is begun
}

// topicKind is what a stream is used for.
type topicKind int

const (
	plain    topicKind = iota // keeps everything; never deleted, purged or limited
	fleeting                  // deleted and created again under the same name all the time
	limited                   // by number, by number for each subject, or by age; updated and purged
	guarded                   // publishers expect sequences
	queue                     // a work queue: each message to one
	interest                  // kept until all consumers have it
	batches                   // published in batches
	topicKinds
)

// topic is a stream, and those who use it.
type topic struct {
	world  *world
	name   string
	kind   topicKind
	mortal bool                // messages have times to live of their own
	rolls  bool                // messages may replace others
	config server.StreamConfig // as last asked for
	asked  asked
	admin  *client
	state  topicState
	// deletions counts the delete requests that were sent. What was learned
	// while it had another value says nothing about the stream of now.
	deletions  int
	changes    int   // updates that were sent
	since      int64 // of state
	publishers []*publisher
	batchers   []*batcher
	consumers  []*consumer
	readers    []*reader
}

type topicState uint8

const (
	topicUnknown topicState = iota // to be created
	topicThere
	topicLeaving // a delete was sent
	topicGone    // and confirmed
)

// asked is what clients have asked for at any time, answered or not: what may take
// messages away.
type asked struct {
	deletes         map[uint64]bool // sequences
	purges          []*purge
	maxMsgs, maxPer int64 // the lowest; zero: none
	maxAge          time.Duration
}

// purge is a request to remove everything before a sequence, or (zero) all.
type purge struct {
	before uint64
	until  position // the last at which it may act; never if nobody knows
}

// purged tells whether a purge may have removed a message at a position.
func (a *asked) purged(m *message, at position) bool {
	return slices.ContainsFunc(a.purges, func(p *purge) bool {
		return !p.until.before(at) && (p.before == 0 || m.seq < p.before)
	})
}

// limit takes note of limits before they are asked for.
func (a *asked) limit(config *server.StreamConfig) {
	if n := config.MaxMsgs; n > 0 && (a.maxMsgs == 0 || n < a.maxMsgs) {
		a.maxMsgs = n
	}
	if n := config.MaxMsgsPer; n > 0 && (a.maxPer == 0 || n < a.maxPer) {
		a.maxPer = n
	}
	if age := config.MaxAge; age > 0 && (a.maxAge == 0 || age < a.maxAge) {
		a.maxAge = age
	}
}

func (w *world) addTopics() {
	for i, kind := range w.plan.kinds {
		t := &topic{world: w, name: fmt.Sprintf("T%d", i), kind: kind, admin: w.newClient(nil)}
		t.asked.deletes = map[uint64]bool{}
		t.configure()
		for range w.plan.publishers {
			t.publishers = append(t.publishers, newPublisher(t, nil))
		}
		for t.kind == batches && len(t.batchers) < 2 {
			t.batchers = append(t.batchers, newBatcher(t))
		}
		t.addConsumers()
		t.readers = append(t.readers, newReader(t, nil))
		if i == 0 { // somebody at each member, so that one who was left behind is asked
			for _, h := range w.hosts {
				t.publishers = append(t.publishers, newPublisher(t, h))
				t.readers = append(t.readers, newReader(t, h))
			}
		}
		w.clients.topics = append(w.clients.topics, t)
		w.after(w.between(0, second), t.manage)
		if t.kind == plain {
			w.after(w.between(0, 5*second), t.keepCopies)
		}
	}
	if w.chance(0.5) {
		w.clients.ledger = newLedger(w)
	}
	if w.chance(0.5) {
		w.clients.diary = newDiary(w)
	}
	if w.chance(0.5) {
		w.clients.hoard = newHoarder(w, len(w.clients.topics)+4) // with copies, counters and schedules
	}
}

// configure draws what the stream is at first.
func (t *topic) configure() {
	w := t.world
	c := &t.config
	*c = server.StreamConfig{
		Name: t.name, Subjects: []string{t.name + ".>"}, Storage: server.FileStorage, Replicas: 1,
		Retention: server.LimitsPolicy, Duplicates: 2 * time.Minute, AllowDirect: true,
		MaxMsgs: -1, MaxMsgsPer: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
	}
	switch t.kind {
	case limited:
		t.drawLimits()
		if w.chance(0.4) {
			c.Discard = server.DiscardNew
		}
	case queue:
		c.Retention = server.WorkQueuePolicy
	case interest:
		c.Retention = server.InterestPolicy
	case batches:
		c.AllowAtomicPublish, c.AllowBatchPublish = true, true
	}
	t.drawMortality()
	t.drawRollups()
	if t.kind != plain && w.chance(0.4) {
		c.Duplicates = time.Duration(w.between(second/2, 5*second))
	}
	if c.MaxAge > 0 {
		c.Duplicates = min(c.Duplicates, c.MaxAge)
	}
	t.asked.limit(c)
}

func (t *topic) drawLimits() {
	w, c := t.world, &t.config
	c.MaxMsgs, c.MaxMsgsPer, c.MaxAge = -1, -1, 0
	switch w.random.IntN(4) {
	case 0:
		c.MaxMsgs = 20 + w.random.Int64N(300)
	case 1:
		c.MaxMsgsPer = 5 + w.random.Int64N(100)
	case 2:
		c.MaxAge = time.Duration(w.between(second, 8*second))
	case 3:
		c.MaxMsgs, c.MaxAge = 50+w.random.Int64N(300), time.Duration(w.between(2*second, 20*second))
	}
}

// manage sees to it that the stream is there, or not, and changes it now and then.
func (t *topic) manage() {
	w := t.world
	next := w.between(50*millisecond, 400*millisecond)
	settled := t.state == topicThere && !w.clients.quiet
	switch {
	case t.state == topicUnknown || t.state == topicGone && (w.clients.quiet || w.chance(0.3)):
		t.create()
		return
	case settled && t.temporary() && w.now-t.since > 2*second && w.chance(0.1):
		t.delete()
		return
	case settled && t.kind == limited && w.chance(0.15):
		t.update()
		return
	case settled && t.kind != plain && t.kind != guarded && t.kind != batches && w.chance(0.04):
		t.purge()
		return
	case settled && (t.kind == limited || t.kind == queue || t.kind == interest) && w.chance(0.1):
		t.deleteMessage()
		return
	}
	w.after(next, t.manage)
}

// temporary tells whether the stream is deleted at times.
func (t *topic) temporary() bool { return t.kind == fleeting }

func (t *topic) enter(s topicState) { t.state, t.since = s, t.world.now }

// later goes on with manage after an answer.
func (t *topic) later() { t.world.after(t.world.between(10*millisecond, 300*millisecond), t.manage) }

func (t *topic) create() {
	q := t.world.checks.ask(t.name)
	call(t.admin, "STREAM.CREATE."+t.name, &t.config, func(response *server.JSApiStreamCreateResponse, ok bool) {
		if ok && response.Error == nil {
			created := response.Created.UnixNano()
			q.settle("the creation", func(v *version) bool { return v.found && v.created == created })
			t.enter(topicThere)
		}
		t.later()
	})
}

func (t *topic) delete() {
	t.enter(topicLeaving)
	t.deletions++
	q := t.world.checks.ask(t.name)
	call(t.admin, "STREAM.DELETE."+t.name, nil, func(response *server.JSApiStreamDeleteResponse, ok bool) {
		switch {
		case ok && (response.Error == nil || response.Error.ErrCode == uint16(server.JSStreamNotFoundErr)):
			q.gone("the deletion")
			t.enter(topicGone)
		default:
			t.world.after(t.world.between(100*millisecond, 500*millisecond), t.delete)
			return
		}
		t.world.after(t.world.between(10*millisecond, second), t.manage)
	})
}

// update changes limits, and a description by which the change is known.
func (t *topic) update() {
	if t.world.chance(0.7) {
		t.drawLimits()
	}
	if age := t.config.MaxAge; age > 0 {
		t.config.Duplicates = min(t.config.Duplicates, age)
	}
	t.changes++
	t.config.Description = fmt.Sprint("change ", t.changes)
	t.asked.limit(&t.config)
	wanted := t.config.Description
	q := t.world.checks.ask(t.name)
	call(t.admin, "STREAM.UPDATE."+t.name, &t.config, func(response *server.JSApiStreamUpdateResponse, ok bool) {
		if ok && response.Error == nil {
			q.settle("the update", func(v *version) bool { return v.found && v.description == wanted })
		}
		t.later()
	})
}

func (t *topic) purge() {
	w := t.world
	p := &purge{until: never}
	var request server.JSApiStreamPurgeRequest
	if last := w.checks.history.timeline(t.name).now().last; last > 0 && w.chance(0.7) {
		p.before = 1 + w.random.Uint64N(last)
		request.Sequence = p.before
	}
	t.asked.purges = append(t.asked.purges, p)
	call(t.admin, "STREAM.PURGE."+t.name, &request, func(response *server.JSApiStreamPurgeResponse, ok bool) {
		if ok && response.Error == nil {
			p.until = w.checks.history.newest
		}
		t.later()
	})
}

// deleteMessage deletes one of the newest messages.
func (t *topic) deleteMessage() {
	w := t.world
	now := w.checks.history.timeline(t.name).now()
	if now.msgs == 0 {
		t.later()
		return
	}
	seq := now.last - w.random.Uint64N(min(now.last-now.first+1, 50))
	t.asked.deletes[seq] = true
	call(t.admin, "STREAM.MSG.DELETE."+t.name, &server.JSApiMsgDeleteRequest{Seq: seq}, func(*server.JSApiMsgDeleteResponse, bool) { t.later() })
}

// missing says what a client of the topic still waits for.
func (t *topic) missing(leader *process) string {
	s := leader.member.Machine().Stream(t.name)
	if s == nil {
		return "there is no stream " + t.name
	}
	for _, p := range t.publishers {
		if !p.fickle && p.done < t.world.plan.lastMessages || p.flying > 0 {
			return fmt.Sprintf("publisher %d of %s has %d messages answered and waits for %d", p.number, t.name, p.done, p.flying)
		}
	}
	for _, b := range t.batchers {
		if b.done < lastBatches || b.flying {
			return fmt.Sprintf("batcher %d of %s has %d batches answered", b.number, t.name, b.done)
		}
	}
	for _, consumer := range t.consumers {
		m := s.Consumer(consumer.name)
		if m == nil {
			return "there is no consumer " + consumer.key()
		}
		if state := m.State(); state.NumPending > 0 || state.NumAckPending > 0 {
			return fmt.Sprintf("consumer %s has %d messages to come and %d to acknowledge", consumer.key(), state.NumPending, state.NumAckPending)
		}
	}
	if text := t.world.checks.unsettled(t.name); text != "" {
		return text
	}
	if text := t.world.checks.mortalMissing(t.name); t.mortal && text != "" {
		return text
	}
	if t.kind == plain {
		return t.copiesMissing(leader.member.Machine())
	}
	if msgs := s.State().Msgs; msgs > 0 && (t.kind == queue || t.kind == interest) {
		return fmt.Sprintf("%s still has %d messages that all have acknowledged", t.name, msgs)
	}
	return ""
}
