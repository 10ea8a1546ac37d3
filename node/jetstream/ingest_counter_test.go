package jetstream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// withIngestCounter has a stream C of c.> whose subjects are counters, for batches,
// and in which message 1 made c.x 1, with ID a.
func withIngestCounter(t testing.TB) *fixture {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "C", Subjects: []string{"c.>"}, AllowMsgCounter: true, AllowBatchPublish: true})
	f.settle(f.incr("c.x", "1", "Nats-Msg-Id: a"))
	return f
}

// count sends an increment of c.x in a fast-ingest batch.
func (f *fixture) count(batch string, seq, operation int, step string, header ...string) {
	id, gaps, _ := strings.Cut(batch, " ")
	f.send("c.x", fmt.Sprintf("in.%s.9.%s.%d.%d.$FI", id, gaps, seq, operation), incrementBy(step, header...), "")
}

func (f *fixture) wantValues(wanted string) {
	f.Helper()
	var all []string
	s := f.machine.Stream("C")
	for seq := uint64(1); seq <= s.State().LastSeq; seq++ {
		m, _ := s.Message(seq)
		message, _ := f.door.read(m.Location)
		all = append(all, string(message.Payload))
	}
	if got := strings.NewReplacer(`{"val":"`, "", `"}`, "").Replace(strings.Join(all, " ")); got != wanted {
		f.Errorf("values %s, want %s", got, wanted)
	}
	if len(f.door.totals) != 0 {
		f.Errorf("%d totals are kept", len(f.door.totals))
	}
}

// TestFastBatchesOfIncrements: increments of batches and others add up in the order in
// which they came.
func TestFastBatchesOfIncrements(t *testing.T) {
	f := withIngestCounter(t)
	f.count("b fail", 1, server.FastBatchOpStart, "10")
	f.incr("c.x", "100")
	f.count("b fail", 2, server.FastBatchOpAppend, "20")
	f.count("b fail", 3, server.FastBatchOpCommit, "30")
	f.count("g ok", 1, server.FastBatchOpStart, "1000")
	f.count("g ok", 2, server.FastBatchOpAppend, "none")
	f.count("g ok", 4, server.FastBatchOpAppend, "2000")
	f.count("g ok", 5, server.FastBatchOpCommitEob, "0")
	f.run()
	f.wantValues("1 11 111 131 161 1161 3161")
	told := f.told()
	for _, want := range []string{`{"stream":"C","seq":5,"batch":"b","count":3}`, `{"stream":"C","seq":7,"batch":"g","count":4}`, `{"type":"err","seq":2,`, `"last_seq":3,"seq":4}`} {
		if !strings.Contains(told, want) {
			t.Errorf("told %s, not %s", told, want)
		}
	}
}

// TestStepsKeepTheirOrder: messages of a batch that were computed from what was not
// stored are computed anew, and those behind them wait for them, also those of other
// counters, in the same entry and in others, and so does the end of the batch.
func TestStepsKeepTheirOrder(t *testing.T) {
	for _, gaps := range []string{"fail", "ok"} {
		for name, pause := range map[string]func(f *fixture){
			"one entry": func(*fixture) {},
			"several entries": func(f *fixture) {
				f.door.closeBatch()
				f.door.Flush()
			},
		} {
			for _, end := range []int{server.FastBatchOpCommit, server.FastBatchOpCommitEob} {
				f := withIngestCounter(t)
				batch := "b " + gaps
				f.incr("c.x", "7", "Nats-Msg-Id: a") // adds nothing: the sums behind it are wrong
				for seq, step := range []string{"10", "20", "30"} {
					f.count(batch, seq+1, min(seq, server.FastBatchOpAppend), step)
					pause(f)
				}
				f.send("c.y", fmt.Sprintf("in.b.9.%s.4.1.$FI", gaps), incrementBy("5"), "")
				pause(f)
				f.count(batch, 5, end, "40")
				f.run()
				last := 6
				if values := "1 11 31 61 5"; end == server.FastBatchOpCommit {
					f.wantValues(values + " 101")
				} else {
					last = 5
					f.wantValues(values)
				}
				f.wantTold(fmt.Sprintf(`{"type":"ack","seq":0,"msgs":9} {"stream":"C","seq":%d,"batch":"b","count":%d}`, last, last-1))
				if left := f.machine.Stream("C").FastBatches(); len(left) != 0 || t.Failed() {
					t.Errorf("%s, gaps %s, end %d: left %v", name, gaps, end, left)
				}
			}
		}
	}
}

// TestStepsThatAreRefused: one that is refused when it is computed anew ends a batch
// without gaps, and nothing behind it is stored.
func TestStepsThatAreRefused(t *testing.T) {
	for gaps, want := range map[string]string{
		"fail": `{"stream":"C","seq":2,"batch":"b","count":1}`,
		"ok":   `{"stream":"C","seq":3,"batch":"b","count":3}`,
	} {
		f := withIngestCounter(t)
		f.door.options.MaxPayload = 200
		f.incr("c.x", "7", "Nats-Msg-Id: a")
		f.count("b "+gaps, 1, server.FastBatchOpStart, "10")
		f.count("b "+gaps, 2, server.FastBatchOpAppend, strings.Repeat("9", 150))
		f.count("b "+gaps, 3, server.FastBatchOpCommit, "30")
		f.run()
		if told := f.told(); !strings.HasSuffix(told, want) || !strings.Contains(told, `{"type":"err","seq":2,"error":{"code":400,"err_code":10054`) {
			t.Errorf("gaps %s: told %s", gaps, told)
		}
		if left := f.machine.Stream("C").FastBatches(); len(left) != 0 || len(f.door.totals) != 0 {
			t.Errorf("gaps %s: left %v, %d totals", gaps, left, len(f.door.totals))
		}
	}
	f := withIngestCounter(t)
	f.door.options.MaxPayload = 200
	f.count("b fail", 1, server.FastBatchOpStart, strings.Repeat("9", 150))
	f.count("b fail", 2, server.FastBatchOpCommit, "1")
	f.run()
	told := f.told()
	if !strings.HasPrefix(told, `{"type":"ack","seq":0,"msgs":9} {"error":{"code":400,"err_code":10054`) || !strings.HasSuffix(told, `{"error":{"code":400,"err_code":10208,"description":"batch publish ID unknown"},"stream":"C","seq":0}`) {
		t.Errorf("told %s", told)
	}
	f.wantValues("1")
}

// TestStepsDuringAHandover: what waits goes to the next leader, before what came
// later, or goes on if there is none.
func TestStepsDuringAHandover(t *testing.T) {
	for _, abandoned := range []bool{true, false} {
		f := withIngestCounter(t)
		f.incr("c.x", "7", "Nats-Msg-Id: a")
		f.count("b fail", 1, server.FastBatchOpStart, "10")
		f.count("b fail", 2, server.FastBatchOpAppend, "20")
		f.door.Handover()
		f.count("b fail", 3, server.FastBatchOpCommit, "30")
		f.run()
		f.wantValues("1")
		if !abandoned {
			f.door.Yield()
			f.door.Flush()
			forwarded := f.node.forward
			f.door.Follow()
			f.door = New(f.door.options)
			f.door.Lead()
			for i := range forwarded {
				f.door.Handle(&forwarded[i])
			}
		} else {
			f.door.Lead()
		}
		f.run()
		f.wantValues("1 11 31 61")
		if told := f.told(); !strings.HasSuffix(told, `{"stream":"C","seq":4,"batch":"b","count":3}`) {
			t.Errorf("abandoned %v: told %s", abandoned, told)
		}
	}
}

// TestStepsOfADeadLeader: the next leader goes on behind the last message that was
// stored, and takes new ones.
func TestStepsOfADeadLeader(t *testing.T) {
	f := withIngestCounter(t)
	f.count("b ok", 1, server.FastBatchOpStart, "10")
	f.run()
	f.incr("c.x", "7", "Nats-Msg-Id: a")
	f.count("b ok", 2, server.FastBatchOpAppend, "20")
	f.count("b ok", 3, server.FastBatchOpAppend, "30")
	f.door.closeBatch()
	f.door.Flush()
	f.commit() // nobody hears that the two were not stored
	f.lead()
	f.told()
	f.count("b ok", 4, server.FastBatchOpCommit, "40")
	f.run()
	f.wantTold(`{"type":"gap","last_seq":2,"seq":4} {"stream":"C","seq":3,"batch":"b","count":4}`)
	f.wantValues("1 11 51")
}
