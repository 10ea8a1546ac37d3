package jetstream

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A key that is purged after a great many changes is purged as soon as that is
// answered; what the messages take goes in steps, also with another leader.
func TestALargeRollupGoesOnWithAnotherLeader(t *testing.T) {
	f := newFixture(t)
	config := orders()
	config.AllowRollup = true
	f.createStream(config)
	f.bus.quiet = true
	const messages = 3 * purgeStep
	for range messages {
		f.send("orders.a", "", "", "x")
	}
	f.send("orders.b", "", "", "y")
	f.run()
	f.bus.quiet = false
	ask := func(api, request string) string {
		t.Helper()
		inbox := f.inbox()
		f.send(apiPrefix+api+".ORDERS", inbox, "", request)
		f.run()
		answers := f.take(inbox)
		if len(answers) != 1 {
			t.Fatalf("%s is answered by %q", api, answers)
		}
		return answers[0].payload
	}
	inbox := f.inbox()
	f.send("orders.a", inbox, "NATS/1.0\r\nKV-Operation: PURGE\r\nNats-Rollup: sub\r\n\r\n", "")
	f.run()
	if answers := f.take(inbox); len(answers) != 1 || !strings.Contains(answers[0].payload, fmt.Sprint(`"seq":`, messages+2)) {
		t.Fatalf("the rollup is answered by %q", answers)
	}
	left := func() uint64 { return f.machine.Stream("ORDERS").State().Msgs }
	if left() == 2 {
		t.Fatal("it was made at once")
	}
	f.door.Follow()
	f.door.Lead()
	for request, want := range map[string]string{
		fmt.Sprintf(`{"seq":%d}`, messages):      "10037",
		`{"last_by_subj":"orders.a"}`:            fmt.Sprint(`"seq":`, messages+2),
		`{"seq":1,"next_by_subj":"orders.*"}`:    fmt.Sprint(`"seq":`, messages+1),
		`{"seq":1,"next_by_subj":"orders.a"}`:    fmt.Sprint(`"seq":`, messages+2),
		`{"seq":1,"next_by_subj":"orders.none"}`: "10037",
	} {
		if answer := ask("STREAM.MSG.GET", request); !strings.Contains(answer, want) {
			t.Errorf("%s is answered by %s", request, answer)
		}
	}
	if left() == 2 {
		t.Fatal("nothing was left to do any more")
	}
	if answer := ask("STREAM.PURGE", `{"keep":1}`); !strings.Contains(answer, `"purged":1`) {
		t.Errorf("a purge that keeps one of two is answered by %s", answer)
	}
	f.wait(time.Second)
	if left() != 1 {
		t.Errorf("%d messages are left", left())
	}
}
