package jetstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// withCounter has a stream C of c.> whose subjects are counters.
func withCounter(t testing.TB) *fixture {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "C", Subjects: []string{"c.>"}, AllowMsgCounter: true})
	return f
}

func incrementBy(step string, lines ...string) string {
	return "NATS/1.0\r\nNats-Incr: " + step + "\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

// incr sends an increment and returns where it is answered.
func (f *fixture) incr(subject, step string, lines ...string) string {
	inbox := f.inbox()
	f.send(subject, inbox, incrementBy(step, lines...), "")
	return inbox
}

// TestCountersAddUp: increments that are on their way at the same time, in one
// batch and in several, add up in the order in which they came.
func TestCountersAddUp(t *testing.T) {
	f := withCounter(t)
	var inboxes []string
	for i := range 6 {
		inboxes = append(inboxes, f.incr("c.x", fmt.Sprint(i)), f.incr("c.y", "-1"))
		if i%2 == 1 {
			f.door.closeBatch()
			f.door.Flush()
		}
	}
	if len(f.node.entries) < 3 {
		t.Fatalf("%d entries", len(f.node.entries))
	}
	f.run()
	sum := 0
	for i := range 6 {
		sum += i
		f.want(inboxes[2*i], fmt.Sprintf(`{"stream":"C","seq":%d,"val":"%d"}`, 2*i+1, sum))
		f.want(inboxes[2*i+1], fmt.Sprintf(`{"stream":"C","seq":%d,"val":"%d"}`, 2*i+2, -1-i))
	}
	f.wantHeader("C", 11, incrementBy("5"))
	if len(f.door.totals) != 0 {
		t.Errorf("%d totals are kept", len(f.door.totals))
	}
}

// TestIncrementsAreTriedAgain: an increment that was a duplicate adds nothing, and
// those behind it are computed anew, in their order, after what came meanwhile.
func TestIncrementsAreTriedAgain(t *testing.T) {
	f := withCounter(t)
	f.want(f.settle(f.incr("c.x", "1", "Nats-Msg-Id: a")), `{"stream":"C","seq":1,"val":"1"}`)
	same, second, third := f.incr("c.x", "100", "Nats-Msg-Id: a"), f.incr("c.x", "2"), f.incr("c.x", "3")
	f.door.closeBatch()
	f.door.Flush()
	other := f.incr("c.x", "4")
	f.door.closeBatch()
	f.door.Flush()
	f.run()
	f.want(same, `{"stream":"C","seq":1,"duplicate": true}`)
	f.want(second, `{"stream":"C","seq":2,"val":"3"}`)
	f.want(third, `{"stream":"C","seq":3,"val":"6"}`)
	f.want(other, `{"stream":"C","seq":4,"val":"10"}`)
	f.wantStored("C", `1:c.x={"val":"1"} 2:c.x={"val":"3"} 3:c.x={"val":"6"} 4:c.x={"val":"10"}`)
}

// settle lets everything happen and returns what it was given.
func (f *fixture) settle(inbox string) string {
	f.run()
	return inbox
}

// TestIncrementsBehindADelete are computed from what is left.
func TestIncrementsBehindADelete(t *testing.T) {
	f := withCounter(t)
	f.want(f.settle(f.incr("c.x", "5")), `{"stream":"C","seq":1,"val":"5"}`)
	f.want(f.settle(f.incr("c.x", "6")), `{"stream":"C","seq":2,"val":"11"}`)
	f.send(apiPrefix+"STREAM.MSG.DELETE.C", f.inbox(), "", `{"seq":2}`)
	first, second := f.incr("c.x", "1"), f.incr("c.x", "1")
	f.run()
	f.want(first, `{"stream":"C","seq":3,"val":"6"}`)
	f.want(second, `{"stream":"C","seq":4,"val":"7"}`)
}

// TestIncrementsOfADeletedStream are answered like other publishes, and begin
// anew in a stream of that name.
func TestIncrementsOfADeletedStream(t *testing.T) {
	f := withCounter(t)
	f.want(f.settle(f.incr("c.x", "5")), `{"stream":"C","seq":1,"val":"5"}`)
	f.send(apiPrefix+"STREAM.DELETE.C", f.inbox(), "", "")
	late := f.incr("c.x", "1")
	f.run()
	f.want(late, "<503>")
	f.createStream(server.StreamConfig{Name: "C", Subjects: []string{"c.>"}, AllowMsgCounter: true})
	f.want(f.settle(f.incr("c.x", "1")), `{"stream":"C","seq":1,"val":"1"}`)
}

// TestIncrementsDuringAHandover: one that has to be computed anew goes to the next
// leader, who computes from what is stored.
func TestIncrementsDuringAHandover(t *testing.T) {
	f := withCounter(t)
	f.want(f.settle(f.incr("c.x", "1", "Nats-Msg-Id: a")), `{"stream":"C","seq":1,"val":"1"}`)
	same, second := f.incr("c.x", "100", "Nats-Msg-Id: a"), f.incr("c.x", "2")
	f.door.Handover()
	f.run()
	f.want(same, `{"stream":"C","seq":1,"duplicate": true}`)
	f.want(second, "")
	f.door.Lead() // nobody else did
	f.run()
	f.want(second, `{"stream":"C","seq":2,"val":"3"}`)
	f.node.refuse = errNoResponse
	lost := f.incr("c.x", "50")
	f.door.Flush()
	f.node.refuse = nil
	f.door.Follow()
	f.door.Lead()
	f.want(f.settle(f.incr("c.x", "3")), `{"stream":"C","seq":3,"val":"6"}`)
	f.want(lost, "")
}

// TestBrokenCounters: what is not the value of a counter is not added to.
func TestBrokenCounters(t *testing.T) {
	f := withCounter(t)
	f.createStream(server.StreamConfig{Name: "L", Subjects: []string{"l.>"}, AllowMsgCounter: true, MaxMsgSize: 60})
	broken := fmt.Sprint(server.ApiErrors[server.JSMessageCounterBrokenErr].ErrCode)
	f.want(f.settle(f.incr("c.x", "1", "Nats-Counter-Sources: broken")), `{"stream":"C","seq":1,"val":"1"}`)
	for range 2 {
		answer := f.take(f.settle(f.incr("c.x", "1")))
		if len(answer) != 1 || !strings.Contains(answer[0].payload, broken) {
			t.Errorf("answered %q", answer)
		}
	}
	f.deleteMessage("C", 1)
	f.want(f.settle(f.incr("c.x", "1")), `{"stream":"C","seq":2,"val":"1"}`)

	tooLarge := f.take(f.settle(f.incr("l.x", strings.Repeat("9", 30))))
	if !strings.Contains(tooLarge[0].payload, "10054") {
		t.Errorf("answered %q", tooLarge)
	}
	f.want(f.settle(f.incr("l.x", "2")), `{"stream":"L","seq":1,"val":"2"}`)
}

// TestCountersOfSources: what a source has counted is added once, whatever steps
// it took, beside the stream's own increments.
func TestCountersOfSources(t *testing.T) {
	f := withCounter(t)
	for _, step := range []string{"1", "2", "3"} {
		f.settle(f.incr("c.x", step))
	}
	config := sourced(&server.StreamSource{Name: "C", SubjectTransforms: []server.SubjectTransformConfig{{Source: "c.>", Destination: "s.>"}}})
	config.AllowMsgCounter, config.Subjects = true, []string{"s.>"}
	f.createStream(config)
	f.run()
	f.wantStored("S", `1:s.x={"val":"1"} 2:s.x={"val":"3"} 3:s.x={"val":"6"}`)
	own, theirs := f.incr("s.x", "100"), f.incr("c.x", "-1")
	f.run()
	f.want(own, `{"stream":"S","seq":4,"val":"106"}`)
	f.want(theirs, `{"stream":"C","seq":4,"val":"5"}`)
	f.wantStored("S", `1:s.x={"val":"1"} 2:s.x={"val":"3"} 3:s.x={"val":"6"} 4:s.x={"val":"106"} 5:s.x={"val":"105"}`)
	if header := f.header("S", 5); !strings.Contains(header, "Nats-Incr: -1\r\n") || !strings.Contains(header, `Nats-Counter-Sources: {"C":{"c.x":"5"}}`) {
		t.Errorf("header %q", header)
	}
	f.deleteMessage("C", 4) // a message is lost to the source: the next one makes up for it
	f.settle(f.incr("c.x", "4"))
	f.run()
	f.want(f.settle(f.incr("s.x", "0")), `{"stream":"S","seq":7,"val":"110"}`)
}

// TestSourcesWaitForCounters: a message of a source whose base is gone is fetched
// again, and none is left out.
func TestSourcesWaitForCounters(t *testing.T) {
	f := withCounter(t)
	config := sourced(&server.StreamSource{Name: "C"})
	config.AllowMsgCounter, config.Subjects = true, []string{"s.>"}
	config.Duplicates = time.Minute
	config.SubjectTransform = &server.SubjectTransformConfig{Source: "*.x", Destination: "one"}
	f.createStream(config)
	f.settle(f.incr("s.x", "100", "Nats-Msg-Id: a"))
	again := f.incr("s.x", "7", "Nats-Msg-Id: a") // the sources' messages are computed from it
	own := f.incr("s.x", "1000")
	for range 5 {
		f.incr("c.x", "1")
	}
	f.run()
	f.wait(2 * time.Duration(feedPause))
	f.want(again, `{"stream":"S","seq":1,"duplicate": true}`)
	if len(f.take(own)) != 1 {
		t.Error("an increment is not answered")
	}
	if got := f.machine.Stream("S").State().Msgs; got != 7 {
		t.Errorf("%d messages, want 7", got)
	}
	f.run()
	inbox := f.settle(f.incr("s.x", "0"))
	f.want(inbox, `{"stream":"S","seq":8,"val":"1105"}`)
}

// TestBatchesOfIncrements: the counters of a batch are computed from what is on
// its way, and once more when that was not stored.
func TestBatchesOfIncrements(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "C", Subjects: []string{"c.>"}, AllowMsgCounter: true, AllowAtomicPublish: true})
	f.settle(f.incr("c.x", "1", "Nats-Msg-Id: a"))
	part := func(batch, seq, subject, step string, lines ...string) string {
		return f.incr(subject, step, append(lines, "Nats-Batch-Id: "+batch, "Nats-Batch-Sequence: "+seq)...)
	}
	first := f.incr("c.x", "10")
	part("b", "1", "c.x", "1")
	part("b", "2", "c.y", "7")
	committed := part("b", "3", "c.x", "2", "Nats-Batch-Commit: 1")
	f.run()
	f.want(first, `{"stream":"C","seq":2,"val":"11"}`)
	f.want(committed, `{"stream":"C","seq":5,"batch":"b","count":3}`)
	f.wantStored("C", `1:c.x={"val":"1"} 2:c.x={"val":"11"} 3:c.x={"val":"12"} 4:c.y={"val":"7"} 5:c.x={"val":"14"}`)

	same := f.incr("c.x", "100", "Nats-Msg-Id: a")
	part("d", "1", "c.y", "1")
	committed = part("d", "2", "c.x", "1", "Nats-Batch-Commit: 1")
	f.door.closeBatch()
	f.door.Flush()
	behind := f.incr("c.y", "1")
	f.run()
	f.want(same, `{"stream":"C","seq":1,"duplicate": true}`)
	f.want(behind, `{"stream":"C","seq":6,"val":"8"}`)
	f.want(committed, `{"stream":"C","seq":8,"batch":"d","count":2}`)
	if len(f.door.totals) != 0 {
		t.Errorf("%d totals are kept", len(f.door.totals))
	}
}
