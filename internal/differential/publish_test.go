package differential

import (
	"fmt"
	"strings"
	"testing"
)

// publishes are the headers of one publish each, tried one after the other on
// streams of several kinds.
var publishes = [][]string{
	nil,
	{"Nats-Msg-Id: a"}, {"Nats-Msg-Id: a"}, {"Nats-Msg-Id: "}, {"Nats-Msg-Id: b", "Nats-Msg-Id: c"},
	{"Nats-Expected-Stream: other"}, {"Nats-Expected-Stream: "},
	{"Nats-Expected-Last-Sequence: 3"}, {"Nats-Expected-Last-Sequence: 77"}, {"Nats-Expected-Last-Sequence: x"}, {"Nats-Expected-Last-Sequence: -1"},
	{"Nats-Expected-Last-Sequence: "},
	{"Nats-Expected-Last-Subject-Sequence: 0"}, {"Nats-Expected-Last-Subject-Sequence: x"}, {"Nats-Expected-Last-Subject-Sequence: 4"},
	{"Nats-Expected-Last-Subject-Sequence-Subject: *.a"},
	{"Nats-Expected-Last-Subject-Sequence: 4", "Nats-Expected-Last-Subject-Sequence-Subject: a..b"},
	{"Nats-Expected-Last-Subject-Sequence: 0", "Nats-Expected-Last-Subject-Sequence-Subject: nobody"},
	{"Nats-TTL: 100s"}, {"Nats-TTL: 100"}, {"Nats-TTL: 0"}, {"Nats-TTL: 999ms"}, {"Nats-TTL: never"}, {"Nats-TTL: -1"}, {"Nats-TTL: x"},
	{"Nats-TTL: "}, {"Nats-TTL: 1h30m"}, {"Nats-TTL: -1s"}, {"Nats-TTL: 0s"}, {"Nats-TTL: NEVER"},
	{"Nats-Rollup: sub"}, {"Nats-Rollup: all"}, {"Nats-Rollup: ALL"}, {"Nats-Rollup: some"}, {"Nats-Rollup: "},
	{"Nats-Incr: 1"}, {"Nats-Incr: -5"}, {"Nats-Incr: x"}, {"Nats-Incr: 0"}, {"Nats-Incr: +3"}, {"Nats-Incr: "}, {"Nats-Incr: 123456789012345678901234567890"},
	{"Nats-Incr: 1.5"}, {"Nats-Incr: 1", "Nats-TTL: 5s"}, {"Nats-Incr: 1", "Nats-Rollup: sub"}, {"Nats-Incr: 1", "Nats-Expected-Last-Sequence: 0"},
	{"Nats-Incr: 1", "Nats-Expected-Last-Subject-Sequence: 0"}, {"Nats-Incr: 1", "Nats-Msg-Id: i1"}, {"Nats-Incr: 1", "Nats-Msg-Id: i1"},
	{"Nats-Schedule: @at 2099-01-01T00:00:00Z"}, {"Nats-Schedule: @at 2099-01-01T00:00:00Z", "Nats-Schedule-Target: NAME.target"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target"}, {"Nats-Schedule: nonsense", "Nats-Schedule-Target: NAME.target"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.*"}, {"Nats-Schedule: @every 1h", "Nats-Schedule-Target: elsewhere"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.a"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-TTL: 5s"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-TTL: x"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-Source: NAME.source"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-Source: NAME.*"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-Source: NAME.target"},
	{"Nats-Schedule: @every 1ms", "Nats-Schedule-Target: NAME.target"},
	{"Nats-Schedule: 0 0 1 1 1 *", "Nats-Schedule-Target: NAME.target"}, {"Nats-Schedule: 0 0 1 1 1", "Nats-Schedule-Target: NAME.target"},
	{"Nats-Schedule: 0 0 1 1 1 *", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-Time-Zone: Europe/Berlin"},
	{"Nats-Schedule: 0 0 1 1 1 *", "Nats-Schedule-Target: NAME.target", "Nats-Schedule-Time-Zone: Nowhere/Never"},
	{"Nats-Schedule: @yearly", "Nats-Schedule-Target: NAME.target"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Rollup: all"},
	{"Nats-Schedule: @every 1h", "Nats-Schedule-Target: NAME.target", "Nats-Rollup: sub"},
	{"Nats-Schedule-Next: purge"}, {"Nats-Scheduler: NAME.a"}, {"Nats-Schedule-Next: 2099-01-01T00:00:00Z", "Nats-Scheduler: NAME.a"},
	{"Nats-Schedule-Target: NAME.target"},
	{"Nats-Batch-Id: b1"}, {"Nats-Batch-Id: b1", "Nats-Batch-Sequence: 0"}, {"Nats-Batch-Id: b2", "Nats-Batch-Sequence: 2"},
	{"Nats-Batch-Id: b3", "Nats-Batch-Sequence: 1", "Nats-Batch-Commit: 1"}, {"Nats-Batch-Id: b4", "Nats-Batch-Sequence: 1", "Nats-Batch-Commit: 2"},
	{"Nats-Batch-Id: b5", "Nats-Batch-Sequence: 1", "Nats-Batch-Commit: eob"}, {"Nats-Batch-Commit: 1"},
	{"Nats-Stream-Source: x 1 > > y"},
	{"Nats-Required-Api-Level: 1"}, {"Nats-Required-Api-Level: 99"}, {"Nats-Required-Api-Level: x"},
	{"Nats-Marker-Reason: MaxAge"},
	{"nats-msg-id: lower"}, {"Other: x", "Nats-Msg-Id: d"},
}

// publishStreams are the kinds of streams that the publishes are tried on.
var publishStreams = map[string]object{
	"plain":        {},
	"ttl":          {"allow_msg_ttl": true},
	"markers":      {"subject_delete_marker_ttl": 1000 * second},
	"rollup":       {"allow_rollup_hdrs": true},
	"rollupdenied": {"deny_purge": true},
	"small":        {"max_msg_size": 40},
	"few":          {"max_msgs": 2, "discard": "new"},
	"fewbytes":     {"max_bytes": 300, "discard": "new"},
	"fewper":       {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": true},
	"interest":     {"retention": "interest"},
	"memory":       {"storage": "memory"},
	"nowindow":     {"duplicate_window": 0},
	"schedules":    {"allow_msg_schedules": true},
	"schedulesttl": {"allow_msg_schedules": true, "allow_msg_ttl": true, "storage": "memory"},
	"counter":      {"allow_msg_counter": true},
	"counterempty": {"allow_msg_counter": true, "allow_rollup_hdrs": true, "max_msg_size": 120},
}

// TestPublish publishes with all kinds of headers.
func TestPublish(t *testing.T) {
	for name, change := range publishStreams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(change)
				body := "7 bytes"
				if name == "counterempty" {
					body = "" // what an increment has to be
				}
				for _, lines := range publishes {
					headers := make([]string, len(lines))
					for i, line := range lines {
						headers[i] = strings.ReplaceAll(line, "NAME", s.name)
					}
					s.ask(s.name+".a", body, headers...)
					s.api("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + ".a"})
				}
				s.ask(s.name+".b", nil, "Nats-Incr: 1")
				s.api("STREAM.INFO."+s.name, object{"subjects_filter": ">", "deleted_details": true})
				s.delete()
			})
		})
	}
}

// TestMessageDelete deletes and purges messages in all ways.
func TestMessageDelete(t *testing.T) {
	for name, change := range map[string]object{
		"plain": {}, "sealed": {}, "denydelete": {"deny_delete": true}, "denypurge": {"deny_purge": true}, "memory": {"storage": "memory"}, "first": {"first_seq": 50},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(change)
				for i := range 12 {
					s.ask(fmt.Sprintf("%s.%d", s.name, i%3), "x")
				}
				if name == "sealed" {
					s.update(object{"sealed": true})
				}
				for _, body := range []any{nil, `{}`, `{"seq":0}`, `{"seq":2}`, `{"seq":2}`, `{"seq":3,"no_erase":true}`, `{"seq":99}`, `{"seq":"x"}`, `{"bad":1}`, `x`, `{"seq":52}`} {
					s.api("STREAM.MSG.DELETE."+s.name, body)
				}
				s.api("STREAM.MSG.DELETE.Nobody", `{"seq":1}`)
				for _, body := range []any{
					`{"filter":"` + s.name + `.0","keep":1}`, `{"seq":5}`, `{"seq":5,"keep":1}`, `{"filter":"` + s.name + `.1","seq":9}`, `{"keep":2}`, `x`, `{"bad":1}`,
					`{"filter":"bad..subject"}`, `{"seq":1000}`, nil,
				} {
					s.api("STREAM.PURGE."+s.name, body)
					s.api("STREAM.INFO."+s.name, object{"subjects_filter": ">", "deleted_details": true})
				}
				s.api("STREAM.PURGE.Nobody", nil)
				s.ask(s.name+".9", "after")
				s.info()
				s.delete()
			})
		})
	}
}
