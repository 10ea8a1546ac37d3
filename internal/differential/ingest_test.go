package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Operations of a fast-ingest batch.
const (
	begin = iota
	add
	commitLast
	commitEnd
	ping
)

// fastMessage is one message of a fast-ingest batch.
type fastMessage struct {
	seq, op any
	headers []string
}

// isIncrement reports that the message is for a counter; it has no payload then.
func (m *fastMessage) isIncrement() bool {
	return slices.ContainsFunc(m.headers, func(line string) bool { return strings.HasPrefix(line, "Nats-Incr") })
}

// fastBatches are batches with flow 2, one after the other on the same stream, each
// with and without gaps.
var fastBatches = map[string][]fastMessage{
	"one":         {{1, commitLast, nil}},
	"three":       {{1, begin, nil}, {2, add, nil}, {3, commitLast, nil}},
	"end":         {{1, begin, nil}, {2, add, nil}, {3, commitEnd, nil}},
	"flow":        {{1, begin, nil}, {2, add, nil}, {3, add, nil}, {4, add, nil}, {5, add, nil}, {5, ping, nil}, {6, commitEnd, nil}},
	"unknown":     {{2, add, nil}, {1, ping, nil}, {2, commitEnd, nil}, {2, commitLast, nil}},
	"malformed":   {{1, 7, nil}, {1, "x", nil}, {0, begin, nil}, {2, begin, nil}, {1, add, nil}, {1, commitEnd, nil}, {"x", begin, nil}, {"", begin, nil}, {1, -1, nil}},
	"gap":         {{1, begin, nil}, {4, add, nil}, {5, commitLast, nil}},
	"gapatend":    {{1, begin, nil}, {4, commitLast, nil}},
	"gapateob":    {{1, begin, nil}, {4, commitEnd, nil}},
	"pinggap":     {{1, begin, nil}, {3, ping, nil}, {4, add, nil}, {5, commitEnd, nil}},
	"pingearly":   {{1, begin, nil}, {1, ping, nil}, {2, add, nil}, {2, ping, nil}, {1, ping, nil}, {3, commitLast, nil}},
	"back":        {{1, begin, nil}, {2, add, nil}, {2, add, nil}, {3, commitLast, nil}},
	"again":       {{1, begin, nil}, {1, begin, nil}, {2, commitLast, nil}},
	"after":       {{1, begin, nil}, {2, commitLast, nil}, {3, add, nil}, {3, ping, nil}},
	"refused":     {{1, begin, nil}, {2, add, []string{"Nats-Expected-Last-Sequence: 77777"}}, {3, add, nil}, {4, commitLast, nil}},
	"firstbad":    {{1, begin, []string{"Nats-Expected-Stream: other"}}, {2, add, nil}, {3, commitLast, nil}},
	"onlybad":     {{1, commitLast, []string{"Nats-Expected-Stream: other"}}},
	"lastbad":     {{1, begin, nil}, {2, add, nil}, {3, commitLast, []string{"Nats-Expected-Stream: other"}}},
	"ids":         {{1, begin, []string{"Nats-Msg-Id: ID1"}}, {2, add, []string{"Nats-Msg-Id: ID1"}}, {3, add, []string{"Nats-Msg-Id: ID2"}}, {4, commitEnd, nil}},
	"known":       {{1, begin, []string{"Nats-Msg-Id: known"}}, {2, add, nil}, {3, commitLast, nil}},
	"onlyknown":   {{1, commitLast, []string{"Nats-Msg-Id: known"}}},
	"lastknown":   {{1, begin, nil}, {2, commitLast, []string{"Nats-Msg-Id: known"}}},
	"expected":    {{1, begin, []string{"Nats-Expected-Last-Subject-Sequence: 77777"}}, {2, commitLast, nil}},
	"rollup":      {{1, begin, nil}, {2, add, []string{"Nats-Rollup: sub"}}, {3, commitLast, nil}},
	"ttl":         {{1, begin, []string{"Nats-TTL: 1h"}}, {2, commitLast, nil}},
	"level":       {{1, begin, []string{"Nats-Required-Api-Level: 1"}}, {2, commitLast, nil}},
	"levelhigh":   {{1, begin, nil}, {2, add, []string{"Nats-Required-Api-Level: 99"}}, {3, commitLast, nil}},
	"source":      {{1, begin, nil}, {2, add, []string{"Nats-Stream-Source: x"}}, {3, commitEnd, nil}},
	"atomic":      {{1, begin, []string{"Nats-Batch-Id: a", "Nats-Batch-Sequence: 1"}}, {2, commitLast, nil}},
	"overlong-id": {{1, begin, nil}},
}

// ingestStreams are the kinds of streams that these batches are tried on, and which
// ones; nil for all.
var ingestStreams = map[string]struct {
	change  object
	batches []string
}{
	"plain":     {object{}, nil},
	"off":       {object{"allow_batched": false}, []string{"one", "unknown", "malformed"}},
	"both":      {object{"allow_atomic": true, "storage": "memory"}, []string{"three", "atomic"}},
	"ttl":       {object{"allow_msg_ttl": true, "allow_rollup_hdrs": true}, []string{"ttl", "rollup"}},
	"interest":  {object{"retention": "interest"}, []string{"one", "three", "end", "ids"}},
	"few":       {object{"max_msgs": 4, "discard": "new"}, []string{"three", "end", "flow", "one"}},
	"small":     {object{"max_msg_size": 36}, []string{"three", "ids"}},
	"transform": {object{"subject_transform": object{"src": ">", "dest": "moved.>"}}, []string{"three", "refused"}},
	"noack":     {object{"no_ack": true}, []string{"one", "three", "refused", "unknown", "firstbad"}},
}

const (
	// hush is how long nothing comes when a message has been answered.
	hush = 30 * time.Millisecond
	// unanswered is how long nothing comes for a message that is not answered.
	unanswered = 150 * time.Millisecond
)

// hearAll writes down what comes until nothing does.
func (e *ear) hearAll(patience time.Duration) {
	for ; ; patience = hush {
		m, err := e.sub.NextMsg(patience)
		if err != nil {
			return
		}
		e.session.told = append(e.session.told, telling{m.Subject, (&answer{header: m.Header, body: string(m.Data)}).fields()})
	}
}

// ingest publishes a message of a fast-ingest batch and writes down what is heard,
// which tells by its subject what it answers.
func (s *session) ingest(e *ear, id, gaps string, flow int, m fastMessage) {
	subject := fmt.Sprintf("inbox.%s.%s.%d.%s.%v.%v.$FI", s.name, id, flow, gaps, m.seq, m.op)
	payload := []byte("payload")
	if m.isIncrement() {
		payload = nil
	}
	published := message(s.name+".a", payload, m.headers)
	published.Reply = strings.ReplaceAll(subject, "..", ".~.")
	if err := s.nc.PublishMsg(published); err != nil {
		s.fail("publish %s: %v", subject, err)
	}
	e.hearAll(unanswered)
}

// TestFastBatches publishes batches of all kinds to streams of all kinds.
func TestFastBatches(t *testing.T) {
	for name, kind := range ingestStreams {
		batches := kind.batches
		if batches == nil {
			batches = slices.Sorted(maps.Keys(fastBatches))
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(object{"allow_batched": true}, kind.change)
				e := s.listen("inbox." + s.name + ".>")
				s.send(s.name+".z", "x", "Nats-Msg-Id: known")
				s.until("STREAM.INFO."+s.name, nil, func(a *answer) bool { return a.text("state.last_seq") == "1" })
				for _, batch := range batches {
					for _, gaps := range []string{"fail", "ok", "other"} {
						messages := fastBatches[batch]
						if gaps == "other" && batch != "one" {
							continue
						}
						id := batch + gaps
						if batch == "overlong-id" {
							id = strings.Repeat("x", 65)
						}
						for _, m := range messages {
							m.headers = slices.Clone(m.headers)
							for i := range m.headers {
								m.headers[i] = strings.Replace(m.headers[i], "ID", gaps, 1)
							}
							s.ingest(e, id, gaps, 2, m)
						}
						e.hearAll(unanswered)
					}
				}
				s.api("STREAM.INFO."+s.name, object{"subjects_filter": ">", "deleted_details": true})
				s.delete()
			})
		})
	}
}

// TestFlow has several fast-ingest batches on one stream, which changes how often
// they are told how far they are.
func TestFlow(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_batched": true})
		e := s.listen("inbox." + s.name + ".>")
		for _, batch := range []struct {
			id   string
			flow int
		}{{"a", 6}, {"b", 100}, {"c", 0}, {"d", 70000}} {
			s.ingest(e, batch.id, "fail", batch.flow, fastMessage{1, begin, nil})
		}
		for seq := 2; seq < 10; seq++ {
			s.ingest(e, "a", "fail", 6, fastMessage{seq, add, nil})
			s.ingest(e, "b", "fail", 1, fastMessage{seq, add, nil})
		}
		for _, id := range []string{"b", "c", "d"} {
			seq := 2
			if id == "b" {
				seq = 10
			}
			s.ingest(e, id, "fail", 1, fastMessage{seq, commitEnd, nil})
		}
		for seq := 10; seq < 24; seq++ {
			s.ingest(e, "a", "fail", 6, fastMessage{seq, add, nil})
		}
		s.update(object{"allow_batched": false})
		s.ingest(e, "a", "fail", 6, fastMessage{24, add, nil})
		s.update(object{"allow_batched": true})
		s.ingest(e, "a", "fail", 6, fastMessage{24, add, nil})
		s.delete()
	})
}

// TestFastBatchTimeout waits for a batch that is not continued.
func TestFastBatchTimeout(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_batched": true})
		e := s.listen("inbox." + s.name + ".>")
		s.ingest(e, "slow", "ok", 1, fastMessage{1, begin, nil})
		time.Sleep(9 * time.Second)
		s.ingest(e, "slow", "ok", 1, fastMessage{1, ping, nil})
		time.Sleep(9 * time.Second)
		s.ingest(e, "slow", "ok", 1, fastMessage{2, add, nil})
		time.Sleep(11 * time.Second)
		s.ingest(e, "slow", "ok", 1, fastMessage{3, add, nil})
		s.ingest(e, "slow", "ok", 1, fastMessage{3, commitEnd, nil})
		s.delete()
	})
}

// TestManyFastBatches opens as many batches as a stream may have.
func TestManyFastBatches(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_batched": true})
		e := s.listen("inbox." + s.name + ".>")
		for i := range 1000 {
			reply := fmt.Sprintf("elsewhere.%s.b%d.5.ok.1.0.$FI", s.name, i)
			if err := s.nc.PublishRequest(s.name+".a", reply, []byte("x")); err != nil {
				s.fail("publish: %v", err)
			}
		}
		s.until("STREAM.INFO."+s.name, nil, func(a *answer) bool { return a.text("state.last_seq") == "1000" })
		s.ingest(e, "more", "ok", 1, fastMessage{1, begin, nil})
		s.delete()
	})
}
