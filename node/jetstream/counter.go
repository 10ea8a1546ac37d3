package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// A counter (ADR-49) is a subject of which each message has the sum of all
// increments so far as its payload. The log is the store, so the sum is made
// before a message is proposed, here; the machine only stores it if the message
// from which it was made is still the last one of its subject. If it is not, for
// example because an increment in between was a duplicate, the sum is made anew
// once everything that was on its way has come back.

// totalKey names a counter.
type totalKey struct {
	stream  machine.Incarnation
	subject string
}

// runningTotal is what a counter will be once everything on its way is applied.
// It is forgotten when nothing is.
type runningTotal struct {
	key     totalKey
	sum     big.Int
	sources server.CounterSources // what other streams have contributed
	damaged bool                  // the last message is not the value of a counter

	// What the next value is computed from: the last message on its way, or, with
	// a nil proposal, the last one stored.
	seq      uint64
	proposal *proposal
	slot     int

	flying int  // messages on their way
	broken bool // one of them was not stored: those behind it will not be either
	// What begins anew when nothing is on its way: increments that were not stored,
	// and those that came after.
	again, behind []func()
}

// increment is one of a client.
type increment struct {
	message Message // as it came
	value   string  // that it makes of its counter
}

// total returns the running total of a counter.
func (d *Door) total(s *machine.Stream, subject []byte) (*runningTotal, bool) {
	key := totalKey{s.Incarnation(), string(subject)}
	if t := d.totals[key]; t != nil {
		return t, true
	}
	t := &runningTotal{key: key}
	if stored, ok := s.Last(key.subject); ok {
		m, ok := d.read(stored.Location)
		if !ok {
			return nil, false
		}
		t.seq = stored.Seq
		var value server.CounterValue
		t.damaged = json.Unmarshal(m.Payload, &value) != nil
		if sources := headerValue(m.Header, server.JSMessageCounterSources); len(sources) > 0 && !t.damaged {
			t.damaged = json.Unmarshal(sources, &t.sources) != nil
		}
		setNumber(&t.sum, value.Value)
	}
	d.totals[key] = t
	return t, true
}

// unused forgets a total that has changed for nothing: it is made anew.
func (d *Door) unused(t *runningTotal) {
	if t == nil {
		return
	}
	if t.broken = true; t.flying == 0 {
		delete(d.totals, t.key)
	}
}

// setNumber makes what is no number zero.
func setNumber(n *big.Int, text string) {
	if _, ok := n.SetString(text, 10); !ok {
		n.SetInt64(0)
	}
}

// summed is a message for a stream of counters as it is stored.
type summed struct {
	header, payload []byte
	total           *runningTotal // nil: the machine refuses it as it is
	value           string        // of the counter
}

func (m *summed) size() int { return len(m.header) + len(m.payload) }

// sum adds the increment in a message to its counter. The total says itself if
// the message has to wait (runningTotal.broken).
func (d *Door) sum(s *machine.Stream, subject, header, payload []byte) (summed, *server.ApiError) {
	m := summed{header: header, payload: payload}
	var step big.Int
	if _, ok := step.SetString(string(headerValue(header, server.JSMessageIncr)), 10); !ok || len(payload) > 0 {
		return m, nil
	}
	t, ok := d.total(s, subject)
	if !ok {
		return m, server.NewJSStreamStoreFailedError(errors.New("the counter cannot be read"))
	}
	if m.total = t; t.broken || t.damaged {
		return m, nil
	}
	t.sum.Add(&t.sum, &step)
	m.value = t.sum.String()
	m.header, m.payload = t.encode(header, m.value)
	if m.size() > d.options.MaxPayload {
		d.unused(t)
		return m, server.NewJSStreamMessageExceedsMaximumError()
	}
	return m, nil
}

// addSummed adds a message to the open batch, which has room for it. The caller
// notes who waits for it, and tells its total when it is applied, or lost.
func (d *Door) addSummed(s *machine.Stream, subject []byte, m *summed) {
	t := m.total
	if t == nil {
		d.batches.builder.Publish(s.Incarnation(), subject, m.header, m.payload)
		return
	}
	says := machine.PrefaceCounter
	if t.damaged {
		says = machine.PrefaceBroken
	}
	a, b := t.base(d.batches.open)
	d.batches.say(said{says, a, b})
	t.onTheWay(d.batches.open, d.batches.builder.Publish(s.Incarnation(), subject, m.header, m.payload))
}

// increment proposes a message of a client for a stream of counters.
func (d *Door) increment(s *machine.Stream, m *Message, subject, header, reply []byte) {
	sum, apiErr := d.sum(s, subject, header, m.Payload)
	if apiErr != nil {
		d.refusePublish(reply, s, nil, apiErr)
		return
	}
	i := &increment{message: Message{bytes.Clone(m.Subject), bytes.Clone(reply), bytes.Clone(m.Header), bytes.Clone(m.Payload)}, value: sum.value}
	if t := sum.total; t != nil && t.broken {
		t.behind = append(t.behind, func() { d.publishAgain(i) })
		return
	}
	d.room(sum.size() + len(subject) + 2*commandOverhead)
	d.addSummed(s, subject, &sum)
	d.batches.waitForCall(waitIncrement, call{total: sum.total, step: i})
	d.touch(s)
}

// publishAgain begins anew with an increment; so does the next leader.
func (d *Door) publishAgain(i *increment) {
	if d.role == leading {
		d.counts.Publishes--
		d.publish(&i.message)
	} else {
		d.hold(&i.message)
	}
}

// encode makes the message that has the value of a counter.
func (t *runningTotal) encode(header []byte, value string) (withSources, payload []byte) {
	if len(t.sources) > 0 {
		sources, err := json.Marshal(t.sources)
		if err == nil {
			header = withHeader(header, server.JSMessageCounterSources, string(sources))
		}
	}
	payload = append(append([]byte(`{"val":"`), value...), `"}`...)
	return header, payload
}

// base names the message from which the next value is computed, for a batch.
func (t *runningTotal) base(open *proposal) (a, b uint64) {
	switch t.proposal {
	case nil:
		return t.seq, uint64(machine.BaseSequence)
	case open:
		return uint64(t.slot), uint64(machine.BaseSlot)
	}
	return uint64(t.proposal.stamp) + uint64(t.slot), uint64(machine.BaseStamp)
}

// onTheWay takes note that a message was added to the open batch.
func (t *runningTotal) onTheWay(open *proposal, slot int) {
	t.flying++
	if !t.damaged {
		t.proposal, t.slot = open, slot
	}
}

// sumSourced makes of a message of a source what the counter has to store: the
// source's part of the sum grows to the value that the message has. It changes
// nothing in what the machine will refuse. It reports false when the message has
// to come again later.
func (d *Door) sumSourced(k *call, subject, header, payload []byte) (newHeader, newPayload []byte, ok bool) {
	var step, there, before big.Int
	var value server.CounterValue
	if _, ok := step.SetString(string(headerValue(header, server.JSMessageIncr)), 10); !ok || json.Unmarshal(payload, &value) != nil {
		return header, payload, true
	}
	t, ok := d.total(k.feed.stream, subject)
	if !ok || t.broken {
		return header, payload, false
	}
	if t.damaged {
		d.unused(t)
		return header, payload, true
	}
	stream, origin := originOf(header, subject)
	setNumber(&there, value.Value)
	setNumber(&before, t.sources[stream][origin])
	if t.sources == nil {
		t.sources = make(server.CounterSources)
	}
	if t.sources[stream] == nil {
		t.sources[stream] = make(map[string]string)
	}
	t.sources[stream][origin] = there.String()
	step.Sub(&there, &before)
	t.sum.Add(&t.sum, &step)
	k.total = t
	header = withHeader(header, server.JSMessageIncr, step.String())
	header, payload = t.encode(header, t.sum.String())
	return header, payload, true
}

// originOf is the stream and the subject that a message had at its source.
func originOf(header, subject []byte) (stream, origin string) {
	fields := strings.Split(string(headerValue(header, server.JSStreamSource)), " ")
	if len(fields) < 5 {
		return fields[0], string(subject)
	}
	return fields[0], fields[4]
}

// incremented takes the result of an increment.
func (d *Door) incremented(k *call, result *machine.Result) {
	switch i := k.step; {
	case i == nil: // of a batch, whose last message is answered
	case result.Unmet:
		k.total.again = append(k.total.again, func() { d.publishAgain(i) })
	case len(i.message.Reply) > 0:
		d.acknowledge(i.message.Reply, result, i.value)
	}
	d.summed(k.total, result)
}

// summed takes note that a message is not on its way any more.
func (d *Door) summed(t *runningTotal, result *machine.Result) {
	if t == nil {
		return
	}
	t.flying--
	t.broken = t.broken || result.Unmet || result.Err != nil || result.Duplicate || result.Over || result.Stream == nil
	if t.flying > 0 {
		return
	}
	delete(d.totals, t.key)
	for _, begin := range slices.Concat(t.again, t.behind) {
		begin()
	}
}

// lostIncrement takes note that a message never reached the log. Those that wait
// behind it get no answer either.
func (d *Door) lostIncrement(t *runningTotal) {
	if t == nil {
		return
	}
	t.broken, t.again, t.behind = true, nil, nil
	if t.flying--; t.flying == 0 {
		delete(d.totals, t.key)
	}
}
