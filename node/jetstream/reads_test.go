package jetstream

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A flood of API requests is served a few at a time, so that a publish in the middle
// of it does not wait for all of them; a page of a list counts as many.
func TestAFloodOfRequestsLetsPublishesThrough(t *testing.T) {
	for _, test := range []struct {
		request string
		most    int
	}{{"STREAM.INFO.S", readsPerBarrier}, {"STREAM.LIST", readsPerBarrier / listWeight}, {"STREAM.NAMES", readsPerBarrier}} {
		f := newFixture(t)
		f.createStream(server.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
		const flood = 500
		inbox, ack := f.inbox(), f.inbox()
		for range flood {
			f.send(apiPrefix+test.request, inbox, "", "")
		}
		f.send("s.one", ack, "", "x")
		f.run()
		f.want(ack, `{"stream":"S","seq":1}`)
		if got := len(f.take(inbox)); got != test.most {
			t.Errorf("%s: %d of %d were served before the publish, not %d", test.request, got, flood, test.most)
		}
		if at := f.door.Wake(); at == 0 || at > f.node.now+readRespite {
			t.Errorf("%s: the others wait until %d", test.request, at-f.node.now)
		}
		f.wait(20 * time.Second)
		if got := len(f.take(inbox)); got != flood-test.most {
			t.Errorf("%s: %d were served behind it", test.request, got)
		}
	}
}
