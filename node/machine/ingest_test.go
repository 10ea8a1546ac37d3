package machine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

func withIngest(t *testing.T) (*world, *Stream) {
	w := newWorld(t)
	return w, w.stream("A", func(c *server.StreamConfig) { c.AllowBatchPublish = true })
}

// member adds a message of a batch; of the first one, its batch wants no gaps.
func (w *world) member(s *Stream, id string, seq uint64, last bool, headers ...string) {
	w.batch.Fast(s.Incarnation(), &FastMember{ID: []byte(id), Seq: seq, Begin: seq == 1, Last: last, Flow: 7, Reply: []byte("inbox." + id)})
	w.batch.Publish(s.Incarnation(), []byte("a."+id), header(headers...), nil)
}

// outcomes tells what became of the publishes of an entry.
func outcomes(r *Results) string {
	var all []string
	for i := range r.Slots {
		switch one := &r.Slots[i]; {
		case one.Err != nil:
			all = append(all, fmt.Sprint("error ", one.Err.ErrCode))
		case one.Over:
			all = append(all, "over")
		case one.Duplicate:
			all = append(all, fmt.Sprint("again ", one.Seq))
		case one.Seq > 0:
			all = append(all, fmt.Sprint(one.Seq))
		}
	}
	return strings.Join(all, ", ")
}

func TestFastBatchesAreKept(t *testing.T) {
	w, s := withIngest(t)
	for seq := range uint64(3) {
		w.member(s, "one", seq+1, false)
	}
	w.member(s, "two", 1, false)
	w.member(s, "one", 4, false, server.JSMsgId, "x")
	w.batch.Publish(s.Incarnation(), []byte("a.other"), nil, nil)
	w.member(s, "one", 9, false, server.JSMsgId, "x")
	w.member(s, "three", 1, true)
	if got := w.batch.Slots(); got != 13 {
		t.Errorf("%d slots: messages of a batch that follow one another do not share a command", got)
	}
	expect(t, "outcomes", outcomes(w.apply()), "1, 2, 3, 4, 5, 6, again 5, 7")
	expect(t, "batches", fmt.Sprint(s.FastBatches()), "[{one 9 5 7 false inbox.one} {two 1 4 7 false inbox.two}]")

	puts, _ := w.machine.Checkpoint()
	again, err := Restore(Options{}, w.index, 0, w.machine.Stamp(), func(yield func(key, value []byte) error) error {
		for _, put := range puts {
			if err := yield(put.Key, put.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "restored", fmt.Sprint(again.Stream("A").FastBatches()), fmt.Sprint(s.FastBatches()))
	expect(t, "digest", again.Digest(), w.machine.Digest())

	w.member(s, "one", 10, true)
	w.batch.EndFast(s.Incarnation(), "two")
	w.batch.EndFast(s.Incarnation(), "nobody")
	w.member(s, "two", 2, false)
	expect(t, "outcomes", outcomes(w.apply()), "8, over")
	expect(t, "batches", len(s.FastBatches()), 0)
}

// Nothing of a batch that wants no gaps is stored behind a message that was
// refused, in the same entry or a later one; of one that does not mind, it is.
func TestARefusalEndsABatchWithoutGaps(t *testing.T) {
	w, s := withIngest(t)
	bad := []string{server.JSExpectedLastSeq, "77"}
	w.member(s, "strict", 1, false)
	w.batch.Fast(s.Incarnation(), &FastMember{ID: []byte("lenient"), Seq: 1, Begin: true, GapOk: true})
	w.batch.Publish(s.Incarnation(), []byte("a.lenient"), nil, nil)
	for _, id := range []string{"strict", "lenient"} {
		w.member(s, id, 2, false, bad...)
		w.member(s, id, 3, false)
	}
	refused := fmt.Sprint("error ", server.JSStreamWrongLastSequenceErrF)
	expect(t, "outcomes", outcomes(w.apply()), "1, 2, "+refused+", over, "+refused+", 3")
	w.member(s, "strict", 4, true)
	w.member(s, "lenient", 4, true)
	expect(t, "outcomes", outcomes(w.apply()), "over, 4")
	w.member(s, "strict", 1, false)
	expect(t, "begun again", outcomes(w.apply()), "5")
}

// Behind a message that was computed from a base which is gone nothing of its batch is
// stored, in the same entry or a later one, before it comes again.
func TestABatchWaitsForACounter(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowBatchPublish, c.AllowMsgCounter = true, true })
	count := func(seq, base uint64, resumes bool) {
		member := FastMember{ID: []byte("b"), Seq: seq, Begin: seq == 1, Last: seq == 4, Resumes: resumes, GapOk: true}
		w.batch.Fast(s.Incarnation(), &member)
		w.batch.Preface(PrefaceCounter, base, uint64(BaseSequence))
		w.batch.Publish(s.Incarnation(), fmt.Appendf(nil, "a.%d", seq%2), header(server.JSMessageIncr, "1"), []byte(`{"val":"1"}`))
	}
	count(1, 0, true)
	count(2, 7, false)
	count(3, 1, false)
	expect(t, "outcomes", outcomes(w.apply()), "1")
	count(4, 0, false)
	expect(t, "outcomes", outcomes(w.apply()), "")
	expect(t, "batches", fmt.Sprint(s.FastBatches()), "[{b 1 1 0 true }]")
	count(2, 0, true)
	count(3, 1, false)
	count(4, 2, false)
	expect(t, "outcomes", outcomes(w.apply()), "2, 3, 4")
	expect(t, "batches", len(s.FastBatches()), 0)
}

func TestFastBatchesNeedTheirStream(t *testing.T) {
	w, s := withIngest(t)
	w.member(s, "b", 1, false)
	w.apply()
	if err := w.updateStream("A", func(c *server.StreamConfig) { c.AllowBatchPublish = false }); err != nil {
		t.Fatal(err)
	}
	w.member(s, "b", 2, false)
	w.member(s, "c", 1, false)
	expect(t, "outcomes", outcomes(w.apply()), fmt.Sprint("over, error ", server.JSBatchPublishDisabledErr))
	w.batch.DeleteStream(s.Incarnation())
	w.member(s, "c", 2, false)
	w.member(s, "c", 3, false)
	expect(t, "outcomes", outcomes(w.apply()), "error 10059, error 10059")
}

func TestBrokenRunsAreRefused(t *testing.T) {
	for name, build := range map[string]func(b *Batch, s *Stream){
		"nothing follows": func(b *Batch, s *Stream) {
			b.Fast(s.Incarnation(), &FastMember{ID: []byte("b"), Seq: 1, Begin: true})
		},
		"a command follows": func(b *Batch, s *Stream) {
			b.Fast(s.Incarnation(), &FastMember{ID: []byte("b"), Seq: 1, Begin: true})
			b.EndFast(s.Incarnation(), "b")
		},
		"another run follows": func(b *Batch, s *Stream) {
			b.Fast(s.Incarnation(), &FastMember{ID: []byte("b"), Seq: 1, Begin: true})
			b.Fast(s.Incarnation(), &FastMember{ID: []byte("c"), Seq: 1, Begin: true})
			b.Publish(s.Incarnation(), []byte("a.1"), nil, nil)
			b.Publish(s.Incarnation(), []byte("a.1"), nil, nil)
		},
		"an atomic batch follows": func(b *Batch, s *Stream) {
			b.Fast(s.Incarnation(), &FastMember{ID: []byte("b"), Seq: 1, Begin: true})
			b.BeginAtomic(s.Incarnation())
			b.Publish(s.Incarnation(), []byte("a.1"), nil, nil)
			b.EndAtomic()
		},
		"no number": func(b *Batch, s *Stream) {
			b.Fast(s.Incarnation(), &FastMember{ID: []byte("b"), Begin: true})
			b.Publish(s.Incarnation(), []byte("a.1"), nil, nil)
		},
	} {
		w, s := withIngest(t)
		build(&w.batch, s)
		err := w.machine.Apply(9, bytes.Clone(w.batch.Bytes()), &w.results)
		if err == nil || !strings.Contains(err.Error(), protocol.ErrMalformed.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
