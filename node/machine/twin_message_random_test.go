package machine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func (p *pair) publishRandom(s *Stream, twin *twinStream) {
	subject := p.randomSubject(s)
	headers := make(map[string]string)
	if twin.config.AllowMsgCounter {
		headers[server.JSMessageIncr] = "1"
	}
	switch p.random.IntN(12) {
	case 0, 1:
		headers[server.JSMsgId] = fmt.Sprint("id", p.random.IntN(8))
	case 2:
		headers[server.JSExpectedLastSeq] = fmt.Sprint(twin.last - uint64(p.random.IntN(2)))
	case 3:
		headers[server.JSExpectedLastSubjSeq] = "0"
		if same := twin.sequences(subject); len(same) > 0 {
			headers[server.JSExpectedLastSubjSeq] = fmt.Sprint(same[len(same)-1])
		}
	case 4:
		headers[server.JSExpectedLastMsgId] = twin.lastID
		if twin.lastID == "" {
			headers[server.JSExpectedLastMsgId] = "none"
		}
	case 5:
		headers[server.JSMsgRollup] = []string{"sub", "all"}[p.random.IntN(2)]
	case 6:
		headers[server.JSMessageTTL] = []string{"1s", "2", "never", "0", "half"}[p.random.IntN(5)]
	}
	var said preface
	if twin.config.AllowMsgCounter && p.random.IntN(8) > 0 {
		said = p.counterBase(twin, subject)
	}
	p.publishMessage(s, twin, subject, headers, said)
}

// counterBase names the last message of a subject, in one of the ways.
func (p *pair) counterBase(twin *twinStream, subject string) preface {
	last := twin.lastOf(subject)
	said := preface{kind: PrefaceCounter, a: last}
	if last == 0 {
		return said
	}
	stamp := twin.messages[last].stamp
	switch CounterBase(p.random.IntN(3)) {
	case BaseStamp:
		said.a, said.b = uint64(stamp), uint64(BaseStamp)
	case BaseSlot:
		if stamp >= p.now {
			said.a, said.b = uint64(stamp-p.now), uint64(BaseSlot)
		}
	}
	return said
}

// publishMessage adds a publish with a preface, if it has a kind, that holds.
func (p *pair) publishMessage(s *Stream, twin *twinStream, subject string, headers map[string]string, said preface) {
	if said.kind != 0 {
		p.batch.Preface(said.kind, said.a, said.b)
		p.expect(func(*Result) {})
	}
	m, h := p.message(twin, subject, headers)
	seq, duplicate, code := twin.publish(m, p.now, headers, said)
	p.batch.Publish(s.Incarnation(), []byte(subject), h, []byte(m.payload))
	p.expect(func(r *Result) {
		p.t.Helper()
		got := server.ErrorIdentifier(0)
		if r.Err != nil {
			got = server.ErrorIdentifier(r.Err.ErrCode)
		}
		expect(p.t, "publish", fmt.Sprint(r.Seq, r.Duplicate, got), fmt.Sprint(seq, duplicate, code))
	})
}

// message makes a message with headers in a fixed order.
func (p *pair) message(twin *twinStream, subject string, headers map[string]string) (*twinMessage, []byte) {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(headers)) {
		list = append(list, key, headers[key])
	}
	h, payload := header(list...), fmt.Sprint("p", p.index, ".", p.batch.Slots())
	m := &twinMessage{subject: subject, stamp: p.slotStamp(), size: twin.sizeOf(subject, h, payload), payload: payload}
	m.ttl, _ = twinTTL(headers[server.JSMessageTTL])
	if least := twin.config.SubjectDeleteMarkerTTL; m.ttl > 0 && least > 0 && twin.config.MaxMsgsPer != 1 {
		m.ttl = max(m.ttl, least)
	}
	return m, h
}

// messagesRandom adds what only who leads proposes, and batches.
func (p *pair) messagesRandom(s *Stream, twin *twinStream) {
	switch p.random.IntN(6) {
	case 0:
		p.endRandom(s, twin)
	case 4, 5:
		p.fastRandom(s, twin)
	case 1:
		p.scheduleRandom(s, twin)
	case 2:
		p.fireRandom(s, twin)
	default:
		p.atomicRandom(s, twin)
	}
}

// endRandom removes or replaces by markers what is over, and tries it with what
// is not.
func (p *pair) endRandom(s *Stream, twin *twinStream) {
	var seqs []uint64
	left := make(map[string]int)
	for _, m := range twin.messages {
		left[m.subject]++
	}
	for _, seq := range twin.sequences("") {
		if subject := twin.messages[seq].subject; left[subject] > 1 && p.random.IntN(4) > 0 {
			left[subject]--
			seqs = append(seqs, seq)
		}
	}
	removed := uint64(0)
	for _, seq := range seqs {
		if twin.config.SubjectDeleteMarkerTTL > 0 && twin.over(seq, p.now) {
			twin.remove(seq)
			removed++
		}
	}
	p.batch.End(s.Incarnation(), seqs)
	p.expect(func(r *Result) { p.t.Helper(); expect(p.t, "ended", r.Seq, removed) })
	if seq := twin.first + 1; twin.messages[seq] != nil && len(twin.sequences(twin.messages[seq].subject)) > 1 {
		p.batch.Preface(PrefaceMarker, twin.lastOf(twin.messages[seq].subject), 0)
		p.expect(func(*Result) {})
		p.batch.Publish(s.Incarnation(), []byte(twin.messages[seq].subject), nil, nil)
		p.expect(func(r *Result) { p.t.Helper(); expect(p.t, "marker beside others", r.Unmet, true) })
	}
	for _, seq := range twin.sequences("") {
		if subject := twin.messages[seq].subject; twin.config.SubjectDeleteMarkerTTL > 0 && twin.over(seq, p.now) && len(twin.sequences(subject)) == 1 {
			headers := map[string]string{server.JSMarkerReason: "MaxAge", server.JSMessageTTL: "1s", server.JSMsgRollup: "sub"}
			p.publishMessage(s, twin, subject, headers, preface{kind: PrefaceMarker, a: seq})
			return
		}
	}
}

func (p *pair) scheduleRandom(s *Stream, twin *twinStream) {
	subject := strings.ToLower(s.Name()) + ".schedule." + fmt.Sprint(p.random.IntN(3))
	headers := map[string]string{
		server.JSSchedulePattern: "pattern", server.JSScheduleTarget: strings.ToLower(s.Name()) + ".x", server.JSMsgRollup: "sub",
	}
	if p.random.IntN(3) == 0 {
		headers[server.JSScheduleTTL] = "5s"
	}
	said := preface{kind: PrefaceSchedule, a: uint64(p.now + p.random.Int64N(int64(3*time.Second)))}
	if p.random.IntN(6) == 0 {
		said.b = []uint64{uint64(ScheduleBadPattern), uint64(ScheduleNever)}[p.random.IntN(2)]
	}
	if p.random.IntN(4) == 0 { // a client ends one, or what is none
		subject, said = strings.ToLower(s.Name())+".x", preface{}
		headers = map[string]string{server.JSScheduleNext: "purge", server.JSScheduler: strings.ToLower(s.Name()) + ".schedule." + fmt.Sprint(p.random.IntN(3))}
	}
	p.publishMessage(s, twin, subject, headers, said)
}

// fireRandom publishes what a schedule is due to, or tries it before its time
// was set anew.
func (p *pair) fireRandom(s *Stream, twin *twinStream) {
	if len(twin.schedules) == 0 {
		return
	}
	subject := slices.Min(slices.Collect(maps.Keys(twin.schedules)))
	one := twin.schedules[subject]
	headers := map[string]string{server.JSScheduler: subject, server.JSScheduleNext: "purge"}
	if p.random.IntN(2) == 0 {
		headers[server.JSScheduleNext] = time.Unix(0, one.due+int64(time.Second)).UTC().Format(time.RFC3339Nano)
	}
	if p.random.IntN(4) == 0 {
		p.batch.Preface(PrefaceFire, one.seq, uint64(one.due-1))
		p.expect(func(*Result) {})
		p.batch.Publish(s.Incarnation(), []byte(strings.ToLower(s.Name())+".x"), nil, nil)
		p.expect(func(r *Result) { p.t.Helper(); expect(p.t, "unmet", r.Unmet && r.Err == nil && r.Seq == 0, true) })
		return
	}
	if p.random.IntN(4) == 0 {
		headers[server.JSExpectedLastSeq] = "12345" // it is refused
	}
	target := strings.ToLower(s.Name()) + []string{".x", ".schedule.0"}[p.random.IntN(2)]
	p.publishMessage(s, twin, target, headers, preface{kind: PrefaceFire, a: one.seq, b: uint64(one.due)})
}

// atomicRandom publishes a few messages of different subjects together.
func (p *pair) atomicRandom(s *Stream, twin *twinStream) {
	if twin.config.AllowMsgCounter || twin.config.Discard == server.DiscardNew {
		return // what a batch is checked against is another sum then, see atomic_test.go
	}
	n := 1 + p.random.IntN(3)
	p.batch.BeginAtomic(s.Incarnation())
	p.expect(func(*Result) {})
	type part struct {
		m       *twinMessage
		h       []byte
		headers map[string]string
	}
	var parts []part
	code := server.ErrorIdentifier(0)
	if !twin.config.AllowAtomicPublish {
		code = server.JSAtomicPublishDisabledErr
	}
	for i := range n {
		headers := make(map[string]string)
		switch p.random.IntN(6) {
		case 0:
			headers[server.JSExpectedLastSubjSeq] = fmt.Sprint(p.random.IntN(2) * 7)
		case 1:
			headers[server.JSMsgId] = fmt.Sprint("id", p.random.IntN(8), ".", i)
		case 2:
			headers[server.JSMessageTTL] = "2s"
		}
		m, h := p.message(twin, fmt.Sprintf("%s.batch.%d", strings.ToLower(s.Name()), i), headers)
		m.stamp += int64(i)
		m.payload = fmt.Sprint(m.payload, ".", i)
		m.size += 2
		if _, duplicate, refused := twin.check(m, p.now, headers, preface{}); code == 0 && duplicate {
			code = server.JSAtomicPublishContainsDuplicateMessageErr
		} else if code == 0 {
			code = refused
		}
		parts = append(parts, part{m, h, headers})
	}
	for _, one := range parts {
		seq := uint64(0)
		if code == 0 {
			seq = twin.accept(one.m, one.headers, preface{})
		}
		p.batch.Publish(s.Incarnation(), []byte(one.m.subject), one.h, []byte(one.m.payload))
		p.expect(func(r *Result) {
			p.t.Helper()
			got := server.ErrorIdentifier(0)
			if r.Err != nil {
				got = server.ErrorIdentifier(r.Err.ErrCode)
			}
			expect(p.t, "message of a batch", fmt.Sprint(r.Seq, got), fmt.Sprint(seq, code))
		})
	}
	p.batch.EndAtomic()
}

// fastRandom publishes messages of a fast-ingest batch, or ends one.
func (p *pair) fastRandom(s *Stream, twin *twinStream) {
	id := fmt.Sprint("fast", p.random.IntN(2))
	if p.random.IntN(8) == 0 {
		p.batch.EndFast(s.Incarnation(), id)
		p.expect(func(*Result) {})
		twin.endFast(id)
		return
	}
	for range 1 + p.random.IntN(4) {
		b := twin.fast[id]
		member := FastMember{ID: []byte(id), Seq: 1, Begin: b == nil && p.random.IntN(4) > 0, Last: p.random.IntN(8) == 0, Resumes: p.random.IntN(4) == 0, Reply: []byte("r")}
		if b != nil {
			member.Seq = b.Seq + 1 + uint64(p.random.IntN(2))
		}
		if member.Begin && twin.config.AllowBatchPublish {
			member.GapOk = p.random.IntN(2) == 0
			b = &FastBatch{ID: id, GapOk: member.GapOk, Reply: "r"}
			twin.fast[id] = b
		}
		if member.Resumes {
			delete(twin.fastWaits, id)
		}
		slots := p.batch.Slots()
		if p.batch.Fast(s.Incarnation(), &member); p.batch.Slots() > slots {
			p.expect(func(*Result) {})
		}
		headers := make(map[string]string)
		switch p.random.IntN(6) {
		case 0:
			headers[server.JSExpectedLastSeq] = "12345"
		case 1:
			headers[server.JSMsgId] = fmt.Sprint("id", p.random.IntN(8))
		}
		if twin.config.AllowMsgCounter && p.random.IntN(16) > 0 {
			headers[server.JSMessageIncr] = "1"
		}
		p.publishMember(s, twin, b, &member, headers)
	}
}

// memberPreface adds a preface to a message of a counter now and then, and reports
// whether it holds.
func (p *pair) memberPreface(twin *twinStream, subject string) (said preface, holds bool) {
	if !twin.config.AllowMsgCounter || p.random.IntN(8) == 0 {
		return said, true
	}
	said = p.counterBase(twin, subject)
	if holds = p.random.IntN(4) > 0; !holds {
		said = preface{kind: PrefaceCounter, a: twin.last + 1}
	}
	p.batch.Preface(said.kind, said.a, said.b)
	p.expect(func(*Result) {})
	return said, holds
}

// publishMember adds the publish of a message of a batch; nil: there is none.
func (p *pair) publishMember(s *Stream, twin *twinStream, b *FastBatch, member *FastMember, headers map[string]string) {
	subject := p.randomSubject(s)
	said, holds := p.memberPreface(twin, subject)
	m, h := p.message(twin, subject, headers)
	seq, again, over, unmet, code := uint64(0), false, false, false, server.ErrorIdentifier(0)
	switch {
	case b == nil && member.Begin:
		code = server.JSBatchPublishDisabledErr
	case b == nil:
		over = true
	case !holds || twin.fastWaits[b.ID]:
		unmet, twin.fastWaits[b.ID] = true, true
	default:
		if seq, again, code = twin.publish(m, p.now, headers, said); code == 0 && !again {
			b.Stored = seq
		}
		if b.Seq = member.Seq; member.Last || code != 0 && !b.GapOk {
			twin.endFast(b.ID)
		}
	}
	p.batch.Publish(s.Incarnation(), []byte(m.subject), h, []byte(m.payload))
	p.expect(func(r *Result) {
		p.t.Helper()
		got := server.ErrorIdentifier(0)
		if r.Err != nil {
			got = server.ErrorIdentifier(r.Err.ErrCode)
		}
		expect(p.t, "message of a fast batch", fmt.Sprint(r.Seq, r.Duplicate, r.Over, r.Unmet, got), fmt.Sprint(seq, again, over, unmet, code))
	})
}

func (s *twinStream) endFast(id string) {
	delete(s.fast, id)
	delete(s.fastWaits, id)
}

// compareFast compares the fast-ingest batches that are open.
func (p *pair) compareFast(s *Stream, twin *twinStream) {
	p.t.Helper()
	var wanted []FastBatch
	for _, id := range slices.Sorted(maps.Keys(twin.fast)) {
		wanted = append(wanted, *twin.fast[id])
		if b := s.fast[id]; b != nil {
			expect(p.t, "waits", b.waits, twin.fastWaits[id])
		}
	}
	expect(p.t, "fast batches", fmt.Sprint(s.FastBatches()), fmt.Sprint(wanted))
}

// compareEnds makes sure that nothing ends unnoticed, and compares schedules.
func (p *pair) compareEnds(s *Stream, twin *twinStream) {
	p.t.Helper()
	first := int64(0)
	for seq := range twin.messages {
		if end := twin.end(seq); end != 0 && (first == 0 || end < first) {
			first = end
		}
	}
	markers := twin.config.SubjectDeleteMarkerTTL > 0
	due := p.machine.NextExpiry()
	if markers {
		due = s.NextEnd()
	}
	if first != 0 && (due == 0 || due > first) {
		p.t.Fatalf("the end at %d is missed, next is %d", first, due)
	}
	var ended, over []uint64
	s.Ended(p.now, func(e Ended) bool {
		expect(p.t, "left of its subject", e.Left, len(twin.sequences(twin.messages[e.Seq].subject)))
		ended = append(ended, e.Seq)
		return true
	})
	for _, seq := range twin.sequences("") {
		if markers && twin.over(seq, p.now) {
			over = append(over, seq)
		}
	}
	slices.Sort(ended)
	expect(p.t, "ended", fmt.Sprint(ended), fmt.Sprint(over))

	schedules := make(map[string]twinSchedule)
	for id, one := range s.schedules {
		schedules[s.subjects.list[id].name] = twinSchedule{one.seq, one.due}
	}
	expect(p.t, "schedules", fmt.Sprint(schedules), fmt.Sprint(twin.schedules))
	next, fired := int64(0), 0
	for _, one := range twin.schedules {
		if next == 0 || one.due < next {
			next = one.due
		}
		if one.due <= p.now {
			fired++
		}
	}
	expect(p.t, "next schedule", s.NextSchedule(), next)
	s.DueSchedules(p.now, func(d DueSchedule) bool { fired--; return true })
	expect(p.t, "schedules not told", fired, 0)
}
