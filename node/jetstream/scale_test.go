package jetstream

import (
	"fmt"
	"strings"
	"testing"
)

// Thousands of streams and consumers that nobody uses cost a tick nothing: it looks
// at none of them, and what one publish stirs up is its own stream.
func TestIdleStreamsAndConsumersCostNothing(t *testing.T) {
	f := newFixture(t)
	const streams, consumers = 2000, 10_000
	inbox := f.inbox()
	for i := range streams {
		f.send(fmt.Sprintf("%sSTREAM.CREATE.S%d", apiPrefix, i), inbox, "", fmt.Sprintf(`{"name":"S%d","subjects":["s.%d.>"]}`, i, i))
	}
	f.run()
	for i := range consumers {
		f.send(fmt.Sprintf("%sCONSUMER.CREATE.S%d.c%d", apiPrefix, i%streams, i), inbox, "",
			fmt.Sprintf(`{"stream_name":"S%d","config":{"durable_name":"c%d","ack_policy":"explicit"}}`, i%streams, i))
	}
	f.run()
	for _, answer := range f.take(inbox) {
		if strings.Contains(answer.payload, `"error"`) {
			t.Fatal(answer.payload)
		}
	}
	if s := f.machine.Stream("S7"); f.machine.StreamCount() != streams || s.State().Consumers != consumers/streams {
		t.Fatalf("%d streams, %+v", f.machine.StreamCount(), s.State())
	}
	entries := len(f.node.entries)
	f.wait(1_000_000_000)
	if len(f.node.entries) != entries || f.door.Wake() != 0 || f.machine.NextExpiry() != 0 {
		t.Errorf("idle: %d entries, wake %d, expiry %d", len(f.node.entries)-entries, f.door.Wake(), f.machine.NextExpiry())
	}
	if allocations := testing.AllocsPerRun(20, func() { f.door.Tick(f.node.now); f.door.Flush() }); allocations > 10 {
		t.Errorf("a tick that has nothing to do allocates %.0f times", allocations)
	}
	f.send("s.7.x", inbox, "", "x")
	f.run()
	f.want(inbox, `{"stream":"S7","seq":1}`)
	if puts, _ := f.machine.Checkpoint(); len(puts) == 0 {
		t.Error("nothing changed")
	}
	f.send("s.7.x", inbox, "", "x")
	f.run()
	if puts, _ := f.machine.Checkpoint(); len(puts) > 3 { // of the stream, its block, and the log in use
		t.Errorf("a publish changes %d pages of the durable state", len(puts))
	}
}
