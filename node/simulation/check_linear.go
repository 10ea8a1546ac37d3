package simulation

import (
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Operations on a stream are linearizable: there is an order of all of them, in
// agreement with real time, in which each answer is right (Herlihy and Wing, 1990).
// The log is the order of the changes, and known. So it is enough to find, for each
// answer to a question, a position in the log at which it was right, no earlier
// than that of any operation that had come to its end when the question was put.
// Taking the earliest such position leaves the most room to those that follow.
//
// In a disaster acknowledged changes may be lost; then nothing is compared.

// question is an operation under way.
type question struct {
	checks *checks
	line   *timeline
	name   string
	floor  position
}

// ask takes note that an operation on a stream begins.
func (c *checks) ask(stream string) question {
	line := c.history.timeline(stream)
	return question{c, line, stream, line.floor}
}

func (q *question) compared() bool { return !q.checks.world.plan.disaster }

// settle takes the state that an answer tells of.
func (q *question) settle(what string, matches func(*version) bool) {
	if !q.compared() {
		return
	}
	at, ok := q.line.find(q.floor, matches)
	if !ok {
		q.checks.world.fail("not linearizable: %s of %s is answered with a state that it did not have since %v, now %v: %+v",
			what, q.name, q.floor, q.checks.history.newest, q.line.now())
	}
	q.line.saw(at)
}

// gone: the answer says that there is no such stream.
func (q *question) gone(what string) {
	q.settle(what+" (not found)", func(v *version) bool { return !v.found })
}

// info: the answer describes the stream.
func (q *question) info(response *server.JSApiStreamInfoResponse) {
	view := viewOf(response.Created, &response.State, &response.Config)
	q.settle("the info", func(v *version) bool { return v.found && v.streamView == view })
}

// acknowledged: a message was stored.
func (q *question) acknowledged(m *message) {
	if m != nil && q.compared() {
		q.line.saw(m.stored)
	}
}

// message: the answer has a message, which was asked for by its sequence or as
// the last one of a subject.
func (q *question) message(subject string, seq uint64, text string) {
	if !q.compared() {
		return
	}
	streams := q.checks.history.named(q.name)
	for i := len(streams) - 1; i >= 0; i-- { // the newest first
		t := streams[i]
		m := t.messages[seq]
		if m == nil || m.text != text {
			continue
		}
		at := latest(q.floor, m.stored)
		if subject != "" {
			later := t.bySubject[subject]
			next := sort.Search(len(later), func(i int) bool { return later[i].seq > seq })
			at = allGone(later[next:], at)
		}
		if at == never || !m.thereAt(at) {
			q.checks.world.fail("not linearizable: %q is read as message %d of %s (asked for: %q), which it was not since %v", text, seq, q.name, subject, q.floor)
		}
		q.line.saw(at)
		return
	}
	q.checks.world.fail("never stored: %q is read as message %d of %s", text, seq, q.name)
}

// noMessage: the answer says that the stream has no such message.
func (q *question) noMessage(subject string, seq uint64) {
	if !q.compared() {
		return
	}
	for _, t := range q.checks.history.named(q.name) {
		var those []*message
		if subject != "" {
			those = t.bySubject[subject]
		} else if m := t.messages[seq]; m != nil {
			those = []*message{m}
		}
		at := allGone(those, latest(q.floor, t.from))
		if at != never && (t.to == position{} || at.before(t.to)) {
			q.line.saw(at)
			return
		}
	}
	q.checks.world.fail("not linearizable: %s is said to have no message %d %q, which it always had since %v", q.name, seq, subject, q.floor)
}

// never is later than all.
var never = position{lineage: math.MaxUint64}

// allGone is the earliest position at or after one at which none of some messages
// is there.
func allGone(messages []*message, at position) position {
	for i := len(messages) - 1; i >= 0; i-- {
		m := messages[i]
		if !m.thereAt(at) {
			continue
		}
		if m.removed == (position{}) {
			return never
		}
		at = m.removed
		i = len(messages) // once more: another may have come meanwhile
	}
	return at
}

// thereAt tells whether the message was in the stream at a position.
func (m *message) thereAt(at position) bool {
	return !at.before(m.stored) && (m.removed == (position{}) || at.before(m.removed))
}

// sequenceOf reads which message a direct read gives.
func sequenceOf(header []byte) (uint64, bool) {
	text, ok := headerOf(header, server.JSSequence)
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return seq, err == nil
}
