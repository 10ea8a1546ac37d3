package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// pair is the machine and its twin, with what a store would keep of the
// machine: the checkpoint, and the entries that were not reported dead.
type pair struct {
	*world
	random   *rand.Rand
	twins    map[string]*twinStream
	expected []func(r *Result)               // what each slot of the open batch must come to
	dropped  map[*twinStream]map[string]bool // consumers deleted in the open batch

	durable  map[string][]byte
	restored struct{ applied, horizon uint64 }
	stamp    int64
	present  map[uint64]bool
	dying    []uint64        // of these, what was reported dead and has yet to go
	making   *halfCheckpoint // nil: none is under way
}

func newPair(t *testing.T, seed uint64) *pair {
	return &pair{
		world: newWorld(t), random: rand.New(rand.NewPCG(seed, 1)), twins: make(map[string]*twinStream),
		durable: make(map[string][]byte), present: make(map[uint64]bool),
	}
}

func TestRandomAgainstTwin(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			p := newPair(t, seed)
			for step := range 150 {
				p.step()
				p.compare(step)
				p.checkpointOn()
				if p.random.IntN(20) == 0 {
					p.crash()
				}
			}
			p.checkpoint()
			p.checkPresence(p.restored.horizon)
		})
	}
}

// step applies one entry of a few commands.
func (p *pair) step() {
	p.t.Helper()
	p.pass(time.Duration(p.random.Int64N(int64(400 * time.Millisecond))))
	p.batch.Reset(p.now)
	p.expected, p.dropped = nil, make(map[*twinStream]map[string]bool)
	for _, name := range []string{"A", "B"} {
		if s := p.twins[name]; s != nil {
			s.expire(p.now)
		}
	}
	for range p.random.IntN(5) {
		p.command([]string{"A", "B"}[p.random.IntN(2)])
	}
	r := p.apply()
	p.present[p.index] = true
	for slot, check := range p.expected {
		check(&r.Slots[slot])
	}
}

func (p *pair) command(name string) {
	s, twin := p.machine.Stream(name), p.twins[name]
	if s == nil || twin == nil {
		if s == nil && twin == nil {
			p.createStream(name)
		}
		return // created or deleted in this very entry
	}
	switch n := p.random.IntN(100); {
	case n < 40 && (twin.config.Mirror != nil || len(twin.config.Sources) > 0 && n < 20):
		p.takeRandom(s, twin)
	case n < 32:
		p.publishRandom(s, twin)
	case n < 40:
		p.messagesRandom(s, twin)
	case n < 60:
		p.deliverRandom(s, twin)
	case n < 78:
		p.ackRandom(s, twin)
	case n < 82:
		p.deleteRandom(s, twin)
	case n < 85:
		p.purgeRandom(s, twin)
	case n < 92:
		p.consumerRandom(s, twin)
	case n < 93:
		p.dropRandom(s, twin)
	case n < 94:
		p.resetRandom(s, twin)
	case n < 96:
		p.updateRandom(s, twin)
	case n < 97:
		p.batch.DeleteStream(s.Incarnation())
		p.expect(func(r *Result) {})
		delete(p.twins, name)
	}
}

func (p *pair) expect(check func(r *Result)) { p.expected = append(p.expected, check) }

// slotStamp is the stamp of the next command of the open batch.
func (p *pair) slotStamp() int64 { return p.now + int64(p.batch.Slots()) }

func (p *pair) createStream(name string) {
	config := streamConfig(name, func(c *server.StreamConfig) {
		c.Retention = server.RetentionPolicy(p.random.IntN(3))
		c.Replicas = 1 + 2*p.random.IntN(2)
		c.AllowAtomicPublish = p.random.IntN(2) == 0
		c.AllowBatchPublish = p.random.IntN(2) == 0
		switch p.random.IntN(4) {
		case 0:
			c.AllowMsgTTL = true
		case 1:
			c.AllowMsgSchedules, c.AllowMsgTTL = true, p.random.IntN(2) == 0
		case 2:
			c.AllowMsgCounter = c.Retention == server.LimitsPolicy
		}
		c.Duplicates = time.Second
		if p.random.IntN(2) == 0 {
			c.Storage = server.MemoryStorage
		}
		p.randomLimits(c)
		if p.random.IntN(4) == 0 {
			c.FirstSeq = 50
		}
		if !c.AllowMsgCounter && !c.AllowMsgSchedules && !c.AllowAtomicPublish && !c.AllowBatchPublish {
			p.randomOrigin(c)
		}
		if c.Mirror != nil {
			c.SubjectDeleteMarkerTTL = 0
		}
	})
	normal := p.normalStream(config)
	p.batch.CreateStream(normal)
	p.expect(func(r *Result) { expect(p.t, "created", r.Err == nil && r.Created, true) })
	p.twins[name] = newTwin(normal)
}

func (p *pair) randomLimits(c *server.StreamConfig) {
	pick := func(n int) bool { return p.random.IntN(n) == 0 }
	c.MaxMsgs, c.MaxMsgsPer, c.MaxBytes, c.MaxAge = -1, -1, -1, 0
	c.Discard, c.DiscardNewPer = server.DiscardOld, false
	if pick(3) {
		c.MaxMsgs = int64(5 + p.random.IntN(30))
	}
	if pick(3) {
		c.MaxMsgsPer = int64(1 + p.random.IntN(5))
	}
	if pick(4) {
		c.MaxBytes = int64(500 + p.random.IntN(2000))
	}
	if pick(3) {
		c.MaxAge = time.Duration(1+p.random.IntN(5)) * time.Second
	}
	if pick(4) && !c.AllowMsgSchedules && !c.AllowMsgCounter {
		c.Discard = server.DiscardNew
		c.DiscardNewPer = c.MaxMsgsPer > 0 && pick(2)
	}
	c.AllowRollup = pick(2)
	if c.SubjectDeleteMarkerTTL = 0; pick(4) && !c.AllowMsgCounter {
		c.SubjectDeleteMarkerTTL = time.Duration(1+p.random.IntN(3)) * time.Second
	}
}

func (p *pair) updateRandom(s *Stream, twin *twinStream) {
	config := *twin.config
	if p.randomLimits(&config); config.Mirror != nil {
		config.SubjectDeleteMarkerTTL = 0
	}
	normal := p.normalStream(&config)
	p.batch.UpdateStream(normal)
	p.expect(func(r *Result) { expect(p.t, "updated", r.Err, nil) })
	twin.update(normal)
}

func (p *pair) randomSubject(s *Stream) string {
	subject := strings.ToLower(s.Name()) + "." + []string{"x", "y", "z"}[p.random.IntN(3)]
	if p.random.IntN(2) == 0 {
		subject += fmt.Sprint(".", p.random.IntN(4))
	}
	return subject
}

func (p *pair) deleteRandom(s *Stream, twin *twinStream) {
	seq := twin.first + uint64(p.random.IntN(10))
	p.batch.DeleteMessage(s.Incarnation(), seq, false)
	_, found := twin.messages[seq]
	if found {
		twin.remove(seq)
	}
	p.expect(func(r *Result) { expect(p.t, "delete", r.Err == nil, found) })
}

func (p *pair) purgeRandom(s *Stream, twin *twinStream) {
	var request server.JSApiStreamPurgeRequest
	switch p.random.IntN(4) {
	case 0:
		request.Subject = p.randomSubject(s)
	case 1:
		request.Subject = strings.ToLower(s.Name()) + "." + []string{"x.>", "y.>", ">"}[p.random.IntN(3)]
	}
	switch p.random.IntN(3) {
	case 0:
		request.Keep = uint64(p.random.IntN(4))
	case 1:
		request.Sequence = twin.first + uint64(p.random.IntN(12))
		if p.random.IntN(6) == 0 {
			request.Sequence = twin.last + 5
		}
	}
	p.batch.PurgeStream(s.Incarnation(), request)
	purged := twin.purge(request.Subject, request.Sequence, request.Keep)
	p.expect(func(r *Result) { p.t.Helper(); expect(p.t, "purged", r.Seq, uint64(purged)) })
}

func (p *pair) consumerRandom(s *Stream, twin *twinStream) {
	name := fmt.Sprint("c", p.random.IntN(4))
	c := server.ConsumerConfig{
		Durable: name, MaxDeliver: []int{-1, 1, 2, 5}[p.random.IntN(4)], MaxAckPending: []int{0, 3, 10}[p.random.IntN(3)],
		AckPolicy:     []server.AckPolicy{server.AckExplicit, server.AckExplicit, server.AckAll, server.AckNone}[p.random.IntN(4)],
		DeliverPolicy: []server.DeliverPolicy{server.DeliverAll, server.DeliverLast, server.DeliverNew, server.DeliverByStartSequence, server.DeliverLastPerSubject}[p.random.IntN(5)],
		AckWait:       time.Duration(1+p.random.IntN(3)) * time.Second,
	}
	if c.MaxDeliver == 5 && p.random.IntN(2) == 0 {
		c.BackOff = []time.Duration{time.Second / 2, time.Second, 2 * time.Second}
	}
	lower := strings.ToLower(s.Name())
	switch p.random.IntN(3) {
	case 0:
		c.FilterSubject = lower + "." + []string{"x", "y.>", "z.1", "*.2"}[p.random.IntN(4)]
	case 1:
		c.FilterSubjects = []string{lower + ".x", lower + ".z.>"}
	}
	if c.DeliverPolicy == server.DeliverLastPerSubject && c.FilterSubject == "" && c.FilterSubjects == nil {
		c.FilterSubject = lower + ".>"
	}
	if c.DeliverPolicy == server.DeliverByStartSequence {
		c.OptStartSeq = twin.first + uint64(p.random.IntN(15)) + 1
	}
	if twin.config.Retention == server.WorkQueuePolicy {
		c.AckPolicy, c.DeliverPolicy, c.OptStartSeq = server.AckExplicit, server.DeliverAll, 0
		c.FilterSubject, c.FilterSubjects = lower+"."+[]string{"x.>", "y.>", "z.>", "x"}[name[1]-'0'], nil
	}
	if p.random.IntN(3) == 0 {
		c.DeliverSubject = fmt.Sprint("deliver.", p.random.IntN(3))
		if c.AckPolicy == server.AckAll && c.MaxAckPending > 0 && p.random.IntN(2) == 0 {
			c.AckPolicy, c.AckWait, c.BackOff, c.MaxDeliver = server.AckFlowControl, 0, nil, -1
		}
		if c.AckPolicy == server.AckNone {
			c.MaxAckPending = 0
		}
	}
	normal, err := NormalizeConsumer(&c, twin.config, Limits{}, false)
	if err != nil {
		p.t.Fatal(err)
	}
	if twin.consumers[name] != nil && p.random.IntN(2) == 0 {
		p.updateConsumer(s, twin, twin.consumers[name], normal)
		return
	}
	p.batch.CreateConsumer(s.Incarnation(), normal, server.ActionCreate)
	if twin.consumers[name] == nil {
		twin.consumers[name] = newTwinConsumer(twin, name, normal)
		p.expect(func(r *Result) { expect(p.t, "create consumer", r.Err, nil) })
	} else {
		p.expect(func(r *Result) { expect(p.t, "created", r.Created, false) })
	}
}

// updateConsumer changes what may change of a consumer.
func (p *pair) updateConsumer(s *Stream, twin *twinStream, model *twinConsumer, config *server.ConsumerConfig) {
	changed := *model.config
	if changed.AckPolicy != server.AckFlowControl && config.AckPolicy != server.AckFlowControl {
		changed.MaxDeliver, changed.BackOff, changed.AckWait = config.MaxDeliver, config.BackOff, config.AckWait
	}
	changed.MaxAckPending = config.MaxAckPending
	if changed.DeliverSubject != "" {
		changed.DeliverSubject = fmt.Sprint("deliver.", p.random.IntN(3))
	}
	if twin.config.Retention != server.WorkQueuePolicy && model.config.DeliverPolicy != server.DeliverLastPerSubject {
		changed.FilterSubject, changed.FilterSubjects = config.FilterSubject, config.FilterSubjects
	}
	p.batch.CreateConsumer(s.Incarnation(), &changed, server.ActionUpdate)
	p.expect(func(r *Result) { expect(p.t, "update consumer", r.Err, nil) })
	model.update(&changed, p.now)
}

// randomConsumer picks a consumer that both know.
func (p *pair) randomConsumer(s *Stream, twin *twinStream) (*Consumer, *twinConsumer) {
	names := twin.names()
	if len(names) == 0 {
		return nil, nil
	}
	name := names[p.random.IntN(len(names))]
	if c := s.Consumer(name); c != nil && !p.dropped[twin][name] {
		return c, twin.consumers[name]
	}
	return nil, nil
}

func (p *pair) dropRandom(s *Stream, twin *twinStream) {
	if c, model := p.randomConsumer(s, twin); c != nil {
		p.batch.DeleteConsumer(c.Incarnation())
		p.expect(func(r *Result) { expect(p.t, "delete consumer", r.Err, nil) })
		twin.drop(model.name)
		if p.dropped[twin] == nil {
			p.dropped[twin] = make(map[string]bool)
		}
		p.dropped[twin][model.name] = true
	}
}

// resetRandom resets a consumer, or pauses it: that changes nothing here.
func (p *pair) resetRandom(s *Stream, twin *twinStream) {
	c, model := p.randomConsumer(s, twin)
	if c == nil {
		return
	}
	if p.random.IntN(2) == 0 {
		until := time.Unix(0, p.now+p.random.Int64N(int64(time.Second)))
		p.batch.PauseConsumer(c.Incarnation(), until)
		p.expect(func(r *Result) {
			expect(p.t, "pause", r.Err, nil)
		})
		paused, utc := *model.config, until.UTC()
		paused.PauseUntil = &utc
		model.config = &paused
		return
	}
	seq := uint64(0)
	if p.random.IntN(2) == 0 {
		seq = twin.first + uint64(p.random.IntN(12))
	}
	p.batch.ResetConsumer(c.Incarnation(), seq)
	at, allowed := model.reset(seq)
	p.expect(func(r *Result) {
		p.t.Helper()
		expect(p.t, "reset", fmt.Sprint(r.Seq, r.Err == nil), fmt.Sprint(at, allowed))
	})
}

func (p *pair) deliverRandom(s *Stream, twin *twinStream) {
	c, model := p.randomConsumer(s, twin)
	if c == nil {
		return
	}
	n := p.random.IntN(6)
	p.batch.Deliver(c.Incarnation(), n, 0)
	payloads := make(map[uint64]string)
	for seq, m := range twin.messages {
		payloads[seq] = m.payload
	}
	want := model.deliver(p.now, n)
	p.expect(func(r *Result) {
		p.t.Helper()
		var got []string
		for _, d := range r.Deliveries {
			got = append(got, fmt.Sprintf("%d/%d/%d/%d", d.StreamSeq, d.ConsumerSeq, d.Deliveries, d.Pending))
			expect(p.t, "payload", string(p.read(d.Location).Payload), payloads[d.StreamSeq])
		}
		expect(p.t, "deliver to "+model.name, fmt.Sprint(got), fmt.Sprint(want))
	})
}

func (p *pair) ackRandom(s *Stream, twin *twinStream) {
	c, model := p.randomConsumer(s, twin)
	if c == nil {
		return
	}
	var acks []Ack
	for range 1 + p.random.IntN(4) {
		a := Ack{Kind: AckKind(1 + p.random.IntN(5)), Deliveries: uint64(p.random.IntN(3)), StreamSeq: twin.first + uint64(p.random.IntN(20)), ConsumerSeq: 1 + uint64(p.random.IntN(int(model.nextSeq)))}
		if p.random.IntN(2) == 0 {
			a.Kind = AckDone
		}
		for seq, g := range model.given {
			if p.random.IntN(3) == 0 {
				a.StreamSeq, a.ConsumerSeq = seq, g.first
			}
		}
		if p.random.IntN(2) == 0 {
			a.Delay = p.random.Int64N(int64(2 * time.Second))
		}
		acks = append(acks, a)
		model.answer(p.now, a)
	}
	p.batch.Acks(c.Incarnation(), acks)
	p.expect(func(r *Result) { expect(p.t, "acks", r.Err, nil) })
}

func (p *pair) compare(step int) {
	p.t.Helper()
	for name, twin := range p.twins {
		s := p.machine.Stream(name)
		if s == nil {
			p.t.Fatalf("step %d: no stream %s", step, name)
		}
		got := fmt.Sprint(s.msgs, s.bytes, s.first, s.last, s.lastStamp)
		expect(p.t, fmt.Sprintf("step %d: state of %s", step, name), got, twin.state())
		var words []string
		for _, seq := range twin.sequences("") {
			words = append(words, fmt.Sprintf("%d:%s", seq, twin.messages[seq].subject))
		}
		expect(p.t, "contents of "+name, contents(s), strings.Join(words, " "))
		for _, seq := range twin.sequences("") {
			stored, ok := s.Message(seq)
			expect(p.t, "stamp", stored.Stamp, twin.messages[seq].stamp)
			expect(p.t, "stored", ok && p.present[stored.Index], true)
			expect(p.t, "payload", string(p.read(stored.Location).Payload), twin.messages[seq].payload)
		}
		for _, sub := range s.Subjects("") {
			same := twin.sequences(sub.Subject)
			expect(p.t, "subject "+sub.Subject, sub.Messages, uint64(len(same)))
			if p.random.IntN(2) == 0 { // bounds that are asked for become exact
				id := s.subjects.ids[sub.Subject]
				expect(p.t, "bounds of "+sub.Subject, fmt.Sprint(s.firstSeq(id), s.lastSeq(id)), fmt.Sprint(same[0], same[len(same)-1]))
			}
		}
		if p.random.IntN(2) == 0 {
			p.compareLookups(s, twin)
		}
		p.compareOrigins(s, twin)
		p.compareEnds(s, twin)
		p.compareFast(s, twin)
		expect(p.t, "consumers", len(s.Consumers()), len(twin.consumers))
		for name, model := range twin.consumers {
			expect(p.t, fmt.Sprintf("step %d: consumer %s", step, name), state(s.Consumer(name)), model.state())
			if until := model.config.PauseUntil; until != nil {
				expect(p.t, "paused until", s.Consumer(name).PausedUntil(), until.UnixNano())
			}
		}
	}
	expect(p.t, "streams", len(p.machine.Streams()), len(p.twins))
}

func TestSameEntriesSameDigest(t *testing.T) {
	p := newPair(t, 7)
	other := New(Options{BlockMessages: 100})
	var results Results
	for range 300 {
		p.step()
		if err := other.Apply(p.index, p.entries[p.index], &results); err != nil {
			t.Fatal(err)
		}
		expect(t, "digest", other.Digest(), p.machine.Digest())
		expect(t, "events", len(results.Events), len(p.results.Events))
	}
}

func TestCheckpointEmitsOnlyChanges(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A")
	c := w.consumer(s, explicit)
	for range 20 {
		w.publishAll(s, "a.1", "a.2", "a.3", "a.4", "a.5")
	}
	w.machine.Checkpoint()
	count := func() map[byte]int {
		kinds := make(map[byte]int)
		puts, _ := w.machine.Checkpoint()
		for _, put := range puts {
			kinds[put.Key[0]]++
		}
		return kinds
	}
	expect(t, "nothing", fmt.Sprint(count()), "map[]")
	w.tick()
	expect(t, "a tick", fmt.Sprint(count()), "map[]")
	w.publishAll(s, "a.1")
	expect(t, "the open block", fmt.Sprint(count()), fmt.Sprint(map[byte]int{keyStreamState: 1, keyBlock: 1, keyEntries: 1}))
	w.batch.DeleteMessage(s.Incarnation(), 20, false)
	w.apply()
	expect(t, "a message of a full block", fmt.Sprint(count()), fmt.Sprint(map[byte]int{keyStreamState: 1, keyAlive: 1, keyConsumerCount: 1}))
	w.deliver(c, 3)
	expect(t, "a consumer", fmt.Sprint(count()), fmt.Sprint(map[byte]int{keyConsumerState: 1, keyConsumerCount: 1}))

	w.batch.PurgeStream(s.Incarnation(), server.JSApiStreamPurgeRequest{})
	w.apply()
	_, deletes := w.machine.Checkpoint()
	expect(t, "blocks, one liveness, one page of subjects", len(deletes), 13+1+1)
	w.batch.DeleteStream(s.Incarnation())
	w.apply()
	puts, deletes := w.machine.Checkpoint()
	expect(t, "stream and consumer", fmt.Sprint(len(puts), len(deletes)), "0 5")
}

func TestRestoreRefusesDamage(t *testing.T) {
	p := newPair(t, 3)
	for range 200 {
		p.step()
	}
	puts, _ := p.machine.Checkpoint()
	restore := func(pairs []protocol.Pair) error {
		_, err := Restore(Options{}, p.index, 0, p.machine.Stamp(), func(yield func(key, value []byte) error) error {
			for _, pair := range pairs {
				if err := yield(pair.Key, pair.Value); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
	if err := restore(puts); err != nil {
		t.Fatal(err)
	}
	for i := range puts {
		damaged := slices.Clone(puts)
		damaged[i].Value = slices.Clone(damaged[i].Value)
		damaged[i].Value[p.random.IntN(len(damaged[i].Value))] ^= 1 << p.random.IntN(8)
		if restore(damaged) == nil {
			t.Fatalf("a flipped bit under key %x went unnoticed", damaged[i].Key)
		}
	}
}
