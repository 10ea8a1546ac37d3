package jetstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// withSchedules has a stream S of s.> that takes schedules.
func withSchedules(t testing.TB) *fixture {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "S", Subjects: []string{"s.>"}, AllowMsgSchedules: true, AllowMsgTTL: true})
	return f
}

// schedule stores a schedule on a subject, which publishes to s.out.
func (f *fixture) schedule(subject, pattern, payload string, lines ...string) uint64 {
	f.Helper()
	ack := f.publishWith(subject, scheduleHeader(pattern, append(lines, "Nats-Schedule-Target: s.out")...), payload)
	if ack.Error != nil {
		f.Fatalf("schedule %s: %v", subject, ack.Error)
	}
	return ack.Sequence
}

func (f *fixture) wantHeader(name string, seq uint64, want string) {
	f.Helper()
	if got := f.header(name, seq); got != want {
		f.Errorf("header of %d is %q, want %q", seq, got, want)
	}
}

// TestAScheduleFiresOnce: at its time, not before, and then it is gone.
func TestAScheduleFiresOnce(t *testing.T) {
	f := withSchedules(t)
	f.schedule("s.one", "@at 2026-01-02T03:04:15Z", "payload", "Nats-Msg-Id: x", "Kept: yes", "Nats-Schedule-TTL: 1m")
	f.wantHeader("S", 1, scheduleHeader("@at 2026-01-02T03:04:15Z", "Nats-Msg-Id: x", "Kept: yes", "Nats-Schedule-TTL: 1m",
		"Nats-Schedule-Target: s.out", "Nats-Rollup: sub"))
	f.wait(9900 * time.Millisecond)
	f.wantStored("S", "1:s.one=payload")
	f.wait(200 * time.Millisecond)
	f.wantStored("S", "2:s.out=payload")
	f.wantHeader("S", 2, "NATS/1.0\r\nKept: yes\r\nNats-Scheduler: s.one\r\nNats-Schedule-Next: purge\r\nNats-TTL: 1m\r\n\r\n")
	f.wait(time.Minute)
	f.wantStored("S", "")
}

// TestAScheduleFiresAgain, a leader that begins later does so once for all that
// was missed, and whoever ends the schedule is obeyed.
func TestAScheduleFiresAgain(t *testing.T) {
	f := withSchedules(t)
	f.schedule("s.tick", "@every 10s", "x", "Nats-Schedule-Rollup: sub")
	f.wait(10100 * time.Millisecond)
	f.wantStored("S", "1:s.tick=x 2:s.out=x")
	f.wantHeader("S", 2, "NATS/1.0\r\nNats-Scheduler: s.tick\r\nNats-Schedule-Next: 2026-01-02T03:04:25Z\r\nNats-Rollup: sub\r\n\r\n")
	f.door.Follow()
	f.node.now += int64(time.Minute)
	f.door.Lead()
	f.wait(100 * time.Millisecond)
	f.wantStored("S", "1:s.tick=x 3:s.out=x")
	f.wait(8 * time.Second)
	f.wantStored("S", "1:s.tick=x 3:s.out=x")
	f.wait(3 * time.Second)
	f.wantStored("S", "1:s.tick=x 4:s.out=x")
	f.deleteMessage("S", 1)
	f.wait(time.Minute)
	f.wantStored("S", "4:s.out=x")
}

// TestASchedulePublishesItsSource: the last message of another subject, as it is
// then.
func TestASchedulePublishesItsSource(t *testing.T) {
	f := withSchedules(t)
	f.schedule("s.copy", "@every 1s", "own", "Nats-Schedule-Source: s.source")
	f.wait(time.Second)
	f.publishWith("s.source", "NATS/1.0\r\nOf: source\r\nNats-TTL: 1h\r\nNats-Msg-Id: i\r\n\r\n", "theirs")
	f.wait(time.Second)
	f.wantStored("S", "1:s.copy=own 2:s.out=own 3:s.source=theirs 4:s.out=theirs")
	f.wantHeader("S", 4, "NATS/1.0\r\nOf: source\r\nNats-Scheduler: s.copy\r\nNats-Schedule-Next: 2026-01-02T03:04:08Z\r\n\r\n")
}

// TestARefusedScheduleIsNotStuck: what it publishes is too large for the stream,
// and it waits for its next time; and for room, which it does not take from
// publishers.
func TestARefusedScheduleIsNotStuck(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "S", Subjects: []string{"s.>"}, AllowMsgSchedules: true, MaxMsgSize: 130})
	f.schedule("s.tick", "@every 10s", "", "Nats-Schedule-Source: s.source")
	f.publish("s.source", strings.Repeat("x", 100))
	f.wait(11 * time.Second)
	stored := f.stored("S")
	if next := f.machine.Stream("S").NextSchedule(); next != start+int64(20*time.Second) {
		t.Errorf("due at %d, want %d", next, start+int64(20*time.Second))
	}
	config := *f.machine.Stream("S").Config()
	config.MaxMsgSize = -1
	api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE.S", config)
	f.door.queue.Admit(0)
	f.wait(10 * time.Second)
	f.wantStored("S", stored)
	f.door.queue.Admit(1 << 20)
	f.wait(2 * time.Second)
	f.wantStored("S", stored+" 3:s.out="+strings.Repeat("x", 100))
}

// TestSchedulesTurnedOnMeanwhile: a schedule that was on its way when the stream
// took none is refused as if it had come before the update.
func TestSchedulesTurnedOnMeanwhile(t *testing.T) {
	f := newFixture(t)
	info := f.createStream(server.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	config := info.Config
	config.AllowMsgSchedules, config.AllowRollup = true, true
	request, inbox := f.inbox(), f.inbox()
	body, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	f.send(apiPrefix+"STREAM.UPDATE.S", request, "", string(body))
	f.send("s.one", inbox, scheduleHeader("@every 1s", "Nats-Schedule-Target: s.out"), "")
	f.run()
	f.want(inbox, `{"error":{"code":400,"err_code":10188,"description":"message schedules is disabled"},"stream":"S","seq":0}`)
}

// TestRestoredSchedulesAreDue: a stream that was made from a backup goes on with
// its schedules.
func TestRestoredSchedulesAreDue(t *testing.T) {
	f := withSchedules(t)
	f.schedule("s.tick", "@every 10s", "x")
	f.schedule("s.done", "@at 2026-01-02T03:04:06Z", "y")
	f.wait(2 * time.Second)
	whole, response := f.backUp("S", "")
	f.deleteStream("S")
	f.node.now += int64(time.Minute)
	if outcome := f.restore(response.Config, response.State, whole, 1000); outcome.Error != nil {
		t.Fatal(outcome.Error)
	}
	f.wantStored("S", "1:s.tick=x 3:s.out=y")
	f.wait(10600 * time.Millisecond)
	f.wantStored("S", "1:s.tick=x 3:s.out=y 4:s.out=x")
}

// TestManySchedules are all fired, round by round.
func TestManySchedules(t *testing.T) {
	f := withSchedules(t)
	const many = firesAtOnce + 10
	for i := range many {
		f.send(fmt.Sprint("s.one.", i), "", scheduleHeader("@at 2026-01-02T03:04:06Z", "Nats-Schedule-Target: s.out"), "")
	}
	f.run()
	f.wait(1200 * time.Millisecond)
	if state := f.machine.Stream("S").State(); state.Msgs != many || state.LastSeq != 2*many || state.FirstSeq != many+1 {
		t.Errorf("state %+v", state)
	}
	for seq := uint64(many + 1); seq < 2*many; seq++ {
		if stored, ok := f.machine.Stream("S").Message(seq); !ok || machine.ScheduleStamp(time.Unix(0, stored.Stamp)) < start+int64(time.Second) {
			t.Fatalf("message %d came early: %d", seq, stored.Stamp)
		}
	}
}
