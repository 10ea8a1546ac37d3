package machine

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// batchMessage is one publish of a batch: subject, headers, preface.
type batchMessage struct {
	subject string
	headers []string
	said    preface
}

// atomic publishes a batch and returns the result that all its messages have.
func (w *world) atomic(s *Stream, messages ...batchMessage) Result {
	w.t.Helper()
	w.batch.BeginAtomic(s.Incarnation())
	for _, m := range messages {
		if m.said.kind != 0 {
			w.batch.Preface(m.said.kind, m.said.a, m.said.b)
		}
		w.batch.Publish(s.Incarnation(), []byte(m.subject), header(m.headers...), nil)
	}
	w.batch.EndAtomic()
	results := w.apply().Slots
	last := results[len(results)-1]
	if first := results[0]; first.Err != last.Err || first.Unmet != last.Unmet {
		w.t.Fatalf("the batch has %+v, its last message %+v", first, last)
	}
	return last
}

func TestBatchChecks(t *testing.T) {
	plain := func(subject string, headers ...string) batchMessage {
		return batchMessage{subject: subject, headers: headers}
	}
	for name, c := range map[string]struct {
		change   func(c *server.StreamConfig)
		messages []batchMessage
		want     server.ErrorIdentifier // 0: stored
	}{
		"two":                          {messages: []batchMessage{plain("a.1"), plain("a.2")}},
		"disabled":                     {change: func(c *server.StreamConfig) { c.AllowAtomicPublish = false }, messages: []batchMessage{plain("a.1")}, want: server.JSAtomicPublishDisabledErr},
		"expected, first":              {messages: []batchMessage{plain("a.1", server.JSExpectedLastSeq, "1"), plain("a.2")}},
		"expected, second":             {messages: []batchMessage{plain("a.1"), plain("a.2", server.JSExpectedLastSeq, "2")}, want: server.JSStreamWrongLastSequenceConstantErr},
		"expected wrongly, second":     {messages: []batchMessage{plain("a.1"), plain("a.2", server.JSExpectedLastSeq, "1")}, want: server.JSStreamWrongLastSequenceErrF},
		"expected of subject":          {messages: []batchMessage{plain("a.1"), plain("a.0", server.JSExpectedLastSubjSeq, "1")}},
		"expected of subject in batch": {messages: []batchMessage{plain("a.1"), plain("a.1", server.JSExpectedLastSubjSeq, "2")}, want: server.JSStreamWrongLastSequenceConstantErr},
		"expected message ID":          {messages: []batchMessage{plain("a.1", server.JSExpectedLastMsgId, "x")}, want: server.JSAtomicPublishUnsupportedHeaderBatchErr},
		"known ID":                     {messages: []batchMessage{plain("a.1", server.JSMsgId, "old")}, want: server.JSAtomicPublishContainsDuplicateMessageErr},
		"same ID twice":                {messages: []batchMessage{plain("a.1", server.JSMsgId, "n"), plain("a.2", server.JSMsgId, "n")}, want: server.JSAtomicPublishContainsDuplicateMessageErr},
		"rollup of subject":            {messages: []batchMessage{plain("a.1"), plain("a.2", server.JSMsgRollup, "sub")}},
		"rollup of subject in batch":   {messages: []batchMessage{plain("a.1"), plain("a.1", server.JSMsgRollup, "sub")}, want: server.JSStreamRollupFailedF},
		"rollup of all, first":         {messages: []batchMessage{plain("a.1", server.JSMsgRollup, "all"), plain("a.2")}},
		"rollup of all, second":        {messages: []batchMessage{plain("a.1"), plain("a.2", server.JSMsgRollup, "all")}, want: server.JSStreamRollupFailedF},
		"more than fit":                {change: func(c *server.StreamConfig) { c.MaxMsgs, c.Discard = 2, server.DiscardNew }, messages: []batchMessage{plain("a.1"), plain("a.2")}, want: server.JSStreamStoreFailedF},
		"as many as fit":               {change: func(c *server.StreamConfig) { c.MaxMsgs, c.Discard = 3, server.DiscardNew }, messages: []batchMessage{plain("a.1"), plain("a.2")}},
		"more bytes than fit":          {change: func(c *server.StreamConfig) { c.MaxBytes, c.Discard = 139, server.DiscardNew }, messages: []batchMessage{plain("a.1"), plain("a.2")}, want: server.JSStreamStoreFailedF},
		"more of a subject than fit": {
			change:   func(c *server.StreamConfig) { c.MaxMsgsPer, c.Discard, c.DiscardNewPer = 2, server.DiscardNew, true },
			messages: []batchMessage{plain("a.0"), plain("a.0")}, want: server.JSStreamStoreFailedF,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.stream("A", func(config *server.StreamConfig) {
				config.AllowAtomicPublish, config.AllowRollup, config.Replicas = true, true, 3
				if c.change != nil {
					c.change(config)
				}
			})
			w.publish(s, "a.0", server.JSMsgId, "old")
			before := w.machine.Stream("A").State()
			r := w.atomic(s, c.messages...)
			if c.want == 0 {
				expect(t, "refused", r.Err, nil)
				expect(t, "last", r.Seq, 1+uint64(len(c.messages)))
				return
			}
			expectError(t, r.Err, c.want)
			expect(t, "state", fmt.Sprint(s.State()), fmt.Sprint(before))
		})
	}
}

func TestBatchCounters(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowAtomicPublish, c.AllowMsgCounter = true, true })
	counter := func(subject string, base uint64) batchMessage {
		return batchMessage{subject, []string{server.JSMessageIncr, "1"}, preface{kind: PrefaceCounter, a: base}}
	}
	expect(t, "two of one subject", w.atomic(s, counter("a.1", 0), counter("a.2", 0), counter("a.1", 1)).Seq, 3)
	r := w.atomic(s, counter("a.1", 3), counter("a.1", 3))
	expect(t, "the second is computed from the wrong one", fmt.Sprint(r.Unmet, r.Seq, s.State().LastSeq), "true 0 3")
	r = w.atomic(s, counter("a.1", 3), batchMessage{subject: "a.2"})
	expectError(t, r.Err, server.JSMessageIncrMissingErr)
	expect(t, "last", s.State().LastSeq, 3)
}

func TestBatchOfAGoneStream(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowAtomicPublish = true })
	w.batch.DeleteStream(s.Incarnation())
	w.apply()
	expectError(t, w.atomic(s, batchMessage{subject: "a.1"}).Err, server.JSStreamNotFoundErr)
}
