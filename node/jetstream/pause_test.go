package jetstream

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// advisories returns what was told of a subject since the last time.
func advisories[T any](f *fixture, subject string) []T {
	f.Helper()
	var all []T
	for _, s := range f.take(subject) {
		var one T
		if err := json.Unmarshal([]byte(s.payload), &one); err != nil {
			f.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

func TestPauseAndResume(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", work())
	const told = "$JS.EVENT.ADVISORY.CONSUMER.PAUSE.ORDERS.work"
	f.bus.heard[told] = true
	until := time.Unix(0, f.node.now).Add(10 * time.Second).UTC()
	pause := server.JSApiConsumerPauseRequest{PauseUntil: until}
	response := api[server.JSApiConsumerPauseResponse](f, "CONSUMER.PAUSE.ORDERS.work", pause)
	if response.Error != nil || !response.Paused || !response.PauseUntil.Equal(until) || response.PauseRemaining != 10*time.Second {
		t.Errorf("answer %+v", response)
	}
	if told := advisories[server.JSConsumerPauseAdvisory](f, told); len(told) != 1 || !told[0].Paused || !told[0].PauseUntil.Equal(until) {
		t.Errorf("told %+v", told)
	}
	if info := f.info("ORDERS", "work"); !info.Paused || info.PauseRemaining != 10*time.Second || !info.Config.PauseUntil.Equal(until) {
		t.Errorf("info %+v", info)
	}
	waiting := f.pull("ORDERS", "work", `{"batch":10}`)
	f.publish("orders.a", "a")
	f.wait(9 * time.Second)
	f.want(waiting, "")
	f.wait(time.Second)
	f.want(waiting, "a")
	if told := advisories[server.JSConsumerPauseAdvisory](f, told); len(told) != 1 || told[0].Paused {
		t.Errorf("told %+v", told)
	}

	pause.PauseUntil = until.Add(time.Hour)
	api[server.JSApiConsumerPauseResponse](f, "CONSUMER.PAUSE.ORDERS.work", pause)
	f.publish("orders.a", "b")
	f.want(waiting, "")
	response = api[server.JSApiConsumerPauseResponse](f, "CONSUMER.PAUSE.ORDERS.work", "")
	if response.Error != nil || response.Paused || !response.PauseUntil.IsZero() {
		t.Errorf("answer %+v", response)
	}
	f.want(waiting, "b")
	if told := advisories[server.JSConsumerPauseAdvisory](f, told); len(told) != 2 || told[1].Paused || !told[1].PauseUntil.IsZero() {
		t.Errorf("told %+v", told)
	}
	f.wantError(server.JSConsumerNotFoundErr, "CONSUMER.PAUSE.ORDERS.none", pause)
	f.wantError(server.JSInvalidJSONErr, "CONSUMER.PAUSE.ORDERS.work", `{"pause_until":"soon"}`)
}

// A consumer may be born paused, and a new leader goes on pausing it.
func TestPauseSurvivesTheLeader(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.bus.heard["$JS.EVENT.ADVISORY.CONSUMER.PAUSE.ORDERS.work"] = true
	until := time.Unix(0, f.node.now).Add(10 * time.Second).UTC()
	config := work()
	config.PauseUntil = &until
	if info := f.createConsumer("ORDERS", config); !info.Paused {
		t.Errorf("info %+v", info)
	}
	f.door.Follow()
	f.door.Lead()
	f.publish("orders.a", "a")
	waiting := f.pull("ORDERS", "work", `{"batch":10}`)
	f.want(waiting, "")
	f.wait(10 * time.Second)
	f.want(waiting, "a")
	if told := advisories[server.JSConsumerPauseAdvisory](f, "$JS.EVENT.ADVISORY.CONSUMER.PAUSE.ORDERS.work"); len(told) != 2 || told[1].Paused {
		t.Errorf("told %+v", told)
	}
	// Only a pause request changes it.
	config.PauseUntil = nil
	config.Description = "another"
	f.createConsumer("ORDERS", config)
	if got := f.info("ORDERS", "work").Config.PauseUntil; got == nil || !got.Equal(until) {
		t.Errorf("paused until %v", got)
	}
}

func TestResetAConsumer(t *testing.T) {
	f := newFixture(t)
	f.createStream(orders())
	f.createConsumer("ORDERS", work())
	f.fill("orders.a", 4)
	got := f.want(f.pull("ORDERS", "work", "3"), "00000001 00000002 00000003")
	f.ack(got[0], "")
	response := api[server.JSApiConsumerResetResponse](f, "CONSUMER.RESET.ORDERS.work", "")
	if response.Error != nil || response.ResetSeq != 2 || response.NumPending != 3 || response.NumAckPending != 0 {
		t.Errorf("answer %+v", response)
	}
	waiting := f.pull("ORDERS", "work", "10")
	f.want(waiting, "00000002 00000003 00000004")
	response = api[server.JSApiConsumerResetResponse](f, "CONSUMER.RESET.ORDERS.work", `{"seq":4,"more":1}`)
	if response.Error != nil || response.ResetSeq != 4 {
		t.Errorf("answer %+v", response)
	}
	f.want(waiting, "00000004") // goes on without being asked again
	f.wantError(server.JSInvalidJSONErr, "CONSUMER.RESET.ORDERS.work", `{"seq":-1}`)
	f.wantError(server.JSConsumerNotFoundErr, "CONSUMER.RESET.ORDERS.none", "")
	last := work()
	last.Durable, last.DeliverPolicy = "last", server.DeliverLast
	f.createConsumer("ORDERS", last)
	f.wantError(server.JSConsumerInvalidResetErr, "CONSUMER.RESET.ORDERS.last", `{"seq":1}`)
}
