package differential

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// member is one message of an atomic batch.
type member struct {
	subject string // behind the stream's name
	seq     any
	headers []string
}

// add publishes a message of an atomic batch and writes the answer down.
func (s *session) add(batch string, m member) *answer {
	headers := append([]string{"Nats-Batch-Id: " + batch, fmt.Sprint("Nats-Batch-Sequence: ", m.seq)}, m.headers...)
	return s.ask(s.name+m.subject, "payload", headers...)
}

// commit ends a batch with a message.
const commit = "Nats-Batch-Commit: 1"

// atomicBatches are batches, one after the other on the same stream.
var atomicBatches = map[string][]member{
	"one":            {{".a", 1, []string{commit}}},
	"three":          {{".a", 1, nil}, {".b", 2, nil}, {".a", 3, []string{commit}}},
	"endmark":        {{".a", 1, nil}, {".b", 2, []string{"X: y"}}, {".a", 3, []string{"Nats-Batch-Commit: eob"}}},
	"emptyend":       {{".a", 1, []string{"Nats-Batch-Commit: eob"}}},
	"badcommit":      {{".a", 1, nil}, {".b", 2, []string{"Nats-Batch-Commit: yes"}}, {".b", 3, []string{commit}}},
	"emptycommit":    {{".a", 1, nil}, {".b", 2, []string{"Nats-Batch-Commit: "}}},
	"late":           {{".a", 2, nil}},
	"gap":            {{".a", 1, nil}, {".b", 3, nil}, {".b", 4, []string{commit}}},
	"again":          {{".a", 1, nil}, {".a", 1, nil}, {".b", 2, []string{commit}}},
	"zero":           {{".a", 0, nil}, {".a", "x", nil}, {".a", "", nil}, {".a", -1, nil}, {".a", "0", []string{"Nats-Batch-Commit: eob"}}},
	"huge":           {{".a", 1001, nil}, {".a", 1001, []string{"Nats-Batch-Commit: eob"}}, {".a", "18446744073709551616", nil}},
	"expected":       {{".a", 1, []string{"Nats-Expected-Last-Sequence: 0"}}, {".b", 2, []string{commit}}},
	"expectedlater":  {{".a", 1, nil}, {".b", 2, []string{"Nats-Expected-Last-Sequence: 1", commit}}},
	"expectedsub":    {{".new1", 1, []string{"Nats-Expected-Last-Subject-Sequence: 0"}}, {".new2", 2, []string{"Nats-Expected-Last-Subject-Sequence: 0", commit}}},
	"expectedtwice":  {{".new3", 1, nil}, {".new3", 2, []string{"Nats-Expected-Last-Subject-Sequence: 0", commit}}},
	"expectedwrong":  {{".new4", 1, nil}, {".new5", 2, []string{"Nats-Expected-Last-Subject-Sequence: 7", commit}}},
	"expectedother":  {{".new6", 1, []string{"Nats-Expected-Last-Subject-Sequence: 0", "Nats-Expected-Last-Subject-Sequence-Subject: nobody"}}, {".new7", 2, []string{commit}}},
	"expectedid":     {{".a", 1, []string{"Nats-Expected-Last-Msg-Id: x"}}, {".b", 2, []string{commit}}},
	"expectedstream": {{".a", 1, []string{"Nats-Expected-Stream: other"}}, {".b", 2, []string{commit}}},
	"ids":            {{".a", 1, []string{"Nats-Msg-Id: i1"}}, {".b", 2, []string{"Nats-Msg-Id: i2", commit}}},
	"sameid":         {{".a", 1, []string{"Nats-Msg-Id: j"}}, {".b", 2, []string{"Nats-Msg-Id: j", commit}}},
	"knownid":        {{".a", 1, []string{"Nats-Msg-Id: known"}}, {".b", 2, []string{commit}}},
	"ttl":            {{".a", 1, []string{"Nats-TTL: 1h"}}, {".b", 2, []string{commit}}},
	"badttl":         {{".a", 1, []string{"Nats-TTL: x"}}, {".b", 2, []string{commit}}},
	"rollup":         {{".r1", 1, []string{"Nats-Rollup: sub"}}, {".r2", 2, []string{commit}}},
	"rolluptwice":    {{".r3", 1, nil}, {".r3", 2, []string{"Nats-Rollup: sub", commit}}},
	"rollupall":      {{".r4", 1, []string{"Nats-Rollup: all"}}, {".r5", 2, []string{commit}}},
	"rollupalllater": {{".r6", 1, nil}, {".r7", 2, []string{"Nats-Rollup: all", commit}}},
	"rollupbad":      {{".r8", 1, []string{"Nats-Rollup: x"}}, {".r9", 2, []string{commit}}},
	"source":         {{".a", 1, []string{"Nats-Stream-Source: x"}}, {".b", 2, []string{commit}}},
	"level":          {{".a", 1, []string{"Nats-Required-Api-Level: 1"}}, {".b", 2, []string{commit}}},
	"levelhigh":      {{".a", 1, nil}, {".b", 2, []string{"Nats-Required-Api-Level: 99"}}, {".b", 3, []string{commit}}},
	"incr":           {{".a", 1, []string{"Nats-Incr: 1"}}, {".b", 2, []string{commit}}},
	"schedule":       {{".a", 1, []string{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: x"}}, {".b", 2, []string{commit}}},
	"this-name-is-too-long-for-a-batch-because-it-has-more-than-64-letters": {{".a", 1, []string{commit}}},
	"sixty-four-letters-are-the-most-that-the-name-of-a-batch-can-have":     {{".a", 1, []string{commit}}},
	`quote"d`: {{".a", 1, []string{commit}}},
}

// batchStreams are the kinds of streams that batches are tried on.
var batchStreams = map[string]object{
	"plain":     {},
	"off":       {"allow_atomic": false},
	"memory":    {"storage": "memory"},
	"ttl":       {"allow_msg_ttl": true, "allow_rollup_hdrs": true},
	"interest":  {"retention": "interest"},
	"few":       {"max_msgs": 4, "discard": "new"},
	"fewbytes":  {"max_bytes": 500, "discard": "new"},
	"fewper":    {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": true},
	"old":       {"max_msgs": 4},
	"small":     {"max_msg_size": 70},
	"transform": {"subject_transform": object{"src": ">", "dest": "moved.>"}},
	"nowindow":  {"duplicate_window": 0},
}

// TestAtomicBatches publishes batches of all kinds to streams of all kinds.
func TestAtomicBatches(t *testing.T) {
	for name, change := range batchStreams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(object{"allow_atomic": true}, change)
				s.ask(s.name+".z", "x", "Nats-Msg-Id: known")
				s.publishBatches()
				s.api("STREAM.INFO."+s.name, object{"subjects_filter": ">", "deleted_details": true})
				s.delete()
			})
		})
	}
}

// publishBatches publishes each batch and reads what is last afterwards.
func (s *session) publishBatches() {
	for _, batch := range slices.Sorted(maps.Keys(atomicBatches)) {
		for _, m := range atomicBatches[batch] {
			s.add(batch, m)
		}
		last, err := strconv.Atoi(s.info().text("state.last_seq"))
		if err != nil {
			s.fail("last sequence: %v", err)
		}
		for seq := max(last-2, 1); seq <= last; seq++ {
			s.api("STREAM.MSG.GET."+s.name, object{"seq": seq})
		}
	}
}

// TestBatchesAbandoned listens to what is told of batches that come to nothing.
func TestBatchesAbandoned(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_atomic": true})
		advisories := s.listen("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED." + s.name)
		s.publishBatches()
		advisories.hear(4)
		for i := range 1001 {
			s.add("large", member{".a", i + 1, nil})
		}
		s.add("large", member{".a", 1002, nil})
		advisories.hear(1)
		advisories.hearNothing()
		s.delete()
	})
}

// TestLargestBatch commits as many messages as a batch may have.
func TestLargestBatch(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_atomic": true})
		for i := range 1000 {
			s.add("full", member{".a", i + 1, nil})
		}
		s.add("full", member{".a", 1001, []string{"Nats-Batch-Commit: eob"}})
		s.info()
		s.delete()
	})
}

// TestBatchesOpen opens as many batches as a stream may have.
func TestBatchesOpen(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_atomic": true})
		for i := range 51 {
			s.add(fmt.Sprint("b", i), member{".a", 1, nil})
		}
		s.add("b7", member{".a", 2, []string{commit}})
		s.add("b50", member{".a", 1, nil})
		s.update(object{"allow_atomic": false})
		s.add("b8", member{".a", 2, []string{commit}})
		s.update(object{"allow_atomic": true})
		s.add("b8", member{".a", 2, []string{commit}})
		s.info()
		s.delete()
	})
}

// TestBatchTimeout waits for a batch that is not continued.
func TestBatchTimeout(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_atomic": true})
		advisories := s.listen("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED." + s.name)
		s.add("slow", member{".a", 1, nil})
		time.Sleep(9 * time.Second)
		s.add("slow", member{".a", 2, nil})
		advisories.hearNothing()
		time.Sleep(9 * time.Second)
		advisories.hear(1)
		s.add("slow", member{".a", 3, []string{commit}})
		s.delete()
	})
}

// TestBatchesOfOrigins mirrors and sources what was published in batches.
func TestBatchesOfOrigins(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_atomic": true})
		for i, headers := range [][]string{nil, nil, {commit}} {
			s.add("origin", member{".a", i + 1, headers})
		}
		for i, change := range []object{{"mirror": object{"name": s.name}}, {"sources": []object{{"name": s.name}}, "allow_atomic": true}} {
			name := fmt.Sprint(s.name, "Copy", i)
			maps.Copy(change, object{"name": name, "num_replicas": nodes})
			s.request("$JS.API.STREAM.CREATE."+name, s.encode(change), nil)
			header := func(seq int) string {
				return s.request("$JS.API.STREAM.MSG.GET."+name, s.encode(object{"seq": seq}), nil).text("message.hdrs")
			}
			for deadline := time.Now().Add(untilLimit); s.request("$JS.API.STREAM.INFO."+name, nil, nil).text("state.last_seq") != "3" && time.Now().Before(deadline); {
				time.Sleep(20 * time.Millisecond)
			}
			for seq := range 3 {
				s.note(fmt.Sprint(name, " keeps the batch of ", seq+1), strings.Contains(headerLines(header(seq+1)), "Nats-Batch-"))
			}
			s.request("$JS.API.STREAM.DELETE."+name, nil, nil)
		}
		for _, field := range []string{"allow_atomic", "allow_batched"} {
			s.api("STREAM.CREATE."+s.name+"X", object{"name": s.name + "X", "mirror": object{"name": s.name}, field: true})
		}
		s.delete()
	})
}
