package jetstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// withPlaces stores place.0 to place.9 twice, sequences 1 to 20.
func withPlaces(t *testing.T) *fixture {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "PLACES", Subjects: []string{"place.*"}, AllowDirect: true})
	for round := range 2 {
		for i := range 10 {
			f.publish(fmt.Sprintf("place.%d", i), fmt.Sprintf("%d%d", round, i))
		}
	}
	return f
}

// batch asks for several messages and tells the answer in words: sequence,
// pending, last sequence before, for each message and for the end.
func (f *fixture) batch(request string) string {
	f.Helper()
	inbox := f.inbox()
	f.send(directPrefix+"PLACES", inbox, "", request)
	f.run()
	var told []string
	for _, m := range f.take(inbox) {
		if status := m.status(); status != "" {
			told = append(told, strings.TrimSpace(fmt.Sprintf("<%s> %s", status, m.value(server.JSUpToSequence))))
		}
		if m.value(server.JSNumPending) == "" {
			continue
		}
		told = append(told, fmt.Sprintf("%s/%s/%s", m.value(server.JSSequence), m.value(server.JSNumPending), m.value(server.JSLastSequence)))
	}
	return strings.Join(told, " ")
}

func TestDirectBatches(t *testing.T) {
	f := withPlaces(t)
	f.batchDeleted(3)
	for request, want := range map[string]string{
		`{"seq":1,"batch":3}`:                          "1/18/0 2/17/1 4/16/2 <204 EOB> /16/4",
		`{"seq":19,"batch":9}`:                         "19/1/0 20/0/19 <204 EOB> /0/20",
		`{"seq":3,"batch":1}`:                          "4/16/0 <204 EOB> /16/4",
		`{"seq":21,"batch":2}`:                         "<404 Message Not Found>",
		`{"next_by_subj":"place.1","batch":5}`:         "2/1/0 12/0/2 <204 EOB> /0/12",
		`{"seq":3,"next_by_subj":"place.*","batch":2}`: "4/16/0 5/15/4 <204 EOB> /15/5",
		`{"seq":1,"batch":9,"max_bytes":18}`:           "1/18/0 2/17/1 <204 EOB> /17/2",
		`{"seq":1,"batch":-1}`:                         "<204 EOB> /19/0",
		`{"batch":2}`:                                  "<408 Empty Request>",
		`{"last_by_subj":"place.1","batch":2}`:         "<408 Bad Request>",
	} {
		if got := f.batch(request); got != want {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
}

// Nobody is told that a message is not there because it cannot be read here.
func TestUnreadableMessagesAreNotMissing(t *testing.T) {
	f := withPlaces(t)
	f.node.unread = true
	for _, request := range []string{`{"seq":1}`, `{"last_by_subj":"place.1"}`, `{"seq":1,"batch":3}`, `{"multi_last":["place.*"]}`} {
		if got, want := f.batch(request), "<503 Message Unreadable>"; got != want {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
	f.wantError(server.JSClusterNotAvailErr, "STREAM.MSG.GET.PLACES", `{"seq":1}`)
}

func (f *fixture) batchDeleted(seq uint64) {
	api[server.JSApiMsgDeleteResponse](f, "STREAM.MSG.DELETE.PLACES", fmt.Sprintf(`{"seq":%d}`, seq))
}

func TestDirectLastOfSeveralSubjects(t *testing.T) {
	f := withPlaces(t)
	at := func(seq uint64) string {
		stored, _ := f.machine.Stream("PLACES").Message(seq)
		return time.Unix(0, stored.Stamp).UTC().Format(time.RFC3339Nano)
	}
	for request, want := range map[string]string{
		`{"multi_last":["place.1","place.9"]}`:                                  "12/1/0 20/0/12 <204 EOB> 20 /0/20",
		`{"multi_last":["place.*"],"batch":2}`:                                  "11/9/0 12/8/11 <204 EOB> 20 /8/12",
		`{"multi_last":["place.1","place.2"],"up_to_seq":12}`:                   "3/1/0 12/0/3 <204 EOB> 12 /0/12",
		`{"multi_last":["place.1","place.2"],"seq":4,"up_to_seq":12}`:           "12/0/0 <204 EOB> 12 /0/12",
		`{"multi_last":["place.>"],"up_to_time":"` + at(3) + `"}`:               "1/1/0 2/0/1 <204 EOB> 2 /0/2",
		`{"multi_last":["place.>"],"up_to_time":"` + at(1) + `"}`:               "<404 No Results>",
		`{"multi_last":["elsewhere"]}`:                                          "<404 No Results>",
		`{"multi_last":["place.1"],"up_to_seq":3,"up_to_time":"` + at(1) + `"}`: "<408 Bad Request>",
		`{"multi_last":["place.1"],"next_by_subj":"place.1"}`:                   "<408 Bad Request>",
		`{"multi_last":["place.1","place.2"],"max_bytes":5}`:                    "12/1/0 <204 EOB> 20 /1/12",
	} {
		if got := f.batch(request); got != want {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
	for i := range maxMultiLast + 1 {
		f.door.Handle(&Message{Subject: fmt.Appendf(nil, "place.x%d", i)})
	}
	f.run()
	if got := f.batch(`{"multi_last":["place.>"]}`); got != "<413 Too Many Results>" {
		t.Errorf("got %q", got)
	}
}

func TestALargeBatchIsSentInSlices(t *testing.T) {
	f := withPlaces(t)
	large := string(make([]byte, 600<<10))
	for range 10 {
		f.publish("place.large", large)
	}
	inbox := f.inbox()
	f.send(directPrefix+"PLACES", inbox, "", `{"next_by_subj":"place.large","batch":100}`)
	f.door.Flush()
	f.door.Barriered(f.node.barriers[0], true)
	f.node.barriers = nil
	f.door.Flush()
	if got := len(f.take(inbox)); got != 2 {
		t.Errorf("%d messages in the first slice", got)
	}
	f.bus.pending = 1 << 30
	f.door.Flush()
	if got := len(f.take(inbox)); got != 0 || f.door.Wake() != 0 {
		t.Errorf("%d messages while the bus is full", got)
	}
	f.bus.pending = 0
	if f.door.Wake() == 0 {
		t.Error("nobody wakes the door")
	}
	for range 10 {
		f.door.Flush()
	}
	got := f.take(inbox)
	if len(got) != 9 || got[8].status() != "204 EOB" {
		t.Errorf("%d messages", len(got))
	}
}

// follower returns another node that has applied the same entries.
func (f *fixture) follower() *fixture {
	other := newFixture(f.TB)
	other.door.Follow()
	other.node.entries = f.node.entries
	other.bus.subscriptions = map[string]int{}
	other.catchUp()
	return other
}

func (f *fixture) catchUp() {
	for f.machine.Applied() < uint64(len(f.node.entries)) {
		index := f.machine.Applied() + 1
		if err := f.machine.Apply(index, f.node.entries[index-1], &f.results); err != nil {
			f.Fatal(err)
		}
		f.door.Applied(index, &f.results)
		f.door.Observe(&f.results)
	}
}

func TestFollowersServeDirectReads(t *testing.T) {
	leader := withPlaces(t)
	f := leader.follower()
	subscribed := func(name string) bool {
		return f.bus.subscriptions["$JS.API.DIRECT.GET."+name+" _sys_"] == 1 && f.bus.subscriptions["$JS.API.DIRECT.GET."+name+".> _sys_"] == 1
	}
	if got := f.ask(directPrefix+"PLACES.place.1", "", ""); got.status() != "503" {
		t.Errorf("before it is open: %q", got.header)
	}
	f.door.OpenDirect()
	f.door.Flush()
	if subscribed("PLACES") {
		t.Error("subscribed before it is known to be up to date")
	}
	f.run()
	if !subscribed("PLACES") {
		t.Fatalf("subscribed to %v", f.bus.subscriptions)
	}
	if got := f.ask(directPrefix+"PLACES.place.1", "", ""); got.payload != "11" || got.value(server.JSSequence) != "12" {
		t.Errorf("got %+v", got)
	}

	leader.createStream(server.StreamConfig{Name: "MORE", AllowDirect: true})
	leader.createStream(server.StreamConfig{Name: "INDIRECT"})
	config := server.StreamConfig{Name: "PLACES", Subjects: []string{"place.*"}, Storage: server.FileStorage}
	body, _ := json.Marshal(&config)
	api[server.JSApiStreamUpdateResponse](leader, "STREAM.UPDATE.PLACES", string(body))
	f.node.entries = leader.node.entries
	f.catchUp()
	if !subscribed("MORE") || subscribed("INDIRECT") || subscribed("PLACES") {
		t.Errorf("subscribed to %v", f.bus.subscriptions)
	}
	f.door.LeaveDirect()
	if subscribed("MORE") {
		t.Errorf("subscribed to %v", f.bus.subscriptions)
	}
	leader.publish("MORE", "m")
	f.node.entries = leader.node.entries
	f.catchUp()
	if got := f.ask(directPrefix+"MORE", "", `{"seq":1}`); got.payload != "m" {
		t.Errorf("a late request: %+v", got)
	}
}

func TestDirectReadsWaitForALeader(t *testing.T) {
	f := withPlaces(t).follower()
	f.door.OpenDirect()
	f.run()
	inbox := f.inbox()
	f.send(directPrefix+"PLACES.place.1", inbox, "", "")
	f.door.Flush()
	f.door.Barriered(f.node.barriers[0], false)
	f.node.barriers = nil
	f.door.Flush()
	if len(f.node.barriers) != 0 {
		t.Error("asked again at once")
	}
	f.door.Tick(f.node.now)
	f.run()
	f.want(inbox, "11")

	f.send(directPrefix+"PLACES.place.1", inbox, "", "")
	f.door.Flush()
	f.door.CloseDirect()
	f.want(inbox, "<503>")
	f.run()
	f.want(inbox, "")
}

func TestDirectReadsAreGivenUp(t *testing.T) {
	f := withPlaces(t).follower()
	f.door.OpenDirect()
	f.run()
	inbox := f.inbox()
	f.send(directPrefix+"PLACES.place.1", inbox, "", "")
	for range 300 {
		f.node.now += int64(20 * time.Millisecond)
		f.door.Tick(f.node.now)
		f.door.Flush()
		for _, context := range f.node.barriers {
			f.door.Barriered(context, false)
		}
		f.node.barriers = nil
	}
	f.door.Tick(f.node.now)
	f.run()
	f.want(inbox, "")
}
