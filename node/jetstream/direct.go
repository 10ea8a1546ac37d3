package jetstream

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// directGroup is the queue of the subscriptions for direct reads, which every
// node has. It is the one that nats-server uses: a stream and its mirrors
// elsewhere share the requests. The door of the leader listens to the whole API
// in the same queue, so that such a request never comes twice.
const directGroup = "_sys_"

// directPatience is how long a direct read waits for a proof that this node is
// up to date: clients have given up by then.
const directPatience = int64(5 * time.Second)

// direct is what serves direct reads. Unlike the rest of the door it does so on
// every node, whoever leads.
type direct struct {
	state directState
	reads reads
	// subjects counts, by the name of a stream, the streams that answer for it:
	// itself, and mirrors.
	subjects map[string]int
	answers  map[machine.Incarnation][]string // the names that each stream answers for
	mirrors  map[string]*machine.Stream       // one of the mirrors, by the name of the origin
	asked    bool                             // a barrier failed: no other before the next tick
	batches  []*directBatch                   // answers of several messages under way, in their order
}

type directState uint8

const (
	directClosed  directState = iota
	directOpening             // a first barrier is to show that this node keeps up
	directOpen                // subscribed
	directLeaving             // not subscribed any more; what still comes is served
)

// OpenDirect begins to serve direct reads, as soon as a barrier was passed. The
// machine may be behind until then.
func (d *Door) OpenDirect() {
	if d.direct.state == directClosed {
		d.direct.state = directOpening
	}
}

// LeaveDirect leaves direct reads to the other nodes. What comes here before
// the servers have heard of it is served.
func (d *Door) LeaveDirect() {
	if d.direct.state == directOpen {
		for _, name := range sortedKeys(d.direct.subjects) {
			d.unsubscribeDirect(name)
		}
	}
	d.direct.state = directLeaving
}

// CloseDirect ends serving direct reads; who waits is told that nobody answers.
func (d *Door) CloseDirect() {
	if d.direct.state == directClosed {
		return
	}
	d.LeaveDirect()
	for _, waiting := range [][]*request{d.direct.reads.current, d.direct.reads.next} {
		for _, r := range waiting {
			d.answerUnavailable(r)
		}
	}
	d.direct = direct{}
}

// answersFor returns the names of the streams that a stream answers direct
// reads for.
func answersFor(s *machine.Stream) []string {
	config := s.Config()
	var names []string
	if config.AllowDirect {
		names = append(names, s.Name())
	}
	if config.MirrorDirect && s.MirrorReady() {
		names = append(names, config.Mirror.Name)
	}
	return names
}

// openDirect subscribes for every stream that there is.
func (d *Door) openDirect() {
	d.direct.state = directOpen
	d.direct.subjects, d.direct.answers = make(map[string]int), make(map[machine.Incarnation][]string)
	d.direct.mirrors = make(map[string]*machine.Stream)
	for _, s := range d.machine.Streams() {
		d.answerFor(s, answersFor(s))
	}
}

// answerFor changes the names that a stream answers for.
func (d *Door) answerFor(s *machine.Stream, names []string) {
	direct := &d.direct
	before := direct.answers[s.Incarnation()]
	for _, name := range names {
		if direct.subjects[name]++; direct.subjects[name] == 1 {
			d.bus.Subscribe(directPrefix+name, directGroup)
			d.bus.Subscribe(directPrefix+name+".>", directGroup)
		}
		if name != s.Name() {
			direct.mirrors[name] = s
		}
	}
	for _, name := range before {
		if direct.subjects[name]--; direct.subjects[name] == 0 {
			delete(direct.subjects, name)
			d.unsubscribeDirect(name)
		}
		if direct.mirrors[name] == s && !slices.Contains(names, name) {
			d.findMirror(name)
		}
	}
	if direct.answers[s.Incarnation()] = names; len(names) == 0 {
		delete(direct.answers, s.Incarnation())
	}
}

// findMirror looks for another mirror that answers for a name.
func (d *Door) findMirror(name string) {
	delete(d.direct.mirrors, name)
	for _, s := range d.machine.Streams() {
		if name != s.Name() && slices.Contains(answersFor(s), name) {
			d.direct.mirrors[name] = s
		}
	}
}

func (d *Door) unsubscribeDirect(name string) {
	d.bus.Unsubscribe(directPrefix+name, directGroup)
	d.bus.Unsubscribe(directPrefix+name+".>", directGroup)
}

// Observe follows what any entry changed, whoever proposed it. It comes after
// Applied.
func (d *Door) Observe(results *machine.Results) {
	if d.direct.state != directOpen {
		return
	}
	for i := range results.Events {
		e := &results.Events[i]
		if !d.concerns(e) {
			continue
		}
		switch e.Kind {
		case machine.EventStreamCreated, machine.EventStreamUpdated, machine.EventMirrorReady:
			d.answerFor(e.Stream, answersFor(e.Stream))
		case machine.EventStreamDeleted:
			d.answerFor(e.Stream, nil)
		}
	}
}

// handleDirect takes a direct read.
func (d *Door) handleDirect(m *Message) {
	if len(m.Reply) == 0 {
		return
	}
	if d.direct.state == directClosed && d.role != leading {
		d.sendNoResponders(m.Reply, m.Subject)
		return
	}
	subject := string(m.Subject)
	r := &request{
		subject: subject,
		args:    strings.SplitN(strings.TrimPrefix(subject, directPrefix), ".", 2),
		reply:   bytes.Clone(m.Reply),
		header:  bytes.Clone(m.Header),
		payload: bytes.Clone(m.Payload),
		arrived: d.node.Now(),
	}
	r.after = d.lastFor(d.directStream(r.args[0]))
	if !d.direct.reads.add(r) {
		d.counts.Dropped++
	}
}

// flushDirect starts a barrier if a direct read waits for one, and goes on with
// answers of several messages.
func (d *Door) flushDirect() {
	reads := &d.direct.reads
	if !reads.underWay && !d.direct.asked && len(d.direct.batches) < maxBatches {
		if ready := reads.ready(d.readable(), d.node.Now()); ready > 0 || d.direct.state == directOpening {
			d.ask(reads, ready)
		}
	}
	d.continueBatches()
}

// tickDirect lets a barrier that failed be asked for again, and forgets who has
// waited too long.
func (d *Door) tickDirect(now int64) {
	d.direct.asked = false
	reads := &d.direct.reads
	expired := 0
	for expired < len(reads.next) && now-reads.next[expired].arrived > directPatience {
		expired++
	}
	if expired > 0 {
		d.counts.Dropped += uint64(expired)
		reads.next = append(reads.next[:0], reads.next[expired:]...)
	}
}

// directBarriered ends a barrier for direct reads.
func (d *Door) directBarriered(ok bool) {
	reads := &d.direct.reads
	if !ok {
		d.direct.asked = true
		reads.underWay = false
		reads.next = append(reads.current, reads.next...)
		reads.current = nil
		return
	}
	if d.direct.state == directOpening {
		d.openDirect()
	}
	reads.finish(d.serveDirect)
}

// serveDirect answers a direct read from what is applied.
func (d *Door) serveDirect(r *request) {
	s := d.directStream(r.args[0])
	if s == nil {
		d.sendNoResponders(r.reply, []byte(r.subject))
		return
	}
	body, refusal := directRequest(r)
	if refusal != "" {
		d.sendStatus(r.reply, refusal)
		return
	}
	if len(body.MultiLastFor) > 0 || body.Batch != 0 {
		d.startBatch(r, s, body)
		return
	}
	stored, found := findMessage(s, body)
	if !found {
		d.sendStatus(r.reply, statusNotFound)
		return
	}
	m, ok := d.read(stored.Location)
	if !ok {
		d.sendStatus(r.reply, statusUnreadable)
		return
	}
	var header []byte
	if !body.NoHeaders {
		d.scratch = append(appendDirectHeader(d.scratch[:0], s.Name(), &m, stored), crlf...)
		header = d.scratch
	}
	d.bus.Publish(r.reply, nil, header, m.Payload)
}

// directStream returns the stream that answers direct reads of that name: itself,
// or a mirror.
func (d *Door) directStream(name string) *machine.Stream {
	if s := d.machine.Stream(name); s != nil && s.Config().AllowDirect {
		return s
	}
	return d.direct.mirrors[name]
}

// directRequest reads what is asked for, or says why it is refused, in the
// order in which nats-server looks at it. The subject of the request may name
// the subject whose last message is wanted.
func directRequest(r *request) (*server.JSApiMsgGetRequest, string) {
	if requiresHigherLevel(r.header) {
		return nil, statusRequiredLevel
	}
	var body server.JSApiMsgGetRequest
	if len(r.args) > 1 {
		if len(r.payload) > 0 && json.Unmarshal(r.payload, &body) != nil {
			return nil, statusMalformedRequest
		}
		if body.LastFor != "" || body.NextFor != "" || len(body.MultiLastFor) > 0 || body.Seq != 0 || body.Batch != 0 ||
			body.StartTime != nil || body.UpToSeq != 0 || body.UpToTime != nil {
			return nil, statusBadRequest
		}
		body.LastFor = r.args[1]
		return &body, ""
	}
	if len(r.payload) == 0 {
		return nil, statusEmptyRequest
	}
	if json.Unmarshal(r.payload, &body) != nil {
		return nil, statusMalformedRequest
	}
	switch {
	case body.Seq == 0 && body.LastFor == "" && body.NextFor == "" && len(body.MultiLastFor) == 0 && body.StartTime == nil:
		return nil, statusEmptyRequest
	case conflicting(&body),
		body.LastFor != "" && (body.Batch > 0 || len(body.MultiLastFor) > 0),
		body.NextFor != "" && len(body.MultiLastFor) > 0,
		body.UpToSeq > 0 && body.UpToTime != nil:
		return nil, statusBadRequest
	}
	return &body, ""
}
