package jetstream

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// withIngest is a fixture with a stream for fast-ingest batches.
func withIngest(t *testing.T, change ...func(*Options)) *fixture {
	f := newFixture(t, change...)
	config := orders()
	config.AllowBatchPublish = true
	f.createStream(config)
	return f
}

// ingest sends a message of a fast-ingest batch. What comes back is heard with told.
func (f *fixture) ingest(batch string, seq, operation int, header ...string) {
	block := ""
	if len(header) > 0 {
		block = "NATS/1.0\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n"
	}
	id, gaps, _ := strings.Cut(batch, " ")
	f.send("orders.a", fmt.Sprintf("in.%s.4.%s.%d.%d.$FI", id, gaps, seq, operation), block, "x")
}

// told returns what publishers of batches were told, in short.
func (f *fixture) told() string {
	var all []string
	rest := f.bus.sent[:0]
	for _, s := range f.bus.sent {
		if strings.HasPrefix(s.to, "in.") {
			all = append(all, s.payload)
		} else {
			rest = append(rest, s)
		}
	}
	f.bus.sent = rest
	return strings.Join(all, " ")
}

func (f *fixture) wantTold(wanted string) {
	f.Helper()
	if got := f.told(); got != wanted {
		f.Errorf("told %s, want %s", got, wanted)
	}
}

// lead makes a new door that leads.
func (f *fixture) lead() {
	f.door.Follow()
	f.door = New(f.door.options)
	f.door.Lead()
}

// Another leader goes on with a batch where the log has it, and says how far it is.
func TestFastBatchesOutliveTheirLeader(t *testing.T) {
	f := withIngest(t)
	f.ingest("b fail", 1, server.FastBatchOpStart)
	for seq := 2; seq <= 6; seq++ {
		f.ingest("b fail", seq, server.FastBatchOpAppend)
	}
	f.run()
	f.wantTold(`{"type":"ack","seq":0,"msgs":4} {"type":"ack","seq":4,"msgs":4}`)
	f.lead()
	f.wantTold(`{"type":"ack","seq":6,"msgs":4}`)
	f.ingest("b fail", 7, server.FastBatchOpAppend)
	f.ingest("b fail", 8, server.FastBatchOpCommit)
	f.run()
	f.wantTold(`{"stream":"ORDERS","seq":8,"batch":"b","count":8}`)
	if left := f.machine.Stream("ORDERS").FastBatches(); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// What a leader took and did not get into the log is a gap for the next one.
func TestMessagesLostWithALeaderAreAGap(t *testing.T) {
	for gaps, want := range map[string]string{
		"fail": `{"type":"gap","last_seq":2,"seq":3} {"stream":"ORDERS","seq":1,"batch":"b","count":1}`,
		"ok":   `{"type":"gap","last_seq":2,"seq":3} {"stream":"ORDERS","seq":2,"batch":"b","count":3}`,
	} {
		f := withIngest(t)
		batch := "b " + gaps
		f.ingest(batch, 1, server.FastBatchOpStart)
		f.run()
		f.ingest(batch, 2, server.FastBatchOpAppend)
		f.lead()
		f.told()
		f.ingest(batch, 3, server.FastBatchOpCommit)
		f.run()
		f.wantTold(want)
	}
}

// Messages that were sent before the publisher could know of a refusal are not
// stored behind it, unless gaps do not matter.
func TestARefusalEndsWhatIsOnItsWay(t *testing.T) {
	f := withIngest(t)
	for _, gaps := range []string{"fail", "ok"} {
		batch := gaps + " " + gaps
		f.ingest(batch, 1, server.FastBatchOpStart)
		f.ingest(batch, 2, server.FastBatchOpAppend, "Nats-Expected-Stream: other")
		f.ingest(batch, 3, server.FastBatchOpAppend)
		f.ingest(batch, 4, server.FastBatchOpCommitEob)
	}
	f.run()
	refused := `{"type":"err","seq":2,"error":{"code":400,"err_code":10060,"description":"expected stream does not match"}}`
	f.wantTold(strings.Join([]string{
		`{"type":"ack","seq":0,"msgs":4} {"type":"ack","seq":0,"msgs":1}`,
		refused, `{"stream":"ORDERS","seq":1,"batch":"fail","count":1}`,
		`{"error":{"code":400,"err_code":10208,"description":"batch publish ID unknown"},"stream":"ORDERS","seq":0}`,
		`{"type":"ack","seq":1,"msgs":2}`, refused, `{"stream":"ORDERS","seq":3,"batch":"ok","count":3}`,
	}, " "))
	if f.last() != 3 {
		t.Errorf("%d messages", f.last())
	}
}

func TestSilentFastBatchesAreGivenUp(t *testing.T) {
	f := withIngest(t)
	f.ingest("b ok", 1, server.FastBatchOpStart)
	f.ingest("c ok", 1, server.FastBatchOpStart)
	f.wait(9 * time.Second)
	f.ingest("b ok", 1, server.FastBatchOpPing)
	f.wait(2 * time.Second)
	f.told()
	if left := fmt.Sprint(f.machine.Stream("ORDERS").FastBatches()); left != "[{b 1 1 4 true in.b.4.ok.1.0.$FI}]" {
		t.Errorf("left %s", left)
	}
	f.lead()
	f.wait(11 * time.Second)
	if left := f.machine.Stream("ORDERS").FastBatches(); len(left) != 0 || f.door.ingests.order.Len() != 0 {
		t.Errorf("left %v", left)
	}
}

func TestFastBatchesAreBounded(t *testing.T) {
	f := withIngest(t, func(o *Options) { o.Batches = BatchLimits{FastPerStream: 2, FastTotal: 2} })
	for _, batch := range []string{"a ok", "b ok", "c ok"} {
		f.ingest(batch, 1, server.FastBatchOpStart)
	}
	f.run()
	if told := f.told(); !strings.Contains(told, `"err_code":10211`) || f.last() != 2 {
		t.Errorf("told %s", told)
	}
}

// Through an import of another account, the reply subject is another one.
func TestFastBatchesThroughImports(t *testing.T) {
	f := withIngest(t)
	f.send("orders.a", "_R_.x.y", "NATS/1.0\r\nNats-Request-Info: {\"acc\":\"A\",\"reply\":\"in.b.4.ok.1.2.$FI\"}\r\n\r\n", "x")
	f.run()
	f.want("_R_.x.y", `{"stream":"ORDERS","seq":1,"batch":"b","count":1}`)
}

func TestFastSubjects(t *testing.T) {
	good := map[string]fastSubject{
		"in.b.4.ok.1.0.$FI":          {id: []byte("b"), seq: 1, flow: 4, gapOk: true},
		"a.b.c.d.70000.fail.9.1.$FI": {id: []byte("d"), seq: 9, flow: math.MaxUint16, operation: 1},
		"a.d.0.fail.9.2.$FI":         {id: []byte("d"), seq: 9, flow: 10, operation: 2},
		"a.d.x.fail.9.4.$FI":         {id: []byte("d"), seq: 9, flow: 10, operation: 4},
	}
	for text, want := range good {
		if got, ok := parseFastSubject([]byte(text)); !ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{
		".$FI", "b.4.ok.1.0.$FI", "in.b.4.maybe.1.0.$FI", "in.b.4.ok.0.0.$FI", "in.b.4.ok.2.0.$FI", "in.b.4.ok.1.1.$FI", "in.b.4.ok.1.3.$FI",
		"in.b.4.ok.1.5.$FI", "in.b.4.ok.1.-1.$FI", "in.b.4.ok.1.x.$FI", "in.b.4.ok.18446744073709551615.1.$FI",
	} {
		if got, ok := parseFastSubject([]byte(text)); ok {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// FuzzFastSubject reads what a client may put into a reply subject.
func FuzzFastSubject(f *testing.F) {
	f.Add([]byte("in.b.4.ok.1.0.$FI"))
	f.Add([]byte(".$FI"))
	f.Fuzz(func(t *testing.T, subject []byte) {
		m := &Message{Reply: subject}
		told := ingestSubject(m)
		if told == nil {
			return
		}
		if fast, ok := parseFastSubject(told); ok && (fast.seq == 0 || fast.flow == 0) {
			t.Fatalf("%q: %+v", subject, fast)
		}
	})
}

// A message of a batch costs no memory of its own.
func TestIngestDoesNotAllocate(t *testing.T) {
	f := withIngest(t)
	f.bus.quiet = true
	m := Message{Subject: []byte("orders.a"), Payload: []byte("x")}
	f.ingest("b ok", 1, server.FastBatchOpStart)
	f.run()
	seq := uint64(1)
	publish := func() {
		for range 1000 {
			seq++
			m.Reply = strconv.AppendUint(append(m.Reply[:0], "in.b.100.ok."...), seq, 10)
			m.Reply = append(m.Reply, ".1.$FI"...)
			f.door.Handle(&m)
		}
		f.run()
	}
	for range 20 {
		publish()
	}
	if n := testing.AllocsPerRun(10, publish); n > 200 {
		t.Errorf("%v allocations for 1000 messages", n)
	}
}
